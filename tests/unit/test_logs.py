import json
import logging
import re
from collections.abc import Iterator

import pytest

from isocenter.logs import set_up_logs

_log = logging.getLogger("isocenter.test")


@pytest.fixture(autouse=True)
def _restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # Removed first, as `set_up_logs` closes those it finds.
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_set_up_logs_level_selects(
    capsys: pytest.CaptureFixture[str], level: str, expected: list[str]
) -> None:
    set_up_logs(level, "json")

    for name in ("debug", "info", "warning", "error"):
        getattr(_log, name)(name)

    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == expected


def test_text_log_is_one_line_with_extra_values(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", "text")

    _log.warning("a file is missing", extra={"attachment_uuid": "ab-cd", "size_bytes": 7})

    line = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING isocenter\.test: a file is missing"
        r" \[attachment_uuid=ab-cd size_bytes=7\]\n",
        line,
    )


def test_text_log_hostile_value_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", "text")

    _log.info("association", extra={"calling_ae_title": "X\n2024 ERROR forged\x1b[31m"})

    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "X\\n2024" in text
    assert "\x1b" not in text


def test_text_log_exception_follows_the_values(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", "text")

    try:
        raise ValueError("broken")  # noqa: TRY301
    except ValueError:
        _log.exception("it failed", extra={"port": 4242})

    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith("it failed [port=4242]")
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "ValueError: broken"


def test_json_log_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", "json")

    try:
        raise ValueError("broken")  # noqa: TRY301
    except ValueError:
        _log.exception("it %s", "failed", extra={"name_of_peer": 'a "b"\n'})

    entry = json.loads(capsys.readouterr().err)
    assert entry["message"] == "it failed"
    assert (entry["level"], entry["logger"]) == ("ERROR", "isocenter.test")
    assert entry["name_of_peer"] == 'a "b"\n'
    assert "ValueError: broken" in entry["exception"]


def test_set_up_logs_again_replaces_the_handler(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", "text")
    set_up_logs("info", "json")

    _log.info("once")

    assert len(capsys.readouterr().err.splitlines()) == 1

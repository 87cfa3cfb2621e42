import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from isocenter.errors import ConfigurationError
from isocenter.logs import TRACE, Category, LogFiles, Verbosity, set_up_logs

_log = logging.getLogger("isocenter.test")


@pytest.fixture(autouse=True)
def _restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # Removed first, as `set_up_logs` closes those it finds.
    root.handlers.clear()
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in list(root.manager.loggerDict):
        if name.startswith("isocenter"):
            logging.getLogger(name).setLevel(logging.NOTSET)


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
    assert datetime.fromisoformat(entry["time"]).utcoffset() is not None
    assert entry["thread"] == "MainThread"


def test_json_log_value_cannot_take_the_place_of_a_field(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logs("info", "json")

    _log.info("true", extra={"level": "forged", "time": "never"})

    entry = json.loads(capsys.readouterr().err)
    assert entry["level"] == "INFO"
    assert entry["time"] != "never"


def test_set_up_logs_again_replaces_the_handler(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", "text")
    set_up_logs("info", "json")

    _log.info("once")

    assert len(capsys.readouterr().err.splitlines()) == 1


# A logger of each category.
LOGGERS = {
    Category.GENERIC: "isocenter.archive.ingest",
    Category.PLUGINS: "isocenter.plugins.hooks",
    Category.HTTP: "isocenter.http.server",
    Category.SQLITE: "isocenter.index.sqlite",
    Category.DICOM: "isocenter.scp.storage",
    Category.JOBS: "isocenter.jobs.engine",
    Category.LUA: "isocenter.plugins.lua.state",
}


@pytest.mark.parametrize("category", Category)
def test_verbosity_of_a_category_changes_its_loggers_alone(category: Category) -> None:
    logs = set_up_logs("warning", "text")
    before = {other: logging.getLogger(name).getEffectiveLevel() for other, name in LOGGERS.items()}

    logs.set_verbosity(Verbosity.VERBOSE, (category,))

    assert set(before.values()) == {logging.WARNING}
    for other, name in LOGGERS.items():
        level = logging.DEBUG if other is category else logging.WARNING
        assert logging.getLogger(name).getEffectiveLevel() == level


@pytest.mark.parametrize(
    ("configured", "verbosity", "level"),
    [
        ("error", Verbosity.DEFAULT, logging.ERROR),
        ("error", Verbosity.VERBOSE, logging.DEBUG),
        ("debug", Verbosity.DEFAULT, logging.DEBUG),
        ("debug", Verbosity.TRACE, TRACE),
    ],
)
def test_verbosity_goes_back_to_what_is_configured(
    configured: str, verbosity: Verbosity, level: int
) -> None:
    logs = set_up_logs(configured, "text")
    logs.set_verbosity(Verbosity.TRACE)

    logs.set_verbosity(verbosity)

    assert logging.getLogger("isocenter.http").getEffectiveLevel() == level
    assert logs.get_verbosity() == verbosity


def test_logged_errors_and_warnings_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    logs = set_up_logs("error", "text")

    for _ in range(3):
        logging.getLogger("elsewhere").error("an error")
    _log.critical("worse")
    logging.getLogger("isocenter.x").setLevel(logging.WARNING)
    logging.getLogger("isocenter.x").warning("a warning")

    assert (logs.errors, logs.warnings) == (4, 1)
    assert capsys.readouterr().err.count("\n") == 5


def test_log_file_is_appended_to_and_begun_anew_when_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    set_up_logs("info", "text", LogFiles(file=path))
    _log.info("one")
    path.rename(tmp_path / "old")
    _log.info("two")

    old, new = (tmp_path / "old").read_text(), path.read_text()
    assert old.startswith("before\n")
    assert old.endswith("one\n")
    assert new.endswith("two\n")
    assert new.count("\n") == 1


def test_log_folder_gets_a_file_for_each_start_and_a_link_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "logs"
    for _ in range(2):
        set_up_logs("info", "text", LogFiles(folder=folder))
        _log.info("started")

    link = folder / "Isocenter.log"
    assert link.is_symlink()
    assert re.fullmatch(r"Isocenter\.log\.\d{8}-\d{6}\.\d+", link.resolve().name)
    assert link.read_text().endswith("started\n")
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("files", ["file", "folder"])
def test_log_that_cannot_be_written_stops_the_start(tmp_path: Path, files: str) -> None:
    (tmp_path / "file").write_text("")
    unusable = tmp_path / "file" / "below"

    with pytest.raises(ConfigurationError, match="log cannot be written"):
        set_up_logs("info", "text", LogFiles(**{files: unusable}))

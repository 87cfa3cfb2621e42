"""What may be transcoded into what, and by whom."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.pixels import build_image, build_samples

from isocenter.archive.recoded_files import can_recode, choose_accepted, list_alternatives
from isocenter.archive.transcoding import (
    Target,
    build_transcoder,
    describe_target,
    parse_target,
)
from isocenter.config.configuration import Configuration
from isocenter.errors import BadFileFormatError, BadParameterError, TranscodingError

_BASE = "1.2.840.10008.1.2"
_EXPLICIT, _BIG, _DEFLATED = f"{_BASE}.1", f"{_BASE}.2", f"{_BASE}.1.99"
_JPEG, _LOSSLESS, _LS, _VIDEO = (f"{_BASE}.4.{end}" for end in ("50", "70", "80", "100"))


@pytest.mark.parametrize("body", [{"Transcode": _JPEG}, {"Transcode": _JPEG, "LossyQuality": 7}])
def test_target_is_read_as_it_is_written(body: dict[str, Any]) -> None:
    target = parse_target(body)
    assert target == Target(_JPEG, body.get("LossyQuality"))
    assert target is not None
    assert describe_target(target) == body


def test_quality_alone_is_no_target() -> None:
    assert parse_target({}) is None
    assert parse_target({"LossyQuality": 50}) is None


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"Transcode": "1.2.3"}, BadParameterError),
        ({"Transcode": ""}, BadParameterError),
        ({"Transcode": None}, BadFileFormatError),
        ({"Transcode": [_JPEG]}, BadFileFormatError),
        ({"LossyQuality": 0}, BadParameterError),
        ({"LossyQuality": 101}, BadParameterError),
        ({"LossyQuality": True}, BadParameterError),
        ({"LossyQuality": "90"}, BadParameterError),
        ({"LossyQuality": 90.0}, BadParameterError),
    ],
    ids=str,
)
def test_wrong_target_is_refused(body: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_target(body)


@pytest.mark.parametrize(
    ("source", "preferred", "expected"),
    [
        (_EXPLICIT, _EXPLICIT, [_BASE, _BIG]),
        (_EXPLICIT, _BIG, [_BIG, _BASE]),
        (_JPEG, _BASE, [_BASE, _EXPLICIT, _BIG]),
        (_DEFLATED, _EXPLICIT, [_EXPLICIT, _BASE, _BIG]),
        (_VIDEO, _EXPLICIT, []),
        ("1.2.3", _EXPLICIT, []),
    ],
)
def test_plain_syntaxes_are_the_alternatives(
    source: str, preferred: str, expected: list[str]
) -> None:
    assert list_alternatives(source, preferred) == expected


@pytest.mark.parametrize(
    ("source", "accepted", "expected"),
    [
        (_LOSSLESS, {_LS, _BASE, _EXPLICIT}, _EXPLICIT),
        (_LOSSLESS, {_LS, _BASE}, _BASE),
        (_LOSSLESS, {_LS, _JPEG}, _LS),
        (_EXPLICIT, {_JPEG}, None),
        (_EXPLICIT, {_VIDEO}, None),
        (_VIDEO, {_EXPLICIT}, None),
        (_EXPLICIT, set(), None),
    ],
)
def test_requestor_gets_a_syntax_that_it_takes_and_that_loses_nothing(
    source: str, accepted: set[str], expected: str | None
) -> None:
    assert choose_accepted(source, accepted) == expected


def test_sending_loses_nothing() -> None:
    assert can_recode(_EXPLICIT, _LOSSLESS)
    assert not can_recode(_EXPLICIT, _JPEG)


def test_disabled_codecs_leave_what_needs_none(tmp_path: Path) -> None:
    configuration = Configuration.defaults().with_values(
        {"BuiltinDecoderTranscoderOrder": "Disabled"}
    )
    transcoder = build_transcoder(configuration, tmp_path)
    data = build_image(build_samples(240))
    with transcoder.open(data, Target(_BASE)) as result:
        assert result.pieces
    with pytest.raises(TranscodingError), transcoder.open(data, Target(_LOSSLESS)):
        pass
    with transcoder.open_or_keep(data, Target(_LOSSLESS)) as kept:
        assert kept is data
    transcoder.stop()

"""Files that are brought into another transfer syntax before they are stored."""

import io
from typing import Any

import pydicom
import pytest
from tests.support.dicom_files import build_instance
from tests.support.pixels import InlineCoder, build_image, build_samples
from tests.unit.archive.parts import REST, Parts

from isocenter.archive import pieces, transcoding
from isocenter.archive.conversion import Converter, build_converter
from isocenter.archive.received import StoreStatus
from isocenter.archive.settings import Settings
from isocenter.archive.transcoding import Target, Transcoder
from isocenter.config.configuration import Configuration
from isocenter.dicom.reader import FileSummary
from isocenter.errors import BadFileFormatError, ConfigurationError, ForbiddenError

_BASE = "1.2.840.10008.1.2"
_EXPLICIT, _JPEG, _LS, _RLE = (f"{_BASE}.{end}" for end in ("1", "4.50", "4.80", "5"))
_IMAGE = build_image(build_samples(240, bits=8, size=1), allocated=8)


@pytest.fixture(params=[10**6, 100], ids=["in memory", "in a file"])
def _limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_LARGEST_IN_MEMORY", request.param)
    monkeypatch.setattr(transcoding, "_SPOOL_BYTES", request.param)


def _build(parts: Parts, target: str, **options: Any) -> Converter:
    transcoder = Transcoder(InlineCoder(), parts.folder)
    return Converter(transcoder, Target(target), Settings(), **options)


async def _store(parts: Parts, data: bytes, converter: Converter) -> tuple[Any, str]:
    """Store a file; give the outcome and the transfer syntax of what is stored."""
    outcome = await parts.store(data, converter=converter)
    [blob] = parts.list_blobs()
    assert parts.list_temporary() == []
    return outcome, str(pydicom.dcmread(io.BytesIO(blob)).file_meta.TransferSyntaxUID)


@pytest.mark.usefixtures("_limit")
@pytest.mark.parametrize("is_spooled", [False, True])
async def test_what_arrives_is_converted(parts: Parts, is_spooled: bool) -> None:
    ingest = parts.new_ingest(converter=_build(parts, _LS))
    content = parts.new_content(_IMAGE) if is_spooled else _IMAGE
    outcome = await ingest.store(content, REST)
    assert outcome.status is StoreStatus.SUCCESS
    [blob] = parts.list_blobs()
    assert pydicom.dcmread(io.BytesIO(blob)).file_meta.TransferSyntaxUID == _LS
    assert parts.list_temporary() == []
    again = await ingest.store(_IMAGE, REST)
    assert (again.status, again.public_ids) == (StoreStatus.ALREADY_STORED, outcome.public_ids)


async def test_losses_change_the_identifier(parts: Parts) -> None:
    plain = await parts.store(_IMAGE)
    derived = await parts.store(_IMAGE, converter=_build(parts, _JPEG))
    again = await parts.store(_IMAGE, converter=_build(parts, _JPEG))
    assert (again.status, again.public_ids) == (StoreStatus.ALREADY_STORED, derived.public_ids)
    assert derived.public_ids.series == plain.public_ids.series
    assert derived.public_ids.instance != plain.public_ids.instance


@pytest.mark.parametrize(
    ("data", "target", "options", "expected"),
    [
        pytest.param(_IMAGE, _EXPLICIT, {}, _EXPLICIT, id="same"),
        pytest.param(_IMAGE, _LS, {"of_uncompressed": False}, _EXPLICIT, id="not uncompressed"),
        pytest.param(_IMAGE, _LS, {"of_compressed": False}, _LS, id="uncompressed only"),
        pytest.param(build_instance(), _LS, {}, _EXPLICIT, id="no pixels"),
        pytest.param(build_instance(), _BASE, {}, _BASE, id="no pixels, plain target"),
        pytest.param(
            build_image(build_samples(240)), _JPEG, {}, _EXPLICIT, id="too many bits for it"
        ),
        pytest.param(
            build_image([b"", b"\0\0"], syntax=f"{_BASE}.4.100"),
            _LS,
            {},
            f"{_BASE}.4.100",
            id="video",
        ),
        pytest.param(build_image([b"", b"\0\0"], syntax=_RLE), _LS, {}, _RLE, id="damaged pixels"),
        pytest.param(
            build_image([b"", b"\0\0"], syntax=_RLE),
            _EXPLICIT,
            {"of_compressed": False},
            _RLE,
            id="not compressed",
        ),
    ],
)
async def test_what_is_not_converted_stays(
    parts: Parts, data: bytes, target: str, options: dict[str, bool], expected: str
) -> None:
    outcome, syntax = await _store(parts, data, _build(parts, target, **options))
    assert (outcome.status, syntax) == (StoreStatus.SUCCESS, expected)


async def test_door_checks_the_file_that_came(parts: Parts) -> None:
    seen: list[str] = []

    def check(summary: FileSummary) -> None:
        seen.append(summary.transfer_syntax_uid)
        if len(seen) > 1:
            raise ForbiddenError("no")

    ingest = parts.new_ingest(converter=_build(parts, _JPEG))
    await ingest.store(_IMAGE, REST, check=check)
    with pytest.raises(ForbiddenError):
        await ingest.store(parts.new_content(_IMAGE), REST, check=check)
    assert seen == [_EXPLICIT, _EXPLICIT]
    assert len(parts.list_blobs()) == 1
    assert parts.list_temporary() == []


@pytest.mark.parametrize("data", [b"", b"nothing", _IMAGE[:300]])
async def test_what_is_no_file_is_refused(parts: Parts, data: bytes) -> None:
    ingest = parts.new_ingest(converter=_build(parts, _LS))
    for content in (data, parts.new_content(data)):
        with pytest.raises(BadFileFormatError):
            await ingest.store(content, REST)
    assert (parts.list_blobs(), parts.list_temporary()) == ([], [])


def test_unknown_transfer_syntax_stops_the_start(parts: Parts) -> None:
    transcoder = Transcoder(InlineCoder(), parts.folder)
    configuration = Configuration.defaults()
    assert build_converter(configuration, transcoder, Settings()) is None
    wrong = configuration.with_values({"IngestTranscoding": "1.2.3"})
    with pytest.raises(ConfigurationError):
        build_converter(wrong, transcoder, Settings())

"""Files that are brought into another transfer syntax before they are stored."""

import asyncio
import io
import logging
import threading
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
from isocenter.errors import (
    BadFileFormatError,
    ConfigurationError,
    DeadlineExceededError,
    ForbiddenError,
)
from isocenter.pixels.frames import FrameResult, FrameTask, recode_frame

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


@pytest.mark.usefixtures("_limit")
async def test_what_is_stored_jointly_is_converted(parts: Parts) -> None:
    ingest = parts.new_ingest(converter=_build(parts, _LS))
    images = [
        build_image(build_samples(240, bits=8, size=1), allocated=8, name=f"1.2.{number}")
        for number in range(3)
    ]
    outcomes = await ingest.store_jointly([parts.new_content(image) for image in images], REST)
    assert [outcome.status for outcome in outcomes] == [StoreStatus.SUCCESS] * 3
    syntaxes = {
        str(pydicom.dcmread(io.BytesIO(blob)).file_meta.TransferSyntaxUID)
        for blob in parts.list_blobs()
    }
    assert syntaxes == {_LS}
    with pytest.raises(BadFileFormatError):
        await ingest.store_jointly([parts.new_content(images[0]), parts.new_content(b"no")], REST)
    assert parts.list_temporary() == []
    assert len(parts.list_blobs()) == 3


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


class _SlowCoder:
    """Codes frames for a target only when it may."""

    def __init__(self, target: str) -> None:
        self.gate = threading.Event()
        self._target = target

    def recode(self, task: FrameTask) -> FrameResult:
        if task.target == self._target:
            assert self.gate.wait(20)
        return recode_frame(task)


async def test_only_what_is_to_be_converted_waits_for_others(parts: Parts) -> None:
    coder = _SlowCoder(_LS)
    transcoder = Transcoder(coder, parts.folder, threads=2)
    ingest = parts.new_ingest(converter=Converter(transcoder, Target(_LS), Settings()))
    images = [
        build_image(build_samples(240, bits=8, size=1), allocated=8, name=f"1.2.{number}")
        for number in range(3 * parts.workers.count)
    ]
    converted = [asyncio.create_task(ingest.store(image, REST)) for image in images]
    already = build_image([b"", b"\0\0"], syntax=_LS, name="1.2.99")
    async with asyncio.timeout(20):
        for content in (build_instance(), already, parts.new_content(build_instance())):
            await ingest.store(content, REST)
        assert not any(task.done() for task in converted)
        coder.gate.set()
        await asyncio.gather(*converted)
    assert len(parts.list_blobs()) == 2 + len(images)
    transcoder.stop()


async def test_reception_does_not_wait_for_what_clients_ask_for(parts: Parts) -> None:
    coder = _SlowCoder(_RLE)
    transcoder = Transcoder(coder, parts.folder, threads=1)
    ingest = parts.new_ingest(converter=Converter(transcoder, Target(_LS), Settings()))
    asked = asyncio.create_task(transcoder.run(transcoder.spool, _IMAGE, Target(_RLE)))
    async with asyncio.timeout(20):
        await ingest.store(_IMAGE, REST)
        assert not asked.done()
        coder.gate.set()
        content = await asked
    assert content is not None
    content.close()
    transcoder.stop()


class _FailingCoder:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def recode(self, task: FrameTask) -> FrameResult:
        raise self._error


@pytest.mark.parametrize(
    ("error", "is_unexpected"),
    [
        (DeadlineExceededError("busy"), False),
        (ZeroDivisionError(), True),
        (MemoryError(), True),
        (OSError(28, "No space left on device"), False),
    ],
    ids=repr,
)
async def test_original_is_stored_whatever_fails(
    parts: Parts, caplog: pytest.LogCaptureFixture, error: Exception, *, is_unexpected: bool
) -> None:
    transcoder = Transcoder(_FailingCoder(error), parts.folder)
    with caplog.at_level(logging.WARNING):
        outcome, syntax = await _store(
            parts, _IMAGE, Converter(transcoder, Target(_LS), Settings())
        )
    assert (outcome.status, syntax) == (StoreStatus.SUCCESS, _EXPLICIT)
    [record] = [r for r in caplog.records if "keeps its transfer syntax" in r.message]
    assert bool(record.exc_info) is is_unexpected
    transcoder.stop()


async def test_stopping_server_takes_no_original_instead(parts: Parts) -> None:
    transcoder = Transcoder(_FailingCoder(DeadlineExceededError("stops")), parts.folder)
    ingest = parts.new_ingest(converter=Converter(transcoder, Target(_LS), Settings()))
    transcoder._is_stopped = True
    for content in (_IMAGE, parts.new_content(_IMAGE)):
        with pytest.raises(DeadlineExceededError):
            await ingest.store(content, REST)
    assert (parts.list_blobs(), parts.list_temporary()) == ([], [])

"""What may be transcoded into what, and by whom."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.pixels import InlineCoder, build_image, build_samples
from tests.unit.archive.parts import Parts, wait_until

from isocenter.archive import recoded_files, transcoding
from isocenter.archive.outgoing import Outgoing
from isocenter.archive.recoded_files import (
    RecodedFiles,
    can_recode,
    choose_accepted,
    list_alternatives,
)
from isocenter.archive.transcoding import (
    Target,
    TranscodedFiles,
    Transcoder,
    build_transcoder,
    describe_target,
    parse_target,
)
from isocenter.archive.workers import WouldWaitError
from isocenter.config.configuration import Configuration
from isocenter.errors import (
    BadFileFormatError,
    BadParameterError,
    CodecTimeoutError,
    FullStorageError,
    TranscodingError,
)
from isocenter.pixels.frames import FrameResult, FrameTask, recode_frame
from isocenter.pixels.pool import CodecPool
from isocenter.pixels.transcoding import Transcoded

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


@pytest.mark.parametrize("count", [0, 1, 100_000])
def test_any_number_of_processes_may_be_asked_for(tmp_path: Path, count: int) -> None:
    configuration = Configuration.defaults().with_values({"TranscoderThreadsCount": count})
    transcoder = build_transcoder(configuration, tmp_path)
    assert isinstance(transcoder._coder, CodecPool)
    assert transcoder._coder._size == (1 if count == 1 else os.cpu_count())
    transcoder.stop()


class _WaitingCoder:
    """Codes nothing before it may."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def recode(self, task: FrameTask) -> FrameResult:
        assert self.gate.wait(20)
        return recode_frame(task)


async def test_transcoding_leaves_the_threads_of_others_alone(parts: Parts) -> None:
    coder = _WaitingCoder()
    transcoder = Transcoder(coder, parts.folder, threads=2)
    outcome = await parts.store(build_image(build_samples(240)))
    files = TranscodedFiles(parts.workers, parts.new_buffers(), transcoder)
    public_id = outcome.public_ids.instance
    asked = [
        asyncio.create_task(files.lookup(public_id, Target(_LOSSLESS)))
        for _ in range(3 * parts.workers.count)
    ]
    async with asyncio.timeout(20):
        assert await parts.workers.run(len, "free") == 4
        assert not any(task.done() for task in asked)
        coder.gate.set()
        for answer in await asyncio.gather(*asked):
            assert answer is not None
            assert b"".join([piece async for piece in answer])
    transcoder.stop()


async def test_transcoding_waits_for_a_task(parts: Parts) -> None:
    transcoder = Transcoder(_WaitingCoder(), parts.folder)
    seen: list[BaseException] = []

    def call() -> None:
        try:
            transcoder.run(len, "").send(None)
        except BaseException as error:  # noqa: BLE001 - compared below
            seen.append(error)

    asyncio.get_running_loop().call_soon(call)
    await asyncio.sleep(0)
    assert [type(error) for error in seen] == [WouldWaitError]
    transcoder.stop()


class _NotingCoder(_WaitingCoder):
    """Notes how many frames it has begun."""

    count = 0

    def recode(self, task: FrameTask) -> FrameResult:
        self.count += 1
        return super().recode(task)


async def test_work_ends_when_its_caller_leaves(parts: Parts) -> None:
    coder = _NotingCoder()
    transcoder = Transcoder(coder, parts.folder)
    data = build_image(build_samples(720), frames=3)
    asked = asyncio.create_task(transcoder.run(transcoder.spool, data, Target(_LOSSLESS)))
    await wait_until(lambda: coder.count)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    coder.gate.set()
    # The only thread has come to the end of it.
    assert await transcoder.run(len, "free") == 4
    assert coder.count == 1
    assert parts.list_temporary() == []
    transcoder.stop()


async def test_file_that_nobody_waits_for_is_not_kept_as_it_is(parts: Parts) -> None:
    coder = _NotingCoder()
    transcoder = Transcoder(coder, parts.folder)
    data = build_image(build_samples(720), frames=3)
    seen: list[str] = []

    def edit() -> None:
        try:
            with transcoder.open_or_keep(data, Target(_LOSSLESS)):
                seen.append("kept")
        except CodecTimeoutError:
            seen.append("refused")

    asked = asyncio.create_task(transcoder.run(edit))
    await wait_until(lambda: coder.count)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    coder.gate.set()
    assert await transcoder.run(len, "free") == 4
    assert seen == ["refused"]
    transcoder.stop()


def test_stopped_server_does_not_keep_files_as_they_are(tmp_path: Path) -> None:
    transcoder = Transcoder(CodecPool(1), tmp_path)
    transcoder.stop()
    data = build_image(build_samples(240))
    with pytest.raises(CodecTimeoutError), transcoder.open_or_keep(data, Target(_LOSSLESS)):
        pass


async def test_reception_does_not_wait_for_what_clients_ask_for(parts: Parts) -> None:
    coder = _NotingCoder()
    transcoder = Transcoder(coder, parts.folder)
    data = build_image(build_samples(240))
    asked = asyncio.create_task(transcoder.run(transcoder.spool, data, Target(_LOSSLESS)))
    await wait_until(lambda: coder.count)
    async with asyncio.timeout(20):
        assert await transcoder.run_reception(len, "free") == 4
    coder.gate.set()
    content = await asked
    assert content is not None
    content.close()
    transcoder.stop()


def test_nothing_is_held_while_the_original_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str] = []

    class _Held(Transcoder):
        @contextmanager
        def open(self, *arguments: Any, **keywords: Any) -> Iterator[Transcoded]:
            with super().open(*arguments, **keywords) as result:
                held.append("result")
                try:
                    yield result
                finally:
                    held.pop()

    def fail(*_: Any) -> None:
        raise FullStorageError

    monkeypatch.setattr(transcoding, "open_joined", fail)
    transcoder = _Held(InlineCoder(), tmp_path)
    data = build_image(build_samples(240))
    with transcoder.open_or_keep(data, Target(_LS), needs_room=False) as kept:
        assert kept is data
        assert held == []
    with pytest.raises(FullStorageError), transcoder.open_or_keep(data, Target(_LS)):
        pass
    transcoder.stop()


async def test_original_is_kept_when_reception_takes_too_long(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcoding, "_RECEPTION_S", -1.0)
    transcoder = Transcoder(_NotingCoder(), parts.folder)
    data = build_image(build_samples(240))
    assert await transcoder.run_reception(transcoder.spool, data, Target(_LOSSLESS)) is None
    transcoder.stop()


async def test_small_file_that_becomes_large_is_sent_in_pieces(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcoder = Transcoder(InlineCoder(), parts.folder)
    fmt: dict[str, Any] = {"rows": 600, "columns": 1000, "allocated": 16}
    with transcoder.open(build_image(bytes(1_200_000), **fmt), Target(_LS)) as packed:
        data = b"".join(packed.pieces)
    assert len(data) < 10_000
    public_id = (await parts.store(data)).public_ids.instance
    outgoing = Outgoing(parts.workers, parts.storage, parts.new_buffers())
    instance = (await outgoing.find([public_id]))[public_id]
    files = RecodedFiles(parts.workers, parts.new_buffers(), transcoder)
    whole = (await files.open(instance, _EXPLICIT)).data_set
    assert isinstance(whole, bytes)
    monkeypatch.setattr(recoded_files, "_SMALL", 1_000_000)
    stream = (await files.open(instance, _EXPLICIT)).data_set
    assert isinstance(stream, AsyncIterator)
    assert b"".join([piece async for piece in stream]) == whole
    transcoder.stop()


async def test_full_disk_is_told_as_such(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("isocenter.pixels.frame_spool._MEMORY_BYTES", 10)
    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    transcoder = Transcoder(InlineCoder(), parts.folder)
    data = build_image(build_samples(240))
    with pytest.raises(FullStorageError), transcoder.open(data, Target(_LS)):
        pass
    transcoder.stop()

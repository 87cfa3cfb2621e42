"""Pieces on their way to others."""

import asyncio
import errno
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.archive.parts import Parts, wait_until

from isocenter.archive import pieces as pieces_module
from isocenter.archive.pieces import open_joined, stream_pieces
from isocenter.errors import FullStorageError, StorageUnavailableError


class _Source:
    """Gives pieces, and notes which threads ran it."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.is_busy = False
        self.closed_in = ""

    def iter_pieces(self) -> Generator[bytes]:
        try:
            yield b"one"
            self.is_busy = True
            assert self.gate.wait(20)
            yield b"two"
        finally:
            self.closed_in = threading.current_thread().name


async def test_pieces_are_taken_and_closed_in_threads(parts: Parts) -> None:
    source = _Source()
    source.gate.set()
    stream = stream_pieces(parts.workers, source.iter_pieces(), b"zero")
    assert [piece async for piece in stream] == [b"zero", b"one", b"two"]
    assert source.closed_in.startswith("worker")


async def test_stream_that_is_given_up_is_closed_in_a_thread(parts: Parts) -> None:
    source = _Source()
    stream = stream_pieces(parts.workers, source.iter_pieces())
    assert await anext(stream) == b"one"
    await stream.aclose()
    assert source.closed_in.startswith("worker")


async def test_cancelled_stream_waits_for_the_thread_before_it_closes(parts: Parts) -> None:
    source = _Source()
    stream = stream_pieces(parts.workers, source.iter_pieces())

    async def read() -> None:
        async for _ in stream:
            pass

    reading = asyncio.create_task(read())
    await wait_until(lambda: source.is_busy)
    reading.cancel()
    await asyncio.sleep(0)
    source.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert source.closed_in.startswith("worker")


@pytest.mark.parametrize("largest", [3, 100])
def test_pieces_are_joined_in_memory_or_in_a_file_that_nobody_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(pieces_module, "_LARGEST_IN_MEMORY", largest)
    with open_joined([b"one", memoryview(b"two")], tmp_path) as joined:
        assert bytes(joined) == b"onetwo"
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["tempfile.TemporaryFile", "mmap.mmap"])
def test_failure_of_a_temporary_file_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pieces_module, "_LARGEST_IN_MEMORY", 3)
    monkeypatch.setattr(name, fail)
    with pytest.raises(FullStorageError), open_joined([b"long"], tmp_path):
        pass


def test_temporary_file_of_a_folder_that_is_gone_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces_module, "_LARGEST_IN_MEMORY", 3)
    with pytest.raises(StorageUnavailableError), open_joined([b"long"], tmp_path / "gone"):
        pass

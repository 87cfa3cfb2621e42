import errno
import hashlib
import mmap
import os
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.unit.storage.failing_os import FailingOS, fail

from isocenter.errors import (
    BadSequenceError,
    FullStorageError,
    StorageUnavailableError,
)
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Storage
from isocenter.storage.spool import SpooledContent

UUID = "0123abcd-0000-4000-8000-000000000001"
CHUNKS = [bytes([number]) * 100 for number in range(100)]
CONTENT = b"".join(CHUNKS)

# In memory; on disk from the first byte; on disk from the middle on.
thresholds = pytest.mark.parametrize("threshold", [10_000, 0, 5000])


def fill(content: SpooledContent, *, is_flushed: bool = False) -> None:
    for chunk in CHUNKS:
        content.append(chunk)
        if is_flushed:
            content.flush_pending()


@thresholds
@pytest.mark.parametrize("is_flushed", [False, True])
def test_content_read_back_is_whole(tmp_path: Path, threshold: int, is_flushed: bool) -> None:
    with SpooledContent(tmp_path, threshold, has_md5=True) as content:
        fill(content, is_flushed=is_flushed)

        assert content.size_bytes == 10_000
        with content.buffer() as buffer:
            assert buffer[:] == CONTENT
        with content.open_file() as file:
            assert file.seek(0, os.SEEK_END) == 10_000
            file.seek(0)
            assert file.read() == CONTENT
        assert b"".join(content.iter_chunks()) == CONTENT
        assert content.md5() == hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("threshold", [0, 100])
def test_content_empty_is_empty(tmp_path: Path, threshold: int) -> None:
    with SpooledContent(tmp_path, threshold, has_md5=True) as content:
        content.flush_pending()

        with content.buffer() as buffer:
            assert buffer == b""
        assert list(content.iter_chunks()) == []
        assert content.md5() == "d41d8cd98f00b204e9800998ecf8427e"
        assert content.path is None


def test_buffer_above_threshold_is_memory_map(tmp_path: Path) -> None:
    with SpooledContent(tmp_path, 9999) as content:
        fill(content)

        with content.buffer() as buffer:
            assert isinstance(buffer, mmap.mmap)


def test_buffer_parts_held_by_error_do_not_hide_it(tmp_path: Path) -> None:
    held = []

    def read_and_fail(content: SpooledContent) -> None:
        with content.buffer() as buffer:
            held.append(memoryview(buffer)[5:])
            raise ValueError("bad header")

    with SpooledContent(tmp_path, 0) as content:
        fill(content)
        with pytest.raises(ValueError, match="bad header"):
            read_and_fail(content)

    assert held[0] == CONTENT[5:]


def test_iter_chunks_large_file_gives_bounded_pieces(tmp_path: Path) -> None:
    size = (1 << 20) * 2 + 5
    with SpooledContent(tmp_path, 0) as content:
        content.append(bytes(size))

        assert [len(chunk) for chunk in content.iter_chunks()] == [1 << 20, 1 << 20, 5]


def test_pending_bytes_counts_what_waits_for_the_disk(tmp_path: Path) -> None:
    with SpooledContent(tmp_path, 250) as content:
        content.append(bytes(100))
        content.append(bytes(150))
        assert content.pending_bytes == 0
        content.append(bytes(1))
        assert content.pending_bytes == 251
        content.flush_pending()
        assert content.pending_bytes == 0
        content.append(bytes(10))
        assert content.pending_bytes == 10


def test_append_never_touches_the_disk(tmp_path: Path) -> None:
    with SpooledContent(tmp_path, 0) as content:
        fill(content)

        assert list(tmp_path.iterdir()) == []
        assert content.path is None


def test_append_beside_flush_keeps_order(tmp_path: Path) -> None:
    chunks = [number.to_bytes(4, "big") for number in range(20_000)]
    with (
        SpooledContent(tmp_path, 1000, has_md5=True) as content,
        ThreadPoolExecutor(1) as pool,
    ):
        flushing = pool.submit(content.flush_pending)
        for chunk in chunks:
            content.append(chunk)
            if flushing.done():
                flushing.result()
                flushing = pool.submit(content.flush_pending)
        flushing.result()

        assert b"".join(content.iter_chunks()) == b"".join(chunks)
        expected = hashlib.md5(b"".join(chunks), usedforsecurity=False)
        assert content.md5() == expected.hexdigest()


def test_content_large_needs_little_memory(tmp_path: Path) -> None:
    chunk = bytes(1 << 20)
    with SpooledContent(tmp_path, 1 << 20) as content:
        tracemalloc.start()
        for _ in range(32):
            content.append(chunk[:-1])
            content.flush_pending()
        with content.buffer() as buffer:
            assert len(buffer) == 32 * ((1 << 20) - 1)
        assert sum(map(len, content.iter_chunks())) == content.size_bytes
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak < 6 << 20


@thresholds
@pytest.mark.parametrize("is_memory", [False, True])
def test_move_to_storage_makes_blob(tmp_path: Path, threshold: int, is_memory: bool) -> None:
    storage: Storage = MemoryStorage() if is_memory else FileSystemStorage(tmp_path)
    with SpooledContent(storage.spool_folder or tmp_path, threshold) as content:
        fill(content)

        content.move_to(storage, UUID)

        assert content.size_bytes == 10_000
    assert storage.read(UUID) == CONTENT
    assert storage.remove_temporary(0) == 0


def test_move_to_storage_keeps_the_file(tmp_path: Path) -> None:
    storage = FileSystemStorage(tmp_path)
    with SpooledContent(storage.spool_folder, 0) as content:
        fill(content)
        content.flush_pending()
        assert content.path is not None
        inode = content.path.stat().st_ino

        content.move_to(storage, UUID)

    assert (tmp_path / "01" / "23" / UUID).stat().st_ino == inode


@thresholds
def test_move_to_failing_storage_keeps_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threshold: int
) -> None:
    storage = FileSystemStorage(tmp_path)
    with SpooledContent(storage.spool_folder, threshold) as content:
        fill(content)
        with monkeypatch.context() as patch:
            patch.setattr("isocenter.storage.filesystem.os", FailingOS(rename=fail(errno.ENOSPC)))
            with pytest.raises(FullStorageError):
                content.move_to(storage, UUID)

        content.move_to(storage, UUID)

    assert storage.read(UUID) == CONTENT


USES: dict[str, Callable[[SpooledContent], object]] = {
    "append": lambda content: content.append(b""),
    "flush": lambda content: content.flush_pending(),
    "buffer": lambda content: content.buffer().__enter__(),
    "file": lambda content: content.open_file(),
    "chunks": lambda content: list(content.iter_chunks()),
    "move": lambda content: content.move_to(MemoryStorage(), UUID),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("end", ["close", "move"])
def test_every_use_after_end_raises(tmp_path: Path, use: str, end: str) -> None:
    content = SpooledContent(tmp_path, 0)
    fill(content)
    if end == "close":
        content.close()
    else:
        content.move_to(MemoryStorage(), UUID)

    with pytest.raises(BadSequenceError):
        USES[use](content)

    assert list(tmp_path.iterdir()) == []


def test_md5_not_asked_for_raises(tmp_path: Path) -> None:
    with SpooledContent(tmp_path, 0) as content, pytest.raises(BadSequenceError):
        content.md5()


def test_close_twice_is_harmless(tmp_path: Path) -> None:
    content = SpooledContent(tmp_path, 0)
    fill(content, is_flushed=True)

    content.close()
    content.close()

    assert list(tmp_path.iterdir()) == []


def test_dropped_content_removes_its_file(tmp_path: Path) -> None:
    content = SpooledContent(tmp_path, 0)
    fill(content, is_flushed=True)

    del content

    assert list(tmp_path.iterdir()) == []


def test_close_beside_flush_leaves_the_file_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_writing, may_go_on = threading.Event(), threading.Event()

    def writev(descriptor: int, buffers: list[bytes]) -> int:
        is_writing.set()
        assert may_go_on.wait(30)
        return os.writev(descriptor, buffers)

    monkeypatch.setattr("isocenter.storage.temporary.os", FailingOS(writev=writev))
    content = SpooledContent(tmp_path, 0)
    fill(content)
    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(content.flush_pending)
        assert is_writing.wait(30)
        content.close()
        may_go_on.set()
        flushing.result()

    assert list(tmp_path.iterdir()) == []


def test_iter_chunks_closed_meanwhile_raises(tmp_path: Path) -> None:
    content = SpooledContent(tmp_path, 0)
    content.append(bytes(3 << 20))
    chunks = content.iter_chunks()
    next(chunks)

    content.close()

    with pytest.raises(BadSequenceError):
        next(chunks)


def test_flush_full_disk_closes_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isocenter.storage.temporary.os", FailingOS(writev=fail(errno.ENOSPC)))
    with SpooledContent(tmp_path, 0) as content:
        fill(content)

        with pytest.raises(FullStorageError):
            content.flush_pending()
        with pytest.raises(BadSequenceError):
            content.append(b"")

        assert list(tmp_path.iterdir()) == []


def test_flush_missing_folder_raises(tmp_path: Path) -> None:
    with SpooledContent(tmp_path / "missing", 0) as content:
        fill(content)

        with pytest.raises(StorageUnavailableError):
            content.flush_pending()

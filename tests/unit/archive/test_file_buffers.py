"""Stored files as buffers, in bounded memory."""

import mmap
import uuid
from pathlib import Path

import pytest

from isocenter.archive import file_buffers
from isocenter.archive.file_buffers import FileBuffers
from isocenter.errors import CorruptedBlobError, FullStorageError, MissingFileError, ServerError
from isocenter.index.records import Attachment
from isocenter.storage.compression import compress
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Storage

LARGE = 5 * 1024 * 1024
BOTH = pytest.mark.parametrize("is_compressed", [True, False])


@pytest.fixture(params=["memory", "files"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "memory":
        return MemoryStorage()
    return FileSystemStorage(tmp_path / "storage", sync=False)


def put(storage: Storage, content: bytes, *, is_compressed: bool) -> Attachment:
    name = str(uuid.uuid4())
    stored = compress(content) if is_compressed else content
    storage.write(name, stored)
    return Attachment(1, name, int(is_compressed), len(stored), len(content), "", "")


def new_buffers(storage: Storage, folder: Path, cache_bytes: int = 0) -> FileBuffers:
    return FileBuffers(storage, cache_bytes=cache_bytes, temporary_folder=folder)


def build_content(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@BOTH
@pytest.mark.parametrize("size", [1, 1000, LARGE])
@pytest.mark.parametrize("cache_bytes", [0, 64 * 1024 * 1024])
def test_whole_file_and_its_start_are_its_bytes(
    storage: Storage, tmp_path: Path, is_compressed: bool, size: int, cache_bytes: int
) -> None:
    content = build_content(size)
    attachment = put(storage, content, is_compressed=is_compressed)
    buffers = new_buffers(storage, tmp_path, cache_bytes)

    for _ in range(2):
        with buffers.open_whole(attachment) as whole:
            assert bytes(whole[:]) == content
        for stop in (0, 1, size // 2, size):
            with buffers.open_start(attachment, stop) as start:
                assert bytes(start[:stop]) == content[:stop]


def test_error_while_a_file_is_mapped_stays_the_error(tmp_path: Path) -> None:
    storage = FileSystemStorage(tmp_path / "storage", sync=False)
    attachment = put(storage, build_content(LARGE), is_compressed=False)

    def fail(part: memoryview) -> None:
        raise ValueError(len(part))

    with (
        pytest.raises(ValueError, match="10"),
        new_buffers(storage, tmp_path).open_whole(attachment) as whole,
    ):
        fail(memoryview(whole)[:10])


def test_large_plain_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    storage = FileSystemStorage(tmp_path / "storage", sync=False)
    attachment = put(storage, bytes(LARGE), is_compressed=False)

    with new_buffers(storage, tmp_path).open_whole(attachment) as whole:
        assert isinstance(whole, mmap.mmap)


def test_large_compressed_file_leaves_no_file_behind(tmp_path: Path) -> None:
    storage = MemoryStorage()
    attachment = put(storage, bytes(LARGE), is_compressed=True)

    with new_buffers(storage, tmp_path).open_whole(attachment) as whole:
        assert isinstance(whole, mmap.mmap)
        assert len(whole) == LARGE

    assert list(tmp_path.iterdir()) == []


def test_start_of_a_large_compressed_file_is_not_all_of_it(tmp_path: Path) -> None:
    storage = MemoryStorage()
    attachment = put(storage, build_content(LARGE), is_compressed=True)

    with new_buffers(storage, tmp_path).open_start(attachment, 1000) as start:
        assert 1000 <= len(start) <= 512 * 1024


def test_small_compressed_file_stays_in_the_cache(tmp_path: Path) -> None:
    storage = MemoryStorage()
    attachment = put(storage, build_content(1000), is_compressed=True)
    buffers = new_buffers(storage, tmp_path, 8000)
    assert buffers.lookup_decompressed(attachment) is None

    with buffers.open_whole(attachment):
        pass
    storage.remove(attachment.attachment_uuid)

    assert buffers.lookup_decompressed(attachment) == build_content(1000)
    with buffers.open_whole(attachment) as whole:
        assert len(whole) == 1000
    statistics = buffers.get_statistics()
    assert (statistics.count, statistics.size_bytes, statistics.capacity_bytes) == (1, 1000, 8000)
    assert (statistics.hits, statistics.misses) == (2, 2)


def test_file_too_large_for_the_cache_is_no_miss(tmp_path: Path) -> None:
    storage = MemoryStorage()
    attachment = put(storage, build_content(1001), is_compressed=True)
    buffers = new_buffers(storage, tmp_path, 8000)

    with buffers.open_whole(attachment):
        pass
    assert buffers.lookup_decompressed(attachment) is None

    statistics = buffers.get_statistics()
    assert (statistics.count, statistics.misses) == (0, 0)


@BOTH
@pytest.mark.parametrize("size", [1000, LARGE])
def test_vanished_file_is_an_error(
    storage: Storage, tmp_path: Path, is_compressed: bool, size: int
) -> None:
    attachment = put(storage, bytes(size), is_compressed=is_compressed)
    storage.remove(attachment.attachment_uuid)
    buffers = new_buffers(storage, tmp_path)

    with pytest.raises(MissingFileError), buffers.open_whole(attachment):
        pass
    with pytest.raises(MissingFileError), buffers.open_start(attachment, 10):
        pass


@BOTH
@pytest.mark.parametrize("size", [1000, LARGE])
def test_cut_file_is_an_error_and_never_the_end_of_the_process(
    storage: Storage, tmp_path: Path, is_compressed: bool, size: int
) -> None:
    attachment = put(storage, build_content(size), is_compressed=is_compressed)
    stored = storage.read(attachment.attachment_uuid)
    for kept in (0, len(stored) // 2, len(stored) - 1):
        storage.write(attachment.attachment_uuid, stored[:kept])
        buffers = new_buffers(storage, tmp_path)
        with pytest.raises(CorruptedBlobError), buffers.open_whole(attachment):
            pass
        with pytest.raises(CorruptedBlobError), buffers.open_start(attachment, size):
            pass


def test_no_room_for_a_decompressed_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = MemoryStorage()
    attachment = put(storage, bytes(LARGE), is_compressed=True)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file_buffers, "_write_all", fail)
    opened = new_buffers(storage, tmp_path).open_whole(attachment)
    with pytest.raises(FullStorageError), opened:
        pass


def test_missing_temporary_folder_is_an_error_of_the_tree(tmp_path: Path) -> None:
    storage = MemoryStorage()
    attachment = put(storage, bytes(LARGE), is_compressed=True)

    opened = new_buffers(storage, tmp_path / "nowhere").open_whole(attachment)
    with pytest.raises(ServerError), opened:
        pass

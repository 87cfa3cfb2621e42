import mmap
import os
import uuid
from pathlib import Path

import pytest

from isocenter.errors import BadParameterError, BadRangeError, MissingFileError
from isocenter.storage.port import Storage

UUID = "0123abcd-0000-4000-8000-000000000001"
CONTENT = b"0123456789"


@pytest.mark.parametrize("size", [0, 1, 4096, 3_000_001])
def test_write_content_reads_back(storage: Storage, size: int) -> None:
    content = os.urandom(size)

    storage.write(UUID, content)

    assert storage.read(UUID) == content
    assert storage.size_bytes(UUID) == size
    assert list(storage.iter_uuids()) == [UUID]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_write_buffer_kinds_reads_back(storage: Storage, kind: type) -> None:
    storage.write(UUID, kind(CONTENT))

    assert storage.read(UUID) == CONTENT


def test_write_memory_map_reads_back(storage: Storage) -> None:
    with mmap.mmap(-1, 4096) as view:
        view[:10] = CONTENT
        storage.write(UUID, view)

    assert storage.read(UUID) == CONTENT.ljust(4096, b"\0")


def test_write_existing_name_replaces_blob(storage: Storage) -> None:
    storage.write(UUID, b"long old content")

    storage.write(UUID, b"new")

    assert storage.read(UUID) == b"new"
    assert list(storage.iter_uuids()) == [UUID]


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, None, CONTENT),
        (3, None, CONTENT[3:]),
        (0, 4, b"0123"),
        (9, 10, b"9"),
        (4, 4, b""),
        (10, None, b""),
        (10, 10, b""),
    ],
)
def test_read_range_returns_bytes(
    storage: Storage, start: int, stop: int | None, expected: bytes
) -> None:
    storage.write(UUID, CONTENT)

    assert storage.read(UUID, start, stop) == expected


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (11, None), (0, 11), (5, 4), (-3, -1)])
def test_read_range_outside_raises(storage: Storage, start: int, stop: int | None) -> None:
    storage.write(UUID, CONTENT)

    with pytest.raises(BadRangeError):
        storage.read(UUID, start, stop)


def test_read_cached_fresh_blob_returns_bytes_or_nothing(storage: Storage) -> None:
    storage.write(UUID, CONTENT)

    assert storage.read_cached(UUID, 2, 5) in (b"234", None)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (5, 4), (0, 11)])
def test_read_cached_range_outside_returns_nothing(storage: Storage, start: int, stop: int) -> None:
    storage.write(UUID, CONTENT)

    assert storage.read_cached(UUID, start, stop) is None


def test_read_cached_missing_blob_returns_nothing(storage: Storage) -> None:
    assert storage.read_cached(UUID, 0, 1) is None


def test_read_missing_blob_raises(storage: Storage) -> None:
    with pytest.raises(MissingFileError):
        storage.read(UUID)


def test_size_bytes_missing_blob_raises(storage: Storage) -> None:
    with pytest.raises(MissingFileError):
        storage.size_bytes(UUID)


def test_open_reader_missing_blob_raises(storage: Storage) -> None:
    with pytest.raises(MissingFileError), storage.open_reader(UUID):
        pass


def test_open_reader_reads_any_range(storage: Storage) -> None:
    storage.write(UUID, CONTENT)

    with storage.open_reader(UUID) as reader:
        assert reader.size_bytes == 10
        assert reader.read_at(7, 3) == b"789"
        assert reader.read_at(0, 2) == b"01"
        assert reader.read_at(10, 0) == b""


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, 11), (10, 1), (5, -1)])
def test_open_reader_range_outside_raises(storage: Storage, start: int, length: int) -> None:
    storage.write(UUID, CONTENT)

    with storage.open_reader(UUID) as reader, pytest.raises(BadRangeError):
        reader.read_at(start, length)


def test_open_reader_descriptor_is_the_file_of_the_blob(storage: Storage) -> None:
    storage.write(UUID, CONTENT)

    with storage.open_reader(UUID) as reader:
        storage.remove(UUID)

        assert reader.descriptor is None or os.pread(reader.descriptor, 20, 0) == CONTENT


def test_open_reader_removed_blob_stays_readable(storage: Storage) -> None:
    storage.write(UUID, CONTENT)

    with storage.open_reader(UUID) as reader:
        storage.remove(UUID)

        assert reader.read_at(0, 10) == CONTENT


def test_remove_blob_is_gone(storage: Storage) -> None:
    other = "0123abcd-0000-4000-8000-000000000002"
    storage.write(UUID, CONTENT)
    storage.write(other, CONTENT)

    storage.remove(UUID)

    assert list(storage.iter_uuids()) == [other]
    with pytest.raises(MissingFileError):
        storage.read(UUID)


def test_remove_missing_blob_is_no_error(storage: Storage) -> None:
    storage.remove(UUID)
    storage.write(UUID, CONTENT)
    storage.remove(UUID)

    storage.remove(UUID)

    assert list(storage.iter_uuids()) == []


def test_write_after_remove_reads_back(storage: Storage) -> None:
    storage.write(UUID, CONTENT)
    storage.remove(UUID)

    storage.write(UUID, b"again")

    assert storage.read(UUID) == b"again"


def test_iter_uuids_thousands_lists_each_once(storage: Storage) -> None:
    names = {str(uuid.UUID(int=number << 104 | number)) for number in range(3000)}
    for name in names:
        storage.write_unsynced(name, [b""])
    storage.sync()

    found = list(storage.iter_uuids())

    assert len(found) == 3000
    assert set(found) == names


def test_check_writable_leaves_nothing(storage: Storage) -> None:
    storage.check_writable()

    assert list(storage.iter_uuids()) == []
    assert storage.remove_temporary(0) == 0


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../../../etc/passwd",
        "0123abcd-0000-4000-8000-00000000000",
        "0123abcd-0000-4000-8000-0000000000011",
        "0123ABCD-0000-4000-8000-000000000001",
        "0123abcd-0000-4000-8000-000000000001\n",
        "0123abcd000040008000000000000001",
        "../3abcd-0000-4000-8000-000000000001",
        "0123abcd-0000-4000-8000-00000000000\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_every_method_foreign_name_raises(storage: Storage, tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")

    for call in (
        lambda: storage.write(name, b""),
        lambda: storage.open_writer(name),
        lambda: storage.adopt(name, path),
        lambda: storage.read(name),
        lambda: storage.read_cached(name, 0, 0),
        lambda: storage.open_reader(name),
        lambda: storage.remove(name),
        lambda: storage.size_bytes(name),
    ):
        with pytest.raises(BadParameterError):
            call()


@pytest.mark.parametrize("sizes", [(), (0,), (1, 0, 3), (5, 1_000_000, 7)])
def test_write_unsynced_pieces_read_back(storage: Storage, sizes: tuple[int, ...]) -> None:
    pieces = [os.urandom(size) for size in sizes]

    storage.write_unsynced(UUID, [memoryview(piece) for piece in pieces])
    storage.sync()

    assert storage.read(UUID) == b"".join(pieces)
    assert list(storage.iter_uuids()) == [UUID]


def test_write_unsynced_again_replaces_blob(storage: Storage) -> None:
    storage.write_unsynced(UUID, [b"long old ", b"content"])

    storage.write_unsynced(UUID, [b"new"])

    assert storage.read(UUID) == b"new"
    storage.remove(UUID)
    assert list(storage.iter_uuids()) == []


def test_write_unsynced_bad_name_is_refused(storage: Storage) -> None:
    with pytest.raises(BadParameterError):
        storage.write_unsynced("../x", [b"x"])

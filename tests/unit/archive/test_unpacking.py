import gzip
import io
import random
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from isocenter.archive.unpacking import is_zip, iter_gzip, iter_zip_entries, read_start
from isocenter.errors import BadFileFormatError, BodyTooLargeError
from isocenter.storage.spool import SpooledContent

PLAIN = random.Random(1).randbytes(300_000) + bytes(900_000)
PACKED = gzip.compress(PLAIN, mtime=0)
NO_LIMIT = 1 << 40


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def unpack(*pieces: bytes, limit: int = NO_LIMIT) -> bytes:
    return b"".join(iter_gzip(pieces, limit=limit))


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"PK\x03\x04", True),
        (b"PK\x05\x06", True),
        (b"PK\x01\x02", False),
        (b"PK", False),
        (b"", False),
        (b"DICM", False),
    ],
)
def test_is_zip_start_decides(start: bytes, expected: bool) -> None:
    assert is_zip(start) is expected


@pytest.mark.parametrize("threshold", [0, 100])
def test_read_start_any_content_gives_four_bytes(tmp_path: Path, threshold: int) -> None:
    with SpooledContent(tmp_path, threshold) as content:
        content.append(b"PK")
        content.append(b"\x03\x04 and so on")

        assert read_start(content) == b"PK\x03\x04"
    assert read_start(b"PK\x03\x04 and so on") == b"PK\x03\x04"
    assert read_start(b"PK") == b"PK"


@pytest.mark.parametrize("size", [7, 1000, 100_000, 10_000_000])
def test_iter_gzip_pieces_of_any_size_give_the_content(size: int) -> None:
    assert unpack(*cut(PACKED, size)) == PLAIN


def test_iter_gzip_single_bytes_give_the_content() -> None:
    packed = gzip.compress(b"some text, some text", mtime=0)

    assert unpack(*cut(packed, 1)) == b"some text, some text"


def test_iter_gzip_highly_compressed_gives_all() -> None:
    """All input may be consumed while output still waits."""
    content = bytes(20_000_000)

    for size in (1, 1 << 20):
        packed = gzip.compress(content, mtime=0)
        out = list(iter_gzip(cut(packed, size), limit=NO_LIMIT))
        assert b"".join(out) == content
        assert max(map(len, out)) <= 256 * 1024


def test_iter_gzip_empty_content_gives_nothing() -> None:
    assert unpack(gzip.compress(b"")) == b""


@pytest.mark.parametrize("padding", [b"", bytes(700)])
@pytest.mark.parametrize("size", [5, 1 << 20])
def test_iter_gzip_several_members_are_joined(padding: bytes, size: int) -> None:
    packed = padding.join(gzip.compress(text) for text in (b"one ", b"", b"two ", b"three"))

    assert unpack(*cut(packed + padding, size)) == b"one two three"


def test_iter_gzip_header_with_name_is_skipped() -> None:
    out = io.BytesIO()
    with gzip.GzipFile("patient.dcm", "wb", fileobj=out) as file:
        file.write(b"content")

    assert unpack(*cut(out.getvalue(), 3)) == b"content"


@pytest.mark.parametrize(
    "garbage", [b"not gzip at all, but long enough", b"\x1f\x8b\x08\xff" * 20, bytes(100), b"\x1f"]
)
@pytest.mark.parametrize("size", [1, 1000])
def test_iter_gzip_garbage_raises(garbage: bytes, size: int) -> None:
    with pytest.raises(BadFileFormatError):
        unpack(*cut(garbage, size))


def test_iter_gzip_nothing_raises() -> None:
    with pytest.raises(BadFileFormatError, match="too early"):
        unpack()


@pytest.mark.parametrize("kept", [1, 9, 500, len(PACKED) // 2, len(PACKED) - 5, len(PACKED) - 1])
def test_iter_gzip_truncated_raises(kept: int) -> None:
    with pytest.raises(BadFileFormatError, match="too early"):
        unpack(*cut(PACKED[:kept], 65_536))


@pytest.mark.parametrize("at", [-1, -6])
def test_iter_gzip_wrong_checksum_or_size_raises(at: int) -> None:
    damaged = bytearray(PACKED)
    damaged[at] ^= 1

    with pytest.raises(BadFileFormatError):
        unpack(bytes(damaged))


def test_iter_gzip_garbage_after_member_raises() -> None:
    with pytest.raises(BadFileFormatError):
        unpack(PACKED + b"garbage, garbage, garbage")


def test_iter_gzip_limit_is_inclusive() -> None:
    assert unpack(PACKED, limit=len(PLAIN)) == PLAIN
    with pytest.raises(BodyTooLargeError):
        unpack(PACKED, limit=len(PLAIN) - 1)


def test_iter_gzip_bomb_stops_early_in_bounded_memory() -> None:
    bomb = gzip.compress(bytes(200_000_000), compresslevel=1)
    seen: list[int] = []
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLargeError):
            seen.extend(len(piece) for piece in iter_gzip([bomb], limit=50_000_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert sum(seen) <= 50_000_000
    assert peak < 4_000_000


def build_zip(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def list_entries(data: bytes, folder: Path, limit: int = NO_LIMIT) -> list[bytes]:
    entries = iter_zip_entries(
        io.BytesIO(data), limit=limit, new_content=lambda: SpooledContent(folder, 1000)
    )
    found = []
    for entry in entries:
        with entry:
            found.append(b"".join(bytes(chunk) for chunk in entry.iter_chunks()))
    return found


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_iter_zip_entries_gives_files_in_order(tmp_path: Path, method: int) -> None:
    files = {"a": b"first", "folder/": b"", "folder/b/c.dcm": PLAIN, "z": b""}

    assert list_entries(build_zip(files, method), tmp_path) == [b"first", PLAIN, b""]
    assert list(tmp_path.iterdir()) == []


def test_iter_zip_entries_skips_directories_of_media(tmp_path: Path) -> None:
    names = ["DICOMDIR", "cd/DICOMDIR", "dicomdir", "cd/DicomDir", "DICOMDIR.txt"]

    found = list_entries(build_zip({name: name.encode() for name in names}), tmp_path)

    assert found == [b"DICOMDIR.txt"]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "C:\\x", "a/../../b", "\N{SNOWMAN}"]
)
def test_iter_zip_entries_never_uses_names(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()

    assert list_entries(build_zip({name: bytes(5000)}), inner) == [bytes(5000)]
    assert list(tmp_path.iterdir()) == [inner]


def test_iter_zip_entries_empty_archive_gives_nothing(tmp_path: Path) -> None:
    assert list_entries(build_zip({}), tmp_path) == []


def test_iter_zip_entries_encrypted_raises(tmp_path: Path) -> None:
    data = bytearray(build_zip({"a": b"secret"}))
    # Bit 0 of the flags, in the entry and in the directory (APPNOTE §4.4.4).
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1

    with pytest.raises(BadFileFormatError, match="encrypted"):
        list_entries(bytes(data), tmp_path)


@pytest.mark.parametrize("kept", [4, 30, 200, -1, -20])
def test_iter_zip_entries_truncated_raises(tmp_path: Path, kept: int) -> None:
    data = build_zip({"a": random.Random(2).randbytes(3000), "b": bytes(3000)})

    with pytest.raises(BadFileFormatError):
        list_entries(data[:kept], tmp_path)


def test_iter_zip_entries_damaged_entry_raises_and_leaves_nothing(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        data = bytearray(build_zip({"a": random.Random(2).randbytes(9000)}, method))
        for at in range(2000, 6000):
            data[at] ^= 0x55

        with pytest.raises(BadFileFormatError):
            list_entries(bytes(data), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_iter_zip_entries_unknown_method_raises(tmp_path: Path) -> None:
    data = bytearray(build_zip({"a": b"content"}))
    struct.pack_into("<H", data, 8, 98)
    struct.pack_into("<H", data, data.index(b"PK\x01\x02") + 10, 98)

    with pytest.raises(BadFileFormatError):
        list_entries(bytes(data), tmp_path)


def test_iter_zip_entries_large_entry_raises_and_leaves_nothing(tmp_path: Path) -> None:
    data = build_zip({"bomb": bytes(30_000_000)})

    with pytest.raises(BodyTooLargeError):
        list_entries(data, tmp_path, limit=1_000_000)

    assert list(tmp_path.iterdir()) == []


def test_iter_zip_entries_false_size_is_not_believed(tmp_path: Path) -> None:
    data = bytearray(build_zip({"a": bytes(100_000)}))
    directory = data.index(b"PK\x01\x02")
    # The uncompressed size in the entry and in the directory (APPNOTE §4.4.9).
    struct.pack_into("<I", data, 22, 10)
    struct.pack_into("<I", data, directory + 24, 10)

    with pytest.raises((BadFileFormatError, BodyTooLargeError)):
        list_entries(bytes(data), tmp_path, limit=1000)


def test_iter_zip_entries_too_many_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isocenter.archive.unpacking._MOST_ENTRIES", 3)

    assert len(list_entries(build_zip({str(n): b"" for n in range(3)}), tmp_path)) == 3
    with pytest.raises(BodyTooLargeError):
        list_entries(build_zip({str(n): b"" for n in range(4)}), tmp_path)


def test_zip_with_a_huge_directory_is_refused_before_it_is_read() -> None:
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 9, 9, 40_000_000, 0, 0)
    entries = iter_zip_entries(io.BytesIO(end), limit=10, new_content=pytest.fail)
    with pytest.raises(BodyTooLargeError):
        next(entries)


def test_iter_zip_entry_without_a_name_is_unpacked(tmp_path: Path) -> None:
    packed = build_zip({"n": b"content"})
    # The name leaves both headers: two lengths and the letters themselves.
    start = packed.index(b"PK\x01\x02")
    local, entry = packed[:start], packed[start:]
    local = local[:26] + b"\0\0" + local[28:30] + local[31:]
    entry = entry[:28] + b"\0\0" + entry[30:46] + entry[47:]
    end = entry.index(b"PK\x05\x06")
    sizes = (end).to_bytes(4, "little") + len(local).to_bytes(4, "little")
    entry = entry[: end + 12] + sizes + entry[end + 20 :]
    assert list_entries(local + entry, tmp_path) == [b"content"]

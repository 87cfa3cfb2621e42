import mmap
import os
import zlib

import pytest

from isocenter.errors import CorruptedBlobError, InternalError
from isocenter.storage.compression import (
    compress,
    decompress,
    iter_compressed,
    iter_decompressed,
)

CONTENT = b"Isocenter" * 50_000


def wrap(content: bytes, *, size_bytes: int | None = None) -> bytes:
    """Build the stored form as any other program does."""
    size_bytes = len(content) if size_bytes is None else size_bytes
    return size_bytes.to_bytes(8, "little") + zlib.compress(content)


def test_compress_content_is_size_and_zlib_stream() -> None:
    stored = compress(CONTENT)

    assert stored[:8] == len(CONTENT).to_bytes(8, "little")
    assert zlib.decompress(stored[8:]) == CONTENT
    assert len(stored) < len(CONTENT) / 50


def test_compress_empty_content_is_empty() -> None:
    assert compress(b"") == b""
    assert list(iter_compressed([], 0)) == []
    assert list(iter_compressed([b"", b""], 0)) == []


def test_decompress_nothing_is_empty() -> None:
    assert decompress(b"", 0) == b""
    assert list(iter_decompressed([], 0)) == []
    assert list(iter_decompressed([b"", b""], 0)) == []


def test_decompress_empty_zlib_stream_is_empty() -> None:
    assert decompress(wrap(b""), 0) == b""
    assert list(iter_decompressed([wrap(b"")], 0)) == []


def test_compress_memory_map_reads_back() -> None:
    with mmap.mmap(-1, 1 << 20) as view:
        stored = compress(view)

    assert decompress(stored, 1 << 20) == bytes(1 << 20)


@pytest.mark.parametrize("step", [1, 7, 100, 10**6])
@pytest.mark.parametrize("size", [0, 1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 1 << 20])
def test_iter_decompressed_any_chunks_reads_back(step: int, size: int) -> None:
    stored = wrap(bytes(size))

    pieces = list(
        iter_decompressed((stored[at : at + step] for at in range(0, len(stored), step)), size)
    )

    assert b"".join(pieces) == bytes(size)
    assert all(0 < len(piece) <= 1 << 18 for piece in pieces)


def test_iter_compressed_large_chunk_gives_bounded_pieces() -> None:
    content = os.urandom(5_000_000)

    pieces = list(iter_compressed([content], len(content)))

    assert max(map(len, pieces)) < 1 << 20
    assert zlib.decompress(b"".join(pieces)[8:]) == content


@pytest.mark.parametrize("size", [0, len(CONTENT) - 1, len(CONTENT) + 1])
def test_iter_compressed_wrong_size_raises(size: int) -> None:
    with pytest.raises(InternalError):
        list(iter_compressed([CONTENT], size))


DAMAGED = {
    "within the header": wrap(CONTENT)[:5],
    "header only": wrap(CONTENT)[:8],
    "truncated": wrap(CONTENT)[:-100],
    "without its checksum": wrap(CONTENT)[:-4],
    "with a wrong checksum": wrap(CONTENT)[:-1] + b"\0",
    "not zlib": wrap(CONTENT)[:8] + b"no zlib stream at all",
    "a deflate stream without header": wrap(CONTENT)[:8] + zlib.compress(CONTENT)[2:-4],
    "too short": wrap(CONTENT, size_bytes=len(CONTENT) + 1),
    "too long": wrap(CONTENT, size_bytes=len(CONTENT) - 1),
    "longer than zero": wrap(CONTENT, size_bytes=0),
    "followed by something": wrap(CONTENT) + b"x",
    "followed by another": wrap(CONTENT) + zlib.compress(CONTENT),
    "enormous": wrap(CONTENT, size_bytes=2**64 - 1),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_decompress_damaged_raises(kind: str) -> None:
    with pytest.raises(CorruptedBlobError):
        decompress(DAMAGED[kind], len(CONTENT) + 1)


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("step", [1, 1000, 10**6])
def test_iter_decompressed_damaged_raises(kind: str, step: int) -> None:
    stored = DAMAGED[kind]

    with pytest.raises(CorruptedBlobError):
        for _ in iter_decompressed(
            (stored[at : at + step] for at in range(0, len(stored), step)), len(CONTENT) + 1
        ):
            pass


def test_decompress_above_limit_raises() -> None:
    with pytest.raises(CorruptedBlobError):
        decompress(compress(CONTENT), len(CONTENT) - 1)


def test_iter_decompressed_lying_header_stops_early() -> None:
    bomb = wrap(bytes(50_000_000), size_bytes=1000)
    produced: list[bytes] = []

    with pytest.raises(CorruptedBlobError):
        produced.extend(iter_decompressed([bomb], 1000))

    assert sum(map(len, produced)) <= 1000

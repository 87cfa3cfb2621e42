import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.errors import CorruptedBlobError
from isocenter.storage.compression import (
    compress,
    decompress,
    iter_compressed,
    iter_decompressed,
)

# Runs of equal bytes, which compress well, between arbitrary ones.
runs = st.builds(
    lambda byte, count: byte * count, st.binary(min_size=1, max_size=3), st.integers(0, 9999)
)
contents = st.lists(st.binary(max_size=200) | runs, max_size=8)


@given(contents)
def test_compress_any_content_reads_back(chunks: list[bytes]) -> None:
    content = b"".join(chunks)

    assert decompress(compress(content), len(content)) == content


@given(contents)
def test_iter_compressed_any_chunks_is_readable_by_zlib(chunks: list[bytes]) -> None:
    content = b"".join(chunks)

    stored = b"".join(iter_compressed(chunks, len(content)))

    assert decompress(stored, len(content)) == content
    assert not stored or zlib.decompress(stored[8:]) == content


@given(contents, st.integers(1, 9), st.lists(st.integers(0, 2000), max_size=10))
def test_iter_decompressed_zlib_stream_reads_back(
    chunks: list[bytes], level: int, cuts: list[int]
) -> None:
    content = b"".join(chunks)
    stored = len(content).to_bytes(8, "little") + zlib.compress(content, level)
    edges = [0, *sorted(cuts), len(stored)]

    pieces = iter_decompressed(
        (stored[start:stop] for start, stop in pairwise(edges)), len(content)
    )

    assert b"".join(pieces) == content


@given(contents, st.data())
def test_decompress_truncated_raises(chunks: list[bytes], data: st.DataObject) -> None:
    content = b"".join(chunks) + b"end"
    stored = compress(content)
    length = data.draw(st.integers(1, len(stored) - 1))

    with pytest.raises(CorruptedBlobError):
        decompress(stored[:length], len(content))
    with pytest.raises(CorruptedBlobError):
        list(iter_decompressed([stored[:length]], len(content)))


@given(contents, st.data())
def test_decompress_changed_byte_never_gives_other_content(
    chunks: list[bytes], data: st.DataObject
) -> None:
    content = b"".join(chunks) + b"end"
    stored = bytearray(compress(content))
    position = data.draw(st.integers(0, len(stored) - 1))
    stored[position] ^= data.draw(st.integers(1, 255))

    try:
        found = decompress(stored, len(content))
    except CorruptedBlobError:
        return
    # Some bits say nothing of the content, such as the level of compression (RFC 1950 §2.2).
    assert found == content


@given(st.binary(max_size=300), st.integers(0, 1000))
def test_decompress_garbage_raises_or_obeys_limit(stored: bytes, limit: int) -> None:
    try:
        found = decompress(stored, limit)
    except CorruptedBlobError:
        return
    assert len(found) <= limit

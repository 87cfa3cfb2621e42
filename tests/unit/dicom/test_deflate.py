"""Deflated data sets."""

import zlib

import pytest

from isocenter.dicom.deflate import read_inflated
from isocenter.errors import BadFileFormatError


def _deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def test_inflating_gives_the_data_to_the_reader() -> None:
    assert read_inflated(b"head" + _deflate(b"content"), 4, bytes) == b"content"


def test_inflating_stops_where_the_reader_is_content() -> None:
    sizes: list[int] = []

    def read(data: bytes) -> bool:
        sizes.append(len(data))
        return True

    assert read_inflated(_deflate(b"\0" * (8 << 20)), 0, read)
    assert sizes == [1 << 20]


def test_inflating_goes_on_while_the_reader_lacks_data() -> None:
    sizes: list[int] = []

    def read(data: bytes) -> bool:
        sizes.append(len(data))
        if len(data) < 2 << 20:
            raise BadFileFormatError("more")
        return True

    assert read_inflated(_deflate(b"\0" * (2 << 20)), 0, read)
    assert sizes == [1 << 20, 2 << 20]


def test_inflating_everything_is_the_last_step() -> None:
    def read(data: bytes) -> int:
        if len(data) < 20 << 20:
            raise BadFileFormatError("more")
        return len(data)

    assert read_inflated(_deflate(b"\0" * (20 << 20)), 0, read) == 20 << 20


def test_reader_that_is_never_content_gets_everything_and_fails() -> None:
    def read(data: bytes) -> bool:
        raise BadFileFormatError(str(len(data)))

    with pytest.raises(BadFileFormatError, match=r"^7$"):
        read_inflated(_deflate(b"content"), 0, read)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff\xff\xff", b"\x07nonsense"])
def test_data_that_cannot_be_inflated_are_refused(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        read_inflated(data, 0, bytes)

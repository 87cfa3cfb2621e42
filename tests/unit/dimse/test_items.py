import pytest

from isocenter.dimse.items import decode_uid, encode_field, encode_item, iter_items, read_field
from isocenter.dimse.protocol_error import ProtocolViolationError
from isocenter.errors import BadParameterError


def test_iter_items_two_items_yields_types_and_values() -> None:
    content = memoryview(bytes.fromhex("10000001 41 52000002 4243"))
    assert [(kind, bytes(value)) for kind, value in iter_items(content)] == [
        (0x10, b"A"),
        (0x52, b"BC"),
    ]


@pytest.mark.parametrize("content", ["10", "100000", "10000002 41"])
def test_iter_items_cut_off_raises(content: str) -> None:
    with pytest.raises(ProtocolViolationError):
        list(iter_items(memoryview(bytes.fromhex(content))))


@pytest.mark.parametrize("content", ["", "00", "000241"])
def test_read_field_cut_off_raises(content: str) -> None:
    with pytest.raises(ProtocolViolationError):
        read_field(memoryview(bytes.fromhex(content)), 0)


def test_read_field_returns_value_and_end() -> None:
    value, end = read_field(memoryview(b"x\x00\x02abc"), 1)
    assert (bytes(value), end) == (b"ab", 5)


@pytest.mark.parametrize("encode", [encode_field, lambda value: encode_item(0x10, value)])
def test_encode_too_long_raises(encode: object) -> None:
    assert callable(encode)
    with pytest.raises(BadParameterError):
        encode(bytes(0x10000))


def test_decode_uid_padding_is_removed() -> None:
    assert decode_uid(memoryview(b"1.2.3\0")) == "1.2.3"


def test_decode_uid_not_ascii_raises() -> None:
    with pytest.raises(ProtocolViolationError):
        decode_uid(memoryview(b"1.2\xff"))

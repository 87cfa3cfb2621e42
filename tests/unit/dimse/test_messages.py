import pytest

from isocenter.dimse.commands import Command, CommandField, encode_command
from isocenter.dimse.indications import CommandReceived, DataReceived
from isocenter.dimse.messages import (
    MAXIMUM_COMMAND_LENGTH,
    DataSetFragmenter,
    MessageAssembler,
    compute_fragment_size,
    encode_fragments,
)
from isocenter.dimse.negotiation import PresentationContext
from isocenter.dimse.pdu import HEADER_LENGTH, DataTransfer, PresentationDataValue, decode_pdu
from isocenter.dimse.protocol_error import AbortReason, ProtocolViolationError

CONTEXT = PresentationContext(1, "1.2", "1.2.840.10008.1.2")
COMMAND = Command(command_field=CommandField.C_STORE_RQ, message_id=1, has_data_set=True)
COMMAND_SET = encode_command(COMMAND, has_data_set=True)


def build_assembler() -> MessageAssembler:
    return MessageAssembler({1: CONTEXT, 3: PresentationContext(3, "1.3", "1.2.840.10008.1.2")})


def command_value(
    data: bytes = COMMAND_SET, *, context_id: int = 1, is_last: bool = True
) -> PresentationDataValue:
    return PresentationDataValue(context_id, True, is_last, data)


def data_value(data: bytes, *, context_id: int = 1, is_last: bool = True) -> PresentationDataValue:
    return PresentationDataValue(context_id, False, is_last, data)


def read_values(encoded: bytes) -> list[PresentationDataValue]:
    values: list[PresentationDataValue] = []
    while encoded:
        end = HEADER_LENGTH + int.from_bytes(encoded[2:6], "big")
        pdu = decode_pdu(encoded[0], memoryview(encoded)[HEADER_LENGTH:end])
        assert isinstance(pdu, DataTransfer)
        values += pdu.values
        encoded = encoded[end:]
    return values


def test_assembler_command_in_fragments_is_received_once() -> None:
    assembler = build_assembler()
    assert assembler.add(command_value(COMMAND_SET[:10], is_last=False)) is None
    assert assembler.add(command_value(COMMAND_SET[10:])) == CommandReceived(CONTEXT, COMMAND)


def test_assembler_data_is_passed_on_then_next_command() -> None:
    assembler = build_assembler()
    assembler.add(command_value())
    assert assembler.add(data_value(b"ab", is_last=False)) == DataReceived(b"ab", is_last=False)
    assert assembler.add(data_value(b"cd")) == DataReceived(b"cd", is_last=True)
    assert assembler.add(command_value()) == CommandReceived(CONTEXT, COMMAND)


def test_assembler_unknown_context_raises() -> None:
    with pytest.raises(ProtocolViolationError) as caught:
        build_assembler().add(command_value(context_id=5))
    assert caught.value.reason is AbortReason.INVALID_PDU_PARAMETER_VALUE


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([data_value(b"x")], id="data without command"),
        pytest.param([command_value(), command_value()], id="command instead of data"),
        pytest.param([command_value(), data_value(b"x", context_id=3)], id="data elsewhere"),
        pytest.param([command_value(), data_value(b"x"), data_value(b"x")], id="data after end"),
        pytest.param(
            [command_value(b"", is_last=False), command_value(context_id=3)], id="command elsewhere"
        ),
        pytest.param([command_value(b"", is_last=False), data_value(b"x")], id="data in command"),
    ],
)
def test_assembler_mixed_messages_raise(values: list[PresentationDataValue]) -> None:
    assembler = build_assembler()
    for value in values[:-1]:
        assembler.add(value)
    with pytest.raises(ProtocolViolationError) as caught:
        assembler.add(values[-1])
    assert caught.value.reason is AbortReason.UNEXPECTED_PDU_PARAMETER


def test_assembler_endless_command_raises_at_limit() -> None:
    assembler = build_assembler()
    for _ in range(MAXIMUM_COMMAND_LENGTH // 16384):
        assembler.add(command_value(bytes(16384), is_last=False))
    with pytest.raises(ProtocolViolationError):
        assembler.add(command_value(b"\0", is_last=False))


@pytest.mark.parametrize(
    ("maximum_length", "size"),
    [(16384, 16378), (16385, 16378), (0, 131066), (1 << 31, 131066), (128, 122)],
)
def test_compute_fragment_size_is_even_and_limited(maximum_length: int, size: int) -> None:
    assert compute_fragment_size(maximum_length) == size


@pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 20, 25])
@pytest.mark.parametrize("is_end", [True, False])
def test_encode_fragments_only_the_end_is_marked(length: int, is_end: bool) -> None:
    content = bytes(range(length))
    values = read_values(encode_fragments(1, content, size=10, is_end=is_end))
    assert b"".join(bytes(value.fragment) for value in values) == content
    assert [value.is_last for value in values] == [False] * (len(values) - 1) + [is_end]
    assert max(len(value.fragment) for value in values) <= 10
    assert len(values) == max(1, -(-length // 10))


def test_encode_fragments_command_is_marked() -> None:
    (value,) = read_values(encode_fragments(3, b"abcd", size=10, is_command=True))
    assert (value.context_id, value.is_command, value.is_last) == (3, True, True)


@pytest.mark.parametrize(
    "sizes", [[], [0], [1], [10], [10, 10], [35], [3] * 11, [7, 0, 40, 1], [20, 5, 15]]
)
def test_fragmenter_chunks_of_any_size_give_full_fragments(sizes: list[int]) -> None:
    content = bytes(range(sum(sizes)))
    fragmenter = DataSetFragmenter(1, size=10)
    encoded, position = b"", 0
    for size in sizes:
        encoded += fragmenter.feed(memoryview(content)[position : position + size])
        position += size
    values = read_values(encoded + fragmenter.finish())
    assert b"".join(bytes(value.fragment) for value in values) == content
    assert [value.is_last for value in values] == [False] * (len(values) - 1) + [True]
    assert all(len(value.fragment) == 10 for value in values[:-1])


def test_fragmenter_chunk_may_be_reused_after_feed() -> None:
    fragmenter = DataSetFragmenter(1, size=4)
    chunk = bytearray(b"abcdef")
    encoded = fragmenter.feed(chunk)
    chunk[:] = b"ghijkl"
    encoded += fragmenter.finish()
    values = read_values(encoded)
    assert b"".join(bytes(value.fragment) for value in values) == b"abcdef"

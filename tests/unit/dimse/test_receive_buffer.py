import pytest

from isocenter.dimse.pdu import Abort, PDUType, encode_pdu
from isocenter.dimse.protocol_error import ProtocolViolationError
from isocenter.dimse.receive_buffer import MAXIMUM_ASSOCIATION_LENGTH, ReceiveBuffer


def fill(buffer: ReceiveBuffer, data: bytes) -> None:
    space = buffer.get_free_space()
    space[: len(data)] = data
    buffer.commit(len(data))


def header(pdu_type: PDUType, length: int) -> bytes:
    return bytes((pdu_type, 0)) + length.to_bytes(4, "big")


def test_next_pdu_incomplete_needs_more_bytes() -> None:
    buffer = ReceiveBuffer(16384)
    encoded = encode_pdu(Abort())
    for position in range(len(encoded)):
        assert buffer.next_pdu() is None
        fill(buffer, encoded[position : position + 1])
    pdu = buffer.next_pdu()
    assert pdu is not None
    assert (pdu[0], bytes(pdu[1])) == (PDUType.ABORT, bytes(4))
    assert buffer.next_pdu() is None


@pytest.mark.parametrize(
    ("pdu_type", "limit"),
    [(PDUType.P_DATA_TF, 4096), (PDUType.ASSOCIATE_RQ, MAXIMUM_ASSOCIATION_LENGTH)],
)
def test_next_pdu_over_limit_raises_at_header(pdu_type: PDUType, limit: int) -> None:
    buffer = ReceiveBuffer(4096)
    fill(buffer, header(pdu_type, limit))
    assert buffer.next_pdu() is None
    buffer.clear()
    fill(buffer, header(pdu_type, limit + 1))
    with pytest.raises(ProtocolViolationError):
        buffer.next_pdu()


@pytest.mark.parametrize("length", [131072, 131071, 70000, 4, 0])
def test_free_space_many_pdus_of_any_length_always_fit(length: int) -> None:
    buffer = ReceiveBuffer(131072)
    pdu = header(PDUType.P_DATA_TF, length) + bytes(range(256)) * (length // 256 + 1)
    pdu = pdu[: 6 + length]
    stream = pdu * 20
    position = count = 0
    while position < len(stream):
        space = buffer.get_free_space()
        size = min(len(space), 100_000, len(stream) - position)
        assert size > 0
        space[:size] = stream[position : position + size]
        buffer.commit(size)
        position += size
        while (taken := buffer.next_pdu()) is not None:
            assert bytes(taken[1]) == pdu[6:]
            count += 1
    assert count == 20


def test_free_space_longest_association_pdu_fits_behind_another() -> None:
    buffer = ReceiveBuffer(131072)
    body = bytes(MAXIMUM_ASSOCIATION_LENGTH)
    stream = (
        header(PDUType.ASSOCIATE_RQ, 4) + bytes(4) + header(PDUType.ASSOCIATE_RQ, len(body)) + body
    )
    position, lengths = 0, []
    while position < len(stream):
        space = buffer.get_free_space()
        size = min(len(space), len(stream) - position)
        assert size > 0
        space[:size] = stream[position : position + size]
        buffer.commit(size)
        position += size
        while (taken := buffer.next_pdu()) is not None:
            lengths.append(len(taken[1]))
    assert lengths == [4, MAXIMUM_ASSOCIATION_LENGTH]


def test_free_space_grows_only_when_filled() -> None:
    buffer = ReceiveBuffer(131072)
    first = len(buffer.get_free_space())
    for _ in range(100):
        fill(buffer, encode_pdu(Abort()))
        assert buffer.next_pdu() is not None
    assert len(buffer.get_free_space()) == first
    pdu = header(PDUType.P_DATA_TF, first)
    fill(buffer, pdu + bytes(first - len(pdu)))
    assert buffer.next_pdu() is None
    assert len(buffer.get_free_space()) > first


def test_release_gives_everything_back() -> None:
    buffer = ReceiveBuffer(131072)
    fill(buffer, encode_pdu(Abort()))
    buffer.release()
    assert buffer.next_pdu() is None
    assert len(buffer.get_free_space()) == 0

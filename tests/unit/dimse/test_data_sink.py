import pytest
from tests.support.scripted_peer import build_command

from isocenter.dimse.commands import CommandField
from isocenter.dimse.data_sink import MemorySink, Message
from isocenter.dimse.negotiation import PresentationContext
from isocenter.errors import BodyTooLargeError


async def test_memory_sink_keeps_fragments_until_closed() -> None:
    sink = MemorySink()
    sink.write(memoryview(b"ab"))
    sink.write(b"cd")
    await sink.drain()
    assert not sink.is_saturated
    assert sink.get_content() == b"abcd"
    sink.close()
    assert sink.get_content() == b""


def test_memory_sink_over_limit_raises() -> None:
    sink = MemorySink(limit_bytes=3)
    sink.write(b"abc")
    with pytest.raises(BodyTooLargeError):
        sink.write(b"d")


def test_message_cancel_is_remembered() -> None:
    context = PresentationContext(1, "1.2", "1.3")
    message = Message(context, build_command(CommandField.C_FIND_RQ))
    assert not message.is_cancelled
    message.cancel()
    assert message.is_cancelled

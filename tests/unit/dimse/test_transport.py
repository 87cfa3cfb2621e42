import asyncio
import socket
from contextlib import suppress
from typing import Any

import pytest
from tests.support.scripted_peer import (
    EXPLICIT_VR,
    PATIENT,
    build_command,
    build_request,
    wait_until,
)

from isocenter.dimse.association import AssociationMachine, Role
from isocenter.dimse.commands import CommandField, encode_command
from isocenter.dimse.indications import AssociationRequested, Indication
from isocenter.dimse.messages import encode_fragments
from isocenter.dimse.negotiation import (
    REJECT_NO_REASON,
    AssociateAcceptance,
    build_accept,
    negotiate_contexts,
)
from isocenter.dimse.pdu import encode_pdu
from isocenter.dimse.transport import AssociationTransport, PeerAddress, Timeouts


class FakeConnection(asyncio.Transport):
    """Records what the transport asks of the loop."""

    def __init__(self, **information: Any) -> None:
        super().__init__(information)
        self.calls: list[str] = []
        self.written = b""
        self.waiting_bytes = 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting_bytes

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


class FakeListener:
    """Records what the transport tells."""

    is_waiting_for_peer = True

    def __init__(self) -> None:
        self.transport: AssociationTransport
        self.indications: list[Indication] = []
        self.silences = 0
        self.endings = 0

    def connection_opened(self, transport: AssociationTransport) -> None:
        self.transport = transport

    def receive_indication(self, indication: Indication) -> None:
        self.indications.append(indication)

    def silence_exceeded(self) -> None:
        self.silences += 1

    def connection_ended(self) -> None:
        self.endings += 1


def build(
    timeouts: Timeouts = PATIENT, **information: Any
) -> tuple[AssociationTransport, FakeConnection, FakeListener]:
    listener = FakeListener()
    transport = AssociationTransport(AssociationMachine(Role.ACCEPTOR), listener, timeouts)
    connection = FakeConnection(**information)
    transport.connection_made(connection)
    return transport, connection, listener


def receive(transport: AssociationTransport, data: bytes) -> None:
    transport.get_buffer(-1)[: len(data)] = data
    transport.buffer_updated(len(data))


REQUEST = encode_pdu(build_request())


async def test_connection_without_address_or_tcp_is_served() -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        transport, _, listener = build(peername="", socket=unix)
        receive(transport, REQUEST)
    assert transport.peer == PeerAddress("", 0)
    assert [type(item) for item in listener.indications] == [AssociationRequested]
    transport.connection_lost(None)
    assert listener.endings == 1


async def test_connection_over_tcp_is_tuned_and_leaves_no_socket_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        transport, _, _ = build(peername=client.getpeername(), socket=client)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert transport.peer == PeerAddress("127.0.0.1", server.getsockname()[1])
        receive(transport, REQUEST)
        transport.connection_lost(None)
        client.close()


async def test_system_without_quick_acknowledgement_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("isocenter.dimse.transport._QUICK_ACK", None)
    transport, _, listener = build()
    receive(transport, REQUEST)
    assert len(listener.indications) == 1
    transport.connection_lost(None)


async def test_hold_delivers_nothing_until_last_resume() -> None:
    transport, connection, listener = build()
    transport.hold()
    transport.hold()
    receive(transport, REQUEST)
    transport.resume()
    assert listener.indications == []
    transport.resume()
    assert len(listener.indications) == 1
    assert connection.calls == ["pause", "resume"]
    transport.connection_lost(None)


async def test_hold_after_close_leaves_connection_alone() -> None:
    transport, connection, _ = build()
    transport.kill()
    transport.hold()
    transport.resume()
    transport.close()
    assert connection.calls == ["abort"]
    transport.connection_lost(None)


async def test_many_tiny_fragments_let_others_have_their_turn() -> None:
    transport, connection, listener = build()
    receive(transport, REQUEST)
    request = listener.indications.pop()
    assert isinstance(request, AssociationRequested)
    contexts = negotiate_contexts(request.request.contexts, lambda _: (EXPLICIT_VR,))
    acceptance = AssociateAcceptance(contexts)
    transport.machine.accept_association(
        build_accept(request.request, acceptance, maximum_length=16384)
    )
    store = build_command(CommandField.C_STORE_RQ)
    command_set = encode_command(store, has_data_set=True)
    receive(transport, encode_fragments(3, command_set, size=16378, is_command=True))
    listener.indications.clear()
    data = encode_fragments(3, bytes(2500), size=1)
    for start in range(0, len(data), 8192):
        part = data[start : start + 8192]
        transport.get_buffer(-1)[: len(part)] = part
        transport.machine.commit(len(part))
    transport.buffer_updated(0)
    assert len(listener.indications) == 1000
    assert connection.calls == ["pause"]
    await wait_until(lambda: len(listener.indications) == 2500)
    await wait_until(lambda: connection.calls[-1] == "resume")
    transport.connection_lost(None)


class ReentrantListener(FakeListener):
    def receive_indication(self, indication: Indication) -> None:
        super().receive_indication(indication)
        self.transport.machine.reject_association(REJECT_NO_REASON)
        self.transport.hold()
        self.transport.resume()
        self.transport.flush()


async def test_listener_may_call_back_and_everything_leaves_in_one_write() -> None:
    transport, connection, _ = build()
    transport.listener = listener = ReentrantListener()
    listener.transport = transport
    receive(transport, REQUEST)
    assert connection.written == encode_pdu(REJECT_NO_REASON)
    transport.connection_lost(None)


async def test_close_that_hangs_is_aborted_after_artim() -> None:
    transport, connection, _ = build(Timeouts(artim_s=0.01, silence_s=None))
    transport.close()
    await wait_until(lambda: connection.calls == ["close", "abort"])
    transport.connection_lost(None)


async def test_silence_is_told_again_while_it_lasts() -> None:
    transport, _, listener = build(Timeouts(artim_s=60, silence_s=0.01))
    await wait_until(lambda: listener.silences >= 2)
    transport.connection_lost(None)


async def test_silence_while_held_does_not_count() -> None:
    transport, _, listener = build(Timeouts(artim_s=60, silence_s=0.01))
    transport.hold()
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, passed.set)
    await passed.wait()
    assert listener.silences == 0
    transport.connection_lost(None)


async def test_drain_waits_for_resume_writing() -> None:
    transport, connection, _ = build()
    transport.pause_writing()
    draining = asyncio.create_task(transport.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    transport.resume_writing()
    await draining
    assert connection.calls == []
    transport.connection_lost(None)


async def test_drain_peer_never_reads_kills_connection() -> None:
    transport, connection, _ = build(Timeouts(artim_s=60, silence_s=0.01))
    transport.pause_writing()
    await transport.drain()
    assert connection.calls == ["abort"]
    transport.connection_lost(None)


async def test_drain_peer_reads_slowly_keeps_connection() -> None:
    transport, connection, _ = build(Timeouts(artim_s=60, silence_s=0.1))
    connection.waiting_bytes = 1_000_000
    passed = asyncio.Event()

    def take_some() -> None:
        connection.waiting_bytes -= 10_000
        if connection.waiting_bytes < 600_000:
            passed.set()
        else:
            asyncio.get_running_loop().call_later(0.005, take_some)

    transport.pause_writing()
    draining = asyncio.create_task(transport.drain())
    take_some()
    await passed.wait()
    assert not draining.done()
    await draining
    assert connection.calls == ["abort"]
    transport.connection_lost(None)


async def test_silence_while_bytes_leave_does_not_count() -> None:
    transport, connection, listener = build(Timeouts(artim_s=60, silence_s=0.2))
    connection.waiting_bytes = 1_000_000
    passed = asyncio.Event()

    def take_some() -> None:
        connection.waiting_bytes -= 10_000
        if connection.waiting_bytes < 400_000:
            passed.set()
        else:
            asyncio.get_running_loop().call_later(0.005, take_some)

    take_some()
    await passed.wait()
    assert listener.silences == 0
    await wait_until(lambda: listener.silences == 1)
    transport.connection_lost(None)


async def test_bytes_that_the_system_keeps_have_not_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with accepted, client:
            transport, _, _ = build(peername=client.getpeername(), socket=client)
            client.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    client.send(bytes(65536))
            assert transport.taken_bytes < 0  # The transport has written none of it.
            accepted.setblocking(False)

            def read_on() -> bool:
                with suppress(BlockingIOError):
                    accepted.recv(1 << 20)
                return transport.taken_bytes == 0

            await wait_until(read_on)
            transport.connection_lost(None)


async def test_drain_returns_when_connection_ends() -> None:
    transport, _, _ = build()
    transport.pause_writing()
    draining = asyncio.create_task(transport.drain())
    await asyncio.sleep(0)
    transport.connection_lost(None)
    await draining

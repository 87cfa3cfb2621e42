"""Peers for tests of associations: a raw one that sends any bytes, and a door that records."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from isocenter.dimse.acceptor import AcceptorOptions, AssociationAcceptor
from isocenter.dimse.commands import Command, CommandField, decode_command, encode_command
from isocenter.dimse.data_sink import DataSink, MemorySink, Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.messages import encode_fragments
from isocenter.dimse.negotiation import (
    REJECT_CALLED_AE_TITLE,
    AssociateAcceptance,
    PresentationContext,
    build_proposals,
    negotiate_contexts,
)
from isocenter.dimse.pdu import (
    HEADER_LENGTH,
    PDU,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    DataTransfer,
    decode_pdu,
    encode_pdu,
    read_header,
)
from isocenter.dimse.transport import PeerAddress, Timeouts
from isocenter.dimse.user_information import RoleSelection

VERIFICATION = "1.2.840.10008.1.1"
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
IMPLICIT_VR = "1.2.840.10008.1.2"
EXPLICIT_VR = "1.2.840.10008.1.2.1"

ABSTRACT_SYNTAXES = (VERIFICATION, MR_IMAGE_STORAGE, STUDY_ROOT_FIND, STUDY_ROOT_GET)
"""Proposed by `build_request` with the context identifiers 1, 3, 5 and 7."""

DEADLINE_S = 20.0
"""How long a test waits for something that must happen."""


def build_request(**changes: object) -> AssociateRequest:
    """Build a request that `RecordingHandler` accepts."""
    contexts = build_proposals((uid, (EXPLICIT_VR, IMPLICIT_VR)) for uid in ABSTRACT_SYNTAXES)
    values: dict[str, object] = {
        "called_ae_title": "ISOCENTER",
        "calling_ae_title": "PEER",
        "contexts": contexts,
    }
    return AssociateRequest(**(values | changes))  # type: ignore[arg-type]


def build_command(command_field: CommandField, *, message_id: int = 1) -> Command:
    """Build a request command with the elements that every request has."""
    return Command(
        command_field=command_field,
        message_id=message_id,
        affected_sop_class_uid=VERIFICATION,
        affected_sop_instance_uid="1.2.3",
    )


def encode_message(
    context_id: int, command: Command, data: bytes | None = None, *, size: int = 16378
) -> bytes:
    """Build the PDUs of a whole message."""
    command_set = encode_command(command, has_data_set=data is not None)
    head = encode_fragments(context_id, command_set, size=size, is_command=True)
    return head if data is None else head + encode_fragments(context_id, data, size=size)


class ScriptedPeer:
    """One end of a connection that sends exactly what the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "ScriptedPeer":
        """Connect to a server on this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def send_pdu(self, pdu: PDU) -> None:
        """Send a PDU."""
        await self.send(encode_pdu(pdu))

    async def read_pdu(self) -> PDU | None:
        """Read the next PDU; ``None`` when the other side has closed the connection."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                header = await self._reader.readexactly(HEADER_LENGTH)
                decoded = read_header(memoryview(header))
                assert decoded is not None
                pdu_type, length = decoded
                body = await self._reader.readexactly(length)
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            return decode_pdu(pdu_type, memoryview(body))

    async def read_command(self) -> Command:
        """Read a P-DATA-TF PDU that holds a whole command set."""
        pdu = await self.read_pdu()
        assert isinstance(pdu, DataTransfer), pdu
        assert pdu.values[0].is_command
        return decode_command(bytes(pdu.values[0].fragment))

    async def read_data_set(self) -> bytes:
        """Read P-DATA-TF PDUs up to the end of a data set."""
        data = bytearray()
        while True:
            pdu = await self.read_pdu()
            assert isinstance(pdu, DataTransfer), pdu
            for value in pdu.values:
                assert not value.is_command
                data += value.fragment
                if value.is_last:
                    return bytes(data)

    async def associate(self, request: AssociateRequest | None = None) -> AssociateAccept:
        """Request an association that must be accepted."""
        await self.send_pdu(request or build_request())
        answer = await self.read_pdu()
        assert isinstance(answer, AssociateAccept), answer
        return answer

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return

    def drop(self) -> None:
        """Break the connection without closing it properly."""
        self._writer.transport.abort()


@asynccontextmanager
async def scripted_acceptor(
    script: Callable[[ScriptedPeer], Awaitable[None]],
) -> AsyncIterator[int]:
    """Listen on a free port and play the script for each connection; yields the port.

    A failure of the script fails the test.
    """
    failures: list[BaseException] = []
    tasks: set[asyncio.Task[None]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = ScriptedPeer(reader, writer)
        try:
            await script(peer)
        except BaseException as error:  # noqa: BLE001 - handed over to the test
            failures.append(error)
        finally:
            await peer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=DEADLINE_S)
            for task in pending:
                task.cancel()
    if failures:
        raise failures[0]


async def misbehave(peer: "ScriptedPeer", fault: str) -> None:
    """Answer a caller as a peer with a fault does; one that is not named here hangs.

    Parameters
    ----------
    fault
        Before the association: ``closes at once``, ``rejects``, ``speaks another protocol`` or
        ``accepts nothing``; at the first command: ``sends garbage``, ``aborts`` or
        ``closes in the middle``.
    """
    if fault == "closes at once":
        return
    if fault == "rejects":
        assert isinstance(await peer.read_pdu(), AssociateRequest)
        await peer.send_pdu(REJECT_CALLED_AE_TITLE)
    elif fault == "speaks another protocol":
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    elif fault == "accepts nothing":
        await accept_association(peer, contexts=())
    else:
        await accept_association(peer)
        await peer.read_command()
        if fault == "sends garbage":
            await peer.send(b"\x04\x00\x00\x00\x00\x02??")
        elif fault == "aborts":
            await peer.send(b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00")
        elif fault == "closes in the middle":
            peer.drop()
            return
    while await peer.read_pdu() is not None:
        pass


async def accept_association(peer: ScriptedPeer, **changes: object) -> AssociateRequest:
    """Read an association request and accept all its contexts with their first transfer syntax."""
    request = await peer.read_pdu()
    assert isinstance(request, AssociateRequest), request
    contexts = negotiate_contexts(request.contexts, lambda _: (EXPLICIT_VR, IMPLICIT_VR))
    values: dict[str, object] = {
        "called_ae_title": request.called_ae_title,
        "calling_ae_title": request.calling_ae_title,
        "contexts": contexts,
    }
    await peer.send_pdu(AssociateAccept(**(values | changes)))  # type: ignore[arg-type]
    return request


class RecordingSink(MemorySink):
    """A memory sink that can be saturated and that knows whether it was closed."""

    def __init__(self) -> None:
        super().__init__(limit_bytes=1 << 24)
        self.close_count = 0
        self.drained: asyncio.Event | None = None
        self.has_begun_to_drain = asyncio.Event()
        self.content = b""

    @property
    def is_saturated(self) -> bool:
        """Whether the test wants the peer to wait."""
        return self.drained is not None

    async def drain(self) -> None:
        """Wait for the test."""
        self.has_begun_to_drain.set()
        assert self.drained is not None
        await self.drained.wait()
        self.drained = None

    def close(self) -> None:
        """Count."""
        self.content = self.get_content()
        self.close_count += 1
        super().close()


Behavior = Callable[[DimseAssociation, Message], Awaitable[None]]


async def answer_success(association: DimseAssociation, message: Message) -> None:
    """Answer any request with success."""
    response = message.command.build_response(0)
    await association.send_response(message.context.context_id, response)


@dataclass
class RecordingHandler:
    """A door that accepts everything it knows, records messages and behaves as the test says."""

    behavior: Behavior = answer_success
    rejection: AssociateReject | None = None
    roles: tuple[RoleSelection, ...] = ()
    user_identity_response: bytes | None = None
    build_sink: Callable[[], DataSink] = RecordingSink
    sinks: list[DataSink] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    contents: list[bytes | None] = field(default_factory=list)
    associations: list[DimseAssociation] = field(default_factory=list)

    def negotiate(
        self, request: AssociateRequest, peer: PeerAddress
    ) -> AssociateAcceptance | AssociateReject:
        """Accept what `build_request` proposes."""
        if self.rejection is not None:
            return self.rejection
        supported = dict.fromkeys(ABSTRACT_SYNTAXES, (EXPLICIT_VR, IMPLICIT_VR))
        contexts = negotiate_contexts(request.contexts, supported.get)
        return AssociateAcceptance(contexts, self.roles, self.user_identity_response)

    def open_data_sink(
        self, association: DimseAssociation, context: PresentationContext, command: Command
    ) -> DataSink:
        """Give a new sink."""
        sink = self.build_sink()
        self.sinks.append(sink)
        return sink

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Record the message and behave."""
        self.messages.append(message)
        self.associations.append(association)
        sink = message.sink
        self.contents.append(sink.get_content() if isinstance(sink, MemorySink) else None)
        await self.behavior(association, message)


FAST = Timeouts(artim_s=0.05, silence_s=0.05)
"""For tests in which a time limit must pass."""

PATIENT = Timeouts(artim_s=DEADLINE_S, silence_s=DEADLINE_S)
"""For tests in which no time limit may pass."""


@asynccontextmanager
async def running_acceptor(
    handler: RecordingHandler,
    *,
    timeouts: Timeouts = PATIENT,
    maximum_associations: int = 10,
    maximum_length: int = 16384,
) -> AsyncIterator[AssociationAcceptor]:
    """Run an acceptor on a free port."""
    options = AcceptorOptions(maximum_associations, maximum_length, timeouts)
    acceptor = AssociationAcceptor(handler, options)
    await acceptor.start("127.0.0.1", 0)
    try:
        yield acceptor
    finally:
        await acceptor.stop(deadline_s=0.5)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - conditions of several objects
            await asyncio.sleep(0)

"""DIMSE messages in presentation data values: putting fragments together, cutting messages up.

References
----------
PS3.8 §9.3.5.1, Annex E; PS3.7 §6.3
"""

from collections.abc import Mapping
from struct import Struct
from typing import TypeAlias

from isocenter.dimse.commands import decode_command
from isocenter.dimse.indications import CommandReceived, DataReceived
from isocenter.dimse.negotiation import PresentationContext
from isocenter.dimse.pdu import PDUType, PresentationDataValue
from isocenter.dimse.protocol_error import AbortReason, ProtocolViolationError

__all__ = [
    "MAXIMUM_COMMAND_LENGTH",
    "Chunk",
    "DataSetFragmenter",
    "MessageAssembler",
    "compute_fragment_size",
    "encode_fragments",
    "split_into_fragments",
]

Chunk: TypeAlias = bytes | bytearray | memoryview

MAXIMUM_COMMAND_LENGTH = 65536
"""Longest command set that is accepted, in bytes; real ones have some hundred."""

MAXIMUM_SENT_LENGTH = 131072
"""Longest P-DATA-TF variable field that we send, also to peers without a limit of their own."""

# PDU type, reserved, PDU length, value length, context, message control header.
_DATA_HEADER = Struct(">BxIIBB")
# Length, context and control header count against the peer's maximum length (PS3.8 §D.1).
_VALUE_OVERHEAD = 6


class MessageAssembler:
    """Turns presentation data values into commands and data set fragments.

    Fragments of a command are collected; fragments of a data set are passed on as they come,
    without a copy. Nothing else is kept, so memory is bounded by `MAXIMUM_COMMAND_LENGTH`.

    Parameters
    ----------
    contexts
        Accepted presentation contexts by identifier.
    """

    __slots__ = ("_command_bytes", "_command_context_id", "_contexts", "_data_context_id")

    def __init__(self, contexts: Mapping[int, PresentationContext]) -> None:
        self._contexts = contexts
        self._command_bytes = bytearray()
        self._command_context_id: int | None = None
        self._data_context_id: int | None = None

    def add(self, value: PresentationDataValue) -> CommandReceived | DataReceived | None:
        """Take the next value; return what is complete with it.

        Raises
        ------
        ProtocolViolationError
            If values of several messages are mixed up, a context was not accepted, or the command
            is malformed or too long.

        References
        ----------
        PS3.8 Annex E.2
        """
        if not value.is_command:
            return self._add_data(value)
        if self._data_context_id is not None:
            raise _unexpected("a command came before the end of a data set")
        return self._add_command(value)

    def _add_data(self, value: PresentationDataValue) -> DataReceived:
        if value.context_id != self._data_context_id:
            raise _unexpected("a data set fragment came without its command")
        if value.is_last:
            self._data_context_id = None
        return DataReceived(value.fragment, value.is_last)

    def _add_command(self, value: PresentationDataValue) -> CommandReceived | None:
        context = self._contexts.get(value.context_id)
        if context is None:
            raise ProtocolViolationError(
                f"presentation context {value.context_id} was not accepted"
            )
        if self._command_context_id not in (None, value.context_id):
            raise _unexpected("a command changed its presentation context")
        if len(self._command_bytes) + len(value.fragment) > MAXIMUM_COMMAND_LENGTH:
            raise ProtocolViolationError("the command is too long")
        self._command_bytes += value.fragment
        if not value.is_last:
            self._command_context_id = value.context_id
            return None
        command = decode_command(bytes(self._command_bytes))
        self._command_bytes.clear()
        self._command_context_id = None
        if command.has_data_set:
            self._data_context_id = value.context_id
        return CommandReceived(context, command)


def _unexpected(details: str) -> ProtocolViolationError:
    return ProtocolViolationError(details, reason=AbortReason.UNEXPECTED_PDU_PARAMETER)


def compute_fragment_size(maximum_length: int) -> int:
    """Tell how many bytes of a message fit in one PDU.

    Parameters
    ----------
    maximum_length
        Of the peer, 0 for no limit.

    References
    ----------
    PS3.8 §D.1; Annex E.1 (fragments have an even number of bytes)
    """
    length = min(maximum_length or MAXIMUM_SENT_LENGTH, MAXIMUM_SENT_LENGTH)
    return (length - _VALUE_OVERHEAD) & ~1


def encode_fragments(
    context_id: int,
    content: Chunk,
    *,
    size: int,
    is_command: bool = False,
    is_end: bool = True,
) -> bytes:
    """Build the P-DATA-TF PDUs that carry ``content``, one value in each.

    Parameters
    ----------
    context_id
        Presentation context.
    content
        Command set or (a part of) a data set.
    size
        Bytes in one PDU, see `compute_fragment_size`.
    is_command
        Whether this is a command set.
    is_end
        Whether the last fragment ends the command or data set.

    References
    ----------
    PS3.8 §9.3.5, Annex E.2
    """
    return b"".join(
        split_into_fragments(context_id, content, size=size, is_command=is_command, is_end=is_end)
    )


def split_into_fragments(
    context_id: int,
    content: Chunk,
    *,
    size: int,
    is_command: bool = False,
    is_end: bool = True,
) -> list[Chunk]:
    """Build the PDUs of `encode_fragments` without copying: headers and parts of ``content``."""
    view = memoryview(content)
    total = len(view)
    parts: list[Chunk] = []
    for start in range(0, total or 1, size):
        fragment = view[start : start + size]
        is_last = is_end and start + size >= total
        length = len(fragment) + 2
        control = is_command | is_last << 1
        parts.append(_DATA_HEADER.pack(PDUType.P_DATA_TF, length + 4, length, context_id, control))
        parts.append(fragment)
    return parts


class DataSetFragmenter:
    """Cuts a data set of unknown length, given in chunks of any size, into P-DATA-TF PDUs.

    It holds back between 1 byte and one fragment, because only the last fragment carries the mark
    of the end. Holds at most one chunk and one fragment in memory.

    Parameters
    ----------
    context_id
        Presentation context.
    size
        Bytes in one PDU, see `compute_fragment_size`.
    """

    __slots__ = ("_context_id", "_pending", "_size")

    def __init__(self, context_id: int, *, size: int) -> None:
        self._context_id = context_id
        self._size = size
        self._pending = bytearray()

    def feed(self, chunk: Chunk) -> bytes:
        """Take the next chunk and return the PDUs that are complete; may be empty."""
        if self._pending or len(chunk) <= self._size:
            self._pending += chunk
            content = memoryview(self._pending)
        else:
            content = memoryview(chunk)
        complete = (len(content) - 1) // self._size * self._size
        if complete <= 0:
            return b""
        encoded = encode_fragments(
            self._context_id, content[:complete], size=self._size, is_end=False
        )
        self._pending = bytearray(content[complete:])
        return encoded

    def finish(self) -> bytes:
        """Return the last PDU; an empty data set has one, too."""
        return encode_fragments(self._context_id, self._pending, size=self._size)

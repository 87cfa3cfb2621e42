"""The bytes that a connection has received and that no PDU has used up yet.

The transport reads straight into this memory and PDUs are handed out as views of it: between the
socket and the receiver of a data set no byte is copied, except the cut-off PDU at the end of the
buffer.

References
----------
PS3.8 §9.3.1
"""

from isocenter.dimse.pdu import HEADER_LENGTH, PDUType, read_header
from isocenter.dimse.protocol_error import ProtocolViolationError

__all__ = ["MAXIMUM_ASSOCIATION_LENGTH", "ReceiveBuffer"]

MAXIMUM_ASSOCIATION_LENGTH = 0x40000
"""Longest PDU that is not P-DATA-TF, in bytes: 128 contexts with 60 transfer syntaxes each fit."""

_DATA = int(PDUType.P_DATA_TF)
_INITIAL_CAPACITY = 0x4000
# Room for the longest PDU and for a read of 128 KiB behind it.
_MAXIMUM_CAPACITY = MAXIMUM_ASSOCIATION_LENGTH + HEADER_LENGTH + 0x20000


class ReceiveBuffer:
    """Memory of one connection.

    It grows when a read fills it, so that it is small for connections on which little happens and
    takes few reads on busy ones.

    Parameters
    ----------
    maximum_length
        Longest P-DATA-TF variable field that is accepted; it must be below
        `MAXIMUM_ASSOCIATION_LENGTH`.
    """

    __slots__ = ("_end", "_maximum_length", "_start", "_view")

    def __init__(self, maximum_length: int) -> None:
        self._view = memoryview(bytearray(_INITIAL_CAPACITY))
        self._maximum_length = maximum_length
        self._start = 0
        self._end = 0

    def get_free_space(self) -> memoryview:
        """Return the part to read into, never empty; views of earlier PDUs are no longer valid."""
        capacity = len(self._view)
        if self._end == capacity < _MAXIMUM_CAPACITY:
            self._move(memoryview(bytearray(min(4 * capacity, _MAXIMUM_CAPACITY))))
        elif self._start == self._end:
            self._start = self._end = 0
        elif self._start and self._end > capacity // 2:
            self._move(self._view)
        return self._view[self._end :]

    def _move(self, target: memoryview) -> None:
        """Move what is not used up to the start of ``target``."""
        length = self._end - self._start
        target[:length] = self._view[self._start : self._end]
        self._view, self._start, self._end = target, 0, length

    def commit(self, size: int) -> None:
        """Take note of ``size`` bytes that were read into the free space."""
        self._end += size

    def clear(self) -> None:
        """Forget everything received."""
        self._start = self._end = 0

    def release(self) -> None:
        """Give the memory back at once; nothing can be received any more."""
        self._view = memoryview(b"")
        self.clear()

    def next_pdu(self) -> tuple[int, memoryview] | None:
        """Take the next complete PDU out.

        Returns
        -------
        tuple or None
            Type and body, a view that is valid until `get_free_space` is called; ``None`` if more
            bytes are needed.

        Raises
        ------
        ProtocolViolationError
            If the type is unknown or the announced length is over the limit; this is known from the
            header, before the PDU is complete.
        """
        start = self._start
        header = read_header(self._view[start : min(start + HEADER_LENGTH, self._end)])
        if header is None:
            return None
        pdu_type, length = header
        is_data = pdu_type == _DATA
        if length > (self._maximum_length if is_data else MAXIMUM_ASSOCIATION_LENGTH):
            raise ProtocolViolationError(f"a PDU of {length} bytes is over the limit")
        start += HEADER_LENGTH
        end = start + length
        if self._end < end:
            return None
        self._start = end
        return pdu_type, self._view[start:end]

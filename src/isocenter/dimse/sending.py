"""Messages that leave: one after another, in fragments that the peer can take.

References
----------
PS3.8 §9.3.5, Annex E (fragments of messages are not mixed)
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TYPE_CHECKING, TypeAlias

from isocenter.dimse.commands import Command, encode_command
from isocenter.dimse.messages import (
    Chunk,
    DataSetFragmenter,
    encode_fragments,
    split_into_fragments,
)
from isocenter.dimse.transport import AssociationTransport

if TYPE_CHECKING:
    from isocenter.dimse.exchange import DimseAssociation

__all__ = ["DataSource", "MessageSender"]

_WRITE_SIZE = 256 * 1024
"""Bytes of a data set that are written at once."""

DataSource: TypeAlias = Chunk | Iterable[Chunk] | AsyncIterable[Chunk]
"""A data set to send: whole, or in chunks of any size."""


class MessageSender:
    """Sends messages over one association.

    Parameters
    ----------
    association
        Asked whether it is still open, and aborted if a data set cannot be completed.
    transport
        Takes the PDUs.
    """

    def __init__(self, association: "DimseAssociation", transport: AssociationTransport) -> None:
        self._association = association
        self._transport = transport
        self._lock = asyncio.Lock()

    async def send(self, context_id: int, command: Command, data: DataSource | None) -> None:
        """Send one message, waiting while the peer is slow.

        Raises
        ------
        AssociationAbortedError
            If the association has ended.
        BadParameterError
            If a value of the command cannot be represented.
        """
        size = self._transport.machine.fragment_size
        command_set = encode_command(command, has_data_set=data is not None)
        head = encode_fragments(context_id, command_set, size=size, is_command=True)
        async with self._lock:
            if data is None:
                await self._write(head)
                return
            try:
                await self._send_with_data(context_id, head, data)
            except BaseException:
                # The peer would take the next message for the rest of this one.
                self._association.abort()
                raise

    async def send_alike(
        self, context_id: int, command: Command, data_sets: Iterable[bytes]
    ) -> None:
        """Send messages with the same command, many in one write; waits while the peer is slow.

        Raises
        ------
        AssociationAbortedError
            If the association has ended.
        """
        size = self._transport.machine.fragment_size
        command_set = encode_command(command, has_data_set=True)
        head = encode_fragments(context_id, command_set, size=size, is_command=True)
        async with self._lock:
            waiting: list[bytes] = []
            length = 0
            for data in data_sets:
                waiting += (head, encode_fragments(context_id, data, size=size))
                length += len(waiting[-1])
                if length > _WRITE_SIZE:
                    await self._write(b"".join(waiting))
                    waiting, length = [], 0
            if waiting:
                await self._write(b"".join(waiting))

    async def _send_with_data(self, context_id: int, head: bytes, data: DataSource) -> None:
        if isinstance(data, bytes | bytearray | memoryview):
            await self._send_whole(context_id, head, memoryview(data))
            return
        await self._write(head)
        fragmenter = DataSetFragmenter(context_id, size=self._transport.machine.fragment_size)
        async for chunk in _iter_chunks(data):
            pdus = fragmenter.feed(chunk)
            if pdus:
                await self._write(pdus)
        await self._write(fragmenter.finish())

    async def _send_whole(self, context_id: int, head: bytes, data: memoryview) -> None:
        size = self._transport.machine.fragment_size
        step = max(_WRITE_SIZE // size, 1) * size
        for start in range(0, len(data) or 1, step):
            part = data[start : start + step]
            is_end = start + step >= len(data)
            pdus = split_into_fragments(context_id, part, size=size, is_end=is_end)
            await self._write(*pdus if start else (head, *pdus))

    async def _write(self, *pdus: Chunk) -> None:
        self._association.require_open()
        self._transport.send_data(pdus)
        await self._transport.drain()
        # A peer that reads a long message has no reason to speak.
        self._transport.touch()


async def _iter_chunks(data: Iterable[Chunk] | AsyncIterable[Chunk]) -> AsyncIterator[Chunk]:
    """Yield the chunks of either kind of iterable."""
    if isinstance(data, AsyncIterable):
        async for chunk in data:
            yield chunk
    else:
        for chunk in data:
            yield chunk

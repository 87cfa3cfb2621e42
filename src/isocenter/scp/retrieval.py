"""What C-MOVE and C-GET share: what is wanted, and the files of it one ahead of the sending.

References
----------
PS3.4 §C.4.2, §C.4.3; Orthanc: C-MOVE, C-GET (behaviour manual §25.4, §25.5)
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from isocenter.archive.find import Finder
from isocenter.archive.outgoing import Outgoing, OutgoingInstance, OutgoingPlan
from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.dicom.retrieve_request import parse_retrieve_request
from isocenter.dimse.commands import SubOperationCounters
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.errors import ServerError, UnknownItemError, UnknownResourceError
from isocenter.scp.answering import choose_status, read_identifier
from isocenter.scp.query_log import QueryLog
from isocenter.scu.store import InstanceToStore

__all__ = ["Opened", "Opener", "RetrievePlanner", "refuse_retrieval"]

_log = logging.getLogger(__name__)

# So many instances are looked up in the index at once.
_PAGE = 256

Opened = tuple[str, InstanceToStore | ServerError]
"""SOP instance UID, empty if it is not known any more, and the file or why there is none."""

Opener = Callable[[OutgoingInstance], Awaitable[InstanceToStore]]
"""Opens the file of an instance in the transfer syntax in which it will be sent."""


@dataclass(frozen=True, slots=True)
class RetrievePlanner:
    """Finds what a C-MOVE or C-GET asks for."""

    finder: Finder
    outgoing: Outgoing
    workers: Workers
    settings: Settings
    log: QueryLog

    async def plan(
        self, association: DimseAssociation, message: Message, operation: str
    ) -> OutgoingPlan:
        """List the instances that a request asks for.

        Raises
        ------
        RequestError
            If the identifier is malformed or names nothing.
        UnknownItemError
            If nothing of it is stored.
        """
        identifier = await read_identifier(message, self.settings, self.workers)
        self.log.add(association, operation, identifier)
        query = parse_retrieve_request(identifier)
        public_ids = await self.finder.find_public_ids(query, is_limited=False)
        if not public_ids:
            raise UnknownItemError("the request matches nothing that is stored")
        try:
            return await self.outgoing.plan(public_ids)
        except UnknownResourceError as error:
            raise UnknownItemError("it was deleted just now") from error

    async def iter_opened(
        self, instances: Sequence[str], open_file: Opener
    ) -> AsyncGenerator[Opened, None]:
        """Open one instance after another, the next one while the one before is sent."""

        def open_present(instance: OutgoingInstance) -> Awaitable[InstanceToStore]:
            return self.outgoing.use_present(instance, open_file)

        for start in range(0, len(instances), _PAGE):
            page = instances[start : start + _PAGE]
            found = await self.outgoing.find(page)
            async with aclosing(_iter_page(page, found, open_present)) as opening:
                async for opened in opening:
                    yield opened

    async def iter_sop_instance_uids(self, instances: Sequence[str]) -> AsyncIterator[str]:
        """Look up the SOP instance UIDs of instances; empty for those that are gone."""
        for start in range(0, len(instances), _PAGE):
            page = instances[start : start + _PAGE]
            found = await self.outgoing.find(page)
            for public_id in page:
                yield found[public_id].sop_instance_uid if public_id in found else ""


async def _iter_page(
    page: Sequence[str], found: Mapping[str, OutgoingInstance], open_file: Opener
) -> AsyncGenerator[Opened, None]:
    ahead: asyncio.Future[InstanceToStore | ServerError] | None = None
    try:
        for index, public_id in enumerate(page):
            instance = found.get(public_id)
            if instance is None:
                yield "", UnknownItemError("the instance was deleted, or its file was not kept")
                continue
            opened = await (ahead or _try_to_open(instance, open_file))
            following = found.get(page[index + 1]) if index + 1 < len(page) else None
            ahead = None
            if following is not None:
                ahead = asyncio.ensure_future(_try_to_open(following, open_file))
            yield instance.sop_instance_uid, opened
    finally:
        if ahead is not None:
            ahead.cancel()


async def _try_to_open(
    instance: OutgoingInstance, open_file: Opener
) -> InstanceToStore | ServerError:
    try:
        return await open_file(instance)
    except ServerError as error:
        return error


async def refuse_retrieval(
    association: DimseAssociation,
    message: Message,
    error: ServerError,
    status: int | None = None,
) -> None:
    """Answer a request that cannot be served with a final status and counters."""
    status = choose_status(error) if status is None else status
    _log.warning(
        "a retrieval is refused",
        extra={
            "remote_aet": association.calling_ae_title,
            "status": f"{status:04X}H",
            "reason": error.message,
        },
    )
    response = message.command.build_response(
        status,
        error_comment=error.details or error.message,
        counters=SubOperationCounters(None, 0, 0, 0),
    )
    await association.send_response(message.context.context_id, response)

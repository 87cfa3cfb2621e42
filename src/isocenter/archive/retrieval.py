"""Retrieving from remote modalities, over one association at a time.

References
----------
Orthanc REST: retrieves (behaviour manual §24)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from isocenter.archive.acceptance import Acceptance
from isocenter.archive.arrivals import Arrivals
from isocenter.archive.incoming import Incoming, build_origin
from isocenter.archive.queries import Queries
from isocenter.dicom.levels import Level
from isocenter.dicom.remote_query import (
    QUERY_RETRIEVE_LEVEL,
    UNIQUE_KEYS,
    Values,
    format_level,
)
from isocenter.dicom.sop_classes import COMMON_STORAGE_SOP_CLASSES
from isocenter.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.data_sink import DataSink, MemorySink, Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import PresentationContext
from isocenter.dimse.requestor import AssociationTarget
from isocenter.dimse.status import Status, StatusCategory, categorize_status
from isocenter.errors import BadRequestError
from isocenter.scu.retrieve import (
    GET_CONTEXTS,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    RetrieveResult,
    get,
    move,
)

__all__ = ["Retrieval", "Retrieved", "select_unique_keys"]

# What archives hold: plain, deflated, JPEG, JPEG-LS, JPEG 2000, HTJ2K, RLE, MPEG-4. With more of
# them 127 presentation contexts would not fit into 64 kB, which some modalities cannot read.
_COMMON_SYNTAXES = frozenset(
    f"1.2.840.10008.1.2{part}"
    for part in (
        *("", ".1", ".1.99", ".2", ".5", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81"),
        *(".4.90", ".4.91", ".4.201", ".4.202", ".4.102"),
    )
)


# Of so many instances the names are kept to see whether they come once more.
_MOST_REFUSED = 100_000


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What one request brought.

    Attributes
    ----------
    public_ids
        Instances that arrived here, those that were stored already included.
    """

    result: RetrieveResult
    public_ids: tuple[str, ...]


def select_unique_keys(level: Level, values: Values) -> dict[int, str]:
    """Select the keys that name what is to be retrieved.

    Raises
    ------
    BadRequestError
        If one of them is absent or empty.

    References
    ----------
    PS3.4 §C.4.2.2.1
    """
    keys = {tag: str(values.get(tag) or "") for tag in UNIQUE_KEYS[level]}
    if not all(keys.values()):
        raise BadRequestError("a retrieve must name its level and all unique keys down to it")
    return keys


class Retrieval:
    """Makes remote modalities send instances."""

    def __init__(
        self, queries: Queries, arrivals: Arrivals, incoming: Incoming, acceptance: Acceptance
    ) -> None:
        self._queries = queries
        self._arrivals = arrivals
        self._incoming = incoming
        self._acceptance = acceptance

    async def move(
        self, target: AssociationTarget, level: Level, keys: Values, *, destination: str
    ) -> Retrieved:
        """Let a modality send to an application entity that it knows, ourselves perhaps.

        Raises
        ------
        RemoteError, DeadlineExceededError
            If there is no association, or it ends first.
        """
        identifier = await self._queries.encode(_complete(level, keys))
        sop_class_uid = PATIENT_ROOT_MOVE if level is Level.PATIENT else STUDY_ROOT_MOVE
        with self._arrivals.watch(target.calling_ae_title) as watch:

            def keep_alive(association: DimseAssociation) -> None:
                # Some modalities say nothing before they have sent everything.
                watch.on_arrival = association.touch

            result = await move(
                target,
                sop_class_uid,
                identifier,
                destination=destination,
                message_id=watch.message_id,
                on_open=keep_alive,
            )
            return Retrieved(result, tuple(watch.public_ids))

    async def get(
        self,
        target: AssociationTarget,
        level: Level,
        keys: Values,
        *,
        sop_class_uids: Sequence[str] = (),
    ) -> Retrieved:
        """Let a modality send over the association of the request.

        An association has no room for all SOP classes. If instances are left that could not be
        sent, the other classes have their turn.

        Parameters
        ----------
        sop_class_uids
            What will come; empty if nobody knows.

        Raises
        ------
        RemoteError, DeadlineExceededError
            If there is no association, or it ends first.
        """
        identifier = await self._queries.encode(_complete(level, keys))
        sop_class_uid = PATIENT_ROOT_GET if level is Level.PATIENT else STUDY_ROOT_GET
        handler = _GetHandler(self._incoming)
        syntaxes = self._choose_syntaxes(is_short=bool(sop_class_uids))
        total = 0
        result = RetrieveResult(Status.SUCCESS)
        for batch in self._iter_batches(sop_class_uids):
            storage = [(uid, syntaxes) for uid in batch]
            result = await get(target, sop_class_uid, identifier, storage=storage, handler=handler)
            total = max(total, result.completed + result.failed)
            if len(handler.public_ids) >= total and _is_about_instances(result):
                result = replace(result, status=Status.SUCCESS, failed=0)
            if result.is_complete or not _is_about_instances(result):
                break
        # The peer may count as sent what we did not take.
        result = replace(result, failed=max(result.failed, len(handler.refused)))
        return Retrieved(result, tuple(handler.public_ids))

    def _choose_syntaxes(self, *, is_short: bool) -> tuple[str, ...]:
        """Choose what to propose for each SOP class, so that the request does not grow too long."""
        accepted = self._acceptance.transfer_syntaxes
        chosen = tuple(uid for uid in accepted if is_short or uid in _COMMON_SYNTAXES)
        # The standard demands this one of everybody (PS3.5 §10.1).
        return chosen or tuple(accepted) or (IMPLICIT_VR_LITTLE_ENDIAN,)

    def _iter_batches(self, sop_class_uids: Sequence[str]) -> Iterator[Sequence[str]]:
        """Divide the SOP classes among associations, the usual ones first."""
        accepted = self._acceptance.storage_classes
        chosen = [uid for uid in dict.fromkeys(sop_class_uids) if uid] or [
            *(uid for uid in COMMON_STORAGE_SOP_CLASSES if uid in accepted),
            *sorted(set(accepted).difference(COMMON_STORAGE_SOP_CLASSES)),
        ]
        for start in range(0, len(chosen), GET_CONTEXTS):
            yield chosen[start : start + GET_CONTEXTS]


def _complete(level: Level, keys: Values) -> Values:
    return {**keys, QUERY_RETRIEVE_LEVEL: format_level(level)}


def _is_about_instances(result: RetrieveResult) -> bool:
    """Tell whether a retrieve has ended with some instances that could not be sent."""
    category = categorize_status(result.status)
    is_over = category in (StatusCategory.SUCCESS, StatusCategory.WARNING)
    return is_over or result.status == Status.CANNOT_PERFORM_SUBOPERATIONS


class _GetHandler:
    """Takes the instances that come during a C-GET; a `RequestHandler`.

    Attributes
    ----------
    public_ids
        What came, in the order of its arrival.
    refused
        SOP instance UIDs of what could not be stored here, not later either.
    """

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self.refused: set[str] = set()
        self.public_ids: dict[str, None] = {}

    def open_data_sink(
        self, association: DimseAssociation, context: PresentationContext, command: Command
    ) -> DataSink:
        """Collect an instance."""
        if command.command_field == CommandField.C_STORE_RQ:
            return self._incoming.open_sink(association.called_ae_title, context, command)
        return MemorySink()

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Store an instance and answer; nothing else is served."""
        command = message.command
        if command.command_field != CommandField.C_STORE_RQ:
            response = command.build_response(Status.UNRECOGNIZED_OPERATION)
        else:
            origin = build_origin(association, is_acceptor=False)
            stored = await self._incoming.store(message, origin)
            sop_instance_uid = command.affected_sop_instance_uid or ""
            if stored.public_id:
                self.public_ids[stored.public_id] = None
                self.refused.discard(sop_instance_uid)
            elif len(self.refused) < _MOST_REFUSED:
                self.refused.add(sop_instance_uid)
            response = command.build_response(stored.status, error_comment=stored.comment)
        await association.send_response(message.context.context_id, response)

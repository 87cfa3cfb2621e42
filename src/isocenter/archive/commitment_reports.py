"""Storage commitment as its user: requests that are sent, reports that come, and what may go then.

References
----------
PS3.4 Annex J; Orthanc REST: storage commitment (behaviour manual §26)
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from isocenter.archive.deletion import Deleter
from isocenter.archive.early_reports import EarlyReportHandler
from isocenter.archive.outgoing import Outgoing
from isocenter.archive.workers import Workers
from isocenter.clock import now_us
from isocenter.dicom.commitment_reports import CommitmentReport, build_commitment_request
from isocenter.dicom.levels import Level
from isocenter.dimse.requestor import AssociationTarget
from isocenter.errors import BadSequenceError, RemoteError, UnknownItemError
from isocenter.index.commitment_reports import (
    StoredCommitment,
    add_commitment,
    delete_commitment,
    find_instances_of_uids,
    lock_commitment,
    lookup_commitment,
    update_commitment,
)
from isocenter.scu.commitment import COMMITMENT_SYNTAXES, request_commitment

__all__ = ["MOST_REFERENCES", "CommitmentReports", "CommitmentState", "CommittedInstance"]

MOST_REFERENCES = 30_000
"""So many instances may be named in one request."""

_log = logging.getLogger(__name__)

_PENDING, _SUCCESS, _FAILURE = "Pending", "Success", "Failure"
_PROCESSING_FAILURE = 0x0110
_PAGE = 1_000

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class CommittedInstance:
    """An instance for which commitment is asked.

    Attributes
    ----------
    public_id
        Of the instance here; empty if it was named by its UIDs.
    """

    sop_class_uid: str
    sop_instance_uid: str
    public_id: str = ""

    @property
    def reference(self) -> tuple[str, str]:
        """What the remote modality knows of it."""
        return self.sop_class_uid, self.sop_instance_uid


@dataclass(frozen=True, slots=True)
class CommitmentState:
    """How a request stands.

    Attributes
    ----------
    status
        ``Pending``, ``Success`` or ``Failure``.
    kept, failed
        What was reported; empty while it is pending.
    """

    remote_aet: str
    status: str
    kept: tuple[tuple[str, str], ...]
    failed: tuple[tuple[tuple[str, str], int], ...]


class CommitmentReports:
    """Asks for storage commitment and keeps what is reported, durably.

    Parameters
    ----------
    kept
        Most requests that are remembered (option ``StorageCommitmentReportsSize``).
    """

    def __init__(
        self, workers: Workers, outgoing: Outgoing, deleter: Deleter, *, kept: int
    ) -> None:
        self._workers = workers
        self._outgoing = outgoing
        self._deleter = deleter
        self._kept = kept

    async def list_instances(self, public_ids: Sequence[str]) -> list[CommittedInstance]:
        """List the instances at and below some resources.

        Raises
        ------
        UnknownResourceError
            If one of the resources does not exist.
        """
        plan = await self._outgoing.plan(public_ids)
        return await self.identify(plan.instances)

    async def identify(self, instances: Sequence[str]) -> list[CommittedInstance]:
        """Find the DICOM identifiers of instances; those that are gone are left out."""
        found: list[CommittedInstance] = []
        for start in range(0, len(instances), _PAGE):
            page = await self._outgoing.find(instances[start : start + _PAGE])
            found += (
                CommittedInstance(one.sop_class_uid, one.sop_instance_uid, one.public_id)
                for one in page.values()
            )
        return found

    async def ask(
        self,
        target: AssociationTarget,
        transaction_uid: str,
        instances: Sequence[CommittedInstance],
    ) -> None:
        """Ask a remote modality to keep instances.

        The request is on disk before it is sent, so that no report comes too early. If it cannot be
        sent, nothing of it stays, unless it was reported on already.

        Raises
        ------
        RemoteError, DeadlineExceededError
            If the request is not accepted.
        """
        document = {
            "References": [[*one.reference, one.public_id] for one in instances],
            "Kept": [],
            "Failed": [],
        }
        new = StoredCommitment(target.called_ae_title, _PENDING, _encode(document).decode())
        add = partial(add_commitment, new=new, kept=self._kept, now_us=now_us())
        await self._workers.write(lambda tx: add(tx, transaction_uid))
        references = [one.reference for one in instances]
        requests = await self._workers.run(_build_requests, transaction_uid, references)
        handler = EarlyReportHandler(self.receive, self._workers)
        try:
            await request_commitment(target, requests.__getitem__, handler=handler)
        except RemoteError:
            if await self._workers.write(lambda tx: _withdraw(tx, transaction_uid)):
                raise

    async def receive(self, report: CommitmentReport, *, remote_aet: str) -> bool:
        """Note a report.

        Only the one that was asked may report, and only once: what it keeps may be deleted here.

        Returns
        -------
        bool
            False if nobody waits for it, or not from this modality.
        """

        def change(tx: Any) -> bool:
            stored = lock_commitment(tx, report.transaction_uid)
            if stored is None or not _is_asked(stored, remote_aet):
                return False
            if stored.status == _PENDING:
                update_commitment(tx, report.transaction_uid, _apply(stored, report))
            return True

        is_known = await self._workers.write(change)
        extra = {"remote_aet": remote_aet, "kept": len(report.kept), "failed": len(report.failed)}
        if is_known:
            _log.info("a storage commitment is reported", extra=extra)
        else:
            _log.warning("a storage commitment is reported for which nobody asked", extra=extra)
        return is_known

    async def get(self, transaction_uid: str) -> CommitmentState:
        """Tell how a request stands.

        Raises
        ------
        UnknownItemError
            If there is none, or it was forgotten.
        """
        stored, document = await self._read(transaction_uid)
        return CommitmentState(
            stored.remote_aet,
            stored.status,
            tuple((one[0], one[1]) for one in document["Kept"]),
            tuple(((one[0], one[1]), one[2]) for one in document["Failed"]),
        )

    async def _read(self, transaction_uid: str) -> tuple[StoredCommitment, dict[str, Any]]:
        stored = await self._workers.read_long(lambda tx: lookup_commitment(tx, transaction_uid))
        if stored is None:
            raise UnknownItemError(
                f"No storage commitment transaction with UID: {transaction_uid[:100]}"
            )
        return stored, _decode(stored.document)

    async def remove(self, transaction_uid: str) -> None:
        """Delete the instances here that the remote modality keeps.

        Of those that were named by their UIDs only such go of which there is one.

        Raises
        ------
        UnknownItemError
            If there is no such request.
        BadSequenceError
            If not all of it is kept.
        """
        stored, document = await self._read(transaction_uid)
        if stored.status != _SUCCESS:
            raise BadSequenceError(
                "Cannot remove DICOM instances after failure in storage commitment transaction: "
                f"{transaction_uid}"
            )
        public_ids = [one[2] for one in document["References"] if one[2]]
        named = [(one[0], one[1]) for one in document["References"] if not one[2]]
        for start in range(0, len(named), _PAGE):
            page = named[start : start + _PAGE]
            uids = [uid for _, uid in page]
            found = await self._workers.read_long(partial(_find_uids, uids=uids))
            for reference in page:
                candidates = found.get(reference, [])
                public_ids += candidates if len(candidates) == 1 else []
        await self._deleter.delete_many([(Level.INSTANCE, public_id) for public_id in public_ids])


def _find_uids(tx: Any, *, uids: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    return find_instances_of_uids(tx, uids)


def _build_requests(
    transaction_uid: str, references: Sequence[tuple[str, str]]
) -> dict[str, bytes]:
    return {
        uid: build_commitment_request(transaction_uid, references, transfer_syntax_uid=uid)
        for uid in COMMITMENT_SYNTAXES
    }


def _withdraw(tx: Any, transaction_uid: str) -> bool:
    """Forget a request that failed; false if a report has come nevertheless."""
    stored = lock_commitment(tx, transaction_uid)
    if stored is not None and stored.status != _PENDING:
        return False
    delete_commitment(tx, transaction_uid)
    return True


def _is_asked(stored: StoredCommitment, remote_aet: str) -> bool:
    return stored.remote_aet.strip().upper() == remote_aet.strip().upper()


def _apply(stored: StoredCommitment, report: CommitmentReport) -> StoredCommitment:
    """Enter a report; what was asked for and is not mentioned counts as failed."""
    document = _decode(stored.document)
    asked = [(one[0], one[1]) for one in document["References"]]
    failed = dict(report.failed)
    reported = set(report.kept)
    mentioned = reported | failed.keys()
    failed |= {one: _PROCESSING_FAILURE for one in asked if one not in mentioned}
    kept = [one for one in dict.fromkeys(asked) if one in reported and one not in failed]
    document["Kept"] = [list(one) for one in kept]
    document["Failed"] = [[*one, reason] for one, reason in failed.items()]
    status = _FAILURE if failed else _SUCCESS
    return replace(stored, status=status, document=_encode(document).decode())

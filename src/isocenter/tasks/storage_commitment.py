"""The job kind ``StorageCommitmentScp``: check instances, and report to who asked for it.

References
----------
PS3.4 §J.3.3; Orthanc REST: job types (behaviour manual §17), storage commitment (§26)
"""

import logging
from collections.abc import AsyncIterator, Sequence

from isocenter.archive.commitment import Commitment, Reference, check_references
from isocenter.archive.modalities import Calling, Modalities
from isocenter.archive.workers import Workers
from isocenter.dicom.commitment_data import build_report
from isocenter.dimse.requestor import AssociationTarget
from isocenter.errors import BadJobStateError, ServerError
from isocenter.jobs.records import Apply, FailedItem, Job, NewJob, Step
from isocenter.scu.event_report import send_event_report
from isocenter.tasks.retries import RetryPolicy, is_transient

__all__ = ["StorageCommitmentKind", "build_commitment_job"]

_log = logging.getLogger(__name__)

_KIND = "StorageCommitmentScp"
_SUCCESS, _FAILURES = 1, 2


def build_commitment_job(
    modality: str,
    transaction_uid: str,
    references: Sequence[tuple[str, str]],
    *,
    remote_ae_title: str,
    remote_ip: str,
    called_ae_title: str,
) -> NewJob:
    """Build a job that answers a request for storage commitment.

    Parameters
    ----------
    modality
        Symbolic name of who asked.
    remote_ip
        Where the request came from.
    called_ae_title
        Title by which it called us.
    """
    arguments = {
        "Modality": modality,
        "TransactionUid": transaction_uid,
        "References": [list(reference) for reference in references],
        "CalledAet": called_ae_title,
    }
    content = {
        "CalledAet": called_ae_title,
        "Description": "",
        "RemoteAet": remote_ae_title,
        "RemoteIp": remote_ip,
        "TransactionUid": transaction_uid,
    }
    return NewJob(_KIND, arguments, content, destination=modality)


class StorageCommitmentKind:
    """Reports once, on an association of its own; tries again while nobody can be reached.

    What is kept is looked up anew for each attempt, so a report is never older than its sending.
    """

    name = _KIND

    def __init__(
        self, workers: Workers, modalities: Modalities, calling: Calling, policy: RetryPolicy
    ) -> None:
        self._workers = workers
        self._modalities = modalities
        self._calling = calling
        self._policy = policy

    async def run(self, job: Job) -> AsyncIterator[Step]:
        """Check and report (see `JobKind.run`)."""
        references = [Reference(*pair) for pair in job.arguments["References"]]
        commitment = await check_references(self._workers, references)
        modality = await self._modalities.get_known(job.arguments["Modality"])
        target = self._calling.build_target(modality)
        try:
            await _report(target, job.arguments["TransactionUid"], commitment)
        except ServerError as error:
            yield self._build_retry_step(job, error)
            return
        _log.info(
            "a storage commitment is reported",
            extra={
                "remote_aet": target.called_ae_title,
                "kept": len(commitment.kept),
                "failed": len(commitment.failed),
            },
        )
        yield Step(progress=100, is_last=True)

    def _build_retry_step(self, job: Job, error: ServerError) -> Step:
        attempts = int((job.checkpoint or {}).get("Attempts", 0)) + 1
        if attempts > self._policy.count or not is_transient(error):
            raise error
        delay_s = self._policy.get_delay_s(attempts)
        return Step({"Attempts": attempts}, retry_after_s=delay_s)

    def abandon(self, job: Job) -> Apply | None:  # noqa: ARG002 - the port's signature
        """Leave nothing: there is nothing in the database (see `JobKind.abandon`)."""
        return None

    def build_retry(self, job: Job, failed: list[FailedItem]) -> NewJob:  # noqa: ARG002
        """Refuse: a report has no items (see `JobKind.build_retry`)."""
        raise BadJobStateError("a report of storage commitment has no failed items")


async def _report(target: AssociationTarget, transaction_uid: str, commitment: Commitment) -> None:
    event_type = _FAILURES if commitment.failed else _SUCCESS

    def encode(transfer_syntax_uid: str) -> bytes:
        return build_report(
            transaction_uid,
            commitment.kept,
            commitment.failed,
            transfer_syntax_uid=transfer_syntax_uid,
        )

    await send_event_report(target, event_type, encode)

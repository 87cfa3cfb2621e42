"""The storage commitment service: N-ACTION.

References
----------
PS3.4 §J.3.2; PS3.7 §10.1.4; Orthanc: storage commitment (behaviour manual §26)
"""

import logging
from collections.abc import Callable

from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.config.remote_modalities import RemoteModality
from isocenter.dicom.commitment_data import parse_commitment_request
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.status import Status
from isocenter.errors import RequestError, ServerError
from isocenter.jobs.engine import Engine
from isocenter.scp.answering import read_identifier
from isocenter.scu.event_report import STORAGE_COMMITMENT_INSTANCE
from isocenter.tasks.storage_commitment import build_commitment_job

__all__ = ["CommitmentSCP"]

_log = logging.getLogger(__name__)

_REQUEST_STORAGE_COMMITMENT = 1

FindCaller = Callable[[str, str], tuple[str, RemoteModality]]
"""Finds symbolic name and modality of an AE title at an address, or raises `UnknownItemError`."""


class CommitmentSCP:
    """Takes requests for storage commitment; a job checks and reports.

    Parameters
    ----------
    find_caller
        Finds whom to report to.
    """

    def __init__(
        self, jobs: Engine, find_caller: FindCaller, settings: Settings, workers: Workers
    ) -> None:
        self._jobs = jobs
        self._find_caller = find_caller
        self._settings = settings
        self._workers = workers

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Serve an N-ACTION request; with a success the job is on disk."""
        status = await self._accept(association, message)
        response = message.command.build_response(status)
        await association.send_response(message.context.context_id, response)

    async def _accept(self, association: DimseAssociation, message: Message) -> Status:
        command = message.command
        if command.requested_sop_instance_uid != STORAGE_COMMITMENT_INSTANCE:
            return Status.NO_SUCH_SOP_INSTANCE
        if command.action_type_id != _REQUEST_STORAGE_COMMITMENT:
            return Status.NO_SUCH_ACTION_TYPE
        calling = association.calling_ae_title
        try:
            data_set = await read_identifier(message, self._settings, self._workers)
            transaction_uid, references = parse_commitment_request(data_set)
            name, modality = self._find_caller(calling, association.peer.host)
            job = build_commitment_job(
                name,
                transaction_uid,
                references,
                remote_ae_title=modality.ae_title,
                remote_ip=association.peer.host,
                called_ae_title=association.called_ae_title,
            )
            await self._jobs.submit(job)
        except ServerError as error:
            is_wrong = isinstance(error, RequestError)
            _log.warning(
                "a storage commitment is refused",
                extra={"remote_aet": calling, "reason": error.message},
            )
            return Status.INVALID_ARGUMENT_VALUE if is_wrong else Status.PROCESSING_FAILURE
        return Status.SUCCESS

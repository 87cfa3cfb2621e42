"""Reports of storage commitment: N-EVENT-REPORT.

References
----------
PS3.4 §J.3.3; PS3.7 §10.1.1; Orthanc: storage commitment (behaviour manual §26)
"""

import logging

from isocenter.archive.commitment_reports import CommitmentReports
from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.dicom.commitment_reports import parse_commitment_report
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.status import Status
from isocenter.errors import RequestError, ServerError
from isocenter.scp.answering import read_identifier
from isocenter.scu.event_report import STORAGE_COMMITMENT_INSTANCE

__all__ = ["EventReportSCU"]

_log = logging.getLogger(__name__)

_EVENT_TYPES = (1, 2)


class EventReportSCU:
    """Takes the reports on requests of ours."""

    def __init__(self, reports: CommitmentReports, settings: Settings, workers: Workers) -> None:
        self._reports = reports
        self._settings = settings
        self._workers = workers

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Serve an N-EVENT-REPORT request; with a success the report is on disk."""
        status = await self._receive(association, message)
        response = message.command.build_response(status)
        await association.send_response(message.context.context_id, response)

    async def _receive(self, association: DimseAssociation, message: Message) -> Status:
        command = message.command
        if command.affected_sop_instance_uid != STORAGE_COMMITMENT_INSTANCE:
            return Status.NO_SUCH_SOP_INSTANCE
        if command.event_type_id not in _EVENT_TYPES:
            return Status.NO_SUCH_EVENT_TYPE
        calling = association.calling_ae_title
        try:
            data_set = await read_identifier(message, self._settings, self._workers)
            report = parse_commitment_report(data_set)
            is_known = await self._reports.receive(report, remote_aet=calling)
        except ServerError as error:
            _log.warning(
                "a report of a storage commitment is refused",
                extra={"remote_aet": calling, "reason": error.message},
            )
            is_wrong = isinstance(error, RequestError)
            return Status.INVALID_ARGUMENT_VALUE if is_wrong else Status.PROCESSING_FAILURE
        return Status.SUCCESS if is_known else Status.INVALID_ARGUMENT_VALUE

"""Reports of storage commitment that come over the association of their own request.

References
----------
PS3.4 §J.3.3 (a provider may report on the same association), PS3.7 §10.1.1
"""

from collections.abc import Awaitable
from typing import Protocol

from isocenter.archive.workers import Workers
from isocenter.dicom.commitment_reports import CommitmentReport, parse_commitment_report
from isocenter.dicom.data_sets import get_layout, read_data_set
from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.data_sink import DataSink, MemorySink, Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import PresentationContext
from isocenter.dimse.status import Status
from isocenter.errors import RequestError, ServerError

__all__ = ["EarlyReportHandler"]

_LARGEST_REPORT_BYTES = 8 * 1024 * 1024
_EVENT_TYPES = (1, 2)


class _Receive(Protocol):
    """Notes a report, see `CommitmentReports.receive`."""

    def __call__(self, report: CommitmentReport, *, remote_aet: str) -> Awaitable[bool]: ...


class EarlyReportHandler:
    """Takes N-EVENT-REPORT and nothing else; a `RequestHandler`."""

    def __init__(self, receive: _Receive, workers: Workers) -> None:
        self._receive = receive
        self._workers = workers

    def open_data_sink(
        self,
        association: DimseAssociation,  # noqa: ARG002 - the port's signature
        context: PresentationContext,  # noqa: ARG002
        command: Command,  # noqa: ARG002
    ) -> DataSink:
        """Keep the report in memory."""
        return MemorySink(limit_bytes=_LARGEST_REPORT_BYTES)

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Serve a request; with a success the report is on disk."""
        is_report = message.command.command_field == CommandField.N_EVENT_REPORT_RQ
        status = Status.UNRECOGNIZED_OPERATION
        if is_report:
            status = await self._answer(message, association.called_ae_title)
        response = message.command.build_response(status)
        await association.send_response(message.context.context_id, response)

    async def _answer(self, message: Message, remote_aet: str) -> Status:
        if message.command.event_type_id not in _EVENT_TYPES:
            return Status.NO_SUCH_EVENT_TYPE
        if not isinstance(message.sink, MemorySink):
            return Status.INVALID_ARGUMENT_VALUE
        content = message.sink.get_content()
        layout = get_layout(message.context.transfer_syntax_uid)

        def parse() -> CommitmentReport:
            return parse_commitment_report(
                read_data_set(content, layout, default_encoding="Latin1")
            )

        try:
            report = await self._workers.run(parse)
            is_known = await self._receive(report, remote_aet=remote_aet)
        except RequestError:
            return Status.INVALID_ARGUMENT_VALUE
        except ServerError:
            return Status.PROCESSING_FAILURE
        return Status.SUCCESS if is_known else Status.INVALID_ARGUMENT_VALUE

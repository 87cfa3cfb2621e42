"""The storage service: C-STORE.

References
----------
PS3.4 Annex B, PS3.7 §9.1.1; Orthanc: C-STORE (behaviour manual §25.2)
"""

import logging

from isocenter.archive.ingest import Ingest
from isocenter.archive.received import Origin, OriginKind
from isocenter.archive.uploads import Uploads
from isocenter.archive.workers import Workers
from isocenter.dicom.file_meta import build_file_meta
from isocenter.dicom.reader import FileSummary
from isocenter.dimse.commands import Command
from isocenter.dimse.data_sink import DataSink, Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import PresentationContext
from isocenter.dimse.status import Status
from isocenter.errors import MissingError, ReadOnlyError, RequestError, ServerError

__all__ = ["StorageSCP", "StoreSink"]

_log = logging.getLogger(__name__)

_SATURATED_BYTES = 4 * 1024 * 1024
_SOP_INSTANCE_UID = 0x00080018


class _RefusedError(Exception):
    """The data set cannot be stored, for a reason that has its own status."""

    def __init__(self, status: Status, details: str) -> None:
        super().__init__(details)
        self.details = details
        self.status = status


class StoreSink:
    """Collects the data set of a C-STORE behind a file meta header of our own.

    Large data sets go to a temporary file while they arrive, so memory stays bounded whatever
    their size.
    """

    def __init__(self, uploads: Uploads, workers: Workers) -> None:
        self._workers = workers
        self.content = uploads.new_content()

    @property
    def is_saturated(self) -> bool:
        """Whether enough waits for the disk."""
        return self.content.pending_bytes > _SATURATED_BYTES

    def write(self, fragment: memoryview | bytes) -> None:
        """Take the next part of the data set."""
        self.content.append(bytes(fragment))

    async def drain(self) -> None:
        """Wait until what was taken is on disk."""
        await self._workers.run(self.content.flush_pending)

    def close(self) -> None:
        """Drop what was not stored."""
        self.content.close()


class _DiscardingSink:
    """Takes a data set that will be refused, without keeping any of it."""

    is_saturated = False

    def write(self, fragment: memoryview | bytes) -> None:
        """Drop a fragment."""

    async def drain(self) -> None:
        """Return at once."""

    def close(self) -> None:
        """Nothing is left to release."""


class StorageSCP:
    """Stores what remote modalities send.

    Parameters
    ----------
    is_read_only
        Refuse everything (option ``ReadOnly``).
    """

    def __init__(
        self, ingest: Ingest, uploads: Uploads, workers: Workers, *, is_read_only: bool = False
    ) -> None:
        self._is_read_only = is_read_only
        self._ingest = ingest
        self._uploads = uploads
        self._workers = workers

    def open_sink(
        self, association: DimseAssociation, context: PresentationContext, command: Command
    ) -> DataSink:
        """Prepare to receive the data set of a C-STORE request."""
        if self._is_read_only:
            return _DiscardingSink()
        sink = StoreSink(self._uploads, self._workers)
        sink.write(
            build_file_meta(
                command.affected_sop_class_uid or "",
                command.affected_sop_instance_uid or "",
                transfer_syntax_uid=context.transfer_syntax_uid,
                source_ae_title=association.calling_ae_title,
            )
        )
        return sink

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Store the instance of a C-STORE request and answer it."""
        status: Status
        comment: str | None
        if self._is_read_only:
            status, comment = Status.NOT_AUTHORIZED, ReadOnlyError.message
        elif isinstance(message.sink, StoreSink):
            status, comment = await self._store(association, message.command, message.sink)
        else:
            status, comment = Status.CANNOT_UNDERSTAND, "no data set"
        response = message.command.build_response(status, error_comment=comment)
        await association.send_response(message.context.context_id, response)

    async def _store(
        self, association: DimseAssociation, command: Command, sink: StoreSink
    ) -> tuple[Status, str | None]:
        origin = Origin(
            OriginKind.DICOM_PROTOCOL,
            remote_ip=association.peer.host,
            remote_aet=association.calling_ae_title,
            called_aet=association.called_ae_title,
        )
        try:
            await self._ingest.store(
                sink.content, origin, check=lambda summary: _check(command, summary)
            )
        except _RefusedError as error:
            return error.status, error.details
        except (RequestError, MissingError) as error:
            _log_refusal(origin, error)
            return Status.CANNOT_UNDERSTAND, error.details or error.message
        except ServerError as error:
            _log_refusal(origin, error)
            return Status.OUT_OF_RESOURCES, error.message
        return Status.SUCCESS, None


def _log_refusal(origin: Origin, error: ServerError) -> None:
    _log.warning(
        "a received instance was not stored",
        extra={"remote_aet": origin.remote_aet, "reason": error.message},
    )


def _check(command: Command, summary: FileSummary) -> None:
    """Compare a data set with the command that announced it (PS3.4 Table B.2-1)."""
    sop_instance_uid = summary.values.get(_SOP_INSTANCE_UID)
    if not sop_instance_uid or not summary.sop_class_uid:
        raise _RefusedError(Status.CANNOT_UNDERSTAND, "no SOP class or instance in the data set")
    announced = (command.affected_sop_class_uid, command.affected_sop_instance_uid)
    if announced != (summary.sop_class_uid, sop_instance_uid):
        raise _RefusedError(
            Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, "the data set is not what was announced"
        )

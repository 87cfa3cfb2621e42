"""Instances that come by C-STORE, whoever opened the association: collected, stored, answered.

References
----------
PS3.4 Annex B, PS3.7 §9.1.1; Orthanc: C-STORE (behaviour manual §25.2)
"""

import logging
from dataclasses import dataclass

from isocenter.archive.arrivals import Arrivals
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

__all__ = ["DiscardingSink", "Incoming", "StoreSink", "Stored", "build_origin"]

_log = logging.getLogger(__name__)

_SATURATED_BYTES = 4 * 1024 * 1024
# Shorter fragments are joined to pieces of at least so many bytes.
_SMALL_FRAGMENT = 4096
_JOINED_BYTES = 16 * 1024
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
    their size and whatever the size of their fragments. Of one that is too long, nothing is kept.

    Attributes
    ----------
    is_too_long
        Whether it was longer than one request may be.
    """

    def __init__(self, uploads: Uploads, workers: Workers) -> None:
        self._workers = workers
        self._limit_bytes = uploads.limit_bytes
        self._size_bytes = 0
        # Each piece of the content has a price of its own, so small ones are joined.
        self._joined = bytearray()
        self.content = uploads.new_content()
        self.is_too_long = False

    @property
    def is_saturated(self) -> bool:
        """Whether enough waits for the disk."""
        return not self.is_too_long and self.content.pending_bytes > _SATURATED_BYTES

    def write(self, fragment: memoryview | bytes) -> None:
        """Take the next part of the data set."""
        self._size_bytes += len(fragment)
        if self._size_bytes > self._limit_bytes:
            self.is_too_long = True
            self.close()
        elif len(fragment) >= _SMALL_FRAGMENT:
            self.finish()
            self.content.append(bytes(fragment))
        else:
            self._joined += fragment
            if len(self._joined) >= _JOINED_BYTES:
                self.finish()

    def finish(self) -> None:
        """Pass on what is still held back; before the content is used."""
        if self._joined:
            self.content.append(bytes(self._joined))
            self._joined.clear()

    async def drain(self) -> None:
        """Wait until what was taken is on disk."""
        await self._workers.run(self.content.flush_pending)

    def close(self) -> None:
        """Drop what was not stored."""
        self._joined.clear()
        self.content.close()


class DiscardingSink:
    """Takes a data set that will be refused, without keeping any of it."""

    is_saturated = False

    def write(self, fragment: memoryview | bytes) -> None:
        """Drop a fragment."""

    async def drain(self) -> None:
        """Return at once."""

    def close(self) -> None:
        """Nothing is left to release."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of an instance.

    Attributes
    ----------
    public_id
        Its identifier; empty if it was not stored.
    """

    status: Status
    comment: str | None = None
    public_id: str = ""


class Incoming:
    """Takes the instances of C-STORE requests into the archive.

    Parameters
    ----------
    arrivals
        Told of each instance that is stored.
    is_read_only
        Refuse everything (option ``ReadOnly``).
    """

    def __init__(
        self,
        ingest: Ingest,
        uploads: Uploads,
        workers: Workers,
        arrivals: Arrivals,
        *,
        is_read_only: bool = False,
    ) -> None:
        self._is_read_only = is_read_only
        self._ingest = ingest
        self._uploads = uploads
        self._workers = workers
        self._arrivals = arrivals

    def open_sink(
        self, source_ae_title: str, context: PresentationContext, command: Command
    ) -> DataSink:
        """Prepare to receive a data set.

        Parameters
        ----------
        source_ae_title
            Who sends it.
        """
        if self._is_read_only:
            return DiscardingSink()
        sink = StoreSink(self._uploads, self._workers)
        sink.write(
            build_file_meta(
                command.affected_sop_class_uid or "",
                command.affected_sop_instance_uid or "",
                transfer_syntax_uid=context.transfer_syntax_uid,
                source_ae_title=source_ae_title,
            )
        )
        return sink

    async def store(self, message: Message, origin: Origin) -> Stored:
        """Store what a sink of `open_sink` has received."""
        if self._is_read_only:
            return Stored(Status.NOT_AUTHORIZED, ReadOnlyError.message)
        if not isinstance(message.sink, StoreSink):
            return Stored(Status.CANNOT_UNDERSTAND, "no data set")
        if message.sink.is_too_long:
            return Stored(Status.OUT_OF_RESOURCES, "the data set is too long")
        message.sink.finish()
        stored = await self._store(message.command, message.sink, origin)
        if stored.public_id:
            self._arrivals.note(message.command, stored.public_id)
        return stored

    async def _store(self, command: Command, sink: StoreSink, origin: Origin) -> Stored:
        try:
            outcome = await self._ingest.store(
                sink.content, origin, check=lambda summary: _check(command, summary)
            )
        except _RefusedError as error:
            return Stored(error.status, error.details)
        except (RequestError, MissingError) as error:
            _log_refusal(origin, error)
            return Stored(Status.CANNOT_UNDERSTAND, error.details or error.message)
        except ServerError as error:
            _log_refusal(origin, error)
            return Stored(Status.OUT_OF_RESOURCES, error.message)
        _log.debug(
            "a received instance is stored",
            extra={"instance": outcome.public_ids.instance, "outcome": outcome.status.value},
        )
        return Stored(Status.SUCCESS, public_id=outcome.public_ids.instance)


def build_origin(association: DimseAssociation, *, is_acceptor: bool = True) -> Origin:
    """Say where the instances of an association come from.

    Parameters
    ----------
    is_acceptor
        The other side has opened the association.
    """
    titles = (association.calling_ae_title, association.called_ae_title)
    remote_aet, called_aet = titles if is_acceptor else titles[::-1]
    return Origin(
        OriginKind.DICOM_PROTOCOL,
        remote_ip=association.peer.host,
        remote_aet=remote_aet,
        called_aet=called_aet,
    )


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

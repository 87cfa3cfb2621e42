"""Stored instances as remote modalities want them: in order, and as data sets without file headers.

References
----------
Orthanc REST: POST /modalities/{id}/store (behaviour manual §23.2, §28.3)
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec

from isocenter.archive.content import StoredFile
from isocenter.archive.file_buffers import FileBuffers, iter_stored
from isocenter.archive.packaging import list_sorted_instances
from isocenter.archive.pieces import stream_pieces
from isocenter.archive.received import Content
from isocenter.archive.workers import Workers
from isocenter.dicom.file_meta import read_file_meta
from isocenter.dicom.levels import Level
from isocenter.dicom.reader import read_summary
from isocenter.dimse.sending import DataSource
from isocenter.errors import (
    BackendError,
    BadFileFormatError,
    BadRangeError,
    CorruptedBlobError,
    LimitError,
)
from isocenter.index.packaging import read_package, resolve_resources
from isocenter.index.port import Transaction
from isocenter.index.records import Attachment
from isocenter.index.sending import OutgoingRow, find_outgoing, get_combination
from isocenter.scu.storage_session import Combination
from isocenter.scu.store import InstanceToStore
from isocenter.storage.compression import iter_decompressed
from isocenter.storage.port import Buffer, Storage
from isocenter.storage.spool import SpooledContent

__all__ = ["Outgoing", "OutgoingFile", "OutgoingInstance", "OutgoingPlan"]

# File meta information beyond this is not looked through for the start of the data set.
_LONGEST_META_BYTES = 1 << 20
# Files that are read in one hop to a thread.
_HASHED_AT_ONCE = 16

_decode = msgspec.json.Decoder(dict[str, str]).decode

_SOP_INSTANCE_UID = 0x00080018
_WRONG_SIZE = "a stored file does not have the size it was stored with"

OutgoingInstance = OutgoingRow


@dataclass(frozen=True, slots=True)
class OutgoingPlan:
    """What is to be sent.

    Attributes
    ----------
    resources
        Levels and public identifiers, as they were asked for.
    instances
        Public identifiers in the order of sending.
    digests
        The MD5 sum of each; empty if none was kept.
    combinations
        Their SOP classes and transfer syntaxes, each pair once, as far as the index knows them.
    """

    resources: tuple[tuple[Level, str], ...] = ()
    instances: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    combinations: tuple[Combination, ...] = ()


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """The file of an instance.

    Attributes
    ----------
    content
        ``None`` if it is too large to be read at once.
    stream
        Reads it in pieces, as often as it is called; raises `CorruptedBlobError` if it is damaged.
    """

    size_bytes: int
    content: bytes | bytearray | None
    stream: Callable[[], AsyncIterator[bytes]]


class Outgoing:
    """Finds what is to be sent and opens it."""

    def __init__(self, workers: Workers, storage: Storage, buffers: FileBuffers) -> None:
        self._workers = workers
        self._storage = storage
        self._buffers = buffers

    async def plan(self, public_ids: Sequence[str]) -> OutgoingPlan:
        """List the instances at and below some resources, series by series.

        Raises
        ------
        UnknownResourceError
            If one of the resources does not exist.
        """
        if not public_ids:
            return OutgoingPlan()

        def query(tx: Transaction) -> OutgoingPlan:
            resolved = resolve_resources(tx, public_ids)
            package = read_package(tx, [key for _, _, key in resolved])
            instances = list_sorted_instances(package)
            combinations = (get_combination(_decode(i.metadata or "{}")) for i in instances)
            return OutgoingPlan(
                tuple((level, public_id) for level, public_id, _ in resolved),
                tuple(instance.public_id for instance in instances),
                tuple(instance.attachment.uncompressed_md5 for instance in instances),
                tuple(pair for pair in dict.fromkeys(combinations) if all(pair)),
            )

        return await self._workers.read_long(query)

    async def sum_up(self, plan: OutgoingPlan, read: dict[str, str]) -> dict[str, str]:
        """Tell what makes out the content of each instance of a plan: its MD5 sum.

        Where none was kept, the file is read; if that is not possible, it is what is new with each
        storing. What was deleted meanwhile has an empty one.

        Parameters
        ----------
        read
            What was found in files before, and is found now.
        """
        digests = dict(zip(plan.instances, plan.digests, strict=True))
        without = [public_id for public_id, digest in digests.items() if not digest]
        unread = [public_id for public_id in without if public_id not in read]
        for start in range(0, len(unread), _HASHED_AT_ONCE):
            found = await self.find(unread[start : start + _HASHED_AT_ONCE])
            read |= await self._workers.run(self._hash_files, list(found.values()))
        return digests | {public_id: read.get(public_id, "") for public_id in without}

    def _hash_files(self, instances: Sequence[OutgoingInstance]) -> dict[str, str]:
        return {one.public_id: self._hash_file(one.attachment) for one in instances}

    def _hash_file(self, attachment: Attachment) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with self._storage.open_reader(attachment.attachment_uuid) as reader:
                pieces: Iterator[Buffer] = iter_stored(reader)
                if attachment.compression:
                    pieces = iter_decompressed(pieces, attachment.uncompressed_size)
                for piece in pieces:
                    digest.update(piece)
        except (BackendError, LimitError):
            return attachment.attachment_uuid
        return digest.hexdigest()

    async def find(self, public_ids: Sequence[str]) -> dict[str, OutgoingInstance]:
        """Find instances that can be sent, by their identifiers; those without a file are left out.

        What the index does not know of an instance is read from its file; one that cannot be read
        is left out as well.
        """
        found = await self._workers.read_long(lambda tx: find_outgoing(tx, public_ids))
        unclear = [i for i in found.values() if not (i.sop_class_uid and i.transfer_syntax_uid)]
        for instance in unclear:
            identified = await self._workers.run(self._identify, instance)
            if identified is None:
                del found[instance.public_id]
            else:
                found[instance.public_id] = identified
        return found

    async def open(self, instance: OutgoingInstance) -> InstanceToStore:
        """Open an instance for one C-STORE; a small file is read at once, a large one in pieces.

        Only the file meta information is looked at.

        Raises
        ------
        MissingFileError
            If the file has vanished from the storage.
        CorruptedBlobError
            If the stored bytes are damaged; for a large file perhaps only while it is read.
        """
        return InstanceToStore(
            instance.sop_class_uid,
            instance.sop_instance_uid,
            instance.transfer_syntax_uid,
            await self._open_data_set(instance.attachment),
        )

    async def open_file(self, instance: OutgoingInstance) -> OutgoingFile:
        """Open the whole file of an instance; a small one is read at once.

        Raises
        ------
        MissingFileError, CorruptedBlobError
            As for `open`.
        """
        attachment = instance.attachment
        size = attachment.uncompressed_size
        file = StoredFile(self._workers, self._storage, attachment, 0, buffers=self._buffers)
        with _naming_damage():
            content = await file.read_small(0, size)
        if content is not None and len(content) != size:
            raise CorruptedBlobError(_WRONG_SIZE)
        return OutgoingFile(size, content, lambda: _stream(file, 0, size))

    async def open_content(self, content: Content) -> InstanceToStore:
        """Open a file that is not stored; the caller closes it afterwards.

        Raises
        ------
        BadFileFormatError
            If it is no DICOM file, or says not what it is.

        References
        ----------
        Orthanc REST: POST /modalities/{id}/store-straight (behaviour manual §23.2)
        """
        if isinstance(content, bytes):
            return await self._workers.run(_describe_content, content, content)
        return await self._workers.run(self._describe_spooled, content)

    async def check_content(self, content: Content) -> None:
        """Make sure that a file which is not stored is one of DICOM.

        Raises
        ------
        BadFileFormatError
            If it is not, or says not what it is.
        """
        await self._workers.run(_check_content, content)

    def _describe_spooled(self, content: SpooledContent) -> InstanceToStore:
        with content.buffer() as buffer:
            described = _describe_content(buffer, b"")
            start = read_file_meta(buffer).data_set_offset
        return replace(described, data_set=self._stream_spooled(content, start))

    async def _stream_spooled(self, content: SpooledContent, start: int) -> AsyncIterator[bytes]:
        async for piece in stream_pieces(self._workers, content.iter_chunks()):
            if start < len(piece):
                yield piece[start:]
            start = max(0, start - len(piece))

    async def _open_data_set(self, attachment: Attachment) -> DataSource:
        size = attachment.uncompressed_size
        file = StoredFile(self._workers, self._storage, attachment, 0, buffers=self._buffers)
        with _naming_damage():
            content = await file.read_small(0, size)
        if content is not None:
            return memoryview(content)[_find_data_set(content) :]
        start = await self._workers.run(self._read_start, attachment)
        return _stream(file, start, size)

    def _read_start(self, attachment: Attachment) -> int:
        stop = min(_LONGEST_META_BYTES, attachment.uncompressed_size)
        with self._buffers.open_start(attachment, stop) as buffer:
            return _find_data_set(buffer)

    def _identify(self, instance: OutgoingInstance) -> OutgoingInstance | None:
        try:
            with self._buffers.open_whole(instance.attachment) as buffer:
                summary = read_summary(buffer, wanted=frozenset())
        except (BadFileFormatError, CorruptedBlobError):
            return None
        if not summary.sop_class_uid:
            return None
        return OutgoingRow(
            instance.public_id,
            instance.sop_instance_uid,
            summary.sop_class_uid,
            summary.transfer_syntax_uid,
            instance.attachment,
        )


def _describe_content(buffer: Buffer, content: bytes) -> InstanceToStore:
    summary = read_summary(buffer, wanted=frozenset())
    sop_instance_uid = summary.values.get(_SOP_INSTANCE_UID, "")
    if not summary.sop_class_uid or not sop_instance_uid:
        raise BadFileFormatError("the file lacks its SOP class or its SOP instance UID")
    start = read_file_meta(content).data_set_offset if content else 0
    return InstanceToStore(
        summary.sop_class_uid,
        sop_instance_uid,
        summary.transfer_syntax_uid,
        memoryview(content)[start:],
    )


def _check_content(content: Content) -> None:
    if isinstance(content, bytes):
        _describe_content(content, b"")
        return
    with content.buffer() as buffer:
        _describe_content(buffer, b"")


def _find_data_set(buffer: Buffer) -> int:
    try:
        return read_file_meta(buffer).data_set_offset
    except BadFileFormatError as error:
        raise CorruptedBlobError("a stored file does not begin like a DICOM file") from error


async def _stream(file: StoredFile, start: int, stop: int) -> AsyncIterator[bytes]:
    """Read a data set in pieces; a file that is too short must not pass for a whole one."""
    left = stop - start
    with _naming_damage():
        async for piece in file.stream(start, stop):
            left -= len(piece)
            yield piece
    if left:
        raise CorruptedBlobError(_WRONG_SIZE)


@contextmanager
def _naming_damage() -> Iterator[None]:
    """Say that a file is damaged, not that somebody asked for a wrong range."""
    try:
        yield
    except BadRangeError as error:
        raise CorruptedBlobError(_WRONG_SIZE) from error

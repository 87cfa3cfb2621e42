"""Contents on their way into the storage area, and from one stored form to the other."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from isocenter.archive.received import Content
from isocenter.errors import CorruptedBlobError, ServerError, UnknownItemError, VerificationError
from isocenter.index.records import Attachment
from isocenter.storage.compression import iter_compressed, iter_decompressed
from isocenter.storage.names import new_uuid
from isocenter.storage.port import Buffer, Storage
from isocenter.storage.spool import SpooledContent

__all__ = ["Blobs"]

_log = logging.getLogger(__name__)

_AS_IS = 0
_ZLIB = 1
_DIGEST_THREADS = 2
_PIECE = 256 * 1024

_Buffer = TypeVar("_Buffer", bound=Buffer)


class Blobs:
    """Writes contents durably under fresh names. Blocks; thread-safe.

    Parameters
    ----------
    has_md5
        Compute and keep MD5 sums (option ``StoreMD5ForAttachments``).
    is_compressed
        Keep new contents compressed (option ``StorageCompression``).
    """

    def __init__(self, storage: Storage, *, has_md5: bool, is_compressed: bool) -> None:
        self._storage = storage
        self._has_md5 = has_md5
        self._is_compressed = is_compressed
        self._digests = ThreadPoolExecutor(_DIGEST_THREADS, thread_name_prefix="digest")

    def close(self) -> None:
        """Release the threads; nothing is written afterwards."""
        self._digests.shutdown(wait=True)

    def write(self, content: Content, content_type: int) -> Attachment:
        """Write a content; it is durable when this returns.

        Raises
        ------
        FullStorageError
            If no room is left; nothing stays behind.
        """
        name = new_uuid()
        if self._is_compressed:
            return self._write_compressed(content, content_type, name)
        if isinstance(content, SpooledContent):
            size, md5 = content.size_bytes, self.md5(content.iter_chunks())
            content.move_to(self._storage, name)
        else:
            size = len(content)
            # The sum is computed while the disk works.
            digest = self._digests.submit(self.md5, (content,))
            self._storage.write(name, content)
            md5 = digest.result()
        return Attachment(content_type, name, _AS_IS, size, size, md5, md5)

    def _write_compressed(self, content: Content, content_type: int, name: str) -> Attachment:
        size = content.size_bytes if isinstance(content, SpooledContent) else len(content)
        uncompressed_md5 = self.md5(_iter_chunks(content))
        stored_size, stored_md5 = self._write_pieces(
            name, iter_compressed(_iter_chunks(content), size), has_md5=self._has_md5
        )
        return Attachment(
            content_type, name, _ZLIB, stored_size, size, stored_md5, uncompressed_md5
        )

    def _write_pieces(
        self,
        name: str,
        pieces: Iterable[Buffer],
        *,
        has_md5: bool,
        check: Callable[[], None] = lambda: None,
    ) -> tuple[int, str]:
        """Write a blob; give its size and MD5 sum. What ``check`` raises at the end undoes it."""
        digest = hashlib.md5(usedforsecurity=False)
        size = 0
        with self._storage.open_writer(name) as writer:
            for piece in pieces:
                size += len(piece)
                if has_md5:
                    digest.update(piece)
                writer.write(piece)
            check()
            writer.commit()
        return size, digest.hexdigest() if has_md5 else ""

    def md5(self, chunks: Iterable[Buffer]) -> str:
        """Compute the MD5 sum of a content, empty if none is wanted."""
        return _md5(chunks) if self._has_md5 else ""

    def convert(self, attachment: Attachment) -> Attachment:
        """Write the other form of a stored content, compressed or as it is, under a new name.

        Raises
        ------
        MissingFileError
            If the content has vanished.
        CorruptedBlobError
            If it is not what was stored; nothing stays behind.
        """
        name = new_uuid()
        expected = attachment.uncompressed_md5
        digest = hashlib.md5(usedforsecurity=False)

        def check() -> None:
            if expected and digest.hexdigest() != expected:
                message = "the content is not what was stored"
                raise CorruptedBlobError(message)

        is_packed = attachment.compression != _AS_IS
        with self._open_content(attachment) as content:
            pieces: Iterable[bytes] = _observe(content, digest.update)
            if not is_packed:
                pieces = iter_compressed(pieces, attachment.uncompressed_size)
            size, md5 = self._write_pieces(name, pieces, has_md5=bool(expected), check=check)
        return Attachment(
            attachment.content_type,
            name,
            _AS_IS if is_packed else _ZLIB,
            size,
            attachment.uncompressed_size,
            md5,
            expected,
        )

    def verify(self, attachment: Attachment) -> None:
        """Compare a stored content, and its stored form, with their MD5 sums.

        Raises
        ------
        VerificationError
            If they differ.
        UnknownItemError
            If no sum was computed when it was stored.
        MissingFileError
            If the content has vanished.
        """
        if not attachment.uncompressed_md5:
            message = "no MD5 sum was recorded when the content was stored"
            raise UnknownItemError(message)
        try:
            with self._open_content(attachment) as content:
                is_same = _md5(content) == attachment.uncompressed_md5
            with self._open_stored(attachment) as stored:
                is_same = is_same and _md5(stored) == attachment.compressed_md5
        except CorruptedBlobError as error:
            raise VerificationError(error.details) from error
        if not is_same:
            raise VerificationError

    @contextmanager
    def _open_stored(self, attachment: Attachment) -> Iterator[Iterator[bytes]]:
        """Open the stored form of a content, as an iterator over pieces."""
        with self._storage.open_reader(attachment.attachment_uuid) as reader:
            yield (
                reader.read_at(start, min(_PIECE, reader.size_bytes - start))
                for start in range(0, reader.size_bytes, _PIECE)
            )

    @contextmanager
    def _open_content(self, attachment: Attachment) -> Iterator[Iterator[bytes]]:
        """Open a content, as an iterator over pieces."""
        with self._open_stored(attachment) as stored:
            if attachment.compression == _AS_IS:
                yield stored
            else:
                yield iter_decompressed(stored, attachment.uncompressed_size)

    def discard(self, attachment_uuid: str) -> None:
        """Remove a blob that no row will name; a failure leaves it to reconciliation."""
        try:
            self._storage.remove(attachment_uuid)
        except ServerError:
            _log.warning("cannot remove an unused file", exc_info=True)


def _md5(chunks: Iterable[Buffer]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _observe(pieces: Iterable[_Buffer], observe: Callable[[_Buffer], None]) -> Iterator[_Buffer]:
    for piece in pieces:
        observe(piece)
        yield piece


def _iter_chunks(content: Content) -> Iterable[Buffer]:
    return content.iter_chunks() if isinstance(content, SpooledContent) else (content,)

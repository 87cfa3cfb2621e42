"""Uploads that hold DICOM files in other formats: ZIP archives and gzip.

References
----------
Orthanc REST: POST /instances (behaviour manual §8.1)
"""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, cast

from isal import isal_zlib

from isocenter.archive.received import Content
from isocenter.errors import BadFileFormatError, BodyTooLargeError, ServerError
from isocenter.storage.port import Buffer
from isocenter.storage.spool import SpooledContent

__all__ = ["ZipEntry", "is_zip", "iter_gzip", "iter_zip", "iter_zip_entries", "read_start"]

_PIECE = 256 * 1024
# The window size that makes zlib expect a gzip header (zlib manual, inflateInit2).
_GZIP_WINDOW = 31
_MOST_ENTRIES = 200_000
# What the directory may take for each of them, names included.
_ENTRY_BYTES = 160
_DICOMDIR = "DICOMDIR"
# What `zipfile` and its decompressors raise for damaged or unknown archives. Of these an OSError is
# bzip2's; those of our own files come as errors of the server.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    EOFError,
    OSError,
    ValueError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")

# The type hints of isal call this class an instance.
_DamageError = cast(type[Exception], isal_zlib.error)


def is_zip(start: bytes) -> bool:
    """Tell whether bytes begin like a ZIP archive, an empty one included."""
    return start.startswith(_ZIP_STARTS)


def read_start(content: Content) -> bytes:
    """Read the first bytes, to recognize a format by its magic number."""
    if isinstance(content, bytes):
        return content[:4]
    with content.buffer() as buffer:
        return bytes(buffer[:4])


def iter_gzip(pieces: Iterable[Buffer], *, limit: int) -> Iterator[bytes]:
    """Decompress gzip, piece by piece; several members follow each other (RFC 1952 §2.2).

    Parameters
    ----------
    pieces
        The body in pieces of any size.
    limit
        The most bytes that may come out.

    Raises
    ------
    BadFileFormatError
        If it is not gzip, or ends too early.
    BodyTooLargeError
        If more bytes come out than allowed.
    """
    size = 0
    try:
        for out in _inflate(_cut(pieces)):
            size += len(out)
            if size > limit:
                raise BodyTooLargeError(f"more than {limit} bytes when decompressed")
            yield out
    except _DamageError as error:
        message = "the body is not valid gzip"
        raise BadFileFormatError(message) from error


def _inflate(pieces: Iterable[bytes]) -> Iterator[bytes]:
    inflater = isal_zlib.decompressobj(wbits=_GZIP_WINDOW)
    for piece in pieces:
        pending = piece
        while True:
            if inflater.eof:
                # Writers to tapes and blocks fill up with zeros after a member.
                pending = pending.lstrip(b"\0")
                if not pending:
                    break
                inflater = isal_zlib.decompressobj(wbits=_GZIP_WINDOW)
            out = inflater.decompress(pending, _PIECE)
            if out:
                yield out
            pending = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            # A full piece may mean that more output waits although all input is consumed.
            if not pending and len(out) < _PIECE:
                break
    if not inflater.eof:
        message = "the gzip body ends too early"
        raise BadFileFormatError(message)


def _cut(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    for piece in pieces:
        for start in range(0, len(piece), _PIECE):
            yield bytes(piece[start : start + _PIECE])


def iter_zip_entries(
    archive: IO[bytes], *, limit: int, new_content: Callable[[], SpooledContent]
) -> Iterator[SpooledContent]:
    """Unpack the files of a ZIP archive one after another; folders and DICOMDIR are skipped.

    Parameters
    ----------
    archive
        A seekable file, open while the iterator is in use.
    limit
        The most bytes of one entry.
    new_content
        Makes the empty content of an entry; the caller closes it.

    Raises
    ------
    BadFileFormatError
        If the archive is damaged or encrypted.
    BodyTooLargeError
        If an entry is larger than allowed.
    """
    for entry in iter_zip(archive, limit=limit, new_content=new_content):
        if isinstance(entry.content, SpooledContent):
            yield entry.content
        else:
            raise entry.content


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """A file of a ZIP archive.

    Attributes
    ----------
    name
        As in the archive, to be shown only.
    content
        Closed by who gets it; or why the file cannot be unpacked.
    """

    name: str
    content: SpooledContent | ServerError


def iter_zip(
    archive: IO[bytes], *, limit: int, new_content: Callable[[], SpooledContent]
) -> Iterator[ZipEntry]:
    """Unpack the files of a ZIP archive as `iter_zip_entries`, but go on after damaged ones.

    Raises
    ------
    BadFileFormatError, BodyTooLargeError
        If the directory of the archive cannot be read, or is too large.
    """
    with _zip_errors():
        _check_directory(archive)
        opened = zipfile.ZipFile(archive)
    with opened:
        for entry in opened.infolist():
            name = entry.filename
            # Not `ZipInfo.is_dir`, which fails for an empty name.
            if name.endswith("/") or PurePosixPath(name).name.upper() == _DICOMDIR:
                continue
            content = new_content()
            try:
                with _zip_errors():
                    _unpack_entry(opened, entry, limit, content)
            except (BadFileFormatError, BodyTooLargeError) as error:
                yield ZipEntry(name, error)
            else:
                yield ZipEntry(name, content)


@contextmanager
def _zip_errors() -> Iterator[None]:
    try:
        yield
    except _ZIP_ERRORS as error:
        message = "the ZIP archive is damaged or compressed in an unknown way"
        raise BadFileFormatError(message) from error
    except RuntimeError as error:
        message = "the ZIP archive is encrypted"
        raise BadFileFormatError(message) from error


def _unpack_entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int, content: SpooledContent
) -> None:
    """Copy an entry; what the directory of the archive says of its size is not believed."""
    try:
        with archive.open(entry) as file:
            while piece := file.read(_PIECE):
                content.append(piece)
                content.flush_pending()
                _check_size(content, limit)
    except BaseException:
        content.close()
        raise


def _check_size(content: SpooledContent, limit: int) -> None:
    if content.size_bytes > limit:
        raise BodyTooLargeError(f"an entry has more than {limit} bytes")


def _check_directory(archive: IO[bytes]) -> None:
    """Look at the size of the directory before all of it is read into memory.

    The number of entries is not believed alone: what is read is the size of the directory.
    """
    end = zipfile._EndRecData(archive)  # type: ignore[attr-defined]
    if end is None:
        return
    entries, size = end[zipfile._ECD_ENTRIES_TOTAL], end[zipfile._ECD_SIZE]  # type: ignore[attr-defined]
    if entries > _MOST_ENTRIES or size > _MOST_ENTRIES * _ENTRY_BYTES:
        raise BodyTooLargeError(f"the archive has more than {_MOST_ENTRIES} entries")

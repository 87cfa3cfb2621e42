"""The ZIP format, written front to back without seeking.

Entries whose sizes are known beforehand have complete headers; a streamed one is followed by a data
descriptor. ZIP64 records are written where a number does not fit otherwise, and only there.

References
----------
APPNOTE.TXT 6.3.10 (ZIP File Format Specification), §4.3, §4.4, §4.5.3
"""

import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from isal import isal_zlib

from isocenter.storage.port import Buffer

__all__ = ["ZipEntry", "ZipFormat", "compress_entry"]

_LEVEL = 1
_RAW_DEFLATE = -15
_DEFLATED = 8
_VERSION = 20
_VERSION_ZIP64 = 45
_UTF8_NAME = 1 << 11
_HAS_DESCRIPTOR = 1 << 3
_FULL_16 = 0xFFFF
_FULL_32 = 0xFFFFFFFF
_ZIP64_EXTRA = 1
# The first day that the format knows (§4.4.6).
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
_LAST_YEAR = 2107
# Regular file, readable by all; the upper half of the external attributes is the mode of Unix.
_ATTRIBUTES = 0o100644 << 16
_MADE_BY_UNIX = 3 << 8

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_DESCRIPTOR_64 = struct.Struct("<IIQQ")
_END = struct.Struct("<IHHHHIIH")
_END_64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR_64 = struct.Struct("<IIQI")


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One file of an archive.

    Attributes
    ----------
    name
        Path with slashes.
    crc, compressed_size, size
        Of the content; 0 while they are not known.
    offset
        Where its header begins in the archive.
    modified_at
        Seconds since 1970, UTC.
    """

    name: str
    crc: int
    compressed_size: int
    size: int
    offset: int = 0
    modified_at: int = 0
    is_streamed: bool = False

    @property
    def _needs_zip64(self) -> bool:
        return max(self.size, self.compressed_size) >= _FULL_32


def compress_entry(name: str, content: Buffer, *, modified_at: int = 0) -> tuple[ZipEntry, bytes]:
    """Deflate a whole content.

    Returns
    -------
    tuple
        The entry, not yet placed, and the deflated bytes.
    """
    deflater = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
    data = deflater.compress(content) + deflater.flush()
    crc = isal_zlib.crc32(content)
    return ZipEntry(name, crc, len(data), len(content), modified_at=modified_at), data


class ZipFormat:
    """Writes an archive; gives the bytes, which the caller puts one after the other.

    Parameters
    ----------
    offset
        Number of bytes that were written before, by another object.
    entries
        The entries in them.
    """

    def __init__(self, offset: int = 0, entries: Iterable[ZipEntry] = ()) -> None:
        self._offset = offset
        self._entries = list(entries)

    @property
    def offset(self) -> int:
        """Number of bytes written so far."""
        return self._offset

    @property
    def entries(self) -> list[ZipEntry]:
        """The entries written so far."""
        return list(self._entries)

    @property
    def count(self) -> int:
        """Number of entries written so far."""
        return len(self._entries)

    def list_from(self, start: int) -> list[ZipEntry]:
        """List the entries behind the first ``start`` ones."""
        return self._entries[start:]

    def add(self, entry: ZipEntry, data: bytes) -> Iterator[bytes]:
        """Write an entry whose content was deflated before (`compress_entry`)."""
        placed = replace(entry, offset=self._offset)
        self._entries.append(placed)
        yield self._count(_format_local(placed))
        yield self._count(data)

    def stream(
        self, name: str, chunks: Iterable[Buffer], *, modified_at: int = 0
    ) -> Iterator[bytes]:
        """Write an entry while its content is read; memory stays bounded."""
        entry = ZipEntry(name, 0, 0, 0, self._offset, modified_at=modified_at, is_streamed=True)
        yield self._count(_format_local(entry))
        deflater = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
        crc = size = compressed_size = 0
        for chunk in chunks:
            crc = isal_zlib.crc32(chunk, crc)
            size += len(chunk)
            if piece := deflater.compress(chunk):
                compressed_size += len(piece)
                yield self._count(piece)
        piece = deflater.flush()
        compressed_size += len(piece)
        yield self._count(piece)
        yield self._count(_DESCRIPTOR_64.pack(0x08074B50, crc, compressed_size, size))
        self._entries.append(replace(entry, crc=crc, compressed_size=compressed_size, size=size))

    def _count(self, data: bytes) -> bytes:
        self._offset += len(data)
        return data

    def finish(self) -> Iterator[bytes]:
        """Write the directory, which ends the archive (§4.3.12 to §4.3.16)."""
        start = self._offset
        for entry in self._entries:
            yield self._count(_format_central(entry))
        size, count = self._offset - start, len(self._entries)
        if max(start, size) >= _FULL_32 or count >= _FULL_16:
            end_64 = self._offset
            yield self._count(
                _END_64.pack(
                    0x06064B50,
                    _END_64.size - 12,
                    _MADE_BY_UNIX | _VERSION_ZIP64,
                    _VERSION_ZIP64,
                    0,
                    0,
                    count,
                    count,
                    size,
                    start,
                )
            )
            yield self._count(_LOCATOR_64.pack(0x07064B50, 0, end_64, 1))
        count_16 = min(count, _FULL_16)
        yield self._count(
            _END.pack(
                0x06054B50,
                0,
                0,
                count_16,
                count_16,
                min(size, _FULL_32),
                min(start, _FULL_32),
                0,
            )
        )


def _format_local(entry: ZipEntry) -> bytes:
    """Write the header in front of a content (§4.3.7)."""
    name = entry.name.encode()
    time_, date = _format_time(entry.modified_at)
    extra, size, compressed_size = b"", entry.size, entry.compressed_size
    is_zip64 = entry.is_streamed or entry._needs_zip64
    if is_zip64:
        # A streamed entry says so beforehand, so that its descriptor has numbers of 64 bits.
        extra = struct.pack("<HHQQ", _ZIP64_EXTRA, 16, size, compressed_size)
        size = compressed_size = _FULL_32
    header = _LOCAL.pack(
        0x04034B50,
        _VERSION_ZIP64 if is_zip64 else _VERSION,
        _get_flags(entry),
        _DEFLATED,
        time_,
        date,
        entry.crc,
        compressed_size,
        size,
        len(name),
        len(extra),
    )
    return header + name + extra


def _format_central(entry: ZipEntry) -> bytes:
    """Write the record of an entry in the directory (§4.3.12)."""
    name = entry.name.encode()
    time_, date = _format_time(entry.modified_at)
    large: list[int] = []

    def fit(number: int) -> int:
        if number >= _FULL_32:
            large.append(number)
            return _FULL_32
        return number

    # The order of the numbers in the extra field (§4.5.3).
    size, compressed_size, offset = map(fit, (entry.size, entry.compressed_size, entry.offset))
    extra = b""
    if large:
        extra = struct.pack(f"<HH{len(large)}Q", _ZIP64_EXTRA, 8 * len(large), *large)
    version = _VERSION_ZIP64 if large or entry.is_streamed else _VERSION
    header = _CENTRAL.pack(
        0x02014B50,
        _MADE_BY_UNIX | version,
        version,
        _get_flags(entry),
        _DEFLATED,
        time_,
        date,
        entry.crc,
        compressed_size,
        size,
        len(name),
        len(extra),
        0,
        0,
        0,
        _ATTRIBUTES,
        offset,
    )
    return header + name + extra


def _get_flags(entry: ZipEntry) -> int:
    flags = 0 if entry.name.isascii() else _UTF8_NAME
    return flags | _HAS_DESCRIPTOR if entry.is_streamed else flags


def _format_time(seconds: int) -> tuple[int, int]:
    """Write a time as MS-DOS does, in steps of two seconds (§4.4.6)."""
    parts = time.gmtime(seconds)[:6]
    if parts < _FIRST_DATE or parts[0] > _LAST_YEAR:
        parts = _FIRST_DATE
    year, month, day, hour, minute, second = parts
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day

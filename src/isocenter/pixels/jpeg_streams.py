"""JPEG and JPEG-LS streams, walked through from the first marker to the last one.

References
----------
ISO/IEC 10918-1 §B (markers), §A.2 (order of data units), §G.1 (progressive scans);
ISO/IEC 10918-5 (JFIF), ISO/IEC 10918-6 §6.5.3 (Adobe marker segment); ISO/IEC 14495-1 §C
"""

import re
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from isocenter.errors import BadFileFormatError

__all__ = ["JPEGComponent", "JPEGScan", "JPEGStream", "read_jpeg_stream"]

_START = b"\xff\xd8"
_MARKER = 0xFF
# Frame headers; C4, C8 and CC between them mean something else. F7 is that of JPEG-LS.
_SOF = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_SOF_LS = 0xF7
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_SOI, _EOI, _SOS, _DRI = 0xD8, 0xD9, 0xDA, 0xDD
_APP0, _APP14 = 0xE0, 0xEE
_RST = range(0xD0, 0xD8)
# Without a length: TEM and RST0 to RST7.
_BARE = frozenset({0x01, *_RST})
_JFIF, _ADOBE = b"JFIF\0", b"Adobe"
_RGB_IDENTIFIERS = tuple(b"RGB")
# What ends coded data: some FF may stand in front of a marker. In the data of JPEG, FF is followed
# by 00; in those of JPEG-LS by a zero bit. Each row of FF is looked at once.
_AFTER_JPEG = re.compile(rb"(?<!\xff)\xff+[\x01-\xfe]")
_AFTER_LS = re.compile(rb"(?<!\xff)\xff+[\x80-\xfe]")
_MOST_SEGMENTS = 10_000
_MOST_RESTARTS = 4_000_000
_BLOCK_SIDE = 8
_COEFFICIENTS = 64
_DAMAGED = "a JPEG image is damaged"


@dataclass(frozen=True, slots=True)
class JPEGComponent:
    """A component of a frame: its identifier and its sampling factors."""

    identifier: int
    horizontal: int
    vertical: int


@dataclass(frozen=True, slots=True)
class JPEGScan:
    """A scan.

    Attributes
    ----------
    components
        Their identifiers.
    first, last
        Coefficients; the first number is NEAR in JPEG-LS, and the predictor in lossless JPEG.
    shift
        By how many bits the samples or coefficients are shifted to the right.
    restart_interval
        In minimum coded units; 0 if there are no restarts.
    ends
        Where its coded data are interrupted by markers: by those of restarts, and by the next one.
    """

    components: bytes
    first: int
    last: int
    shift: int
    restart_interval: int
    ends: Sequence[int]


@dataclass(frozen=True, slots=True)
class JPEGStream:
    """A stream.

    Attributes
    ----------
    marker
        Of the frame header: C0 for baseline, F7 for JPEG-LS.
    precision
        Bits of a sample.
    colors
        What the stream says of three components: ``RGB`` or ``YBR``; empty if nothing.
    """

    marker: int
    precision: int
    rows: int
    columns: int
    components: tuple[JPEGComponent, ...]
    colors: str
    scans: tuple[JPEGScan, ...]

    @property
    def near(self) -> int:
        """By how much a sample of JPEG-LS may differ."""
        return max(scan.first for scan in self.scans) if self.marker == _SOF_LS else 0

    @property
    def is_shifted(self) -> bool:
        """True if lossless JPEG has dropped low bits."""
        return self.marker in _LOSSLESS and any(scan.shift for scan in self.scans)

    def is_whole(self) -> bool:
        """Tell whether all scans and all their restart intervals are there (not for JPEG-LS).

        Decoders fill up what is missing, in silence.
        """
        return all(map(self._has_all_restarts, self.scans)) and self._has_all_scans()

    def _has_all_restarts(self, scan: JPEGScan) -> bool:
        interval = scan.restart_interval
        expected = -(-self._count_units(scan) // interval) if interval else 1
        return len(scan.ends) == expected

    def _count_units(self, scan: JPEGScan) -> int:
        """Count the minimum coded units of a scan (ISO/IEC 10918-1 §A.2)."""
        side = 1 if self.marker in _LOSSLESS else _BLOCK_SIDE
        widest = max(one.horizontal for one in self.components)
        highest = max(one.vertical for one in self.components)
        if len(scan.components) > 1:
            return -(-self.columns // (side * widest)) * -(-self.rows // (side * highest))
        [one] = [one for one in self.components if one.identifier == scan.components[0]]
        columns = -(-self.columns * one.horizontal // widest)
        rows = -(-self.rows * one.vertical // highest)
        return -(-columns // side) * -(-rows // side)

    def _has_all_scans(self) -> bool:
        """Tell whether each coefficient of each component was sent up to its last bit."""
        missing = {one.identifier: set(range(_COEFFICIENTS)) for one in self.components}
        for scan in self.scans:
            sent = range(_COEFFICIENTS)
            if self.marker in _PROGRESSIVE:
                sent = range(scan.first, scan.last + 1) if not scan.shift else range(0)
            for identifier in scan.components:
                missing[identifier].difference_update(sent)
        return not any(missing.values())


@dataclass(slots=True)
class _Findings:
    """What was read up to now."""

    frame: JPEGStream | None = None
    has_jfif: bool = False
    adobe: int | None = None
    restart_interval: int = 0
    scans: list[JPEGScan] = field(default_factory=list)


def read_jpeg_stream(data: bytes) -> JPEGStream:
    """Read all markers of a stream; what follows its end does not count.

    Raises
    ------
    BadFileFormatError
        If it is none, damaged, or cut before its end.
    """
    if not data.startswith(_START):
        raise BadFileFormatError("the content is no JPEG image")
    found = _Findings()
    position = len(_START)
    for _ in range(_MOST_SEGMENTS):
        marker, start, stop = _read_segment(data, position)
        if marker == _EOI:
            return _finish(found)
        position = stop
        if marker == _SOS:
            position = _read_scan(data, start, stop, found)
        else:
            _note(marker, data[start:stop], found)
    raise BadFileFormatError("a JPEG image has too many segments")


def _read_segment(data: bytes, position: int) -> tuple[int, int, int]:
    """Find the next marker segment: its marker, and where its parameters start and stop."""
    while position + 1 < len(data) and data[position] == _MARKER == data[position + 1]:
        position += 1
    if position + 2 > len(data):
        raise BadFileFormatError("a JPEG image is cut")
    marker = data[position + 1]
    if data[position] != _MARKER or marker in {0, _SOI}:
        raise BadFileFormatError(_DAMAGED)
    if marker in _BARE or marker == _EOI:
        return marker, position + 2, position + 2
    start = position + 4
    stop = position + 2 + int.from_bytes(data[position + 2 : start], "big")
    if stop > len(data) or start > len(data):
        raise BadFileFormatError("a JPEG image is cut")
    if stop < start:
        raise BadFileFormatError(_DAMAGED)
    return marker, start, stop


def _note(marker: int, segment: bytes, found: _Findings) -> None:
    if marker in _SOF:
        if found.frame is not None:
            raise BadFileFormatError("a JPEG image has several frames")
        found.frame = _read_frame_header(marker, segment)
    elif marker == _APP0 and segment.startswith(_JFIF):
        found.has_jfif = True
    elif marker == _APP14 and segment.startswith(_ADOBE) and len(segment) >= 12:
        found.adobe = segment[11]
    elif marker == _DRI:
        found.restart_interval = int.from_bytes(segment, "big")


def _read_frame_header(marker: int, segment: bytes) -> JPEGStream:
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise BadFileFormatError(_DAMAGED)
    precision, rows, columns, count = struct.unpack_from(">BHHB", segment)
    parts = [segment[start : start + 3] for start in range(6, 6 + 3 * count, 3)]
    components = tuple(JPEGComponent(one[0], one[1] >> 4, one[1] & 15) for one in parts)
    is_sampled = all(one.horizontal and one.vertical for one in components)
    if not is_sampled or len({one.identifier for one in components}) != count:
        raise BadFileFormatError(_DAMAGED)
    return JPEGStream(marker, precision, rows, columns, components, "", ())


def _read_scan(data: bytes, start: int, stop: int, found: _Findings) -> int:
    """Read the header of a scan, and find out where its coded data end."""
    frame, count = found.frame, data[start] if stop > start else 0
    if frame is None or not count or stop - start < 1 + 2 * count + 3:
        raise BadFileFormatError(_DAMAGED)
    components = data[start + 1 : start + 1 + 2 * count : 2]
    if not set(components) <= {one.identifier for one in frame.components}:
        raise BadFileFormatError(_DAMAGED)
    first, last, shift = data[start + 1 + 2 * count : start + 4 + 2 * count]
    ends = _find_ends(data, stop, _AFTER_LS if frame.marker == _SOF_LS else _AFTER_JPEG)
    found.scans.append(JPEGScan(components, first, last, shift & 15, found.restart_interval, ends))
    return ends[-1]


def _find_ends(data: bytes, start: int, pattern: re.Pattern[bytes]) -> Sequence[int]:
    ends = array("Q")
    for match in pattern.finditer(data, start):
        ends.append(match.start())
        marker = data[match.end() - 1]
        if marker not in _RST:
            return ends
        if marker != _RST[(len(ends) - 1) % len(_RST)]:
            raise BadFileFormatError(_DAMAGED)
        if len(ends) > _MOST_RESTARTS:
            raise BadFileFormatError(f"a JPEG image has more than {_MOST_RESTARTS} restarts")
    raise BadFileFormatError("a JPEG image is cut")


def _finish(found: _Findings) -> JPEGStream:
    frame = found.frame
    if frame is None or not found.scans:
        raise BadFileFormatError(_DAMAGED)
    return JPEGStream(
        frame.marker,
        frame.precision,
        frame.rows,
        frame.columns,
        frame.components,
        _name_colors(frame, found),
        tuple(found.scans),
    )


def _name_colors(frame: JPEGStream, found: _Findings) -> str:
    """Find what the markers say, in the order in which common decoders believe them."""
    if len(frame.components) != 3:
        return ""
    if found.has_jfif:
        return "YBR"
    if found.adobe is not None:
        return "YBR" if found.adobe else "RGB"
    is_rgb = tuple(one.identifier for one in frame.components) == _RGB_IDENTIFIERS
    return "RGB" if is_rgb else ""

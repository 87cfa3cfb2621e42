"""Builders of JPEG streams that encoders at hand do not write."""

import struct
from itertools import cycle, islice

import imagecodecs
import numpy as np

__all__ = ["build_progressive", "build_restarts", "build_segment", "insert_segment"]

_SIDE = 32
_BLOCKS = 16
_EOI = b"\xff\xd9"


def build_segment(marker: int, content: bytes) -> bytes:
    """Build a marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def insert_segment(stream: bytes, marker: int, content: bytes) -> bytes:
    """Put a marker segment behind the first marker."""
    return stream[:2] + build_segment(marker, content) + stream[2:]


def build_restarts(blocks: int = _BLOCKS) -> bytes:
    """Build a gray baseline stream of 32 rows and columns whose blocks are restart intervals.

    Each has a difference of 7 and nothing else, coded with the tables that all encoders use
    (ISO/IEC 10918-1 §K.3).
    """
    head, scan = _build_headers()
    block = int("1001111010111111", 2).to_bytes(2, "big")
    restarts = islice(cycle(range(0xD0, 0xD8)), blocks - 1)
    coded = block + b"".join(bytes((0xFF, marker)) + block for marker in restarts)
    return head + build_segment(0xDD, b"\0\1") + scan + coded + _EOI


def build_progressive() -> bytes:
    """Build a gray progressive stream of 32 rows and columns: one scan is DC, one AC."""
    head, scan = _build_headers()
    head = head.replace(b"\xff\xc0", b"\xff\xc2")
    first = scan[:-3] + b"\0\0\0" + int("100111" + 15 * "00" + "1111", 2).to_bytes(5, "big")
    second = scan[:-3] + b"\1\x3f\0" + int(16 * "1010", 2).to_bytes(8, "big")
    return head + first + second + _EOI


def _build_headers() -> tuple[bytes, bytes]:
    """Build what comes in front of a gray scan, and its header."""
    flat = bytes(imagecodecs.jpeg8_encode(np.zeros((_SIDE, _SIDE), np.uint8), 90))
    start = flat.index(b"\xff\xda")
    (length,) = struct.unpack_from(">H", flat, start + 2)
    return flat[:start], flat[start : start + 2 + length]

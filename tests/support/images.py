"""Builders of small images, chunk by chunk and without the code under test."""

import base64
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np

__all__ = ["build_data_uri", "build_jpeg", "build_pam", "build_png"]


def _build_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def build_png(size: tuple[int, int], depth: int, color: int, *rows: bytes, **more: bytes) -> bytes:
    """Build a PNG image of (columns, rows), its rows not filtered; ``more`` are chunks.

    If one of these is named ``interlaced``, the rows are those of the passes.
    """
    is_interlaced = more.pop("interlaced", None) is not None
    header = struct.pack(">IIBBBBB", *size, depth, color, 0, 0, is_interlaced)
    samples = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _build_chunk(b"IHDR", header),
            *(_build_chunk(name.encode(), data) for name, data in more.items()),
            _build_chunk(b"IDAT", samples),
            _build_chunk(b"IEND", b""),
        )
    )


def build_jpeg(color: tuple[int, ...], *, side: int = 16, **options: Any) -> bytes:
    """Build a square JPEG image of one color, of 1, 3 or 4 samples."""
    pixels = np.full((side, side, len(color)), color, np.uint8)
    return bytes(imagecodecs.jpeg8_encode(pixels.squeeze(), **options))


def build_pam(size: tuple[int, int], depth: int, largest: int, data: bytes) -> bytes:
    """Build a PAM image of (columns, rows)."""
    fields = f"WIDTH {size[0]}\nHEIGHT {size[1]}\nDEPTH {depth}\nMAXVAL {largest}\n"
    kind = "GRAYSCALE" if depth < 3 else "RGB"
    return f"P7\n{fields}TUPLTYPE {kind}\nENDHDR\n".encode() + data


def build_data_uri(kind: str, data: bytes) -> str:
    """Write bytes as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"

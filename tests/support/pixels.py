"""Builders of synthetic images in DICOM files, and a coder without processes."""

import random
import struct
from collections.abc import Mapping, Sequence

from tests.support.dicom_files import (
    CT_IMAGE_STORAGE,
    EXPLICIT_LITTLE,
    UNDEFINED,
    build_data_set,
    build_file,
    encode_element,
    encode_item,
    identifiers,
)

from isocenter.pixels.frames import FrameResult, FrameTask, recode_frame

__all__ = ["LOSSLESS", "LOSSY", "NATIVE", "InlineCoder", "build_image", "build_samples"]

_BASE = "1.2.840.10008.1.2"
NATIVE = [_BASE, f"{_BASE}.1", f"{_BASE}.2", f"{_BASE}.1.99"]
"""Transfer syntaxes without compression of pixels."""
_REVERSIBLE = ["4.57", "4.70", "4.80", "4.90", "4.201", "4.202", "5"]
LOSSLESS = [f"{_BASE}.{suffix}" for suffix in _REVERSIBLE]
"""Transfer syntaxes whose compression loses nothing."""
LOSSY = [f"{_BASE}.{suffix}" for suffix in ["4.50", "4.51", "4.81", "4.91", "4.203"]]
"""The others that can be written."""


class InlineCoder:
    """Codes frames in this process."""

    def recode(self, task: FrameTask) -> FrameResult:
        """Code a frame."""
        return recode_frame(task)


def build_samples(count: int, *, bits: int = 16, signed: bool = False, size: int = 2) -> bytes:
    """Build samples like those of an image: mostly smooth, all bits in use."""
    generator = random.Random(count)
    least = -(1 << bits - 1) if signed else 0
    most = least + (1 << bits) - 1
    values = [least, most]
    value = (least + most) // 2
    for _ in range(count - 2):
        value = min(most, max(least, value + generator.randint(-9, 9) * (1 << max(0, bits - 8))))
        values.append(value)
    kind = {1: "b", 2: "h", 4: "i"}[size]
    return struct.pack(f"<{count}{kind if signed else kind.upper()}", *values)


def build_image(
    pixels: bytes | Sequence[bytes],
    *,
    rows: int = 12,
    columns: int = 20,
    allocated: int = 16,
    stored: int | None = None,
    is_signed: bool = False,
    samples: int = 1,
    photometric: str = "MONOCHROME2",
    planar: int | None = None,
    frames: int | None = None,
    syntax: str = EXPLICIT_LITTLE,
    elements: Mapping[int, tuple[str, bytes | str]] | None = None,
    name: str = "1.2.3.1.1.1",
) -> bytes:
    """Build a file; pixels in pieces are fragments, the first of them the offset table."""
    stored = stored or allocated
    order = ">" if syntax == f"{_BASE}.2" else "<"

    def number(value: int) -> tuple[str, bytes]:
        return "US", struct.pack(f"{order}H", value)

    header: dict[int, tuple[str, bytes | str]] = {
        0x00080016: ("UI", CT_IMAGE_STORAGE),
        **identifiers(instance=name),
        0x00280002: number(samples),
        0x00280004: ("CS", photometric),
        0x00280010: number(rows),
        0x00280011: number(columns),
        0x00280100: number(allocated),
        0x00280101: number(stored),
        0x00280102: number(stored - 1),
        0x00280103: number(int(is_signed)),
        **(elements or {}),
    }
    if planar is not None:
        header[0x00280006] = number(planar)
    if frames is not None:
        header[0x00280008] = ("IS", str(frames))
    data_set = build_data_set(header, syntax=syntax)
    if isinstance(pixels, bytes):
        data_set += encode_element(0x7FE00010, "OW", pixels, syntax=syntax)
    else:
        items = b"".join(encode_item(piece) for piece in pixels) + b"\xfe\xff\xdd\xe0\0\0\0\0"
        data_set += encode_element(0x7FE00010, "OB", items, length=UNDEFINED)
    return build_file(data_set, syntax=syntax)

"""Which transfer syntaxes can be read and written, and what each can hold.

References
----------
PS3.5 §8.2 (Tables 8.2.1-1 to 8.2.4-1), §A.4; PS3.3 §C.7.6.1.1.5.1 (methods of lossy compression)
"""

from dataclasses import dataclass
from enum import Enum

from isocenter.dicom.transfer_syntaxes import (
    DEFLATED,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from isocenter.errors import TranscodingError
from isocenter.pixels.formats import LARGEST_FRAME_BYTES, PixelFormat

__all__ = [
    "JPEG_BASELINE",
    "NATIVE",
    "Codec",
    "Family",
    "can_decode",
    "can_encode",
    "check_format",
    "check_target",
    "get_encoder",
    "is_lossy_target",
    "lookup_family",
]

NATIVE = frozenset(
    {IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, DEFLATED}
)
"""Transfer syntaxes without compression of pixels."""

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_MONOCHROME = frozenset({"MONOCHROME1", "MONOCHROME2"})
_PALETTE = "PALETTE COLOR"


class Family(Enum):
    """A coding of frames."""

    NATIVE = "native"
    JPEG = "JPEG"
    JPEG_LOSSLESS = "JPEG, lossless"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"
    HTJ2K = "High-Throughput JPEG 2000"
    RLE = "RLE"


@dataclass(frozen=True, slots=True)
class Codec:
    """A transfer syntax that can be written.

    Attributes
    ----------
    method
        Lossy Image Compression Method; empty if nothing is lost.
    most_bits
        Most bits stored of a sample.
    allocated
        Bits allocated of a sample.
    """

    family: Family
    method: str = ""
    most_bits: int = 16
    allocated: frozenset[int] = frozenset({8, 16})

    @property
    def is_lossy(self) -> bool:
        """True if decoded frames differ from the original."""
        return bool(self.method)


def _uid(suffix: str) -> str:
    return f"{IMPLICIT_VR_LITTLE_ENDIAN}.{suffix}"


_ENCODERS = {
    JPEG_BASELINE: Codec(Family.JPEG, "ISO_10918_1", 8, frozenset({8})),
    _JPEG_EXTENDED: Codec(Family.JPEG, "ISO_10918_1", 12),
    _uid("4.57"): Codec(Family.JPEG_LOSSLESS),
    _uid("4.70"): Codec(Family.JPEG_LOSSLESS),
    _uid("4.80"): Codec(Family.JPEG_LS),
    _uid("4.81"): Codec(Family.JPEG_LS, "ISO_14495_1"),
    _uid("4.90"): Codec(Family.JPEG_2000),
    _uid("4.91"): Codec(Family.JPEG_2000, "ISO_15444_1"),
    _uid("4.201"): Codec(Family.HTJ2K),
    _uid("4.202"): Codec(Family.HTJ2K),
    _uid("4.203"): Codec(Family.HTJ2K, "ISO_15444_15"),
    _uid("5"): Codec(Family.RLE, most_bits=32, allocated=frozenset({8, 16, 32})),
}

# Progressive JPEG is retired: read, but not written.
_FAMILIES = {
    **dict.fromkeys(NATIVE, Family.NATIVE),
    **dict.fromkeys(map(_uid, ("4.52", "4.53", "4.54", "4.55", "4.56")), Family.JPEG),
    **{uid: codec.family for uid, codec in _ENCODERS.items()},
}


def lookup_family(uid: str) -> Family | None:
    """Find how the frames of a transfer syntax are coded; ``None`` if we cannot read them."""
    return _FAMILIES.get(uid)


def can_decode(uid: str) -> bool:
    """Tell whether frames of a transfer syntax can be read."""
    return uid in _FAMILIES


def can_encode(uid: str) -> bool:
    """Tell whether files can be written in a transfer syntax."""
    return uid in NATIVE or uid in _ENCODERS


def is_lossy_target(uid: str) -> bool:
    """Tell whether files lose something when they are brought into a transfer syntax."""
    return uid in _ENCODERS and _ENCODERS[uid].is_lossy


def get_encoder(uid: str) -> Codec:
    """Find a codec to write with.

    Raises
    ------
    TranscodingError
        If there is none, as for videos.
    """
    codec = _ENCODERS.get(uid)
    if codec is None:
        raise TranscodingError(f"files cannot be brought into the transfer syntax {uid}")
    return codec


def check_format(fmt: PixelFormat) -> None:
    """Refuse what is no image of ours before any codec sees it.

    Raises
    ------
    TranscodingError
        If the pixels are of no kind that is supported.
    """
    if not (0 < fmt.rows <= 65535 and 0 < fmt.columns <= 65535) or fmt.samples not in {1, 3}:
        raise TranscodingError("images have 1 to 65535 rows and columns, and 1 or 3 samples")
    if fmt.bits_allocated not in {8, 16, 32} or not 0 < fmt.bits_stored <= fmt.bits_allocated:
        raise TranscodingError("8, 16 or 32 bits must be allocated to a sample")
    if fmt.frame_bytes > LARGEST_FRAME_BYTES:
        raise TranscodingError(f"a frame may have {LARGEST_FRAME_BYTES} bytes at most")


def check_target(codec: Codec, fmt: PixelFormat) -> None:
    """Refuse to write what a transfer syntax cannot hold.

    Raises
    ------
    TranscodingError
        If it cannot.
    """
    if fmt.bits_allocated not in codec.allocated or fmt.bits_stored > codec.most_bits:
        raise TranscodingError(
            f"{codec.family.value} cannot hold {fmt.bits_stored} of {fmt.bits_allocated} bits"
        )
    if codec.is_lossy:
        _check_lossy(codec, fmt)
    if codec.family is Family.HTJ2K and fmt.is_color and not fmt.photometric.startswith("RGB"):
        raise TranscodingError(f"{codec.family.value} is written in gray and RGB only")


def _check_lossy(codec: Codec, fmt: PixelFormat) -> None:
    if fmt.photometric == _PALETTE:
        raise TranscodingError("entries of a palette cannot be compressed with losses")
    if fmt.high_bit != fmt.bits_stored - 1:
        raise TranscodingError("only samples in the low bits can be compressed with losses")
    if codec.family is not Family.JPEG:
        return
    if fmt.is_signed:
        raise TranscodingError("JPEG with losses cannot hold signed samples")
    if fmt.is_color and fmt.bits_allocated != 8:
        raise TranscodingError("JPEG with losses holds colors of 8 bits only")
    if not fmt.is_color and fmt.photometric not in _MONOCHROME:
        raise TranscodingError(f"JPEG with losses cannot hold {fmt.photometric}")

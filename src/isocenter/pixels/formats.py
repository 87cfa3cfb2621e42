"""How the samples of a file are kept in memory and what they mean.

References
----------
PS3.3 §C.7.6.3.1 (Image Pixel), PS3.5 §8.1.1 (cells)
"""

import msgspec

__all__ = ["LARGEST_FRAME_BYTES", "PixelFormat"]

LARGEST_FRAME_BYTES = 512 * 1024 * 1024
"""Of one frame that is not compressed."""


class PixelFormat(msgspec.Struct, frozen=True, array_like=True):
    """What a file says of its pixels.

    Attributes
    ----------
    samples
        Of a pixel: 1 or 3.
    bits_allocated, bits_stored, high_bit
        Of a sample.
    is_signed
        True if samples are numbers in two's complement.
    planar
        1 if each color has a plane of its own, else 0.
    photometric
        Photometric Interpretation.
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    planar: int
    photometric: str

    @property
    def bits(self) -> int:
        """Bits of a frame that is not compressed (PS3.3 §C.7.6.3.1.2 for YBR_FULL_422)."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.rows * self.columns * samples * self.bits_allocated

    @property
    def frame_bytes(self) -> int:
        """Bytes of a decoded frame."""
        return self.rows * self.columns * self.samples * ((self.bits_allocated + 7) // 8)

    @property
    def is_color(self) -> bool:
        """True if a pixel has several samples."""
        return self.samples > 1

    @property
    def least(self) -> int:
        """The least value of the stored bits."""
        return -(1 << self.bits_stored - 1) if self.is_signed else 0

    @property
    def most(self) -> int:
        """The largest value of the stored bits."""
        return self.least + (1 << self.bits_stored) - 1

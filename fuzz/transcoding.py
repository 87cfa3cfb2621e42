"""What is fuzzed of transcoding: whatever happens before and behind the codecs themselves."""

from itertools import pairwise

import imagecodecs
import numpy as np
from tests.support.jpeg_streams import build_progressive, build_restarts
from tests.support.pixels import InlineCoder, build_image, build_samples

from isocenter.errors import BadFileFormatError, TranscodingError
from isocenter.pixels.codecs import Family
from isocenter.pixels.codestreams import read_stream_header
from isocenter.pixels.formats import LARGEST_FRAME_BYTES
from isocenter.pixels.frames import FrameResult, FrameTask
from isocenter.pixels.transcoding import TranscodeOrder, estimate_size, open_transcoded

__all__ = ["build_coded", "build_packed", "run_streams", "run_transcoding"]

_BASE = "1.2.840.10008.1.2"
_TARGETS = (f"{_BASE}.2", f"{_BASE}.4.50", f"{_BASE}.5", _BASE)
_FAMILIES = (Family.JPEG, Family.JPEG_LOSSLESS, Family.JPEG_LS, Family.JPEG_2000)


class _EmptyCoder:
    """Gives frames of a few zeros: what the codecs do is theirs, in processes of their own."""

    def recode(self, task: FrameTask) -> FrameResult:
        assert task.format.frame_bytes <= LARGEST_FRAME_BYTES
        return FrameResult(bytes(3), task.format.photometric)


def build_packed() -> list[bytes]:
    """Build files in many transfer syntaxes."""
    plain = build_image(build_samples(480, bits=8, size=1), allocated=8, frames=2)
    packed = [plain]
    for suffix in ("", ".2", ".1.99", ".4.50", ".4.70", ".4.80", ".4.90", ".5"):
        with open_transcoded(plain, TranscodeOrder(_BASE + suffix), InlineCoder()) as result:
            packed.append(b"".join(result.pieces))
    return packed


def build_coded() -> list[bytes]:
    """Build frames in many codings."""
    samples = np.arange(480, dtype=np.uint8).reshape(20, 24)
    frames = [
        imagecodecs.jpeg8_encode(samples, 90),
        imagecodecs.jpeg8_encode(samples, lossless=True, predictor=1, bitspersample=8),
        imagecodecs.jpegls_encode(samples, level=2),
        imagecodecs.jpeg2k_encode(samples, codecformat="j2k"),
        imagecodecs.htj2k_encode(samples, reversible=True, tlm=True, tilepart=1),
    ]
    return [*map(bytes, frames), build_restarts(), build_progressive()]


def run_transcoding(data: bytes) -> None:
    """Bring a file into other transfer syntaxes; what comes out is read again."""
    assert estimate_size(data) >= len(data)
    for target in _TARGETS:
        try:
            with open_transcoded(data, TranscodeOrder(target), _EmptyCoder()) as result:
                written = b"".join(result.pieces)
        except (BadFileFormatError, TranscodingError):
            continue
        try:
            with open_transcoded(written, TranscodeOrder(f"{_BASE}.1"), _EmptyCoder()) as result:
                assert result.pieces
        except (BadFileFormatError, TranscodingError):
            continue


def run_streams(data: bytes) -> None:
    """Read the headers of compressed frames."""
    for family in _FAMILIES:
        try:
            header = read_stream_header(data, family)
        except TranscodingError:
            continue
        assert header.rows >= 0
        assert 0 <= header.samples < 1 << 16
        ends = [0, *header.ends, len(data)]
        assert all(first < second for first, second in pairwise(ends))

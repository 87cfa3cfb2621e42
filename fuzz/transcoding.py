"""What is fuzzed of transcoding: whatever happens before and behind the codecs themselves."""

from tests.support.pixels import InlineCoder, build_image, build_samples

from isocenter.errors import BadFileFormatError, TranscodingError
from isocenter.pixels.codecs import Family
from isocenter.pixels.codestreams import read_stream_header
from isocenter.pixels.formats import LARGEST_FRAME_BYTES
from isocenter.pixels.frames import FrameResult, FrameTask
from isocenter.pixels.transcoding import TranscodeOrder, open_transcoded

__all__ = ["build_packed", "run_streams", "run_transcoding"]

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


def run_transcoding(data: bytes) -> None:
    """Bring a file into other transfer syntaxes; what comes out is read again."""
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

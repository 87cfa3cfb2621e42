"""A few bytes cannot keep the codecs busy, or fill the disk."""

import mmap
from pathlib import Path

import pytest
from tests.support.pixels import InlineCoder, build_image, build_samples

from isocenter.errors import DeadlineExceededError, TranscodingError
from isocenter.pixels.effort import Patience, check_decoded_size
from isocenter.pixels.frames import FrameResult, FrameTask
from isocenter.pixels.transcoding import TranscodeOrder, estimate_size, open_transcoded

_GB = 1 << 30
_PLAIN = build_image(build_samples(240))
_EXPLICIT, _RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"


class _CountingCoder(InlineCoder):
    """Counts frames, and may lose its patience."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.count = 0
        self._patience = patience

    def recode(self, task: FrameTask) -> FrameResult:
        self.count += 1
        if self._patience is not None:
            self._patience.end()
        return super().recode(task)


@pytest.mark.parametrize(
    ("decoded", "size"), [(_GB, 100), (10 * _GB, 10 * _GB // 1000 + 1), (16 * _GB, _GB)]
)
def test_pixels_that_may_be_are_taken(decoded: int, size: int) -> None:
    check_decoded_size(decoded, size)


@pytest.mark.parametrize(
    ("decoded", "size"), [(_GB + 1, 100), (10 * _GB, 10**7), (16 * _GB + 1, _GB)]
)
def test_pixels_beyond_reason_are_refused(decoded: int, size: int) -> None:
    with pytest.raises(TranscodingError):
        check_decoded_size(decoded, size)


def test_short_file_with_gigabytes_of_pixels_is_refused_at_once() -> None:
    coder = _CountingCoder()
    bomb = build_image([b"", *[b"\0\0"] * 40], rows=4096, columns=4096, frames=40, syntax=_RLE)
    with (
        pytest.raises(TranscodingError, match="too many"),
        open_transcoded(bomb, TranscodeOrder(_EXPLICIT), coder),
    ):
        pass
    assert coder.count == 0


def test_frame_that_is_longer_than_any_coding_is_refused() -> None:
    coder = _CountingCoder()
    data = build_image([b"", bytes((1 << 20) + 962)], syntax=_RLE)
    with (
        pytest.raises(TranscodingError, match="too long"),
        open_transcoded(data, TranscodeOrder(_EXPLICIT), coder),
    ):
        pass
    assert coder.count == 0


def test_work_ends_between_frames_when_nobody_waits() -> None:
    patience = Patience()
    coder = _CountingCoder(patience)
    data = build_image(build_samples(720), frames=3)
    with (
        pytest.raises(DeadlineExceededError),
        open_transcoded(data, TranscodeOrder(_RLE, patience=patience), coder),
    ):
        pass
    assert coder.count == 1


def test_work_ends_when_it_takes_too_long() -> None:
    order = TranscodeOrder(_RLE, patience=Patience(-1))
    coder = _CountingCoder()
    with (
        pytest.raises(DeadlineExceededError),
        open_transcoded(build_image(build_samples(240)), order, coder),
    ):
        pass
    assert coder.count == 0


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (build_image([b"", b"\0\0"], rows=5000, columns=4000, syntax=_RLE), 40_000_000),
        (build_image([b"", *[b"\0\0"] * 9], frames=9, syntax=_RLE), 9 * 480),
        (_PLAIN, len(_PLAIN)),
        (_PLAIN[:300], 300),
        (b"nothing", 7),
    ],
    ids=["large", "frames", "plain", "cut", "no file"],
)
def test_size_is_estimated_from_the_header(data: bytes, expected: int) -> None:
    assert estimate_size(data) == expected


@pytest.mark.parametrize("data", [_PLAIN, _PLAIN[:300], _PLAIN[:-9], b"nothing"])
def test_estimate_lets_go_of_a_mapped_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as buffer:
        # Closing it fails if anybody still looks at it.
        assert estimate_size(buffer) == len(data)

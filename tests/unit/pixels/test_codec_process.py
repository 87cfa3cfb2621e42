"""What a worker process may do, and what it says."""

import logging
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.pixels import build_samples

from isocenter.errors import InternalError
from isocenter.pixels.codec_process import CodecProcess, CrashError, StartError
from isocenter.pixels.formats import PixelFormat
from isocenter.pixels.frames import FrameTask, recode_frame
from isocenter.pixels.pool import CodecPool

_FORMAT = PixelFormat(12, 20, 1, 16, 16, 15, False, 0, "MONOCHROME2")
_TASK = FrameTask(
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", _FORMAT, 90, memoryview(build_samples(240))
)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[CodecProcess]:
    monkeypatch.setenv("ISOCENTER_TEST_PASSWORD", "secret")
    process = CodecProcess(20)
    yield process
    process.end()


def test_process_has_no_secrets_and_few_rights(process: CodecProcess) -> None:
    assert process.recode(_TASK) == recode_frame(_TASK)
    seen = psutil.Process(process._process.pid)
    assert "secret" not in str(seen.environ())
    assert seen.rlimit(resource.RLIMIT_FSIZE) == (0, 0)
    assert seen.rlimit(resource.RLIMIT_NOFILE) == (16, 16)
    assert seen.rlimit(resource.RLIMIT_CORE) == (0, 0)
    assert seen.rlimit(resource.RLIMIT_AS) == (8 << 30, 8 << 30)
    # Of another session, so that Ctrl-C in a terminal is for the server.
    assert os.getsid(seen.pid) == seen.pid
    about = Path(f"/proc/{seen.pid}")
    assert "NoNewPrivs:\t1\n" in (about / "status").read_text()
    assert (about / "oom_score_adj").read_text() == "1000\n"


def _fake_codecs(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put something in front of the codecs that are installed."""
    (folder / "imagecodecs.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.parametrize(
    "text",
    [
        "raise ImportError('a library is missing')",
        "raise OSError('a library is damaged')",
        "class JPEG8: available = True",
        (
            "class HTJ2K: available = True\nclass JPEG2K(HTJ2K): available = False\n"
            "JPEG8 = JPEGLS = PACKBITS = HTJ2K"
        ),
        "import os; os._exit(1)",
        "import os; os.write(1, b'\\xff' * 8)",
        "import os; os.write(1, b'\\x03' + bytes(7) + b'abc')",
    ],
)
def test_faulty_installation_is_no_damaged_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    _fake_codecs(tmp_path, text, monkeypatch)
    pool = CodecPool(1)
    with pytest.raises(InternalError):
        pool.recode(_TASK)
    assert pool.count == 0
    pool.close()


def test_long_complaints_neither_stop_a_process_nor_fill_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _fake_codecs(
        tmp_path, "import sys; sys.stderr.write('\\x00woe' * 10**6); raise ImportError", monkeypatch
    )
    process = CodecProcess(20)
    with pytest.raises(StartError), caplog.at_level(logging.WARNING):
        process.await_start()
    assert len(process._said) <= 2000
    with caplog.at_level(logging.WARNING):
        process.end()
    [text] = [record.__dict__["text"] for record in caplog.records if "text" in record.__dict__]
    assert text.startswith("\\x00woe")
    assert len(text) <= 2000


def test_process_that_closes_its_standard_error_keeps_nobody_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake_codecs(tmp_path, "import os; os.close(2); raise ImportError", monkeypatch)
    process = CodecProcess(20)
    with pytest.raises(StartError):
        process.await_start()
    # Its end is there to be read for ever, and would wake whoever waits for a frame.
    assert process._errors not in process._selector.get_map()
    process.end()


_SLOW_CODECS = """
import time
class PACKBITS: available = True
HTJ2K = JPEG2K = JPEG8 = JPEGLS = PACKBITS
def packbits_encode(*_, **__): time.sleep(60)
"""


def test_process_whose_frame_takes_too_long_ends_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake_codecs(tmp_path, _SLOW_CODECS, monkeypatch)
    process = CodecProcess(1.0)
    # Nobody waits for it: the server may be gone.
    with pytest.raises(CrashError):
        process.recode(_TASK)
    assert process._process.wait(20) == -signal.SIGALRM
    process.end()

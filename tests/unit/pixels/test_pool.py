"""Processes that code frames: they may crash, hang and idle, the server goes on."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from tests.support.pixels import build_samples

from isocenter.errors import CodecTimeoutError, TranscodingError
from isocenter.pixels import pool as pool_module
from isocenter.pixels.codec_process import CodecProcess
from isocenter.pixels.formats import PixelFormat
from isocenter.pixels.frames import FrameResult, FrameTask, recode_frame
from isocenter.pixels.pool import CodecPool

_FORMAT = PixelFormat(12, 20, 1, 16, 16, 15, False, 0, "MONOCHROME2")
_EXPLICIT, _JPEG_LS, _RLE = (f"1.2.840.10008.1.2.{end}" for end in ("1", "4.80", "5"))
_TASK = FrameTask(_EXPLICIT, _JPEG_LS, _FORMAT, 90, memoryview(build_samples(240)))
_DAMAGED = FrameTask(_JPEG_LS, _EXPLICIT, _FORMAT, 90, memoryview(b"\xff\xd8 nothing"))


@pytest.fixture(autouse=True)
def _alone() -> None:
    """Let the processes of earlier tests end."""
    _wait(lambda: not _list_workers())


@pytest.fixture
def pool() -> Iterator[CodecPool]:
    pool = CodecPool(2, deadline_s=20)
    yield pool
    pool.close()


def _list_workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "isocenter.pixels.worker" in process.cmdline()
    except psutil.Error:
        # It has ended meanwhile.
        return False


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        threading.Event().wait(0.01)


def test_frames_come_back_as_from_this_process(pool: CodecPool) -> None:
    assert pool.count == 0
    assert pool.recode(_TASK) == recode_frame(_TASK)
    assert pool.recode(_TASK) == recode_frame(_TASK)
    assert pool.count == 1


def test_large_frames_pass_the_pipes(pool: CodecPool) -> None:
    fmt = PixelFormat(1024, 1500, 1, 16, 16, 15, False, 0, "MONOCHROME2")
    pixels = build_samples(1024 * 1500)
    packed = pool.recode(FrameTask(_EXPLICIT, _RLE, fmt, 90, memoryview(pixels)))
    assert pool.recode(FrameTask(_RLE, _EXPLICIT, fmt, 90, memoryview(packed.data))).data == pixels


def test_damaged_frame_is_refused_and_its_process_stays(pool: CodecPool) -> None:
    pool.recode(_TASK)
    [worker] = _list_workers()
    with pytest.raises(TranscodingError):
        pool.recode(_DAMAGED)
    assert [other.pid for other in _list_workers()] == [worker.pid]


def test_processes_are_bounded(pool: CodecPool) -> None:
    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(pool.recode, [_TASK] * 12))
    assert results == [recode_frame(_TASK)] * 12
    assert pool.count <= 2


def test_process_that_died_idle_is_replaced(pool: CodecPool) -> None:
    pool.recode(_TASK)
    [worker] = _list_workers()
    worker.kill()
    worker.wait(20)
    assert pool.recode(_TASK) == recode_frame(_TASK)
    assert pool.count == 1


def test_process_that_dies_at_work_is_replaced_once(pool: CodecPool) -> None:
    pool.recode(_TASK)
    [worker] = _list_workers()
    worker.suspend()
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(pool.recode, _TASK)
        _wait(lambda: not pool.idle_count)
        os.kill(worker.pid, signal.SIGKILL)
        assert future.result(60) == recode_frame(_TASK)
    assert pool.count == 1


class _Doomed(CodecProcess):
    """Is killed at work, by its frame perhaps."""

    def recode(self, task: FrameTask) -> FrameResult:
        self.await_start()
        self._process.kill()
        return super().recode(task)


def test_frame_that_kills_its_process_again_is_refused(
    pool: CodecPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(pool_module, "CodecProcess", _Doomed)
        with pytest.raises(TranscodingError):
            pool.recode(_TASK)
        assert pool.count == 0
    assert pool.recode(_TASK) == recode_frame(_TASK)


def test_no_process_is_no_fault_of_the_frame(
    pool: CodecPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_deadline_s: float) -> None:
        raise BlockingIOError

    with monkeypatch.context() as patch:
        patch.setattr(pool_module, "CodecProcess", fail)
        with pytest.raises(CodecTimeoutError):
            pool.recode(_TASK)
    assert pool.recode(_TASK) == recode_frame(_TASK)


def test_process_that_takes_too_long_is_given_up() -> None:
    pool = CodecPool(1, deadline_s=0.2)
    try:
        _wait(lambda: _succeeds(pool))
        # Those that were given up end behind.
        _wait(lambda: len(_list_workers()) == 1)
        [worker] = _list_workers()
        worker.suspend()
        with pytest.raises(TranscodingError):
            pool.recode(_TASK)
        _wait(lambda: not worker.is_running())
    finally:
        pool.close()


def _succeeds(pool: CodecPool) -> bool:
    """Code a frame; the start of a process may take longer than a short deadline."""
    try:
        pool.recode(_TASK)
    except TranscodingError:
        return False
    return True


def test_idle_processes_end(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[CodecProcess] = []

    class _Noted(CodecProcess):
        def __init__(self, deadline_s: float) -> None:
            super().__init__(deadline_s)
            started.append(self)

    monkeypatch.setattr(pool_module, "CodecProcess", _Noted)
    pool = CodecPool(1, idle_s=0.05)
    pool.recode(_TASK)
    _wait(lambda: pool.count == 0)
    _wait(lambda: not started[0].is_alive)
    assert pool.recode(_TASK) == recode_frame(_TASK)
    pool.close()


def test_closed_pool_ends_what_is_under_way() -> None:
    pool = CodecPool(1)
    pool.recode(_TASK)
    [worker] = _list_workers()
    worker.suspend()
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(pool.recode, _TASK)
        _wait(lambda: not pool.idle_count)
        pool.close()
        with pytest.raises(CodecTimeoutError):
            future.result(20)
    with pytest.raises(CodecTimeoutError):
        pool.recode(_TASK)
    assert pool.count == 0
    _wait(lambda: not worker.is_running())


def test_process_that_starts_while_the_pool_closes_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[CodecProcess] = []
    pool = CodecPool(1)

    class _Late(CodecProcess):
        def __init__(self, deadline_s: float) -> None:
            super().__init__(deadline_s)
            started.append(self)
            pool.close()

    monkeypatch.setattr(pool_module, "CodecProcess", _Late)
    with pytest.raises(CodecTimeoutError):
        pool.recode(_TASK)
    assert [process.is_alive for process in started] == [False]
    assert pool.count == 0


def test_result_survives_a_lack_of_threads(
    pool: CodecPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_timer: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Timer, "start", fail)
        assert pool.recode(_TASK) == recode_frame(_TASK)
        assert pool.idle_count == 1
    assert pool.recode(_TASK) == recode_frame(_TASK)
    assert pool._cleaning is not None

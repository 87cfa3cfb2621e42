"""Turns of frames at processes: who waits, who gives up, what happens when the pool closes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.pixels import build_samples
from tests.support.server import wait_until

from isocenter.errors import CodecTimeoutError
from isocenter.pixels import pool as pool_module
from isocenter.pixels.codec_process import CodecProcess, CrashError
from isocenter.pixels.formats import PixelFormat
from isocenter.pixels.frames import FrameResult, FrameTask, recode_frame
from isocenter.pixels.pool import CodecPool

_FORMAT = PixelFormat(12, 20, 1, 16, 16, 15, False, 0, "MONOCHROME2")
_EXPLICIT, _RLE = (f"1.2.840.10008.1.2.{end}" for end in ("1", "5"))
_PIXELS = memoryview(build_samples(240))


class _Gated(CodecProcess):
    """Does nothing before it may, and notes what it does."""

    gate = threading.Event()
    served: list[int] = []  # noqa: RUF012 - one list for all of them
    begun: list[int] = []  # noqa: RUF012 - one list for all of them
    started: list[CodecProcess] = []  # noqa: RUF012 - one list for all of them

    def __init__(self, deadline_s: float) -> None:
        super().__init__(deadline_s)
        self.started.append(self)

    def recode(self, task: FrameTask) -> FrameResult:
        self.begun.append(task.quality)
        assert self.gate.wait(20)
        self.served.append(task.quality)
        return recode_frame(task)


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> type[_Gated]:
    monkeypatch.setattr(pool_module, "CodecProcess", _Gated)
    monkeypatch.setattr(_Gated, "gate", threading.Event())
    monkeypatch.setattr(_Gated, "served", [])
    monkeypatch.setattr(_Gated, "begun", [])
    monkeypatch.setattr(_Gated, "started", [])
    return _Gated


def _number(number: int) -> FrameTask:
    return FrameTask(_EXPLICIT, _RLE, _FORMAT, number, _PIXELS)


def test_who_waits_comes_before_who_has_just_had_a_turn(gated: type[_Gated]) -> None:
    pool = CodecPool(1)

    def code_many() -> None:
        for number in range(1, 6):
            pool.recode(_number(number))

    with ThreadPoolExecutor(3) as threads:
        many = threads.submit(code_many)
        wait_until(lambda: pool.count == 1, "turns of frames")
        others = []
        for number in (11, 12):
            others.append(threads.submit(pool.recode, _number(number)))
            wait_until(lambda: pool.waiting_count == len(others), "turns of frames")
        gated.gate.set()
        many.result(20)
        for future in others:
            future.result(20)
    pool.close()
    assert gated.served == [1, 11, 12, 2, 3, 4, 5]


def test_memory_of_all_frames_is_bounded(
    gated: type[_Gated], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_MOST_BYTES", 2000)
    pool = CodecPool(4)
    with ThreadPoolExecutor(5) as threads:
        futures = [threads.submit(pool.recode, _number(1)) for _ in range(5)]
        wait_until(lambda: pool.count + pool.waiting_count == 5, "turns of frames")
        # Each takes 960 bytes, and 480 of them twice.
        assert pool.count == 2
        gated.gate.set()
        for future in futures:
            future.result(20)
    monkeypatch.setattr(pool_module, "_MOST_BYTES", 1)
    assert pool.recode(_number(2)) == recode_frame(_number(2))
    pool.close()


def test_who_waits_too_long_gives_up(gated: type[_Gated], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_WAIT_S", 0.01)
    pool = CodecPool(1)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(pool.recode, _number(1))
        wait_until(lambda: pool.count == 1, "turns of frames")
        with pytest.raises(CodecTimeoutError):
            pool.recode(_number(2))
        assert pool.waiting_count == 0
        gated.gate.set()
        first.result(20)
    pool.close()


def test_who_waits_too_long_makes_way_for_smaller_frames(
    gated: type[_Gated], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = CodecPool(2)
    # Of the frame that is under way, and of small ones; a large one has to wait for its end.
    monkeypatch.setattr(pool_module, "_MOST_BYTES", 2 * 960)
    large = FrameTask(_EXPLICIT, _RLE, _FORMAT, 2, memoryview(bytes(960)))
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(pool.recode, _number(1))
        wait_until(lambda: pool.count == 1, "turns of frames")
        monkeypatch.setattr(pool_module, "_WAIT_S", 0.3)
        second = threads.submit(pool.recode, large)
        wait_until(lambda: pool.waiting_count == 1, "turns of frames")
        monkeypatch.setattr(pool_module, "_WAIT_S", 20.0)
        third = threads.submit(pool.recode, _number(3))
        with pytest.raises(CodecTimeoutError):
            second.result(20)
        # The first one is still under way.
        wait_until(lambda: 3 in gated.begun, "turns of frames")
        gated.gate.set()
        assert [len(first.result(20).data), len(third.result(20).data)]
    pool.close()


class _LateTurn(pool_module._Turn):
    """Comes in the very moment in which nobody waits for it any longer."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.has_come = _Unnoticed()


class _Unnoticed(threading.Event):
    def wait(self, timeout: float | None = None) -> bool:
        super().wait(timeout)
        return False


@pytest.mark.usefixtures("gated")
def test_turn_at_the_last_moment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_Turn", _LateTurn)
    _Gated.gate.set()
    pool = CodecPool(1)
    assert pool.recode(_number(1)) == recode_frame(_number(1))
    pool.close()


def test_closing_tells_who_waits_at_once_and_starts_nothing(gated: type[_Gated]) -> None:
    pool = CodecPool(1)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(pool.recode, _number(1))
        wait_until(lambda: gated.begun == [1], "turns of frames")
        waiting = threads.submit(pool.recode, _number(2))
        wait_until(lambda: pool.waiting_count == 1, "turns of frames")
        pool.close()
        # The first one is still under way, in a process that does not notice its end.
        with pytest.raises(CodecTimeoutError):
            waiting.result(20)
        assert len(gated.started) == 1
        gated.gate.set()
        assert first.result(20) == recode_frame(_number(1))
    assert (pool.count, pool.idle_count) == (0, 0)


def test_process_that_died_idle_is_not_the_one_that_a_frame_may_kill(
    gated: type[_Gated], monkeypatch: pytest.MonkeyPatch
) -> None:
    gated.gate.set()
    pool = CodecPool(1)
    pool.recode(_number(1))
    gated.started[0]._process.kill()
    gated.started[0]._process.wait(20)
    crashes = iter([True, False])

    def recode(_process: CodecProcess, task: FrameTask) -> FrameResult:
        if next(crashes):
            raise CrashError
        return recode_frame(task)

    monkeypatch.setattr(_Gated, "recode", recode)
    assert pool.recode(_number(2)) == recode_frame(_number(2))
    assert (pool.count, len(gated.started)) == (1, 3)
    pool.close()


def test_frame_that_crashes_while_the_pool_closes_is_no_damaged_one(
    gated: type[_Gated], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = CodecPool(1)

    def crash(_process: CodecProcess, _task: FrameTask) -> FrameResult:
        if len(gated.started) == 2:
            pool.close()
        raise CrashError

    monkeypatch.setattr(_Gated, "recode", crash)
    with pytest.raises(CodecTimeoutError):
        pool.recode(_number(1))
    assert pool.count == 0


def test_only_processes_that_were_idle_for_long_end(
    gated: type[_Gated], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = CodecPool(2, idle_s=1000)
    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(pool.recode, _number(number)) for number in (1, 2)]
        wait_until(lambda: pool.count == 2, "turns of frames")
        gated.gate.set()
        for future in futures:
            future.result(20)
    assert pool.idle_count == 2
    first, second = pool._idle
    pool._idle[0] = (first[0] - 2000, first[1])
    planned = pool._cleaning
    pool._end_idle()
    assert (pool.count, pool.idle_count) == (1, 1)
    assert (first[1].is_alive, second[1].is_alive) == (False, True)
    # Somebody looks after the other one later.
    assert pool._cleaning not in {None, planned}
    assert planned is not None
    planned.cancel()
    later = pool._cleaning
    pool.close()
    assert later is not None
    later.join(20)
    assert not later.is_alive()

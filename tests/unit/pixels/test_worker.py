"""What a worker process does with frames, its clock and its signals."""

import signal
import sys
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.support.pixels import build_samples

from isocenter.pixels import worker
from isocenter.pixels.formats import PixelFormat
from isocenter.pixels.frames import FrameResult, FrameTask, recode_frame

_FORMAT = PixelFormat(12, 20, 1, 16, 16, 15, False, 0, "MONOCHROME2")
_EXPLICIT, _LS, _RLE = (f"1.2.840.10008.1.2.{end}" for end in ("1", "4.80", "5"))
_TASK = FrameTask(_EXPLICIT, _RLE, _FORMAT, 90, memoryview(build_samples(240)))
_DAMAGED = FrameTask(_LS, _EXPLICIT, _FORMAT, 90, memoryview(b"\xff\xd8 nothing"))


def _frame(message: bytes) -> bytes:
    return worker.LENGTH.pack(len(message)) + message


class _Worker:
    """Runs the loop of a worker in this process, with what it asks of the system noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alarms: list[float] = []
        self.signals: dict[int, Any] = {}
        self._patch = monkeypatch
        monkeypatch.setattr(worker, "_give_up_rights", lambda: None)
        monkeypatch.setattr(signal, "signal", self.signals.__setitem__)
        monkeypatch.setattr(signal, "setitimer", lambda _, delay: self.alarms.append(delay))

    def run(self, data: bytes) -> list[FrameResult]:
        written = BytesIO()
        self._patch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(data)))
        self._patch.setattr(sys, "stdout", SimpleNamespace(buffer=written))
        worker.main(7.0)
        answers, data = [], written.getvalue()
        while data:
            (length,) = worker.LENGTH.unpack(data[: worker.LENGTH.size])
            end = worker.LENGTH.size + length
            answers.append(msgspec.msgpack.decode(data[worker.LENGTH.size : end], type=FrameResult))
            data = data[end:]
        return answers


def test_alarm_is_set_for_each_frame_and_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    running = _Worker(monkeypatch)
    frames = _frame(msgspec.msgpack.encode(_TASK)) * 2
    assert running.run(frames) == [FrameResult(b""), recode_frame(_TASK), recode_frame(_TASK)]
    assert running.alarms == [7.0, 0, 7.0, 0]


def test_signals_of_a_terminal_are_not_for_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    running = _Worker(monkeypatch)
    running.run(b"")
    assert running.signals[signal.SIGINT] is signal.SIG_IGN
    assert running.signals[signal.SIGALRM] is signal.SIG_DFL


@pytest.mark.parametrize("cut", [3, 8, 20])
def test_end_of_the_server_in_a_message_is_the_end(
    monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    frame = _frame(msgspec.msgpack.encode(_TASK))
    assert _Worker(monkeypatch).run(frame[:cut]) == [FrameResult(b"")]


def test_damaged_frame_is_told_and_the_next_one_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [_frame(msgspec.msgpack.encode(task)) for task in (_DAMAGED, _TASK)]
    _, damaged, sound = _Worker(monkeypatch).run(b"".join(frames))
    assert damaged.error
    assert sound == recode_frame(_TASK)


def test_frame_without_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: FrameTask) -> None:
        raise MemoryError

    monkeypatch.setattr(worker, "recode_frame", fail)
    _, answer = _Worker(monkeypatch).run(_frame(msgspec.msgpack.encode(_TASK)))
    assert "memory" in answer.error

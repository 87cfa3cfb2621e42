import errno
import os
from pathlib import Path

import pytest
from tests.unit.storage.failing_os import FailingOS, fail

from isocenter.storage.temporary import TemporaryFile, remove_quietly


@pytest.mark.parametrize("limit", [1, 7, 1000, 10**6])
def test_write_all_short_system_calls_writes_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    chunks = [bytes([number % 256]) * (number % 50) for number in range(2500)]

    def writev(descriptor: int, buffers: list[bytes]) -> int:
        return os.write(descriptor, b"".join(buffers)[:limit])

    monkeypatch.setattr("isocenter.storage.temporary.os", FailingOS(writev=writev))
    file = TemporaryFile(str(tmp_path))
    file.write_all(chunks)
    file.close()

    assert Path(file.path).read_bytes() == b"".join(chunks)


def test_discard_twice_is_harmless(tmp_path: Path) -> None:
    file = TemporaryFile(str(tmp_path))

    file.discard()
    file.discard()

    assert list(tmp_path.iterdir()) == []


def test_discard_failing_close_removes_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = TemporaryFile(str(tmp_path))
    descriptor = file.fileno()
    monkeypatch.setattr("isocenter.storage.temporary.os", FailingOS(close=fail(errno.EIO)))

    file.discard()

    os.close(descriptor)
    assert list(tmp_path.iterdir()) == []


def test_remove_quietly_failing_call_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("isocenter.storage.temporary.os", FailingOS(unlink=fail(errno.EROFS)))

    remove_quietly(str(tmp_path / "file"))

    assert [record.message for record in caplog.records] == ["cannot remove a temporary file"]

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from isocenter.storage import direct
from isocenter.storage.direct import BLOCK_BYTES, AlignedBuffers, DirectFile


@pytest.fixture
def buffers() -> Iterator[AlignedBuffers]:
    buffers = AlignedBuffers(4 * BLOCK_BYTES)
    yield buffers
    buffers.close()


@pytest.mark.parametrize("has_direct", [True, False])
def test_write_puts_blocks_where_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffers: AlignedBuffers, has_direct: bool
) -> None:
    if not has_direct:
        monkeypatch.setattr(direct, "_DIRECT", 0)
    (tmp_path / "file").write_bytes(bytes(4 * BLOCK_BYTES))
    file = DirectFile(tmp_path / "file")
    with buffers.borrow() as buffer:
        buffer[: 2 * BLOCK_BYTES] = b"a" * BLOCK_BYTES + b"b" * BLOCK_BYTES
        file.write(buffer[: 2 * BLOCK_BYTES], BLOCK_BYTES)
    file.close()
    expected = bytes(BLOCK_BYTES) + b"a" * BLOCK_BYTES + b"b" * BLOCK_BYTES + bytes(BLOCK_BYTES)
    assert (tmp_path / "file").read_bytes() == expected


def test_write_is_durable_when_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = []
    opened = os.open

    def note(path: Path, flag: int, mode: int) -> int:
        flags.append(flag)
        return opened(path, flag, mode)

    monkeypatch.setattr(os, "open", note)
    DirectFile(tmp_path / "file").close()
    assert all(flag & os.O_DSYNC for flag in flags)


def test_file_system_without_direct_writes_takes_ordinary_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffers: AlignedBuffers
) -> None:
    opened = os.open

    def refuse(path: Path, flags: int, mode: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    file = DirectFile(tmp_path / "file")
    with buffers.borrow() as buffer:
        buffer[:BLOCK_BYTES] = b"c" * BLOCK_BYTES
        file.write(buffer[:BLOCK_BYTES], 0)
    file.close()
    assert (tmp_path / "file").read_bytes() == b"c" * BLOCK_BYTES


def test_write_cut_short_by_the_system_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffers: AlignedBuffers
) -> None:
    pwrite = os.pwrite
    file = DirectFile(tmp_path / "file")
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:BLOCK_BYTES], at))
    with buffers.borrow() as buffer:
        buffer[:] = bytes(range(256)) * (len(buffer) // 256)
        file.write(buffer, 0)
        assert (tmp_path / "file").read_bytes() == bytes(buffer)
    file.close()


def test_failed_write_is_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffers: AlignedBuffers
) -> None:
    file = DirectFile(tmp_path / "file")
    with monkeypatch.context() as patch, buffers.borrow() as buffer:

        def fail(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "pwrite", fail)
        with pytest.raises(OSError, match="No space"):
            file.write(buffer, 0)
    assert file.is_broken
    with buffers.borrow() as buffer, pytest.raises(OSError, match="Input/output error"):
        file.write(buffer, 0)
    file.close()


def test_buffer_is_used_again(buffers: AlignedBuffers) -> None:
    with buffers.borrow() as first:
        first[0] = 7
        with buffers.borrow() as second:
            assert second is not first
    with buffers.borrow() as again:
        assert again in (first, second)

from pathlib import Path

import pytest

from isocenter.archive import record_spool
from isocenter.archive.record_spool import RecordSpool
from isocenter.errors import StorageUnavailableError


@pytest.mark.parametrize("memory", [1, 10, 1 << 20])
def test_records_come_back_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    monkeypatch.setattr(record_spool, "_MEMORY_BYTES", memory)
    records = [(number, "x" * number) for number in range(7)]
    with RecordSpool(tmp_path, tuple[int, str]) as spool:
        for record in records:
            spool.add(record)
        spool.rewind()
        assert spool.take(3) == records[:3]
        assert spool.take(10) == records[3:]
        assert spool.take(1) == []
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_gone_is_an_error_of_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_spool, "_MEMORY_BYTES", 1)
    with (
        RecordSpool(tmp_path / "gone", str) as spool,
        pytest.raises(StorageUnavailableError),
    ):
        spool.add("record")

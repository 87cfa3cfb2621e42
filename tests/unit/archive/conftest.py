"""An archive in memory: a small SQLite index, blobs in a dictionary."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.archive.parts import Parts

from isocenter.archive.workers import Workers
from isocenter.index import sqlite
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.storage.memory import MemoryStorage


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    # The full 64 MiB take longer to write than a test to run.
    monkeypatch.setattr(sqlite, "_LOG_BYTES", 1 << 20)
    database = SQLiteDatabase(tmp_path / "index", is_durable=False)
    workers = Workers(database, 4)
    try:
        yield Parts(database, MemoryStorage(), workers, tmp_path)
    finally:
        workers.close()
        database.close()

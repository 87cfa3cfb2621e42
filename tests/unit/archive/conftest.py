"""An archive in memory: a small SQLite index, blobs in a dictionary."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.archive.parts import Parts

from isocenter.archive.workers import Workers
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.storage.memory import MemoryStorage


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    database = SQLiteDatabase(tmp_path / "index", is_durable=False)
    workers = Workers(database, 4)
    try:
        yield Parts(database, MemoryStorage(), workers, tmp_path)
    finally:
        workers.close()
        database.close()

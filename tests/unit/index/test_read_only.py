"""A database that refuses every change."""

from pathlib import Path

import pytest
from tests.support.instances import build_new_instance, store

from isocenter.errors import ReadOnlyError
from isocenter.index.read_only import ReadOnlyDatabase
from isocenter.index.reading import get_statistics
from isocenter.index.sqlite import SQLiteDatabase


@pytest.fixture
def database(tmp_path: Path) -> SQLiteDatabase:
    database = SQLiteDatabase(tmp_path / "index", is_durable=False)
    store(database, build_new_instance("p/t/r/i"))
    return database


def test_read_only_database_reads(database: SQLiteDatabase) -> None:
    guarded = ReadOnlyDatabase(database)

    assert guarded.read(get_statistics).instances == 1
    assert guarded.read_inline(get_statistics).instances == 1
    assert (guarded.reads_inline, guarded.is_exclusive) == (True, True)
    guarded.maintain()
    guarded.close()


def test_read_only_database_refuses_changes(database: SQLiteDatabase) -> None:
    guarded = ReadOnlyDatabase(database)

    with pytest.raises(ReadOnlyError):
        store(guarded, build_new_instance("p/t/r/i2"))

    assert database.read(get_statistics).instances == 1
    database.close()

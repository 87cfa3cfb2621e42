"""How SQLite reads the log of changes."""

from pathlib import Path

import apsw
import pytest

from isocenter.index.records import STABLE_CHANGES, ChangeType
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.index.statements import SQLITE, load_statements


@pytest.mark.parametrize("direction", ["", "_backwards"])
@pytest.mark.parametrize("change_type", [*STABLE_CHANGES.values(), ChangeType.NEW_STUDY])
def test_changes_of_a_rare_type_are_read_along_their_index(
    tmp_path: Path, change_type: ChangeType, direction: str
) -> None:
    SQLiteDatabase(tmp_path / "index", is_durable=False).close()
    statement = load_statements(SQLITE)["list_changes_of_type" + direction]
    keys = {"change_type": int(change_type), "since": 0, "until": 9, "limit": 9}

    with apsw.Connection(str(tmp_path / "index")) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", keys)]

    assert plan[0].endswith("changes_type (change_type=? AND seq>? AND seq<?)")
    assert not any("TEMP B-TREE" in step for step in plan)

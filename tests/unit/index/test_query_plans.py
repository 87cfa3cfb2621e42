"""How SQLite runs what must not take longer as the archive grows."""

import re
from pathlib import Path

import apsw
import pytest

from isocenter.index.records import STABLE_CHANGES, ChangeType
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.index.statements import SQLITE, load_statements

LISTS = {"public_ids", "roots", "doomed", "parent_ids", "job_ids", "internal_ids"}
TEXTS = load_statements(SQLITE)


def explain(folder: Path, name: str, **given: int) -> list[str]:
    """List the steps of the plan for a statement."""
    SQLiteDatabase(folder / "index", is_durable=False).close()
    names = set(re.findall(r":([a-z][a-z0-9_]*)", TEXTS[name]))
    keys = {key: "[]" if key in LISTS else given.get(key, 1) for key in names}
    connection = apsw.Connection(str(folder / "index"))
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {TEXTS[name]}", keys)]


@pytest.mark.parametrize("direction", ["", "_backwards"])
@pytest.mark.parametrize("change_type", [*STABLE_CHANGES.values(), ChangeType.NEW_STUDY])
def test_changes_of_a_rare_type_are_read_along_their_index(
    tmp_path: Path, change_type: ChangeType, direction: str
) -> None:
    plan = explain(tmp_path, f"list_changes_of_type{direction}", change_type=int(change_type))

    assert plan[0].endswith("changes_type (change_type=? AND seq>? AND seq<?)")
    assert not any("TEMP B-TREE" in step for step in plan)


@pytest.mark.parametrize(
    "name",
    [
        *("find_instances", "find_parents", "list_lineages", "list_survivors", "measure_trees"),
        *("insert_removals_below", "insert_deletions_below", "delete_resources"),
        *("list_oldest_patients", "lookup_recycling_order", "describe_exported", "list_exports"),
        *("list_changes", "list_changes_backwards", "list_deletions", "find_settled"),
        *("find_changed_source", "list_locks", "list_sources", "list_staged", "copy_labels"),
        *("wake_due_jobs", "next_due_job", "count_running_jobs"),
    ],
)
def test_statement_reads_no_table_whole(tmp_path: Path, name: str) -> None:
    for step in explain(tmp_path, name):
        # What stands alone in a scan is a list of ours, or what was found so far.
        scanned = re.match(r"SCAN (\w+)", step)
        assert scanned is None or scanned[1] in {"json_each", "b", "below"} or "(" in step, step
        assert "level<?" not in step, step

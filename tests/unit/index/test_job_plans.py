"""What the queue and the lists of jobs cost does not depend on the length of the history."""

import re
from pathlib import Path

import apsw
import pytest

from isocenter.index.sqlite import SQLiteDatabase
from isocenter.index.statements import SQLITE, load_statements

# Statements that run for each job, each look at the queue, or each request of a client.
_FREQUENT = [
    "insert_job",
    "select_jobs",
    "list_due_jobs",
    "wake_due_jobs",
    "next_due_job",
    "count_running_jobs",
    "list_locks",
    "claim_jobs",
    "save_job",
    "lock_job",
    "list_orphaned_jobs",
    "list_old_jobs",
    "list_all_jobs",
    "list_unfinished_ids",
    "list_waiting_marks",
    "list_running_marks",
    "list_finished_marks",
    "list_failed_items",
    "lookup_output",
    "list_parts",
    "delete_jobs",
]


@pytest.mark.parametrize("name", _FREQUENT)
def test_frequent_statement_goes_along_an_index(tmp_path: Path, name: str) -> None:
    SQLiteDatabase(tmp_path / "index", is_durable=False).close()
    statement = load_statements(SQLITE)[name]
    parameters = dict.fromkeys(re.findall(r":(\w+)", statement))
    connection = apsw.Connection(str(tmp_path / "index"))
    try:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    finally:
        connection.close()
    steps = [str(row[3]) for row in rows]
    assert not [step for step in steps if re.match(r"SCAN (jobs|job_\w+)$", step)], steps


def test_plan_of_a_statement_that_reads_everything_is_recognized(tmp_path: Path) -> None:
    SQLiteDatabase(tmp_path / "index", is_durable=False).close()
    connection = apsw.Connection(str(tmp_path / "index"))
    try:
        rows = connection.execute(
            "EXPLAIN QUERY PLAN SELECT job_id FROM jobs WHERE state = 5 AND resume_at <= 1"
        ).fetchall()
    finally:
        connection.close()
    assert [row[3] for row in rows] == ["SCAN jobs"]

"""Requests for storage commitment in the database."""

from dataclasses import replace
from functools import partial

from isocenter.index.commitment_reports import (
    StoredCommitment,
    add_commitment,
    delete_commitment,
    find_instances_of_uids,
    lock_commitment,
    lookup_commitment,
    update_commitment,
)
from isocenter.index.port import Database

PENDING = StoredCommitment("REMOTE", "Pending", "{}")


def add(database: Database, uid: str, *, now_us: int, kept: int = 9) -> None:
    database.write(lambda tx: add_commitment(tx, uid, PENDING, kept=kept, now_us=now_us))


def lookup(database: Database, uid: str) -> StoredCommitment | None:
    return database.read(lambda tx: lookup_commitment(tx, uid))


def test_request_is_kept_changed_and_forgotten(database: Database) -> None:
    add(database, "1", now_us=1)
    changed = replace(PENDING, status="Success", document="[]")
    assert database.write(lambda tx: lock_commitment(tx, "1")) == PENDING
    database.write(lambda tx: update_commitment(tx, "1", changed))
    add(database, "1", now_us=2)
    assert lookup(database, "1") == changed
    database.write(lambda tx: delete_commitment(tx, "1"))
    assert lookup(database, "1") is None


def test_unknown_request_is_nothing(database: Database) -> None:
    for uid in ("nope", "\0"):
        assert lookup(database, uid) is None
        assert database.write(partial(lock_commitment, transaction_uid=uid)) is None


def test_oldest_requests_are_forgotten(database: Database) -> None:
    for number in range(4):
        add(database, str(number), now_us=number, kept=2)
    assert [lookup(database, str(number)) is not None for number in range(4)] == [
        False,
        False,
        True,
        True,
    ]


def test_unknown_uids_have_no_instances(database: Database) -> None:
    assert database.read(lambda tx: find_instances_of_uids(tx, ["1.2"])) == {}

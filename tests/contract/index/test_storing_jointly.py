"""Instances that are stored all or not at all."""

import pytest
from tests.support.instances import IndexCase, build_new_instance, store

from isocenter.errors import FullStorageError
from isocenter.index.group_commit import GroupCommit
from isocenter.index.reading import find_removals, get_statistics
from isocenter.index.records import Overwrite, Quota, Rules

ROOM = Rules(quota=Quota(maximum_disk_size=1000, is_recycling=False))


def test_all_are_stored_and_those_that_exist_stay(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/a"))
    new = [build_new_instance(f"p/t/r/{name}") for name in "abc"]
    results = GroupCommit(index.database).store_jointly(new)
    assert [result.is_stored for result in results] == [False, True, True]
    assert index.database.read(get_statistics).instances == 3
    index.assert_consistent()


def test_older_versions_are_replaced_and_their_files_removed(index: IndexCase) -> None:
    old = build_new_instance("p/t/r/a")
    store(index.database, old)
    woken: list[bool] = []
    commit = GroupCommit(index.database, on_removals=lambda: woken.append(True))
    commit.store_jointly([build_new_instance("p/t/r/a", overwrite=Overwrite.ALWAYS)])
    removals = index.database.read(lambda tx: find_removals(tx, 10))
    assert removals == [old.attachments[0].attachment_uuid]
    assert woken


def test_without_room_for_all_none_is_stored(index: IndexCase) -> None:
    before = index.database.read(get_statistics)
    # Two of them have room: each takes half of its size on the disk.
    new = [build_new_instance(f"p/t/r/{name}", size=900) for name in "abc"]
    with pytest.raises(FullStorageError):
        GroupCommit(index.database, ROOM).store_jointly(new)
    assert index.database.read(get_statistics) == before
    index.assert_consistent()

import pytest
from tests.unit.archive.parts import REST, Parts, build_numbered, wait_until

from isocenter.archive import deletion as deletion_module
from isocenter.archive.changes import ChangeLog
from isocenter.archive.deletion import Deleter
from isocenter.dicom.levels import Level
from isocenter.errors import StorageUnavailableError
from isocenter.index.reading import get_statistics
from isocenter.index.records import ChangeType, Deletion, Overwrite, Rules
from isocenter.storage.memory import MemoryStorage


class Removals(MemoryStorage):
    """Tells when a number of blobs was removed; refuses as often as it is told to."""

    def __init__(self, refusals: int = 0) -> None:
        super().__init__()
        self.refusals = refusals
        self.removed = 0

    def remove(self, attachment_uuid: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StorageUnavailableError
        super().remove(attachment_uuid)
        self.removed += 1


def store_five(parts: Parts, storage: MemoryStorage) -> str:
    ingest = parts.new_ingest(storage=storage)
    outcomes = [ingest.store_blocking(build_numbered(n), REST) for n in range(5)]
    return outcomes[0].public_ids.series


async def wait_until_removed(storage: Removals, parts: Parts) -> None:
    await wait_until(lambda: not parts.list_removals() and not list(storage.iter_uuids()))


async def test_delete_series_removes_its_files(parts: Parts) -> None:
    storage = Removals()
    series = store_five(parts, storage)
    deleter = Deleter(parts.workers, parts.database, storage)
    deleter.start()

    deletion = await deleter.delete(Level.SERIES, series)
    await wait_until_removed(storage, parts)
    await deleter.stop()

    assert deletion == Deletion(None, None)
    assert storage.removed == 5


async def test_what_was_learned_of_files_goes_with_them(parts: Parts) -> None:
    storage = Removals()
    series = store_five(parts, storage)
    told: list[bool] = []
    deleter = Deleter(parts.workers, parts.database, storage, on_removed=lambda: told.append(True))
    deleter.remove_files()
    assert not told

    await deleter.delete(Level.SERIES, series)
    deleter.remove_files()

    assert told == [True]


async def test_delete_unknown_resource_returns_nothing(parts: Parts) -> None:
    deleter = Deleter(parts.workers, parts.database, parts.storage)

    assert await deleter.delete(Level.SERIES, "unknown") is None


async def test_delete_uses_the_clock(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [await parts.store(build_numbered(n)) for n in range(2)]
    monkeypatch.setattr("isocenter.archive.deletion.now", lambda: 4_000_000_000)
    deleter = Deleter(parts.workers, parts.database, parts.storage)

    await deleter.delete(Level.INSTANCE, outcomes[0].public_ids.instance)

    assert parts.get(Level.STUDY, outcomes[0].public_ids.study).last_update == 4_000_000_000


async def test_crash_after_deletion_files_go_at_next_start(parts: Parts) -> None:
    storage = Removals()
    series = store_five(parts, storage)
    # The deleter that was killed never came to the files.
    await Deleter(parts.workers, parts.database, storage).delete(Level.SERIES, series)
    assert len(list(storage.iter_uuids())) == 5

    restarted = Deleter(parts.workers, parts.database, storage)
    restarted.start()
    await wait_until_removed(storage, parts)
    await restarted.stop()


async def test_crash_between_removals_is_repeated(parts: Parts) -> None:
    storage = Removals()
    series = store_five(parts, storage)
    deleter = Deleter(parts.workers, parts.database, storage)
    await deleter.delete(Level.SERIES, series)
    for name in list(storage.iter_uuids())[:3]:
        storage.remove(name)

    assert deleter.remove_files() == 5

    assert parts.list_removals() == []
    assert list(storage.iter_uuids()) == []
    assert deleter.remove_files() == 0


async def test_file_that_cannot_be_removed_keeps_no_other_and_is_tried_again(parts: Parts) -> None:
    storage = Removals(refusals=1)
    series = store_five(parts, storage)
    deleter = Deleter(parts.workers, parts.database, storage)
    await deleter.delete(Level.SERIES, series)

    deleter.remove_files()

    assert len(parts.list_removals()) == 1
    assert len(list(storage.iter_uuids())) == 1
    deleter.remove_files()
    assert parts.list_removals() == []
    assert list(storage.iter_uuids()) == []


async def test_wake_removes_replaced_files(parts: Parts) -> None:
    storage = Removals()
    store_five(parts, storage)
    deleter = Deleter(parts.workers, parts.database, storage)
    deleter.start()
    ingest = parts.new_ingest(storage=storage, overwrite=Overwrite.ALWAYS)
    new = build_numbered(0, pixels=99)
    await ingest.store(new, REST)

    deleter.wake()
    await wait_until(lambda: storage.removed)
    await deleter.stop()

    assert new in [storage.read(name) for name in storage.iter_uuids()]
    assert len(list(storage.iter_uuids())) == 5


async def test_delete_many_deletes_batch_by_batch(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion_module, "_DELETIONS_AT_ONCE", 2)
    storage = Removals()
    ingest = parts.new_ingest(storage=storage)
    outcomes = [ingest.store_blocking(build_numbered(n), REST) for n in range(5)]
    deleter = Deleter(parts.workers, parts.database, storage)
    deleter.start()
    instances = [(None, outcome.public_ids.instance) for outcome in outcomes]

    await deleter.delete_many([*instances[:3], (None, "unknown"), *instances[3:]])
    await wait_until_removed(storage, parts)
    await deleter.stop()

    assert storage.removed == 5
    assert parts.database.read(get_statistics).patients == 0


async def test_wake_from_thread_removes_files_at_once(parts: Parts) -> None:
    storage = Removals()
    deleter = Deleter(parts.workers, parts.database, storage)
    deleter.wake_from_thread()
    deleter.start()
    ingest = parts.new_ingest(
        storage=storage, overwrite=Overwrite.ALWAYS, on_removals=deleter.wake_from_thread
    )

    for _ in range(2):
        await ingest.store(build_numbered(1), REST)
    await wait_until(lambda: storage.removed == 1 and not parts.list_removals())
    await deleter.stop()
    deleter.wake_from_thread()

    assert len(list(storage.iter_uuids())) == 1


async def test_deletions_are_logged_if_the_rules_say_so(parts: Parts) -> None:
    outcome = await parts.store(build_numbered(1))
    deleter = Deleter(parts.workers, parts.database, parts.storage, Rules(logs_deletions=True))
    log = ChangeLog(parts.workers, has_deletions=True)

    await deleter.delete(Level.PATIENT, outcome.public_ids.patient)

    page = await log.find(since=None, until=None, limit=100)
    assert [change.public_id for change in page.changes] == list(outcome.public_ids)[::-1]
    assert {change.change_type for change in page.changes} == {ChangeType.DELETED}
    assert (await log.find_last()).changes == page.changes[-1:]
    assert (await ChangeLog(parts.workers).find_last()).changes == []


def test_file_goes_only_after_nothing_can_bring_its_row_back(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, left = Removals(), []
    ingest = parts.new_ingest(storage=storage, overwrite=Overwrite.ALWAYS)
    for _ in range(2):
        ingest.store_blocking(build_numbered(1), REST)
    monkeypatch.setattr(parts.database, "sync", lambda: left.append(len(storage._blobs)))

    Deleter(parts.workers, parts.database, storage).remove_files()

    assert (left, len(storage._blobs)) == ([2], 1)

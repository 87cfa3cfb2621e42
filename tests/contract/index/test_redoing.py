from tests.support.instances import IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.index.deletion import delete_resource, forget_removals
from isocenter.index.reading import get_statistics
from isocenter.index.records import NewResource
from isocenter.index.redoing import MOST_CHANGES, find_mentioned_blobs, skip_changes


def test_mentioned_blobs_are_those_of_rows_and_those_to_be_removed(index: IndexCase) -> None:
    kept, deleted, forgotten = (build_new_instance(f"p{n}/t{n}/r{n}/i{n}") for n in range(3))
    store(index.database, kept, deleted, forgotten)
    names = [one.attachments[0].attachment_uuid for one in (kept, deleted, forgotten)]
    for number in (1, 2):
        index.database.write(
            lambda tx, name=f"p{number}": delete_resource(  # type: ignore[misc]
                tx, Level.PATIENT, name, deleted_at=1
            )
        )
    index.database.write(lambda tx: forget_removals(tx, names[2:]))

    found = index.database.read(lambda tx: find_mentioned_blobs(tx, [*names, "unknown"]))

    assert found == set(names[:2])
    assert index.database.read(lambda tx: find_mentioned_blobs(tx, [])) == set()


def test_skipped_numbers_are_not_given_to_changes(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))
    last = index.database.read(get_statistics).last_change

    index.database.write(lambda tx: skip_changes(tx, 10))
    store(index.database, build_new_instance("p/t/r/j"))

    assert index.database.read(get_statistics).last_change == last + 11


def test_storing_one_instance_logs_no_more_changes_than_are_skipped_for_it(
    index: IndexCase,
) -> None:
    series = NewResource("r", "{}", "{}", expected_instances=1)
    instance = NewResource("i", "{}", "{}", index_in_series=1)
    rows = {Level.SERIES: series, Level.INSTANCE: instance}
    store(index.database, build_new_instance("p/t/r/i", rows=rows))

    assert index.database.read(get_statistics).last_change == MOST_CHANGES


def test_write_that_can_be_redone_is_seen_at_once(index: IndexCase) -> None:
    index.database.write(lambda tx: skip_changes(tx, 1), can_be_redone=True)
    assert index.database.read(get_statistics).last_change == 1
    index.database.sync()

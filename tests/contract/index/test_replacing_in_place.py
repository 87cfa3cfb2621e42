"""Overwriting an instance that keeps what users added to it (option Isocenter.OverwriteInPlace)."""

import pytest
from tests.support.instances import NOON, IndexCase, build_new_instance

from isocenter.dicom.levels import Level
from isocenter.index.change_log import find_changes
from isocenter.index.reading import (
    find_removals,
    get_statistics,
    lookup_dicom_attachment,
    lookup_resource,
)
from isocenter.index.records import (
    ChangeType,
    NewInstance,
    NewResource,
    Overwrite,
    Quota,
    Rules,
    StoreResult,
)
from isocenter.index.writing import store_instances

IN_PLACE = Rules(keeps_replaced=True)
ALWAYS = Overwrite.ALWAYS


def store(index: IndexCase, *instances: NewInstance, rules: Rules = IN_PLACE) -> list[StoreResult]:
    return index.database.write(lambda tx: store_instances(tx, instances, rules))


@pytest.fixture
def annotated(index: IndexCase) -> IndexCase:
    """Store one instance with labels, metadata and an attachment of 40 bytes at each level."""
    store(index, build_new_instance("p/t/r/i", size=200, md5="old"))
    index.sql("INSERT INTO labels SELECT internal_id, 'kept' FROM resources")
    index.sql("INSERT INTO metadata SELECT internal_id, 1024, 'kept', 0 FROM resources")
    index.sql("INSERT INTO metadata SELECT internal_id, 9, 'old', 0 FROM resources WHERE level = 3")
    index.sql(
        "INSERT INTO attachments SELECT internal_id, 1024, public_id, 0, 40, 40, '', '', 0 "
        "FROM resources"
    )
    index.sql("UPDATE archive SET disk_size = disk_size + 160")
    index.sql("UPDATE archive SET uncompressed_size = uncompressed_size + 160")
    return index


def test_replacement_in_place_keeps_what_users_added(annotated: IndexCase) -> None:
    row = NewResource("NEW", '{"SOPInstanceUID":"new"}', '{"9":"new"}', index_in_series=7)
    new = build_new_instance(
        "p/t/r/i", size=4000, overwrite=ALWAYS, stored_at=NOON + 5, rows={Level.INSTANCE: row}
    )

    assert store(annotated, new) == [StoreResult(is_stored=True, has_replaced=True)]

    assert len(annotated.sql("SELECT * FROM labels WHERE label = 'kept'")) == 4
    metadata = annotated.sql("SELECT code, value FROM metadata ORDER BY code")
    assert [tuple(pair) for pair in metadata] == [(1024, "kept")] * 4
    attachments = annotated.sql("SELECT * FROM attachments WHERE content_type = 1024")
    assert len(attachments) == 4
    found = annotated.database.read(lambda tx: lookup_resource(tx, Level.INSTANCE, "i"))
    assert found is not None
    assert (found.main_tags, found.metadata) == (row.main_tags, row.metadata)
    assert (found.index_in_series, found.last_update) == (7, NOON + 5)
    annotated.assert_consistent()


def test_replacement_in_place_replaces_the_file(annotated: IndexCase) -> None:
    old = annotated.database.read(lambda tx: lookup_dicom_attachment(tx, "i"))
    new = build_new_instance("p/t/r/i", size=4000, overwrite=ALWAYS)

    store(annotated, new)

    found = annotated.database.read(lambda tx: lookup_dicom_attachment(tx, "i"))
    assert old is not None
    assert found is not None
    assert found.attachment == new.attachments[0]
    removals = annotated.database.read(lambda tx: find_removals(tx, 10))
    assert removals == [old.attachment.attachment_uuid]
    assert annotated.database.read(get_statistics).disk_size == 160 + 2000


def test_replacement_in_place_logs_a_new_instance_only(annotated: IndexCase) -> None:
    store(annotated, build_new_instance("p/t/r/i", overwrite=ALWAYS))

    changes = annotated.database.read(lambda tx: find_changes(tx, since=4, until=None, limit=9))
    assert [(change.change_type, change.public_id) for change in changes] == [
        (ChangeType.NEW_INSTANCE, "i")
    ]


def test_replacement_in_place_restarts_the_countdown(annotated: IndexCase) -> None:
    annotated.sql("UPDATE resources SET is_stable = 1")

    store(annotated, build_new_instance("p/t/r/i", overwrite=ALWAYS, stored_at=NOON + 7))

    for level, public_id in ((Level.PATIENT, "p"), (Level.STUDY, "t"), (Level.SERIES, "r")):
        row = annotated.database.read(lambda tx, at=(level, public_id): lookup_resource(tx, *at))  # type: ignore[misc]
        assert row is not None
        assert (row.is_stable, row.last_update) == (False, NOON + 7)


def test_replacement_in_place_counts_what_the_older_file_frees(annotated: IndexCase) -> None:
    # 260 bytes are taken, 100 of them by the file.
    rules = Rules(Quota(maximum_disk_size=300), keeps_replaced=True)

    results = store(
        annotated,
        build_new_instance("p/t/r/i", size=2 * 141, overwrite=ALWAYS),
        build_new_instance("p/t/r/i", size=2 * 140, overwrite=ALWAYS),
        build_new_instance("p/t/r/i", size=2 * 141, overwrite=ALWAYS),
        rules=rules,
    )

    assert [result.is_full for result in results] == [True, False, True]
    annotated.assert_consistent()


def build_numbered(name: str, number: int) -> NewInstance:
    rows = {
        Level.SERIES: NewResource("R", "{}", "{}", expected_instances=2),
        Level.INSTANCE: NewResource(name.upper(), "{}", "{}", index_in_series=number),
    }
    return build_new_instance(f"p/t/r/{name}", rows=rows, overwrite=ALWAYS)


def test_replacement_in_place_completes_a_series(index: IndexCase) -> None:
    def count_completions() -> int:
        changes = index.database.read(lambda tx: find_changes(tx, since=0, until=None, limit=99))
        return [c.change_type for c in changes].count(ChangeType.COMPLETED_SERIES)

    store(index, build_numbered("a", 1), build_numbered("b", 1))
    assert count_completions() == 0
    store(index, build_numbered("b", 2))
    assert count_completions() == 1
    store(index, build_numbered("b", 3), build_numbered("c", 2))
    assert count_completions() == 1
    index.assert_consistent()

"""Rows that are written anew, on both databases."""

from dataclasses import replace

import msgspec
import pytest
from tests.support.instances import NOON, CountingTransaction, IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.index.port import Transaction
from isocenter.index.reading import (
    find_identifier,
    find_removals,
    get_statistics,
    lookup_dicom_attachment,
    lookup_resource,
    lookup_row,
)
from isocenter.index.rebuilding import (
    RebuiltResource,
    ReplacedFile,
    find_all_below,
    find_first_instances,
    find_lineage_rows,
    find_stored_instances,
    rebuild_resources,
    replace_files,
)
from isocenter.index.records import NewResource, ResourceRow

NEW = NewResource(
    identifier="NEW",
    main_tags='{"A":"new"}',
    metadata='{"10":"class","15":"signature","2":"never"}',
    search=((1, "x"), (1, "y"), (2, "z")),
    index_in_series=7,
)


def get_row(index: IndexCase, level: Level, public_id: str) -> int:
    row = index.database.read(lambda tx: lookup_row(tx, level, public_id))
    assert row is not None
    return row


def get_resource(index: IndexCase, level: Level, public_id: str) -> ResourceRow:
    row = index.database.read(lambda tx: lookup_resource(tx, level, public_id))
    assert row is not None
    return row


def test_rebuilt_row_keeps_what_does_not_follow_from_the_file(index: IndexCase) -> None:
    rows = {
        Level.INSTANCE: NewResource(
            "I", '{"A":"old"}', '{"1":"3","2":"20260101","9":"syntax"}', search=((1, "old"),)
        )
    }
    instance = build_new_instance("p/t/r/i", rows=rows)
    store(index.database, instance)
    row = get_row(index, Level.INSTANCE, "i")
    index.sql(f"INSERT INTO labels VALUES ({row}, 'kept')")  # noqa: S608
    for code in (1, 5, 1024):
        index.sql(f"INSERT INTO metadata VALUES ({row}, {code}, 'kept', 3)")  # noqa: S608
    name = instance.attachments[0].attachment_uuid

    changed = index.database.write(
        lambda tx: rebuild_resources(tx, [RebuiltResource(row, NEW, name)])
    )

    assert changed == []
    resource = get_resource(index, Level.INSTANCE, "i")
    assert resource.main_tags == NEW.main_tags
    assert resource.metadata == '{"10":"class","15":"signature","2":"20260101"}'
    assert (resource.index_in_series, resource.last_update) == (7, NOON)
    assert (resource.labels, resource.modified_from) == (["kept"], "kept")
    assert resource.attachment_uuid == name
    query = f"SELECT tag, value FROM search WHERE resource_id = {row} ORDER BY tag, value"  # noqa: S608
    found = index.sql(query)
    assert found == [(1, "x"), (1, "y"), (2, "z")]
    codes = index.sql(f"SELECT code FROM metadata WHERE resource_id = {row} ORDER BY code")  # noqa: S608
    assert codes == [(5,), (1024,)]
    assert index.database.read(lambda tx: find_identifier(tx, "NEW")) == [(Level.INSTANCE, "i")]
    index.assert_consistent()


def test_rebuilding_leaves_what_is_gone_or_was_replaced(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))
    row = get_row(index, Level.INSTANCE, "i")
    before = get_resource(index, Level.INSTANCE, "i")

    changed = index.database.write(
        lambda tx: rebuild_resources(
            tx, [RebuiltResource(row, NEW, "other"), RebuiltResource(10**9, NEW)]
        )
    )

    assert changed == [row]
    assert get_resource(index, Level.INSTANCE, "i") == before
    assert index.database.write(lambda tx: rebuild_resources(tx, [])) == []


def test_plan_of_a_rebuilding_reads_the_tree(index: IndexCase) -> None:
    paths = ["p/t1/r1/i9", "p/t1/r2/i1", "p/t2/r3/i2", "p/t1/r1/i3"]
    store(index.database, *map(build_new_instance, paths))
    rows = {path[-2:]: get_row(index, Level.INSTANCE, path[-2:]) for path in paths}
    lineage = index.database.read(lambda tx: find_lineage_rows(tx, Level.SERIES, "r1"))
    below = index.database.read(lambda tx: find_all_below(tx, lineage[Level.PATIENT]))

    assert list(lineage) == [Level.SERIES, Level.STUDY, Level.PATIENT]
    assert {level: len(ids) for level, ids in below.items()} == {
        Level.PATIENT: 1,
        Level.STUDY: 2,
        Level.SERIES: 3,
        Level.INSTANCE: 4,
    }
    for level in (Level.PATIENT, Level.STUDY, Level.SERIES):
        first = index.database.read(
            lambda tx, level=level: find_first_instances(tx, level, [lineage[level]])  # type: ignore[misc]
        )
        # The one that was stored first, whatever its identifier.
        assert first == {lineage[level]: rows["i9"]}
    assert index.database.read(lambda tx: find_lineage_rows(tx, Level.SERIES, "nobody")) == {}


def test_stored_instances_come_with_their_files(index: IndexCase) -> None:
    instances = [build_new_instance(f"p/t/r/i{n}") for n in range(2)]
    store(index.database, *instances)
    rows = [get_row(index, Level.INSTANCE, f"i{n}") for n in range(2)]
    index.sql(f"DELETE FROM attachments WHERE resource_id = {rows[1]}")  # noqa: S608

    found = index.database.read(lambda tx: find_stored_instances(tx, [*rows, 10**9]))

    assert [one.internal_id for one in found] == rows
    assert [one.public_id for one in found] == ["i0", "i1"]
    assert found[0].file is not None
    assert found[0].file.attachment == instances[0].attachments[0]
    assert found[1].file is None


def test_replaced_file_may_have_another_content(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i0", size=1000))
    row = get_row(index, Level.INSTANCE, "i0")
    found = index.database.read(lambda tx: lookup_dicom_attachment(tx, "i0"))
    assert found is not None
    new = replace(found.attachment, attachment_uuid="new", compressed_size=70, uncompressed_size=80)

    replaced = [ReplacedFile(row, found.attachment, new, NEW)]
    assert index.database.write(lambda tx: replace_files(tx, replaced)) == []

    found = index.database.read(lambda tx: lookup_dicom_attachment(tx, "i0"))
    assert found is not None
    assert found.attachment == new
    main_tags = index.sql(f"SELECT main_tags FROM resources WHERE internal_id = {row}")  # noqa: S608
    assert main_tags == [(NEW.main_tags,)]
    sizes = index.database.read(get_statistics)
    assert (sizes.disk_size, sizes.uncompressed_size) == (70, 80)
    index.assert_consistent()


def test_replaced_files_go_to_the_removals(index: IndexCase) -> None:
    instances = [build_new_instance(f"p/t/r/i{n}", size=1000) for n in range(2)]
    store(index.database, *instances)
    rows = [get_row(index, Level.INSTANCE, f"i{n}") for n in range(2)]
    old = [instance.attachments[0] for instance in instances]
    new = [
        replace(one, attachment_uuid=f"new-{n}", compression=0, compressed_size=1000)
        for n, one in enumerate(old)
    ]
    stale = replace(old[1], attachment_uuid="gone")

    unused = index.database.write(
        lambda tx: replace_files(
            tx,
            [
                ReplacedFile(rows[0], old[0], new[0]),
                ReplacedFile(rows[1], stale, new[1]),
                ReplacedFile(10**9, old[0], new[1]),
            ],
        )
    )

    assert [one.internal_id for one in unused] == [rows[1], 10**9]
    assert index.database.read(lambda tx: find_removals(tx, 10)) == [old[0].attachment_uuid]
    found = index.database.read(lambda tx: lookup_dicom_attachment(tx, "i0"))
    assert found is not None
    assert (found.attachment, found.revision) == (new[0], 1)
    assert index.database.read(get_statistics).disk_size == 1500
    index.assert_consistent()


@pytest.mark.parametrize("count", [1, 40])
def test_rebuilding_any_number_uses_as_many_statements(index: IndexCase, count: int) -> None:
    store(index.database, *(build_new_instance(f"p/t/r/i{n}") for n in range(count)))
    rows = [get_row(index, Level.INSTANCE, f"i{n}") for n in range(count)]

    def rebuild(tx: Transaction) -> int:
        counting = CountingTransaction(tx)
        rebuild_resources(counting, [RebuiltResource(row, NEW) for row in rows])
        return counting.count

    assert index.database.write(rebuild) == 6


def test_record_of_a_rebuilding_survives_its_encoding() -> None:
    record = RebuiltResource(5, NEW, "name")
    decoder = msgspec.msgpack.Decoder(RebuiltResource)
    assert decoder.decode(msgspec.msgpack.encode(record)) == record

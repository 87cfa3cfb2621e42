from functools import partial

import pytest
from tests.support.instances import NOON, IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_index_value
from isocenter.errors import UnknownResourceError
from isocenter.index import reading
from isocenter.index.port import Database
from isocenter.index.reading import (
    find_descendants,
    find_existing_attachments,
    find_identifier,
    find_lineage,
    get_public_id,
    list_public_ids,
    lookup_dicom_attachment,
    lookup_resource,
    lookup_resources,
    measure_resource,
    read_attachments,
    read_page,
)
from isocenter.index.records import MetadataCode, NewResource, ResourceSize

# Order of bytes: digits, capitals, small letters, whatever the locale of the database.
NAMES = ["10", "2", "B", "Z", "a", "b"]


@pytest.fixture
def tree(database: Database) -> Database:
    """Store two studies of three series with four instances, sizes 500 and 1000 bytes."""
    paths = [f"p/t{t}/r{t}{r}/i{t}{r}{i}" for t in (2, 1) for r in (3, 1, 2) for i in (4, 2, 1, 3)]
    store(database, *map(build_new_instance, paths))
    return database


def test_list_public_ids_any_order_is_that_of_bytes(database: Database) -> None:
    store(
        database, *(build_new_instance(f"{name}/t{name}/r{name}/i{name}") for name in NAMES[::-1])
    )

    assert database.read(lambda tx: list_public_ids(tx, Level.PATIENT)) == NAMES


@pytest.mark.parametrize(
    ("since", "limit", "expected"),
    [
        (0, None, NAMES),
        (0, 0, []),
        (2, None, NAMES[2:]),
        (1, 2, NAMES[1:3]),
        (5, 100, NAMES[5:]),
        (6, 1, []),
        (10**12, 10**12, []),
    ],
)
def test_page_part_of_list_is_returned(
    database: Database, since: int, limit: int | None, expected: list[str]
) -> None:
    store(
        database, *(build_new_instance(f"{name}/t{name}/r{name}/i{name}") for name in NAMES[::-1])
    )

    listed = database.read(lambda tx: list_public_ids(tx, Level.PATIENT, since=since, limit=limit))
    page = database.read(lambda tx: read_page(tx, Level.PATIENT, since=since, limit=limit))

    assert listed == expected
    assert [row.public_id for row in page] == expected


def test_lookup_resource_patient_has_no_parent(tree: Database) -> None:
    row = tree.read(lambda tx: lookup_resource(tx, Level.PATIENT, "p"))

    assert row is not None
    assert (row.level, row.public_id, row.parent) == (Level.PATIENT, "p", None)
    assert row.children == ["t1", "t2"]
    assert (row.is_stable, row.last_update) == (False, NOON)
    assert (row.attachment_uuid, row.file_size, row.patient_tags) == (None, None, None)


def test_lookup_resource_study_has_patient_tags(tree: Database) -> None:
    row = tree.read(lambda tx: lookup_resource(tx, Level.STUDY, "t2"))

    assert row is not None
    assert (row.parent, row.children) == ("p", ["r21", "r22", "r23"])
    assert row.patient_tags == '{"PatientID":"p"}'
    assert row.main_tags == '{"Name":"t2"}'


def test_lookup_resource_series_without_expectation_reads_no_numbers(tree: Database) -> None:
    row = tree.read(lambda tx: lookup_resource(tx, Level.SERIES, "r13"))

    assert row is not None
    assert (row.parent, row.children) == ("t1", ["i131", "i132", "i133", "i134"])
    assert (row.expected_instances, row.indexes_in_series) == (None, [])


def test_lookup_resource_series_with_expectation_lists_numbers(database: Database) -> None:
    for number in (3, 1, None, 3):
        rows = {
            Level.SERIES: NewResource("R", "{}", "{}", expected_instances=4),
            Level.INSTANCE: NewResource("I", "{}", "{}", index_in_series=number),
        }
        name = f"p/t/r/i{len(database.read(lambda tx: list_public_ids(tx, Level.INSTANCE)))}"
        store(database, build_new_instance(name, rows=rows))

    row = database.read(lambda tx: lookup_resource(tx, Level.SERIES, "r"))

    assert row is not None
    assert row.expected_instances == 4
    assert sorted(row.indexes_in_series) == [1, 3, 3]


def test_lookup_resource_instance_names_its_file(database: Database) -> None:
    instance = build_new_instance("p/t/r/i", size=77)
    store(database, instance)

    row = database.read(lambda tx: lookup_resource(tx, Level.INSTANCE, "i"))

    assert row is not None
    assert (row.parent, row.children, row.is_stable) == ("r", [], True)
    assert row.attachment_uuid == instance.attachments[0].attachment_uuid
    assert row.file_size == 77


@pytest.mark.parametrize(("level", "public_id"), [(Level.STUDY, "p"), (Level.PATIENT, "x")])
def test_lookup_resource_unknown_returns_nothing(
    tree: Database, level: Level, public_id: str
) -> None:
    assert tree.read(lambda tx: lookup_resource(tx, level, public_id)) is None
    assert tree.read(lambda tx: measure_resource(tx, level, public_id)) is None
    assert tree.read(lambda tx: find_lineage(tx, level, public_id)) == {}
    assert tree.read(lambda tx: find_descendants(tx, (level, public_id), Level.INSTANCE)) == []


def test_lookup_resource_labels_come_in_order(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))
    for label in ("zebra", "ai", "Teaching"):
        index.sql(
            f"INSERT INTO labels SELECT internal_id, '{label}' FROM resources"  # noqa: S608
            " WHERE public_id = 't'"
        )

    row = index.database.read(lambda tx: lookup_resource(tx, Level.STUDY, "t"))
    page = index.database.read(lambda tx: read_page(tx, Level.STUDY, since=0, limit=1))

    assert row is not None
    assert row.labels == ["Teaching", "ai", "zebra"]
    assert page == [row]


def test_find_descendants_any_depth_is_ordered(tree: Database) -> None:
    studies = tree.read(lambda tx: find_descendants(tx, (Level.PATIENT, "p"), Level.STUDY))
    series = tree.read(lambda tx: find_descendants(tx, (Level.PATIENT, "p"), Level.SERIES))
    instances = tree.read(lambda tx: find_descendants(tx, (Level.STUDY, "t1"), Level.INSTANCE))

    assert [name for _, name in studies] == ["t1", "t2"]
    assert [name for _, name in series] == ["r11", "r12", "r13", "r21", "r22", "r23"]
    assert [name for _, name in instances] == [f"i1{r}{i}" for r in (1, 2, 3) for i in (1, 2, 3, 4)]


def test_lookup_resources_equals_single_lookups(tree: Database) -> None:
    found = tree.read(lambda tx: find_descendants(tx, (Level.STUDY, "t1"), Level.SERIES))

    rows = tree.read(lambda tx: lookup_resources(tx, [key for key, _ in reversed(found)]))

    singles = tree.read(
        lambda tx: [lookup_resource(tx, Level.SERIES, public_id) for _, public_id in found]
    )
    assert rows == singles
    assert tree.read(lambda tx: lookup_resources(tx, [])) == []


def test_find_lineage_maps_levels_above(tree: Database) -> None:
    lineage = tree.read(lambda tx: find_lineage(tx, Level.INSTANCE, "i123"))

    assert lineage == {
        Level.INSTANCE: "i123",
        Level.SERIES: "r12",
        Level.STUDY: "t1",
        Level.PATIENT: "p",
    }


@pytest.mark.parametrize(
    "asked", ["Müller-7", "MÜLLER-7", "muller-7", "  mu\N{COMBINING DIAERESIS}ller-7 "]
)
def test_find_identifier_ignores_case_and_accents(database: Database, asked: str) -> None:
    row = NewResource(build_index_value("Müller-7"), "{}", "{}")
    store(database, build_new_instance("p/t/r/i", rows={Level.PATIENT: row}))

    found = database.read(lambda tx: find_identifier(tx, build_index_value(asked)))

    assert found == [(Level.PATIENT, "p")]


def test_find_identifier_same_on_several_levels_finds_all(database: Database) -> None:
    row = NewResource("1.2.3", "{}", "{}")
    rows = {Level.SERIES: row, Level.STUDY: row}
    store(database, build_new_instance("p/t/r/i", rows=rows))
    store(database, build_new_instance("p2/t2/r2/i2", rows={Level.STUDY: row}))

    found = database.read(lambda tx: find_identifier(tx, "1.2.3"))

    assert found == [(Level.STUDY, "t"), (Level.STUDY, "t2"), (Level.SERIES, "r")]


@pytest.mark.parametrize(
    ("level", "public_id", "counts"),
    [
        (Level.PATIENT, "p", [1, 2, 6, 24]),
        (Level.STUDY, "t1", [0, 1, 3, 12]),
        (Level.SERIES, "r12", [0, 0, 1, 4]),
        (Level.INSTANCE, "i121", [0, 0, 0, 1]),
    ],
)
def test_measure_resource_adds_up_what_lies_below(
    tree: Database, level: Level, public_id: str, counts: list[int]
) -> None:
    size = tree.read(lambda tx: measure_resource(tx, level, public_id))

    instances = counts[3]
    assert size == ResourceSize(
        {Level(at): count for at, count in enumerate(counts) if count},
        disk_size=500 * instances,
        uncompressed_size=1000 * instances,
        dicom_disk_size=500 * instances,
        dicom_uncompressed_size=1000 * instances,
    )


def test_measure_resource_other_attachments_count_apart(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i", size=1000))
    index.sql(
        "INSERT INTO attachments SELECT internal_id, 1025, 'x', 0, 7, 9, '', '', 0 FROM resources"
    )

    size = index.database.read(lambda tx: measure_resource(tx, Level.PATIENT, "p"))

    assert size is not None
    assert size.counts == dict.fromkeys(Level, 1)
    assert (size.disk_size, size.uncompressed_size) == (528, 1036)
    assert (size.dicom_disk_size, size.dicom_uncompressed_size) == (500, 1000)


def test_lookup_dicom_attachment_reads_offset_of_pixels(database: Database) -> None:
    metadata = f'{{"{MetadataCode.PIXEL_DATA_OFFSET}":"1342","9":"1.2.840"}}'
    instance = build_new_instance(
        "p/t/r/i", md5="abc", rows={Level.INSTANCE: NewResource("I", "{}", metadata)}
    )
    store(database, instance)

    found = database.read(lambda tx: lookup_dicom_attachment(tx, "i"))

    assert found is not None
    assert found.attachment == instance.attachments[0]
    assert (found.revision, found.pixel_data_offset) == (0, 1342)


def test_lookup_dicom_attachment_without_pixels_has_no_offset(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i"))

    found = database.read(lambda tx: lookup_dicom_attachment(tx, "i"))

    assert found is not None
    assert found.pixel_data_offset is None
    assert database.read(lambda tx: lookup_dicom_attachment(tx, "r")) is None


def test_find_existing_attachments_keeps_referenced(database: Database) -> None:
    instance = build_new_instance("p/t/r/i")
    uuid = instance.attachments[0].attachment_uuid
    store(database, instance)

    assert database.read(lambda tx: find_existing_attachments(tx, [uuid, "other"])) == {uuid}
    assert database.read(lambda tx: find_existing_attachments(tx, [])) == set()


def test_get_public_id_names_row_or_raises(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i"))
    [(internal_id, _)] = database.read(
        lambda tx: find_descendants(tx, (Level.STUDY, "t"), Level.SERIES)
    )

    assert database.read(lambda tx: get_public_id(tx, internal_id)) == (Level.SERIES, "r")
    with pytest.raises(UnknownResourceError):
        database.read(lambda tx: get_public_id(tx, 10**9))


@pytest.mark.parametrize("page_size", [1, 2, 3, 10_000])
def test_read_attachments_pages_list_each_once(
    index: IndexCase, monkeypatch: pytest.MonkeyPatch, page_size: int
) -> None:
    monkeypatch.setattr(reading, "_PAGE", page_size)
    instances = [build_new_instance(f"p/t/r/i{n}", size=2 * n, md5=f"{n}") for n in range(5)]
    store(index.database, *instances)
    index.sql(
        "INSERT INTO attachments SELECT internal_id, 1025, public_id, 0, 7, 9, 'm', '', 0"
        " FROM resources WHERE level = 3"
    )

    found, after = [], (0, 0)
    while page := index.database.read(partial(read_attachments, after=after)):
        assert len(page) <= page_size
        found += [entry[1:] for entry in page]
        after = page[-1][:2]

    files = [instance.attachments[0] for instance in instances]
    expected = [(1, f.attachment_uuid, f.compressed_size, f.compressed_md5) for f in files]
    assert sorted(found) == sorted(expected + [(1025, f"i{n}", 7, "m") for n in range(5)])

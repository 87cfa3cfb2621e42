"""Resources of another server become rows of ours, on both databases."""

import uuid
from collections.abc import Sequence
from typing import Any

from tests.support.instances import NOON, CountingTransaction, IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.index.adopting import (
    adopt_changes,
    adopt_exports,
    adopt_resources,
    begin_adoption,
    find_existing_instances,
    find_present_resources,
)
from isocenter.index.change_log import find_changes
from isocenter.index.foreign import (
    AdoptedResource,
    AdoptionState,
    ForeignChange,
    ForeignExport,
    LastNumbers,
)
from isocenter.index.port import Database
from isocenter.index.reading import get_statistics, lookup_resource, measure_resource
from isocenter.index.records import Attachment, NewResource

SOURCE = "somewhere"
FRESH = LastNumbers(change=40, export=20, recycling=9)


def build(
    level: Level,
    public_id: str,
    parent: str | None,
    *,
    attachments: Sequence[tuple[Attachment, int]] = (),
    is_present: bool = False,
    **values: Any,
) -> AdoptedResource:
    search = ((0x00100010, f"name of {public_id}"),) if level < Level.INSTANCE else ()
    row = NewResource(public_id.upper(), "{}", '{"15":"x"}', search=search)
    defaults = {"metadata": (), "labels": (), "last_update": NOON}
    return AdoptedResource(
        level=level,
        public_id=public_id,
        parent_public_id=parent,
        row=None if is_present else row,
        attachments=tuple(attachments),
        **{**defaults, **values},
    )


def attach(content_type: int, size: int = 100) -> Attachment:
    return Attachment(content_type, str(uuid.uuid4()), 1, size, 2 * size, "c", "u")


def build_lineage(name: str, **values: Any) -> list[AdoptedResource]:
    return [
        build(Level.PATIENT, f"p{name}", None, **values),
        build(Level.STUDY, f"t{name}", f"p{name}"),
        build(Level.SERIES, f"r{name}", f"t{name}"),
        build(Level.INSTANCE, f"i{name}", f"r{name}", attachments=[(attach(1), 0)]),
    ]


def adopt(database: Database, *resources: AdoptedResource) -> None:
    database.write(lambda tx: adopt_resources(tx, resources))


def begin(database: Database, last: LastNumbers = FRESH, source: str = SOURCE) -> AdoptionState:
    return database.write(lambda tx: begin_adoption(tx, source, last))


def change(seq: int, public_id: str, kind: int = 2) -> ForeignChange:
    return ForeignChange(seq, kind, public_id, NOON)


def list_changes(index: IndexCase) -> list[tuple[int, int]]:
    rows = index.sql("SELECT seq, change_type FROM changes ORDER BY seq")
    return [(row[0], row[1]) for row in rows]


def test_adopted_resources_are_there_with_their_ancestors(database: Database) -> None:
    adopt(database, *build_lineage("1"), *build_lineage("2"))
    row = database.read(lambda tx: lookup_resource(tx, Level.SERIES, "r1"))
    assert row is not None
    assert (row.parent, row.children, row.is_stable) == ("t1", ["i1"], True)
    assert row.last_update == NOON
    statistics = database.read(get_statistics)
    assert (statistics.patients, statistics.instances, statistics.disk_size) == (2, 2, 200)
    size = database.read(lambda tx: measure_resource(tx, Level.PATIENT, "p2"))
    assert size is not None
    assert (size.disk_size, size.uncompressed_size) == (100, 200)


def test_adopting_again_adds_only_what_is_missing(index: IndexCase) -> None:
    database = index.database
    first, second = attach(1030), attach(1031)
    adopt(database, *build_lineage("1"))
    extras: dict[str, Any] = {"metadata": ((1024, "old", 0),), "labels": ("a",)}
    adopt(
        database,
        build(Level.STUDY, "t1", "p1", attachments=[(first, 4)], is_present=True, **extras),
    )
    extras = {"metadata": ((1024, "new", 9), (1025, "x", 2)), "labels": ("a", "b")}
    adopt(
        database,
        build(
            Level.STUDY,
            "t1",
            "p1",
            attachments=[(attach(1030), 0), (second, 0)],
            is_present=True,
            **extras,
        ),
        build(Level.SERIES, "r9", "t1"),
        build(Level.INSTANCE, "i9", "r9"),
    )
    assert index.sql("SELECT code, value, revision FROM metadata ORDER BY code") == [
        (1024, "old", 0),
        (1025, "x", 2),
    ]
    assert index.sql("SELECT label FROM labels ORDER BY label") == [("a",), ("b",)]
    found = index.sql(
        "SELECT attachment_uuid, revision FROM attachments WHERE content_type > 1"
        " ORDER BY content_type"
    )
    assert found == [(first.attachment_uuid, 4), (second.attachment_uuid, 0)]
    statistics = database.read(get_statistics)
    assert (statistics.studies, statistics.series, statistics.disk_size) == (1, 2, 300)


def test_protection_and_place_of_patients_are_kept(index: IndexCase) -> None:
    adopt(index.database, *build_lineage("1", recycling_order=7), *build_lineage("2"))
    rows = index.sql(
        "SELECT public_id, recycling_order FROM resources WHERE level = 0 ORDER BY public_id"
    )
    assert rows == [("p1", 7), ("p2", None)]


def test_number_of_statements_does_not_grow(database: Database) -> None:
    def count(lineages: int, name: str) -> int:
        resources = [r for n in range(lineages) for r in build_lineage(f"{name}{n}", labels=("a",))]

        def run(tx: Any) -> int:
            counting = CountingTransaction(tx)
            adopt_resources(counting, resources)
            return counting.count

        return database.write(run)

    assert count(1, "a") == count(50, "b") <= 7


def test_present_resources_are_told_with_their_attachments(database: Database) -> None:
    adopt(database, *build_lineage("1"))
    found = database.read(lambda tx: find_present_resources(tx, ["t1", "i1", "i2"]))
    assert set(found) == {(Level.STUDY, "t1"), (Level.INSTANCE, "i1")}
    assert found[Level.INSTANCE, "i1"].content_types == {1}
    assert found[Level.STUDY, "t1"].content_types == frozenset()
    assert database.read(lambda tx: find_existing_instances(tx, ["i1", "i2", "t1"])) == {"i1"}


def test_changes_keep_their_numbers_in_an_empty_archive(index: IndexCase) -> None:
    database = index.database
    state = begin(database)
    adopt(database, *build_lineage("1"))
    unknown, foreign = change(6, "i1", kind=999), change(7, "nowhere")
    changes = [change(5, "i1"), unknown, foreign, change(40, "p1", kind=3)]
    state = database.write(lambda tx: adopt_changes(tx, SOURCE, state, changes))
    assert list_changes(index) == [(5, 2), (40, 3)]
    assert state.changes == 40
    # What is stored later comes after them.
    store(database, build_new_instance("p/t/r/i"))
    assert min(seq for seq, _ in list_changes(index)[2:]) == 41


def test_server_that_runs_in_between_finds_room_for_its_changes(index: IndexCase) -> None:
    database = index.database
    state = begin(database)
    adopt(database, *build_lineage("1"))
    store(database, build_new_instance("p/t/r/i"))
    assert begin(database) == state
    database.write(lambda tx: adopt_changes(tx, SOURCE, state, [change(1, "i1")]))
    assert [seq for seq, _ in list_changes(index)] == [1, 41, 42, 43, 44]


def test_changes_follow_those_of_an_archive_in_use(index: IndexCase) -> None:
    database = index.database
    store(database, build_new_instance("p/t/r/i"))
    state = begin(database)
    adopt(database, *build_lineage("1"))
    database.write(lambda tx: adopt_changes(tx, SOURCE, state, [change(1, "i1"), change(3, "i1")]))
    assert [seq for seq, _ in list_changes(index)] == [1, 2, 3, 4, 5, 7]
    found = database.read(lambda tx: find_changes(tx, since=0, until=None, limit=10))
    assert len(found) == 6


def test_archive_that_grew_is_adopted_on_behind_our_own_changes(index: IndexCase) -> None:
    database = index.database
    state = begin(database)
    adopt(database, *build_lineage("1"))
    database.write(lambda tx: adopt_changes(tx, SOURCE, state, [change(40, "i1")]))
    store(database, build_new_instance("p/t/r/i"))
    grown = begin(database, LastNumbers(change=45, export=20, recycling=12))
    assert grown.changes == 40
    database.write(lambda tx: adopt_changes(tx, SOURCE, grown, [change(41, "i1")]))
    assert [seq for seq, _ in list_changes(index)] == [40, 41, 42, 43, 44, 45]
    assert index.sql("SELECT last_change, last_recycling FROM archive") == [(49, 13)]


def test_two_sources_have_numbers_of_their_own(index: IndexCase) -> None:
    first = begin(index.database, source="a")
    second = begin(index.database, source="b")
    assert (first.change_base, second.change_base) == (0, 40)
    assert (first.export_base, second.export_base) == (0, 20)
    assert (first.recycling_base, second.recycling_base) == (0, 9)


def test_exports_keep_their_numbers(index: IndexCase) -> None:
    state = begin(index.database)
    export = ForeignExport(20, Level.STUDY, "gone", "M", "P", "1", "", "", NOON)
    after = index.database.write(lambda tx: adopt_exports(tx, SOURCE, state, [export]))
    assert after.exports == 20
    rows = index.sql("SELECT seq, level, public_id, remote_modality, patient_id FROM exports")
    assert rows == [(20, 1, "gone", "M", "P")]
    assert begin(index.database) == after

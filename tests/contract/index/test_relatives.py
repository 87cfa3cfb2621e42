"""What lies above and below many resources, on both databases."""

import pytest
from tests.support.instances import build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.index.port import Database
from isocenter.index.reading import list_internal_ids, lookup_row
from isocenter.index.records import NewResource
from isocenter.index.relatives import (
    count_below,
    find_ancestors,
    find_modalities,
    find_relatives,
    find_rows,
    find_samples,
    find_sop_classes,
    order_by_public_id,
)


def list_rows(database: Database, level: Level) -> list[int]:
    return database.read(lambda tx: list_internal_ids(tx, level))


def get_row(database: Database, level: Level, public_id: str) -> int:
    row = database.read(lambda tx: lookup_row(tx, level, public_id))
    assert row is not None
    return row


@pytest.fixture
def tree(database: Database) -> Database:
    """Store a patient with two studies of different size, and another patient."""
    paths = ["p/t1/r1/i2", "p/t1/r1/i1", "p/t1/r2/i3", "p/t2/r3/i4", "q/t3/r4/i5"]
    store(database, *map(build_new_instance, paths))
    return database


def test_find_ancestors_stops_at_the_level(tree: Database) -> None:
    series = list_rows(tree, Level.SERIES)

    up_to_study = tree.read(lambda tx: find_ancestors(tx, series[:2], Level.STUDY))
    up_to_patient = tree.read(lambda tx: find_ancestors(tx, series, Level.PATIENT))

    assert {row.level for row in up_to_study.values()} == {Level.SERIES, Level.STUDY}
    assert len(up_to_study) == 3
    assert len(up_to_patient) == 4 + 3 + 2
    assert tree.read(lambda tx: find_ancestors(tx, [], Level.PATIENT)) == {}


@pytest.mark.parametrize(("depth", "expected"), [(1, [2, 1]), (2, [3, 1]), (3, [4, 1])])
def test_count_below_counts_one_level(tree: Database, depth: int, expected: list[int]) -> None:
    patients = list_rows(tree, Level.PATIENT)

    counts = tree.read(lambda tx: count_below(tx, patients, depth))

    assert [counts[internal_id] for internal_id in patients] == expected
    assert tree.read(lambda tx: count_below(tx, [10**9], depth)) == {}


def test_modalities_and_classes_of_studies_are_listed_once_in_order(database: Database) -> None:
    for series, modality, sop_class in [
        ("t1/r1", '{"Modality":"MR"}', "1.2.4"),
        ("t1/r2", '{"Modality":"CT"}', "1.2.3"),
        ("t1/r3", '{"Modality":"MR"}', "1.2.4"),
        ("t1/r4", "{}", ""),
        ("t1/r5", '{"Modality":""}', "1.2.3"),
        ("t2/r6", "{}", ""),
    ]:
        metadata = f'{{"1":"5","10":"{sop_class}","2":"x"}}' if sop_class else "{}"
        rows = {
            Level.SERIES: NewResource(series, modality, "{}"),
            Level.INSTANCE: NewResource(series, "{}", metadata),
        }
        store(database, build_new_instance(f"p/{series}/i{series[3:]}", rows=rows))
    studies = list_rows(database, Level.STUDY)

    assert database.read(lambda tx: find_modalities(tx, studies)) == {studies[0]: ["CT", "MR"]}
    assert database.read(lambda tx: find_sop_classes(tx, studies)) == {
        studies[0]: ["1.2.3", "1.2.4"]
    }


@pytest.mark.parametrize(
    ("level", "public_ids", "expected"),
    [
        (Level.INSTANCE, ["i2", "i5"], ["i2", "i5"]),
        (Level.SERIES, ["r1", "r4"], ["i1", "i5"]),
        (Level.STUDY, ["t1", "t2"], ["i1", "i4"]),
        (Level.PATIENT, ["p", "q"], ["i1", "i5"]),
    ],
)
def test_sample_is_the_first_instance_below(
    database: Database, level: Level, public_ids: list[str], expected: list[str]
) -> None:
    files = {}
    for path in ["p/t1/r1/i2", "p/t1/r1/i1", "p/t1/r2/i0", "p/t2/r3/i4", "q/t3/r4/i5"]:
        instance = build_new_instance(
            path, rows={Level.INSTANCE: NewResource("I", "{}", '{"14":"1234"}')}
        )
        files[path[-2:]] = instance.attachments[0]
        store(database, instance)
    rows = [get_row(database, level, public_id) for public_id in public_ids]

    samples = database.read(lambda tx: find_samples(tx, level, rows))

    assert [samples[row].attachment for row in rows] == [files[name] for name in expected]
    assert {sample.pixel_data_offset for sample in samples.values()} == {1234}


def test_find_rows_finds_any_level(tree: Database) -> None:
    found = tree.read(lambda tx: find_rows(tx, ["i1", "nobody", "p", "r4", "t2"]))

    assert {public_id: level for public_id, (_, level) in found.items()} == {
        "i1": Level.INSTANCE,
        "p": Level.PATIENT,
        "r4": Level.SERIES,
        "t2": Level.STUDY,
    }
    assert found["p"][0] == get_row(tree, Level.PATIENT, "p")


@pytest.mark.parametrize(
    ("named", "level", "expected"),
    [
        (["i1", "i2"], Level.STUDY, ["t1"]),
        (["i1", "i5"], Level.PATIENT, ["p", "q"]),
        (["p"], Level.SERIES, ["r1", "r2", "r3"]),
        (["t1", "i1", "r4"], Level.INSTANCE, ["i1", "i2", "i3", "i5"]),
        (["p", "i5", "t2"], Level.STUDY, ["t1", "t2", "t3"]),
        (["r1"], Level.SERIES, ["r1"]),
        ([], Level.STUDY, []),
    ],
)
def test_relatives_lie_above_and_below_each_once(
    tree: Database, named: list[str], level: Level, expected: list[str]
) -> None:
    rows = list(tree.read(lambda tx: find_rows(tx, named)).values())

    found = tree.read(lambda tx: order_by_public_id(tx, find_relatives(tx, rows, level)))

    assert found == [get_row(tree, level, public_id) for public_id in expected]

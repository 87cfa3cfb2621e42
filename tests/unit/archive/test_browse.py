import pytest
from tests.support.dicom_files import build_instance
from tests.unit.archive.parts import Parts, build_numbered

from isocenter.archive.browse import Page
from isocenter.archive.received import StoreOutcome
from isocenter.dicom.levels import Level


async def store_two_series(parts: Parts) -> list[StoreOutcome]:
    files = [build_instance(series=f"1.2.{n % 2}", instance=f"1.2.3.{n}") for n in range(6)]
    return [await parts.store(data) for data in files]


async def test_lists_follow_identifiers(parts: Parts) -> None:
    outcomes = await store_two_series(parts)
    browse = parts.new_browse()
    expected = sorted(outcome.public_ids.instance for outcome in outcomes)

    assert await browse.list_public_ids(Level.INSTANCE, Page()) == expected
    assert await browse.list_public_ids(Level.INSTANCE, Page(1, 3)) == expected[1:4]
    rows = await browse.list_rows(Level.INSTANCE, Page(2))
    resources = await browse.describe(Level.INSTANCE, rows)
    assert [resource.row.public_id for resource in resources] == expected[2:]


async def test_lookup_reads_one_resource(parts: Parts) -> None:
    [outcome, *_] = await store_two_series(parts)
    browse = parts.new_browse()

    found = await browse.lookup(Level.STUDY, outcome.public_ids.study)

    assert found is not None
    assert len(found.row.children) == 2
    assert await browse.lookup(Level.STUDY, outcome.public_ids.series) is None


async def test_relatives_are_found_both_ways(parts: Parts) -> None:
    outcomes = await store_two_series(parts)
    browse = parts.new_browse()
    ids = outcomes[0].public_ids
    below = sorted(outcome.public_ids.instance for outcome in outcomes[::2])

    assert await browse.find_descendant_ids((Level.SERIES, ids.series), Level.INSTANCE) == below
    rows = await browse.find_descendants((Level.PATIENT, ids.patient), Level.SERIES)
    assert len(rows) == 2
    study = await browse.lookup_ancestor((Level.INSTANCE, ids.instance), Level.STUDY)
    assert study == ids.study
    assert await browse.lookup_ancestor((Level.INSTANCE, "unknown"), Level.STUDY) is None


async def test_measures_add_up(parts: Parts) -> None:
    [outcome, *_] = await store_two_series(parts)
    browse = parts.new_browse()

    size = await browse.measure(Level.PATIENT, outcome.public_ids.patient)
    statistics = await browse.get_statistics()

    assert size is not None
    assert size.counts[Level.INSTANCE] == statistics.instances == 6
    assert size.disk_size == statistics.disk_size == sum(map(len, parts.list_blobs()))


@pytest.mark.parametrize("asked", ["Grün-1", "GRÜN-1", "grun-1", " Grün-1 "])
async def test_find_identifier_ignores_case_and_accents(parts: Parts, asked: str) -> None:
    data = build_instance(
        {0x00080005: ("CS", "ISO_IR 100"), 0x00100020: ("LO", "Grün-1".encode("latin1"))}
    )
    outcome = await parts.store(data)

    found = await parts.new_browse().find_identifier(asked)

    assert found == [(Level.PATIENT, outcome.public_ids.patient)]


@pytest.mark.parametrize("asked", ["", "  ", "unknown"])
async def test_find_identifier_without_match_is_empty(parts: Parts, asked: str) -> None:
    await parts.store(build_numbered(1))

    assert await parts.new_browse().find_identifier(asked) == []

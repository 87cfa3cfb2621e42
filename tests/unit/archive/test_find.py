import asyncio
import struct
from collections.abc import Mapping
from typing import Any

import pytest
from tests.support.dicom_files import Elements, build_instance
from tests.unit.archive.parts import Parts

from isocenter.archive import find
from isocenter.archive.find import Finder, FindOptions
from isocenter.archive.settings import Settings
from isocenter.archive.warning_log import WarningLog
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_main_tags
from isocenter.dicom.query import Query, parse_criterion
from isocenter.dicom.tags import DEFAULT_DICTIONARY, parse_tag
from isocenter.errors import BadRequestError, DeadlineExceededError
from isocenter.index.port import Transaction
from isocenter.index.records import Part
from isocenter.index.searching import has_outdated

ROWS, ETHNIC_GROUP, STUDY_ID = 0x00280010, 0x00102160, 0x00200010


def build_finder(parts: Parts, **options: Any) -> Finder:
    values = {
        "main_tags": build_main_tags(),
        "may_open_files": True,
        "settings": Settings(),
        **options,
    }
    return Finder(parts.workers, parts.storage, FindOptions(**values), WarningLog({}))


def build_query(level: Level, wanted: Mapping[str, str], **options: Any) -> Query:
    criteria = []
    for name, text in wanted.items():
        tag = parse_tag(name)
        criteria.append(parse_criterion(tag, DEFAULT_DICTIONARY.lookup_vr(tag), text))
    return Query(level, tuple(criteria), **options)


async def fill(parts: Parts, count: int = 3, extra: Elements | None = None) -> list[str]:
    """Store instances, each a patient of its own, with as many rows as its number says."""
    found = []
    for number in range(count):
        elements: Elements = {
            ROWS: ("US", struct.pack("<H", number)),
            ETHNIC_GROUP: ("SH", f"Group{number % 2}"),
            **(extra or {}),
        }
        data = build_instance(
            elements,
            patient_id=f"P-{number}",
            study=f"1.2.{number}",
            series=f"1.3.{number}",
            instance=f"1.4.{number}",
        )
        found.append((await parts.store(data)).public_ids[Level.INSTANCE])
    return found


async def test_search_of_the_index_finds_what_matches(parts: Parts) -> None:
    stored = await fill(parts)
    finder = build_finder(parts)
    query = build_query(Level.INSTANCE, {"PatientID": "p-1\\p-2"})

    assert await finder.find_public_ids(query) == sorted(stored[1:])
    assert await finder.count(query) == 2
    assert len((await finder.find_rows(query)).rows) == 2
    assert finder.is_indexed(query)


async def test_search_that_finds_few_describes_them_if_asked(parts: Parts) -> None:
    stored = await fill(parts)
    finder = build_finder(parts)
    query = build_query(Level.INSTANCE, {"PatientID": "P-1"})

    found = await finder.find_rows(query, Part.CLASSIC)

    assert found.described is not None
    assert [one.row.public_id for one in found.described] == [stored[1]]
    assert (await finder.find_rows(query)).described is None


async def test_search_that_finds_many_describes_none(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(parts)
    monkeypatch.setattr(find, "_SHORT_LIST", 2)

    found = await build_finder(parts).find_rows(Query(Level.STUDY), Part.CLASSIC)

    assert (len(found.rows), found.described) == (3, None)


@pytest.mark.parametrize(
    ("level", "most", "expected"),
    [
        (Level.STUDY, {"most_results": 2}, 2),
        (Level.STUDY, {"most_instances": 2}, 3),
        (Level.INSTANCE, {"most_instances": 2}, 2),
        (Level.INSTANCE, {"most_results": 2}, 3),
        (Level.STUDY, {}, 3),
    ],
)
async def test_search_is_capped_as_configured(
    parts: Parts, level: Level, most: dict[str, int], expected: int
) -> None:
    await fill(parts)
    finder = build_finder(parts, **most)

    assert len(await finder.find_public_ids(Query(level))) == expected
    assert len(await finder.find_public_ids(Query(level, limit=1))) == 1
    assert len(await finder.find_public_ids(Query(level, limit=100))) == expected
    # A count has no cap.
    assert await finder.count(Query(level)) == 3


@pytest.mark.parametrize("level", Level)
async def test_search_by_a_tag_of_files_reads_one_of_each_resource(
    parts: Parts, level: Level
) -> None:
    await fill(parts)
    finder = build_finder(parts)

    for wanted, expected in (({"Rows": "2"}, 1), ({"Rows": "1\\2"}, 2), ({"Rows": "7"}, 0)):
        assert len(await finder.find_public_ids(build_query(level, wanted))) == expected
    both = build_query(level, {"EthnicGroup": "group0", "PatientID": "P-2"})
    assert len((await finder.find_rows(both)).rows) == 1
    assert not finder.is_indexed(both)


async def test_search_of_files_goes_page_by_page_and_ends_at_the_limit(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await fill(parts, 11)
    for name, value in (("_FIRST_PAGE", 1), ("_LARGEST_PAGE", 4), ("_FILES_OF_A_HOP", 2)):
        monkeypatch.setattr(find, name, value)
    finder = build_finder(parts)

    wanted = build_query(Level.INSTANCE, {"EthnicGroup": "GROUP0"})
    assert await finder.find_public_ids(wanted) == sorted(stored[::2])
    limited = build_query(Level.INSTANCE, {"EthnicGroup": "GROUP0"}, limit=3)
    assert await finder.find_public_ids(limited) == sorted(stored[::2])[:3]


async def test_search_of_files_passes_over_what_cannot_be_read(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    stored = await fill(parts)
    lost = parts.get(Level.INSTANCE, stored[0]).attachment_uuid
    assert lost is not None
    parts.storage.remove(lost)

    found = await build_finder(parts).find_public_ids(
        build_query(Level.INSTANCE, {"EthnicGroup": "*"})
    )

    assert found == sorted(stored[1:])
    about = next(r for r in caplog.records if r.getMessage() == "a file cannot be searched")
    assert about.exc_info is None


async def test_search_of_files_that_is_forbidden_is_refused(parts: Parts) -> None:
    finder = build_finder(parts, may_open_files=False)
    with pytest.raises(BadRequestError, match="StorageAccessOnFind"):
        await finder.find_rows(build_query(Level.STUDY, {"Rows": "1"}))


async def test_search_of_files_cannot_skip_or_count(parts: Parts) -> None:
    finder = build_finder(parts)
    with pytest.raises(BadRequestError):
        await finder.find_public_ids(build_query(Level.STUDY, {"Rows": "1"}, since=1))
    with pytest.raises(BadRequestError):
        await finder.count(build_query(Level.STUDY, {"Rows": "1"}))


@pytest.mark.parametrize("wanted", [{}, {"Rows": "1"}])
async def test_search_that_takes_too_long_is_given_up(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, str]
) -> None:
    await fill(parts)
    monkeypatch.setattr(find, "_DEADLINE_S", -1.0)
    # On the event loop a search is ended by its length instead.
    monkeypatch.setattr(find, "_BRIEF_CHECKS", 0)
    with pytest.raises(DeadlineExceededError):
        await build_finder(parts).find_rows(build_query(Level.STUDY, wanted))


async def test_search_that_proves_long_goes_on_in_a_thread(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(parts)
    monkeypatch.setattr(find, "_BRIEF_CHECKS", 0)
    calls: list[bool] = []
    run = parts.workers.run

    async def count_run(*arguments: Any) -> Any:
        calls.append(asyncio.current_task() is not None)
        return await run(*arguments)

    monkeypatch.setattr(parts.workers, "run", count_run)

    assert len(await build_finder(parts).find_public_ids(Query(Level.STUDY))) == 3
    assert calls == [True]


async def test_search_by_a_new_main_tag_reads_the_files_of_older_resources(parts: Parts) -> None:
    await fill(parts, 2)
    extended = build_main_tags({Level.INSTANCE: [ETHNIC_GROUP], Level.STUDY: [ROWS]})
    newer = build_instance(
        {ETHNIC_GROUP: ("SH", "Group1"), ROWS: ("US", b"\1\0")},
        patient_id="P-9",
        study="1.2.9",
        series="1.3.9",
        instance="1.4.9",
    )
    await parts.store(newer, main_tags=extended)
    finder = build_finder(parts, main_tags=extended)
    by_group = build_query(Level.INSTANCE, {"EthnicGroup": "group1"})
    by_rows = build_query(Level.SERIES, {"Rows": "1"})

    assert len(await finder.find_public_ids(by_group)) == 2
    assert len(await finder.find_public_ids(by_rows)) == 2
    # Without access to files only what the index knows can be found.
    closed = build_finder(parts, main_tags=extended, may_open_files=False)
    assert len(await closed.find_public_ids(by_group)) == 1
    assert await closed.count(by_rows) == 1


async def test_search_by_an_extra_main_tag_asks_once_whether_all_resources_have_it(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    extended = build_main_tags({Level.STUDY: [ETHNIC_GROUP]})
    data = build_instance({ETHNIC_GROUP: ("SH", "Group1")})
    await parts.store(data, main_tags=extended)
    finder = build_finder(parts, main_tags=extended)
    query = build_query(Level.STUDY, {"EthnicGroup": "group1"})
    asked: list[object] = []

    def ask(tx: Transaction, level: Level, tag: int) -> bool:
        asked.append((level, tag))
        return has_outdated(tx, level, tag)

    monkeypatch.setattr(find, "has_outdated", ask)

    for _ in range(3):
        assert len(await finder.find_public_ids(query)) == 1

    assert asked == [(Level.STUDY, ETHNIC_GROUP)]
    assert await finder.count(query) == 1

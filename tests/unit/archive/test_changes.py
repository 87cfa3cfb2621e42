from typing import Any

import pytest
from tests.unit.archive.parts import Parts, build_numbered

from isocenter.archive.changes import ChangeLog
from isocenter.index.records import ChangeType


@pytest.fixture
async def log(parts: Parts) -> ChangeLog:
    """Log ten changes: 1 instance, 2 series, 3 study, 4 patient, 5 to 10 instances."""
    for number in range(7):
        await parts.store(build_numbered(number))
    return ChangeLog(parts.workers)


@pytest.mark.parametrize(
    ("query", "expected", "is_done", "last"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], True, 10),
        ({"limit": 3}, [1, 2, 3], False, 3),
        ({"limit": 10}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], True, 10),
        ({"limit": 9}, [1, 2, 3, 4, 5, 6, 7, 8, 9], False, 9),
        ({"limit": 0}, [], False, 10),
        ({"since": 0, "limit": 2}, [1, 2], False, 2),
        ({"since": 8}, [9, 10], True, 10),
        ({"since": 10}, [], True, 10),
        ({"since": 2, "until": 4}, [3, 4], True, 4),
        ({"until": 4, "limit": 2}, [3, 4], False, 4),
        ({"until": 2, "limit": 2}, [1, 2], True, 2),
        ({"until": 99, "limit": 3}, [8, 9, 10], False, 10),
        ({"types": [ChangeType.NEW_STUDY]}, [3], True, 3),
        ({"types": [ChangeType.NEW_INSTANCE], "limit": 2}, [1, 5], False, 5),
        ({"types": [ChangeType.STABLE_STUDY]}, [], True, 10),
        ({"limit": 1000}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], True, 10),
    ],
)
async def test_find_query_gives_page(
    log: ChangeLog, query: dict[str, Any], expected: list[int], is_done: bool, last: int
) -> None:
    page = await log.find(**{"since": None, "until": None, "limit": 100, **query})

    assert [change.seq for change in page.changes] == expected
    assert (page.is_done, page.last) == (is_done, last)


async def test_find_last_gives_the_newest(log: ChangeLog) -> None:
    page = await log.find_last()

    assert [change.seq for change in page.changes] == [10]
    assert (page.is_done, page.last) == (True, 10)


async def test_find_last_of_empty_log_is_empty(parts: Parts) -> None:
    page = await ChangeLog(parts.workers).find_last()

    assert (page.changes, page.is_done, page.last) == ([], True, 0)


async def test_clear_numbering_goes_on(parts: Parts, log: ChangeLog) -> None:
    await log.clear()
    assert (await log.find_last()).last == 10

    await parts.store(build_numbered(99))

    assert [change.seq for change in (await log.find_last()).changes] == [11]

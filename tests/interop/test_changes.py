"""The log of changes and deletion: the same steps on both servers."""

from collections.abc import Iterator

import pytest
from tests.interop.accepted import CHANGES
from tests.interop.comparing import Difference, compare, find_unexpected, find_unmet
from tests.interop.synthetic import build_hierarchy
from tests.support.orthanc import Pair, run_pair

_QUERIES = (
    *(
        "",
        "/",
        "?limit=10000",
        "?since=3&limit=2",
        "?limit=0",
        "?limit=1",
        "?since=14",
        "?since=15",
    ),
    *("?since=14&limit=1", "?since=15&limit=1", "?since=99999", "?since=a", "?since=a&limit=2"),
    *(
        "?since=2&limit=a",
        "?since=-1",
        "?limit=-1",
        "?since=1.5",
        "?since=",
        "?last",
        "?last=false",
    ),
    *("?last&since=1", "?since=5&last", "?limit=99999999999999999999", "?unknown"),
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Difference]:
    """Run all steps, once."""
    with run_pair(tmp_path_factory.mktemp("changes") / "pair") as pair:
        return [*_read_log(pair), *_delete_piecemeal(pair), *_delete_upwards(pair), *_clear(pair)]


def _ask(pair: Pair, method: str, target: str) -> list[Difference]:
    return compare(f"{method} {target}", *pair.both(method, target))


def _store(pair: Pair) -> list[Difference]:
    return [
        difference
        for data in build_hierarchy()
        for difference in compare("store", *pair.both("POST", "/instances", data))
    ]


def _look(pair: Pair) -> Iterator[Difference]:
    """Compare what is left."""
    for target in ("/changes", "/changes?last", "/statistics", "/patients?expand", "/instances"):
        yield from _ask(pair, "GET", target)


def _read_log(pair: Pair) -> Iterator[Difference]:
    yield from _store(pair)
    yield from _store(pair)
    for query in _QUERIES:
        yield from _ask(pair, "GET", f"/changes{query}")
    for method in ("PUT", "POST"):
        yield from _ask(pair, method, "/changes")


def _delete_piecemeal(pair: Pair) -> Iterator[Difference]:
    """Delete instances one by one, until the series, study and patient vanish with the last one."""
    public_ids = sorted(pair.orthanc.request("GET", "/instances").json())
    for public_id in public_ids:
        yield from _ask(pair, "DELETE", f"/instances/{public_id}")
        yield from _ask(pair, "DELETE", f"/instances/{public_id}")
        yield from _look(pair)


def _delete_upwards(pair: Pair) -> Iterator[Difference]:
    yield from _store(pair)
    for level in ("series", "studies", "patients"):
        public_id = min(pair.orthanc.request("GET", f"/{level}").json())
        yield from _ask(pair, "DELETE", f"/{level}/{public_id}")
        yield from _look(pair)
        yield from _ask(pair, "DELETE", f"/{level}/nobody")


def _clear(pair: Pair) -> Iterator[Difference]:
    """Empty the log, twice: numbering goes on."""
    yield from _store(pair)
    for _ in range(2):
        yield from _ask(pair, "DELETE", "/changes")
        yield from _look(pair)
        yield from _ask(pair, "GET", "/changes?since=3")
    public_id = min(pair.orthanc.request("GET", "/patients").json())
    yield from _ask(pair, "DELETE", f"/patients/{public_id}")
    yield from _store(pair)
    yield from _look(pair)


def test_changes_and_deletion_are_answered_as_by_orthanc(results: list[Difference]) -> None:
    assert find_unexpected(results, CHANGES) == []


def test_accepted_differences_of_changes_all_occur(results: list[Difference]) -> None:
    assert find_unmet(results, CHANGES) == []

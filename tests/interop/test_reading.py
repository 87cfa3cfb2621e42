"""Reading: every route that Orthanc 1.10 has too, on all resources of the same archive."""

import pytest
from tests.interop.accepted import READING as ACCEPTED
from tests.interop.comparing import Difference, compare, find_unexpected, find_unmet
from tests.support.orthanc import Pair
from tests.support.samples import samples_folder

Results = dict[str, list[Difference]]
"""The differences of each case."""

_LEVELS = ("patients", "studies", "series", "instances")
_ABOVE = {"studies": ("patient",), "series": ("patient", "study")}
_ABOVE["instances"] = ("patient", "study", "series")

# What follows an identifier.
_RESOURCES = tuple(
    f"/{level}/{{id}}{suffix}"
    for number, level in enumerate(_LEVELS)
    for suffix in (
        *("", "/", "?expand", "?short", "?full", "?simplify", "/statistics", "/nothing"),
        *(f"/{below}" for below in _LEVELS[number + 1 :]),
        *(f"/{below}?short" for below in _LEVELS[number + 1 :]),
        *(f"/{above}" for above in _ABOVE.get(level, ())),
    )
)
_INSTANCE = tuple(
    f"/instances/{{id}}/{suffix}"
    for suffix in (
        *("file", "tags", "tags?short", "tags?simplify", "simplified-tags"),
        *("tags?short&simplify", "tags?ignore-length=StudyDescription,0008-1030,0010,0020"),
        "simplified-tags?ignore-length=00081030",
    )
)
_LISTS = tuple(
    f"/{level}{suffix}"
    for level in _LEVELS
    for suffix in (
        *("", "/", "?expand", "?expand&short", "?expand&full", "?since=0", "?limit=1", "?other=1"),
        *("?since=a&limit=1", "?since=0&limit=1.5", "?since=&limit=", "?since=100000&limit=1"),
        *("?since=99999999999999999999&limit=1", "?since=-1&limit=1", "?expand=x"),
    )
)
_UNKNOWN = tuple(
    f"/{level}/{public_id}{suffix}"
    for level in _LEVELS
    for public_id in ("nobody", "%20", "00000000-00000000-00000000-00000000-00000000", "%C3%A9")
    for suffix in (
        *("", "/statistics", "/patient", "/study", "/series", "/instances", "/tags", "/file"),
        *("/simplified-tags", "/nothing"),
    )
)
_OTHERS = (
    *("/statistics", "/statistics/", "/statistics?x", "/statistics/x", "/system", "//system"),
    *("/", "/nothing", "/System", "/tools/nothing", "/changes/1", "/tools/lookup", "/tools"),
    *("/changes", "/changes?limit=10000", "/changes?since=3&limit=2", "/changes?limit=0"),
    *("/changes?since=a&limit=2", "/changes?since=2&limit=a", "/changes?since=-1", "/changes?last"),
    *("/changes?since=99999", "/changes?last&since=1", "/changes?since=1.5", "/changes?since="),
    *("/tools/generate-uid", "/tools/generate-uid?level=", "/tools/generate-uid?level=Study"),
    "/instances/{first}/tags?ignore-length=Nobody",
)
_WRONG_METHODS = tuple(
    (method, target)
    for method in ("POST", "PUT", "DELETE")
    for target in ("/system", "/studies", "/studies/{first}/series", "/tools/now", "/instances/x/y")
)
_LOOKUPS = (
    *("Hierarchy", "hierarchy", "HIERARCHY ", " Hierarchy", "Hierarchy\r\n", '"Hierarchy"', "H*"),
    *("1.2.9.1.1", "1.2.9.1.1.1", "1.2.9.1.1.1.1", "1.2.9.1", "nobody", "", "%", "_ierarchy", "é"),
    "Tree^Family",
)


@pytest.fixture(scope="module")
def results(loaded_pair: Pair) -> Results:
    """Ask both everything, once."""
    public_ids = {
        level: sorted(
            set(loaded_pair.orthanc.request("GET", f"/{level}").json())
            & set(loaded_pair.isocenter.request("GET", f"/{level}").json())
        )
        for level in _LEVELS
    }
    results: Results = {}
    for template in (*_RESOURCES, *_INSTANCE):
        targets = [template.format(id=one) for one in public_ids[template.split("/")[1]]]
        results[template] = [
            difference for target in targets for difference in _ask(loaded_pair, "GET", target)
        ]
    first = public_ids["instances"][0]
    for template in (*_LISTS, *_UNKNOWN, *_OTHERS):
        results[template] = _ask(loaded_pair, "GET", template.format(first=first))
    for method, target in _WRONG_METHODS:
        results[f"{method} {target}"] = _ask(loaded_pair, method, target)
    for text in _LOOKUPS:
        case = f"POST /tools/lookup {text}"
        answers = loaded_pair.both("POST", "/tools/lookup", text.encode())
        results[case] = compare(case, *answers)
    return results


def _ask(pair: Pair, method: str, target: str) -> list[Difference]:
    return compare(f"{method} {target}", *pair.both(method, target))


@pytest.mark.parametrize(
    "case",
    [
        *(*_RESOURCES, *_INSTANCE, *_LISTS, *_UNKNOWN, *_OTHERS),
        *(f"{method} {target}" for method, target in _WRONG_METHODS),
        *(f"POST /tools/lookup {text}" for text in _LOOKUPS),
    ],
)
def test_reading_is_answered_as_by_orthanc(case: str, results: Results) -> None:
    assert find_unexpected(results[case], ACCEPTED) == []


def test_accepted_differences_of_reading_all_occur(results: Results) -> None:
    if samples_folder() is None:
        pytest.skip("Some differences need the sample files")
    differences = [difference for found in results.values() for difference in found]
    assert find_unmet(differences, ACCEPTED) == []


def test_stored_samples_are_the_same(loaded_pair: Pair) -> None:
    for level in _LEVELS:
        ours, theirs = loaded_pair.both("GET", f"/{level}")
        assert ours.json() == sorted(theirs.json())

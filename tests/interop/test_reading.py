"""Reading: every route that Orthanc 1.10 has too, on all resources of the same archive."""

from collections.abc import Iterator

import pytest
from tests.interop.accepted import READING as ACCEPTED
from tests.interop.comparing import Difference, compare, find_unexpected, find_unmet
from tests.interop.synthetic import build_all
from tests.support.orthanc import Pair, run_pair
from tests.support.samples import list_samples, samples_folder

Results = dict[str, list[Difference]]
"""The differences of each case."""

_LEVELS = ("patients", "studies", "series", "instances")
_ABOVE = {"studies": ("patient",), "series": ("patient", "study")}
_ABOVE["instances"] = ("patient", "study", "series")

_STEP = 4

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
        *("tags?short&simplify", "tags?ignore-length=StudyDescription,0008-1030"),
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
    *("/tools/generate-uid", "/tools/generate-uid?level=", "/tools/generate-uid?level=Study"),
    "/instances/{first}/tags?ignore-length=Nobody",
    *("/patients/{first}", "/patients/{first}/statistics", "/patients/{first}/instances"),
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
def loaded_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers with all synthetic files and samples."""
    with run_pair(tmp_path_factory.mktemp("reading") / "pair") as pair:
        pair.load([*build_all(), *(path.read_bytes() for path in list_samples())])
        yield pair


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
        # Every resource in the usual form, some in the others.
        step = 1 if template.endswith(("}", "/tags", "/file")) else _STEP
        targets = [template.format(id=one) for one in public_ids[template.split("/")[1]][::step]]
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


@pytest.mark.parametrize("needs_samples", [False, True])
def test_accepted_differences_of_reading_all_occur(results: Results, needs_samples: bool) -> None:
    if needs_samples and samples_folder() is None:
        pytest.skip("These differences occur only in the folder of sample files, which is absent")
    accepted = [entry for entry in ACCEPTED if entry.needs_samples is needs_samples]
    differences = [difference for found in results.values() for difference in found]
    assert find_unmet(differences, accepted) == []


def test_stored_samples_are_the_same(loaded_pair: Pair) -> None:
    for level in _LEVELS:
        ours, theirs = loaded_pair.both("GET", f"/{level}")
        assert ours.json() == sorted(theirs.json())

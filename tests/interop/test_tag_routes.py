"""Tags, modules, contents and headers: the same requests to both, on all resources."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.interop.accepted import TAGS as ACCEPTED
from tests.interop.comparing import Difference, compare, find_unexpected, find_unmet
from tests.interop.synthetic import build_all, build_contents
from tests.support.orthanc import Answer, Pair, run_pair
from tests.support.samples import list_samples, samples_folder

Results = dict[str, list[Difference]]

OPTIONS = {
    "Dictionary": {
        "0009,1001": ["LO", "InventedText", 1, 1, "INVENTED 1.0"],
        "0009,1003": ["US", "InventedNumber", 1, 1, "INVENTED 1.0"],
        "7053,1003": ["ST", "Original Image Filename", 1, 1, "Philips PET Private Group"],
        "00e1,10c2": ["UI", "PET-CT Multi Modality Name", 1, 1, "ELSCINT1"],
    }
}

_LEVELS = ("patients", "studies", "series", "instances")
_SHAPES = ("", "?short", "?simplify", "?short&simplify&full", "?ignore-length=0008-1030")
_STEP = 5
_MOST_PATHS = 400

_OF_ALL = ("module",)
_OF_MANY = ("shared-tags", "instances-tags")
_OF_INSTANCES = ("header", "tags", "simplified-tags", "content")
_WRONG = (
    *(f"/{level}/nobody/{name}" for level in _LEVELS[:3] for name in (*_OF_ALL, *_OF_MANY)),
    *("/instances/nobody/module", "/instances/nobody/header", "/instances/nobody/content"),
    *("/instances/nobody/content/0010-0010", "/studies/nobody/module-patient"),
    *("/instances/nobody/shared-tags", "/instances/nobody/instances-tags"),
    *("/instances/{first}/content/Nobody", "/instances/{first}/content/patientname"),
    *("/instances/{first}/content/9999-9999", "/instances/{first}/content/0010-0020/0"),
    *("/instances/{first}/content/0010-0020/0/0010-0020", "/instances/{first}/content/7fe0-0010/9"),
    *("/instances/{first}/content/PatientID", "/instances/{first}/content/00100020/"),
    *("/instances/{first}/content/0010,0020", "/instances/{first}/content/0002-0010"),
    *("/instances/{first}/module?ignore-length=Nobody", "/instances/{first}/header?short=x"),
    "/instances/{first}/instances-tags",
)


@pytest.fixture(scope="module")
def loaded_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers with all synthetic files and samples, and private tags configured."""
    with run_pair(tmp_path_factory.mktemp("tags") / "pair", OPTIONS) as pair:
        samples = [path.read_bytes() for path in list_samples()]
        pair.load([*build_all(), *build_contents(), *samples])
        yield pair


@pytest.fixture(scope="module")
def public_ids(loaded_pair: Pair) -> dict[str, list[str]]:
    """Identifiers that both know, by level."""
    return {
        level: sorted(
            set(loaded_pair.orthanc.request("GET", f"/{level}").json())
            & set(loaded_pair.isocenter.request("GET", f"/{level}").json())
        )
        for level in _LEVELS
    }


@pytest.fixture(scope="module")
def results(loaded_pair: Pair, public_ids: dict[str, list[str]]) -> Results:
    """Ask both everything, once."""
    results: Results = {}
    for level, name in _list_cases():
        found: list[Difference] = []
        for number, shape in enumerate(_SHAPES):
            if name == "content" and shape:
                continue
            ids = public_ids[level] if not number else public_ids[level][::_STEP]
            for public_id in ids:
                found += _ask(loaded_pair, f"/{level}/{public_id}/{name}{shape}")
        results[f"{level}/{name}"] = found
    first = public_ids["instances"][0]
    for template in _WRONG:
        results[template] = _ask(loaded_pair, template.format(first=first))
    results["contents"] = [
        difference
        for public_id in public_ids["instances"]
        for difference in _compare_contents(loaded_pair, f"/instances/{public_id}/content")
    ]
    return results


def _list_cases() -> list[tuple[str, str]]:
    return [
        *((level, name) for level in _LEVELS for name in _OF_ALL),
        *((level, name) for level in _LEVELS[:3] for name in _OF_MANY),
        *(("instances", name) for name in _OF_INSTANCES),
        ("studies", "module-patient"),
    ]


def _ask(pair: Pair, target: str) -> list[Difference]:
    return compare(f"GET {target}", *pair.both("GET", target))


def _compare_contents(pair: Pair, root: str) -> list[Difference]:
    """Walk down into everything that Orthanc lists."""
    waiting = [root]
    found: list[Difference] = []
    asked = 0
    while waiting and asked < _MOST_PATHS:
        target = waiting.pop()
        asked += 1
        ours, theirs = pair.both("GET", target)
        # Orthanc leaves some padding, and lists are in their order already.
        if ours.body != theirs.body.rstrip(b" \0") and not _are_same_lists(ours, theirs):
            found += compare(f"GET {target}", ours, theirs)
        # A sequence of many items is like one of few, and so are fragments.
        waiting += [f"{target}/{name}" for name in _list_children(theirs)[:30]]
    return found


def _are_same_lists(ours: Answer, theirs: Answer) -> bool:
    return bool(_list_children(theirs)) and _list_children(ours) == _list_children(theirs)


def _list_children(answer: Answer) -> list[Any]:
    is_list = answer.status == 200 and answer.content_type.startswith("application/json")
    return list(json.loads(answer.body)) if is_list else []


@pytest.mark.parametrize(
    "case", [*(f"{level}/{name}" for level, name in _list_cases()), *_WRONG, "contents"]
)
def test_tag_route_is_answered_as_by_orthanc(case: str, results: Results) -> None:
    assert find_unexpected(results[case], ACCEPTED) == []


@pytest.mark.parametrize("needs_samples", [False, True])
def test_accepted_differences_of_tags_all_occur(results: Results, needs_samples: bool) -> None:
    if needs_samples and samples_folder() is None:
        pytest.skip("These differences occur only in the folder of sample files, which is absent")
    accepted = [entry for entry in ACCEPTED if entry.needs_samples is needs_samples]
    differences = [difference for found in results.values() for difference in found]
    assert find_unmet(differences, accepted) == []


def test_invalidating_tags_is_answered_as_by_orthanc(loaded_pair: Pair) -> None:
    answers = loaded_pair.both("POST", "/tools/invalidate-tags", b"")

    assert compare("POST /tools/invalidate-tags", *answers) == []

"""Bulk content and reconstruction: the same bodies to both servers, on the same files."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.interop.accepted import BULK, READING
from tests.interop.comparing import Difference, compare, find_unexpected, find_unmet
from tests.interop.synthetic import build_all
from tests.support.orthanc import Pair, run_pair

Results = dict[str, list[Difference]]

_LEVELS = ("patients", "studies", "series", "instances")
_TARGET = "/tools/bulk-content"
# Bodies whose resources are all that are stored at a level, or some of them.
_DESCRIBED: tuple[tuple[str, dict[str, Any]], ...] = (
    *((level, {}) for level in _LEVELS),
    *((level, {"Metadata": False, "Short": True}) for level in _LEVELS),
    *((level, {"Metadata": False, "Full": True}) for level in _LEVELS),
    ("instances", {"Metadata": False, "Full": True, "Simplify": True}),
    ("instances", {"Metadata": False, "Full": True, "Short": True}),
    *((level, {"Level": "Study"}) for level in _LEVELS),
    *((level, {"Level": "Instance", "Metadata": False}) for level in _LEVELS),
    *((level, {"Level": "Patient"}) for level in _LEVELS),
    *(("series", {"Level": name}) for name in ("series", "SERIES", "Studies", "instances")),
)
_WRONG: tuple[bytes, ...] = (
    *(b"", b"x", b"[]", b"1", b'"text"', b"{}", b'{"Resources": "x"}', b'{"Resources": [1]}'),
    *(b'{"Resources": {}}', b'{"Resources": null}', b'{"Resources": []}'),
    *(b'{"Resources": ["nobody", ""]}', b'{"Resources": [], "Level": "x"}'),
    *(b'{"Resources": [], "Level": 1}', b'{"Resources": [], "Level": ""}'),
    *(b'{"Resources": [], "Metadata": 1}', b'{"Resources": [], "Short": "true"}'),
    *(b'{"Resources": [], "Full": null}', b'{"Resources": [], "Level": "Study"}'),
)

# What is accepted of objects that are read one by one.
_OBJECTS = tuple(replace(entry, case=".*") for entry in READING if entry.case == "GET")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers with all synthetic files."""
    with run_pair(tmp_path_factory.mktemp("bulk") / "pair") as loaded:
        loaded.load(build_all())
        yield loaded


@pytest.fixture(scope="module")
def results(pair: Pair) -> Results:
    """Ask both everything, once."""
    public_ids = {
        level: sorted(
            set(pair.orthanc.request("GET", f"/{level}").json())
            & set(pair.isocenter.request("GET", f"/{level}").json())
        )
        for level in _LEVELS
    }
    results: Results = {}
    for level, fields in _DESCRIBED:
        body = json.dumps({"Resources": public_ids[level][::3], **fields}).encode()
        case = f"POST {_TARGET} {level} {json.dumps(fields)}"
        results[case] = compare(case, *pair.both("POST", _TARGET, body))
    for body in _WRONG:
        case = f"POST {_TARGET} {body!r}"
        results[case] = compare(case, *pair.both("POST", _TARGET, body))
    for level in _LEVELS:
        for public_id in (*public_ids[level][:2], "nobody"):
            case = f"POST /{level}/{public_id}/reconstruct"
            known = "nobody" if public_id == "nobody" else "known"
            found = compare(case, *pair.both("POST", f"/{level}/{public_id}/reconstruct"))
            results.setdefault(f"POST /{level}/{known}/reconstruct", []).extend(found)
    case = "POST /tools/reconstruct"
    results[case] = compare(case, *pair.both("POST", "/tools/reconstruct"))
    for level in _LEVELS:
        case = f"GET /{level}?expand after reconstruction"
        results[case] = compare(case, *pair.both("GET", f"/{level}?expand"))
    return results


@pytest.mark.parametrize(
    "case",
    [
        *(f"POST {_TARGET} {level} {json.dumps(fields)}" for level, fields in _DESCRIBED),
        *(f"POST {_TARGET} {body!r}" for body in _WRONG),
        *(
            f"POST /{level}/{known}/reconstruct"
            for level in _LEVELS
            for known in ("known", "nobody")
        ),
        "POST /tools/reconstruct",
        *(f"GET /{level}?expand after reconstruction" for level in _LEVELS),
    ],
)
def test_bulk_content_and_reconstruction_are_answered_as_by_orthanc(
    case: str, results: Results
) -> None:
    assert find_unexpected(results[case], (*BULK, *_OBJECTS)) == []


def test_accepted_differences_of_bulk_content_all_occur(results: Results) -> None:
    differences = [difference for found in results.values() for difference in found]
    assert find_unmet(differences, BULK) == []


def test_bulk_content_keeps_the_order_of_the_call_and_what_is_named_twice(pair: Pair) -> None:
    named = pair.isocenter.request("GET", "/series").json()[:4][::-1]
    body = json.dumps({"Resources": [*named, named[0]], "Metadata": False}).encode()
    ours, theirs = (answer.json() for answer in pair.both("POST", _TARGET, body))
    assert [one["ID"] for one in ours] == [one["ID"] for one in theirs] == [*named, named[0]]

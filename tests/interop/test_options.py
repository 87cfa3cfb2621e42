"""Metrics, logs and options at run time: the same requests, in the same order, to both servers."""

import re
from collections.abc import Iterator

import pytest
from tests.interop.accepted import OPTIONS as ACCEPTED
from tests.interop.comparing import Difference, compare, find_unexpected, find_unmet
from tests.support.orthanc import Answer, Pair, run_pair

Results = dict[str, list[Difference]]


_CATEGORIES = ("generic", "plugins", "http", "sqlite", "dicom", "jobs", "lua")
_BOOLEANS = ("0", "1", "false", "true", "", "2", "True", "yes", '"1"', " 1", "0\n", "[]", "{}")
_LEVELS = ("verbose", "trace", "default", "Verbose", "", " trace", '"trace"', "debug")
_ENCODINGS = ("Utf8", "latin1", "WINDOWS1251", "", "Latin6", '"Utf8"', "Japanese", "Latin1")
_SYNTAXES = (
    '["1.2.840.10008.1.2"]',
    '["1.2.840.10008.1.2.4.5*","1.2.840.10008.1.2"]',
    '"1.2.840.10008.1.2.4.?0"',
    "1.2.840.10008.1.2.1",
    *("*", '["*"]', "[]", "", "{}", "[1]", "null", "5", "nothing", '[""]', '["1.2.3"]'),
    '["1.2.840.10008.1.2.5","1.2.840.10008.1.2.5"]',
    '["1.2.840.10008.1.*"]',
)
# Each value is written, then read.
_WRITTEN = {
    "/tools/metrics": _BOOLEANS,
    "/tools/unknown-sop-class-accepted": _BOOLEANS,
    "/tools/default-encoding": _ENCODINGS,
    "/tools/accepted-transfer-syntaxes": _SYNTAXES,
    "/tools/log-level": _LEVELS,
    **{f"/tools/log-level-{category}": _LEVELS for category in _CATEGORIES},
}
_OTHERS = (
    *(("GET", path) for path in ("/plugins", "/tools/log-level-nothing", "//tools//now//x")),
    *(("DELETE", path) for path in ("/tools/metrics", "/tools/log-level-http")),
    *(("PUT", path) for path in ("/tools/log-level-nothing", "/tools/dicom-conformance")),
    *(("POST", path) for path in ("/tools/invalidate-tags", "/tools/metrics", "/tools/log-level")),
    *(("GET", f"/tools/metrics?_method={name}") for name in ("put", "PUT", "delete", "post")),
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    options = {"HttpCompressionEnabled": True, "DicomServerEnabled": True}
    with run_pair(tmp_path_factory.mktemp("options") / "pair", options) as opened:
        yield opened


@pytest.fixture(scope="module")
def results(pair: Pair) -> Results:
    """Ask both everything, once."""
    results: Results = {}
    for path, values in _WRITTEN.items():
        for value in values:
            case = f"PUT {path} {value!r}"
            results[case] = [
                *compare(case, *pair.both("PUT", path, value.encode())),
                *compare(f"GET {path} after {value!r}", *pair.both("GET", path)),
                *compare("GET /tools/log-level", *pair.both("GET", "/tools/log-level")),
            ]
    for method, target in _OTHERS:
        case = f"{method} {target}"
        results[case] = compare(case, *pair.both(method, target))
    return results


@pytest.mark.parametrize(
    "case",
    [
        *(f"PUT {path} {value!r}" for path, values in _WRITTEN.items() for value in values),
        *(f"{method} {target}" for method, target in _OTHERS),
    ],
)
def test_options_are_answered_as_by_orthanc(case: str, results: Results) -> None:
    assert find_unexpected(results[case], ACCEPTED) == []


def test_accepted_differences_of_options_all_occur(results: Results) -> None:
    differences = [difference for found in results.values() for difference in found]
    assert find_unmet(differences, ACCEPTED) == []


def read_metrics(answer: Answer) -> dict[str, float]:
    """Read metrics as a client of Orthanc does."""
    lines = [line.split(" ") for line in answer.body.decode().splitlines()]
    return {line[0]: float(line[1]) for line in lines if len(line) == 3}


def test_metrics_of_orthanc_are_there_in_its_form(pair: Pair) -> None:
    pair.both("PUT", "/tools/metrics", b"1")
    ours, theirs = pair.both("GET", "/tools/metrics-prometheus")
    assert ours.content_type == theirs.content_type == "text/plain; version=0.0.4"
    missing = read_metrics(theirs).keys() - read_metrics(ours).keys()
    # These three have other names since.
    assert missing == {"orthanc_jobs_completed", "orthanc_jobs_failed", "orthanc_jobs_success"}


@pytest.mark.parametrize(
    "accepted", ["gzip", "deflate", "gzip, deflate", "deflate, gzip", "br", "gzip;q=0", "identity"]
)
def test_coding_is_chosen_as_by_orthanc(pair: Pair, accepted: str) -> None:
    answers = pair.both("GET", "/tools/dicom-conformance", headers={"Accept-Encoding": accepted})
    ours, theirs = (answer.headers.get("content-encoding") for answer in answers)
    assert ours == theirs


def test_time_has_the_same_form(pair: Pair) -> None:
    for path in ("/tools/now", "/tools/now-local"):
        for answer in pair.both("GET", path):
            assert (answer.status, answer.content_type) == (200, "text/plain")
            assert re.fullmatch(rb"\d{8}T\d{6}", answer.body)

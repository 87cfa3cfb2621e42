"""Metadata and attachments: the same steps on both servers. Orthanc 1.10 has no labels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from tests.interop.accepted import ANNOTATIONS
from tests.interop.comparing import Difference, compare, find_unexpected, find_unmet
from tests.interop.synthetic import build_hierarchy
from tests.support.orthanc import Pair, run_pair

_OPTIONS: dict[str, Any] = {
    "UserMetadata": {"ward": 1024, "state": 2000},
    "UserContentType": {"report": 1024, "sheet": [1025, "text/csv"]},
}
_LEVELS = ("patients", "studies", "series", "instances")
_METADATA = (
    *("ward", "1024", "01024", "state", "1500", "65535", "Origin", "8", "LastUpdate", "Nope"),
    *("20", "500", "1023", "65536", "99999", "0", "-1", "+1500", "%C3%A9", "9" * 20, "ward/"),
)
_ATTACHMENTS = (
    *("report", "sheet", "1025", "1500", "65535", "dicom", "1", "dicom-as-json", "Nope"),
    *("dicom-until-pixel-data", "3", "500", "1023", "65536", "99999", "0", "-1", "%C3%A9", "+1"),
)
_ENDS = (
    *("", "/size", "/compressed-size", "/md5", "/compressed-md5", "/is-compressed", "/info"),
    *("/data", "/compressed-data", "/nothing", "/data/"),
)
_ACTIONS = ("verify-md5", "compress", "uncompress")
_MD5 = "9dd4e461268c8034f5c8564e155c67a6"
_TAGS = (
    *(f'"0-{_MD5}"', f"0-{_MD5}", f'"1-{_MD5}"', "0-", "0-xyz", "garbage", "*", "-x", "a-x"),
    *(f'W/"0-{_MD5}"', f'"0-{_MD5}", "1-{_MD5}"'),
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Difference]:
    """Run all steps, once."""
    folder = tmp_path_factory.mktemp("annotations")
    differences: list[Difference] = []
    with run_pair(folder / "plain", _OPTIONS) as pair:
        pair.load(list(build_hierarchy())[:2])
        for step in (_write_metadata, _write_attachments, _convert):
            differences += step(pair)
        differences += _ask(pair, "GET", "/changes?limit=1000")
        differences += _compare_tags(pair)
    options = {**_OPTIONS, "CheckRevisions": True, "StorageCompression": True}
    with run_pair(folder / "checked", options) as pair:
        pair.load(list(build_hierarchy())[:1])
        differences += _check_revisions(pair)
    return differences


def _ask(
    pair: Pair,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Difference]:
    named = "".join(f" {name}: {value}" for name, value in (headers or {}).items())
    case = f"{method} {target}{named}"
    ours, theirs = pair.both(method, target, body, headers)
    yield from compare(case, ours, theirs)
    tags = ours.headers.get("etag"), theirs.headers.get("etag")
    if tags[0] != tags[1] and ours.status == theirs.status:
        yield Difference(case, "etag", *tags)


def _get_paths(pair: Pair) -> list[str]:
    return [f"/{level}/{min(pair.orthanc.request('GET', f'/{level}').json())}" for level in _LEVELS]


def _list_names(pair: Pair, names: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Pair resources with names: all of them at two levels and where there is no resource."""
    patient, study, series, instance = _get_paths(pair)
    few = names[:2]
    yield from ((patient, few), (study, names), (series, few), (instance, names))
    yield "/studies/nobody", names


def _write_metadata(pair: Pair) -> Iterator[Difference]:
    for path, names in _list_names(pair, _METADATA):
        folder = f"{path}/metadata"
        for name in names:
            yield from _ask(pair, "GET", f"{folder}/{name}")
            yield from _ask(pair, "DELETE", f"{folder}/{name}")
            for value in (b"value", b"", "Ωμέγα\r\n<b>".encode()):
                yield from _ask(pair, "PUT", f"{folder}/{name}", value)
            yield from _ask(pair, "GET", f"{folder}/{name}")
            yield from _ask(pair, "POST", f"{folder}/{name}", b"x")
        for suffix in ("", "/", "?expand", "?numeric", "?expand&numeric", "?expand=x"):
            yield from _ask(pair, "GET", folder + suffix)
        for name in ("ward", "1500", "ward"):
            yield from _ask(pair, "DELETE", f"{folder}/{name}")
        yield from _ask(pair, "GET", f"{folder}?expand")


def _write_attachments(pair: Pair) -> Iterator[Difference]:
    for path, names in _list_names(pair, _ATTACHMENTS):
        folder = f"{path}/attachments"
        for name in names:
            yield from _ask(pair, "DELETE", f"{folder}/{name}")
            yield from _ask(pair, "PUT", f"{folder}/{name}", b"a,b\n" * 50)
            for end in _ENDS:
                yield from _ask(pair, "GET", f"{folder}/{name}{end}")
            yield from _ask(pair, "POST", f"{folder}/{name}/verify-md5")
            yield from _ask(pair, "POST", f"{folder}/{name}/size")
            yield from _ask(pair, "GET", f"{folder}/{name}/compress")
        for suffix in ("", "/", "?full", "?full=false"):
            yield from _ask(pair, "GET", folder + suffix)
        for name in ("report", "1500", "report"):
            yield from _ask(pair, "DELETE", f"{folder}/{name}")
        yield from _ask(pair, "GET", f"{folder}?full")
        yield from _ask(pair, "GET", f"{path}/statistics")
    yield from _ask(pair, "GET", "/statistics")


def _convert(pair: Pair) -> Iterator[Difference]:
    *_, series, instance = _get_paths(pair)
    for folder in (f"{instance}/attachments/dicom", f"{series}/attachments/sheet"):
        for action in ("compress", "compress", "verify-md5", "uncompress", "uncompress"):
            yield from _ask(pair, "POST", f"{folder}/{action}")
            for end in ("/info", "/data", "/is-compressed", "/size", "/md5"):
                yield from _ask(pair, "GET", folder + end)
    yield from _ask(pair, "GET", f"{instance}/file")
    yield from _ask(pair, "GET", f"{instance}/tags")
    for action in _ACTIONS:
        yield from _ask(pair, "POST", f"{series}/attachments/state/{action}")
        yield from _ask(pair, "POST", f"{series}/attachments/3000/{action}")
        yield from _ask(pair, "POST", f"/series/nobody/attachments/report/{action}")


def _compare_tags(pair: Pair) -> Iterator[Difference]:
    study = _get_paths(pair)[1]
    for target in (f"{study}/metadata/3000", f"{study}/attachments/3000"):
        end = "/size" if "attachments" in target else ""
        for tag in _TAGS:
            # Of what is not there, and of what is.
            yield from _ask(pair, "PUT", target, b"x", {"If-Match": tag})
            yield from _ask(pair, "DELETE", target)
            yield from _ask(pair, "PUT", target, b"x")
            yield from _ask(pair, "GET", target + end, headers={"If-None-Match": tag})
            yield from _ask(pair, "PUT", target, b"x", {"If-Match": tag})
            yield from _ask(pair, "DELETE", target, headers={"If-Match": tag})
            yield from _ask(pair, "DELETE", target)


def _check_revisions(pair: Pair) -> Iterator[Difference]:
    study, _, instance = _get_paths(pair)[1:]
    for target in (f"{study}/metadata/ward", f"{study}/attachments/report"):
        for headers in ({}, {}, {"If-Match": f'"0-{_MD5}"'}, {"If-Match": "*"}):
            yield from _ask(pair, "DELETE", target, headers=headers)
            yield from _ask(pair, "PUT", target, b"x", headers)
    for end in ("/size", "/info", "/is-compressed", "/data"):
        for name in ("report", "dicom"):
            yield from _ask(pair, "GET", f"{study}/attachments/{name}{end}")
            yield from _ask(pair, "GET", f"{instance}/attachments/{name}{end}")
    yield from _ask(pair, "GET", f"{instance}/attachments?full")
    yield from _ask(pair, "POST", f"{instance}/attachments/dicom/uncompress")
    yield from _ask(pair, "GET", f"{instance}/attachments/dicom/info")


def test_annotations_are_answered_as_by_orthanc(results: list[Difference]) -> None:
    assert find_unexpected(results, ANNOTATIONS) == []


def test_accepted_differences_of_annotations_all_occur(results: list[Difference]) -> None:
    assert find_unmet(results, ANNOTATIONS) == []

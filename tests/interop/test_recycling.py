"""Protection, recycling, bulk deletion and the log of exports: the same steps on both servers."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.accepted import EXPORTS, RECYCLING
from tests.interop.comparing import Difference, compare, find_unexpected, find_unmet
from tests.support.orthanc import Answer, Pair, run_orthanc, run_pair
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import open_api

from isocenter.dicom.levels import Level

_BODIES = (b"1", b"0", b"true", b"false", b" 1", b"1\n", b"True", b"2", b"", b"x", b'"1"', b"on")
_BULK = (
    *(b"", b"x", b"[]", b'"x"', b"{}", b'{"Resources":null}', b'{"Resources":1}'),
    *(b'{"Resources":[]}', b'{"Resources":["x"]}', b'{"Resources":[1]}', b'{"Resources":["x",3]}'),
    b'{"Resources":[{"Level":"Patient","ID":"x"}]}',
)
_EXPORTS = (
    *("", "?last", "?last=false", "?limit=0", "?limit=1", "?since=2&limit=2", "?since=5"),
    *("?since=6", "?since=99", "?since=a&limit=1", "?limit=a", "?limit=-1", "?to=3", "/"),
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Difference]:
    """Run all steps, once."""
    folder = tmp_path_factory.mktemp("recycling")
    with run_pair(folder / "pair", {"MaximumPatientCount": 3}) as pair:
        return [*_protect(pair), *_recycle(pair), *_fill(pair), *_delete(pair)]


def _ask(pair: Pair, method: str, target: str, body: bytes | None = None) -> list[Difference]:
    case = f"{method} {target} {'' if body is None else body.decode()}"
    return compare(case.strip(), *pair.both(method, target, body))


def _store(pair: Pair, *names: str, case: str = "store") -> Iterator[Difference]:
    """Store an instance of each patient, new unless the name was used before."""
    for name in names:
        content = build_synthetic(patient_id=name).content
        yield from compare(f"{case} {name}", *pair.both("POST", "/instances", content))
        yield from _look(pair)


def _look(pair: Pair) -> Iterator[Difference]:
    """Compare who is left, and the log."""
    for target in ("/patients", "/statistics", "/changes?limit=1000", "/changes?last"):
        yield from _ask(pair, "GET", target)


def _name(patient_id: str) -> str:
    return build_synthetic(patient_id=patient_id).patient


def _protect(pair: Pair) -> Iterator[Difference]:
    yield from _store(pair, "A", "B", "C")
    target = f"/patients/{_name('A')}/protected"
    for body in _BODIES:
        yield from _ask(pair, "PUT", target, body)
        yield from _ask(pair, "GET", target)
    for method in ("POST", "DELETE"):
        yield from _ask(pair, method, target, b"1")
    study = pair.orthanc.request("GET", "/studies").json()[0]
    for unknown in ("nobody", study):
        yield from _ask(pair, "GET", f"/patients/{unknown}/protected")
        yield from _ask(pair, "PUT", f"/patients/{unknown}/protected", b"1")
        yield from _ask(pair, "PUT", f"/patients/{unknown}/protected", b"x")


def _recycle(pair: Pair) -> Iterator[Difference]:
    """Go through the ways in which the order of the list changes."""
    # Free already: keeps its place, as does one that is sent the same again.
    yield from _ask(pair, "PUT", f"/patients/{_name('B')}/protected", b"0")
    yield from _store(pair, "D", "E")
    same = build_synthetic(patient_id="A")
    for _ in range(2):
        yield from compare("same", *pair.both("POST", "/instances", same.content))
    yield from _store(pair, "F", "G", "E", "H")
    yield from _ask(pair, "PUT", f"/patients/{_name('G')}/protected", b"1")
    yield from _store(pair, "I", "J")
    yield from _ask(pair, "PUT", f"/patients/{_name('G')}/protected", b"0")
    yield from _store(pair, "K", "L", "G", "M")
    yield from _ask(pair, "DELETE", f"/patients/{_name('L')}")
    yield from _store(pair, "N", "O")


def _fill(pair: Pair) -> Iterator[Difference]:
    """Protect everybody."""
    for public_id in sorted(pair.orthanc.request("GET", "/patients").json()):
        yield from _ask(pair, "PUT", f"/patients/{public_id}/protected", b"1")
    yield from _store(pair, "P", case="full")
    yield from _store(pair, "O")
    yield from _ask(pair, "DELETE", f"/patients/{_name('O')}")
    yield from _store(pair, "P")


def _delete(pair: Pair) -> Iterator[Difference]:
    for body in _BULK:
        yield from _ask(pair, "POST", "/tools/bulk-delete", body)
    yield from _ask(pair, "GET", "/tools/bulk-delete")
    for level in ("instances", "series", "studies", "patients"):
        public_ids = sorted(pair.orthanc.request("GET", f"/{level}").json())
        body = json.dumps({"Resources": [public_ids[0], "unknown", public_ids[0]]}).encode()
        yield from compare(f"bulk {level}", *pair.both("POST", "/tools/bulk-delete", body))
        yield from _look(pair)
        yield from _store(pair, f"bulk-{level}")
    everything = [
        public_id
        for level in ("patients", "studies", "series")
        for public_id in pair.orthanc.request("GET", f"/{level}").json()
    ]
    body = json.dumps({"Resources": everything}).encode()
    yield from compare("bulk all", *pair.both("POST", "/tools/bulk-delete", body))
    yield from _look(pair)


def test_recycling_is_done_as_by_orthanc(results: list[Difference]) -> None:
    assert find_unexpected(results, RECYCLING) == []


def test_accepted_differences_of_recycling_all_occur(results: list[Difference]) -> None:
    assert find_unmet(results, RECYCLING) == []


# The log of exports: Orthanc sends to nobody, which it logs; here the entries are made in process.


def _list_requests(files: list[SyntheticFile]) -> list[tuple[str, str]]:
    """List what is sent: the level's address and the identifier."""
    first, second = files
    paths = [first.paths[name].split("/") for name in first.paths]
    sent = [(path[1], path[2]) for path in paths]
    return [*sent, ("series", second.series), ("instances", first.instance)]


def _ask_orthanc(folder: Path, files: list[SyntheticFile]) -> list[Answer]:
    options = {
        "LogExportedResources": True,
        "DicomModalities": {"nobody": ["NOBODY", "127.0.0.1", 1]},
        "DicomServerEnabled": False,
    }
    with run_orthanc(folder / "orthanc", options) as orthanc:
        for file in files:
            orthanc.upload(file.content)
        for _, public_id in _list_requests(files):
            orthanc.request("POST", "/modalities/nobody/store", public_id.encode())
        answers = [orthanc.request("GET", f"/exports{query}") for query in _EXPORTS]
        orthanc.request("DELETE", files[0].paths["patients"])
        answers.append(orthanc.request("GET", "/exports"))
        answers.append(orthanc.request("DELETE", "/exports"))
        answers.append(orthanc.request("GET", "/exports"))
        orthanc.request("POST", "/modalities/nobody/store", files[1].instance.encode())
        return [*answers, orthanc.request("GET", "/exports")]


async def _ask_isocenter(folder: Path, files: list[SyntheticFile]) -> list[Answer]:
    levels = {level.plural: level for level in Level}
    async with open_api(folder, {"LogExportedResources": True}) as api:

        async def ask(method: str, target: str) -> Answer:
            result = await api.request(method, target)
            return Answer(result.status_code, result.headers, result.content)

        for file in files:
            await api.store(file)
        for name, public_id in _list_requests(files):
            await api.archive.exports.add([(levels[name], public_id)], remote_modality="nobody")
        answers = [await ask("GET", f"/exports{query}") for query in _EXPORTS]
        await ask("DELETE", files[0].paths["patients"])
        answers.append(await ask("GET", "/exports"))
        answers.append(await ask("DELETE", "/exports"))
        answers.append(await ask("GET", "/exports"))
        second = (Level.INSTANCE, files[1].instance)
        await api.archive.exports.add([second], remote_modality="nobody")
        return [*answers, await ask("GET", "/exports")]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> list[Difference]:
    """Compare all answers about exports."""
    folder = tmp_path_factory.mktemp("exports")
    files = [build_synthetic(patient_id="EXPORTED"), build_synthetic(patient_id="OTHER")]
    theirs = _ask_orthanc(folder, files)
    ours = asyncio.run(_ask_isocenter(folder, files))
    cases = [f"GET /exports{query}" for query in _EXPORTS]
    cases += ["after deletion", "DELETE /exports", "cleared", "numbered on"]
    return [
        difference
        for case, one, other in zip(cases, ours, theirs, strict=True)
        for difference in compare(case, one, other)
    ]


def test_exports_are_answered_as_by_orthanc(exports: list[Difference]) -> None:
    assert find_unexpected(exports, EXPORTS) == []


def test_accepted_differences_of_exports_all_occur(exports: list[Difference]) -> None:
    assert find_unmet(exports, EXPORTS) == []

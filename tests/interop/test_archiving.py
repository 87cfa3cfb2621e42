"""Archives and the jobs that make them, compared with Orthanc's."""

import json
import re
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from tests.support.dicom_files import build_instance
from tests.support.orthanc import Answer, Pair, Server, run_pair

_DEADLINE_S = 30
_LEVELS = ("patients", "studies", "series")
# What Orthanc 1.10.1 does not tell of a job, or what depends on the moment.
_NOT_COMPARED = {
    *("ID", "CreationTime", "Timestamp", "CompletionTime", "EffectiveRuntime", "ErrorDetails"),
    *("UserData", "EstimatedTimeOfArrival"),
}


def _build_files() -> list[bytes]:
    """Build names that are awkward in a path, two modalities, and two patients."""
    files = []
    for number, (patient, name, study, series, modality) in enumerate(
        [
            ("P/1", "DOE^JANE", "CT abdomen: a/b", "axial", "CT"),
            ("P/1", "DOE^JANE", "CT abdomen: a/b", "axial", "CT"),
            ("P/1", "DOE^JANE", "", "", "MR"),
            ("P2", "", "neck*", "b?", ""),
        ]
    ):
        elements = {
            0x00080060: ("CS", modality),
            0x00081030: ("LO", study),
            0x0008103E: ("LO", series),
            0x00080050: ("SH", f"ACC {number}"),
            0x00100010: ("PN", name),
        }
        group = 1 if number < 2 else number + 1
        files.append(
            build_instance(
                elements,
                patient_id=patient,
                study=f"8.{group}",
                series=f"8.{group}.1",
                instance=f"8.{group}.1.{number}",
            )
        )
    return files


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with run_pair(tmp_path_factory.mktemp("archiving") / "pair") as servers:
        servers.load(_build_files())
        yield servers


def _read(answer: Answer) -> list[tuple[str, bytes]]:
    assert answer.status == 200, answer.body
    assert answer.content_type == "application/zip"
    with zipfile.ZipFile(BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        return sorted((_normalize(name), archive.read(name)) for name in archive.namelist())


def _normalize(name: str) -> str:
    """Leave of a name what is the same in 1.10.1 and in 1.13.0.

    The later one separates parts by " - " and numbers files by their InstanceNumber.
    """
    return re.sub(r"[^A-Za-z0-9/.]|[0-9]{6,8}(?=[.]dcm$)", "", name)


@pytest.mark.parametrize("level", _LEVELS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_archive_has_the_files_and_names_of_orthanc(pair: Pair, level: str, method: str) -> None:
    body = b"{}" if method == "POST" else None
    identifiers = pair.isocenter.request("GET", f"/{level}").json()
    assert identifiers
    for public_id in identifiers:
        answers = pair.both(method, f"/{level}/{public_id}/archive", body)
        ours, theirs = (_read(answer) for answer in answers)
        assert ours == theirs


def test_archive_of_many_has_the_files_and_names_of_orthanc(pair: Pair) -> None:
    studies = pair.isocenter.request("GET", "/studies").json()
    series = pair.isocenter.request("GET", "/series").json()
    for resources in (studies, series[:1], [*studies[:1], *series]):
        body = json.dumps(resources).encode()
        ours, theirs = (_read(a) for a in pair.both("POST", "/tools/create-archive", body))
        assert ours == theirs


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/studies/unknown/archive", b"{}"),
        ("/tools/create-archive", b""),
        ("/tools/create-archive", b"{"),
        ("/tools/create-archive", b'{"Resources": 5}'),
        ("/tools/create-archive", b'{"Resources": [5]}'),
        ("/tools/create-archive", b"{}"),
        ("/jobs/unknown/cancel", b""),
        ("/jobs/unknown/pause", b""),
        ("/jobs/unknown/resume", b""),
        ("/jobs/unknown/resubmit", b""),
    ],
)
def test_errors_have_the_status_of_orthanc(pair: Pair, target: str, body: bytes) -> None:
    ours, theirs = pair.both("POST", target, body)
    assert ours.status == theirs.status


def _await_end(server: Server, job_id: str) -> dict[str, Any]:
    limit = time.monotonic() + _DEADLINE_S
    while True:
        job: dict[str, Any] = server.request("GET", f"/jobs/{job_id}").json()
        if job["State"] in {"Success", "Failure"}:
            return job
        assert time.monotonic() < limit, job
        time.sleep(0.05)


def test_job_is_described_as_by_orthanc(pair: Pair) -> None:
    study = pair.isocenter.request("GET", "/studies").json()[0]
    body = json.dumps({"Asynchronous": True, "Priority": 5}).encode()
    answers = pair.both("POST", f"/studies/{study}/archive", body)
    assert [set(answer.json()) for answer in answers] == [{"ID", "Path"}] * 2
    ids = [answer.json()["ID"] for answer in answers]
    ours, theirs = map(_await_end, (pair.isocenter, pair.orthanc), ids)

    assert {k: v for k, v in ours.items() if k not in _NOT_COMPARED | {"Content"}} == {
        k: v for k, v in theirs.items() if k not in _NOT_COMPARED | {"Content"}
    }
    assert theirs["Content"].items() - ours["Content"].items() <= {
        # How well it is compressed is a matter of the library.
        ("ArchiveSize", theirs["Content"].get("ArchiveSize")),
        ("ArchiveSizeMB", theirs["Content"].get("ArchiveSizeMB")),
    }
    downloads = [
        server.request("GET", f"/jobs/{job_id}/archive")
        for server, job_id in zip((pair.isocenter, pair.orthanc), ids, strict=True)
    ]
    assert _read(downloads[0]) == _read(downloads[1])


def test_unknown_jobs_are_answered_as_by_orthanc(pair: Pair) -> None:
    for target in ("/jobs/unknown", "/jobs/unknown/archive"):
        ours, theirs = pair.both("GET", target)
        assert ours.status == theirs.status

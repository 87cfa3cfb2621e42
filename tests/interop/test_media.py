"""Media beside Orthanc's: files, records and errors; and the tools that read media."""

import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.fileset import FileSet
from tests.support.dicom_files import build_instance
from tests.support.directories import Node, read_directory
from tests.support.orthanc import Answer, Pair, run_pair
from tests.support.requirements import require_program

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_LEVELS = ("patients", "studies", "series")
_CT = _STORAGE + "2"


def _build_file(number: int, *, patient: int, study: int, series: int, **options: Any) -> bytes:
    elements: dict[int, tuple[str, bytes | str]] = {
        0x00080016: ("UI", _CT),
        0x00080020: ("DA", "20200102"),
        0x00080030: ("TM", "030405.678"),
        0x00080050: ("SH", f"ACC{study}"),
        0x00080060: ("CS", "CT"),
        0x00081030: ("LO", "head"),
        0x0008103E: ("LO", f"axial {series}"),
        0x00100010: ("PN", f"DOE^JANE {patient}"),
        0x00200010: ("SH", f"ST{study}"),
        0x00200011: ("IS", str(series)),
        0x00200013: ("IS", str(number)),
    }
    return build_instance(
        {**elements, **options.get("extra", {})},
        patient_id=f"P{patient}",
        study=f"7.{study}",
        series=f"7.{study}.{series}",
        instance=f"7.{study}.{series}.{number}",
    )


def _build_files() -> list[bytes]:
    latin: dict[int, tuple[str, bytes | str]] = {
        0x00080005: ("CS", "ISO_IR 100"),
        0x00100010: ("PN", "JÄGER^Ö ".encode("latin-1")),
    }
    places = [(1, 1, 1), (1, 1, 1), (1, 1, 2), (1, 2, 3), (2, 3, 1)]
    files = [
        _build_file(number, patient=patient, study=study, series=series)
        for number, (patient, study, series) in enumerate(places, 1)
    ]
    return [
        *files,
        _build_file(1, patient=3, study=4, series=1, extra=latin),
    ]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with run_pair(tmp_path_factory.mktemp("media") / "pair") as servers:
        servers.load(_build_files())
        yield servers


def _read(answer: Answer) -> tuple[dict[str, bytes], list[Node]]:
    assert answer.status == 200, answer.body
    assert answer.content_type == "application/zip"
    with zipfile.ZipFile(BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        files = {name: archive.read(name) for name in names}
    assert names[-1] == "DICOMDIR"
    ds, roots = read_directory(files.pop("DICOMDIR"))
    assert ds.FileSetID == "ORTHANC_MEDIA"
    return files, roots


def _describe(nodes: list[Node], files: dict[str, bytes]) -> list[Any]:
    """Describe records with all their elements; a file by its content instead of its name.

    Letters beyond ASCII are left out, as Orthanc 1.10.1 does in its records.
    """
    described = []
    for node in nodes:
        elements = {
            str(element.tag): str(element.value).encode("ascii", "ignore").decode()
            for element in node.record
        }
        if "ReferencedFileID" in node.record:
            elements["(0004,1500)"] = repr(files["/".join(node.record.ReferencedFileID)])
        described.append((sorted(elements.items()), _describe(node.children, files)))
    return sorted(described)


@pytest.mark.parametrize("level", _LEVELS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_medium_has_the_files_and_records_of_orthanc(pair: Pair, level: str, method: str) -> None:
    body = b"{}" if method == "POST" else None
    identifiers = pair.isocenter.request("GET", f"/{level}").json()
    assert identifiers
    for public_id in identifiers:
        answers = pair.both(method, f"/{level}/{public_id}/media", body)
        (ours, our_roots), (theirs, their_roots) = (_read(answer) for answer in answers)
        assert ours.keys() == theirs.keys()
        assert _describe(our_roots, ours) == _describe(their_roots, theirs)


@pytest.mark.parametrize("tool", ["create-media", "create-media-extended"])
def test_extended_records_have_what_those_of_orthanc_have(pair: Pair, tool: str) -> None:
    patients = pair.isocenter.request("GET", "/patients").json()
    answers = pair.both("POST", f"/tools/{tool}", json.dumps(patients).encode())
    (ours, our_roots), (theirs, their_roots) = (_read(answer) for answer in answers)
    assert ours.keys() == theirs.keys()
    # None of the files has another optional attribute.
    assert _describe(our_roots, ours) == _describe(their_roots, theirs)


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/studies/unknown/media", b"{}"),
        ("/tools/create-media", b""),
        ("/tools/create-media", b"{"),
        ("/tools/create-media", b"{}"),
        ("/tools/create-media", b'["unknown"]'),
        ("/tools/create-media-extended", b'{"Resources": 5}'),
    ],
)
def test_errors_have_the_status_of_orthanc(pair: Pair, target: str, body: bytes) -> None:
    ours, theirs = pair.both("POST", target, body)
    assert ours.status == theirs.status


def _extract(pair: Pair, folder: Path) -> Path:
    patients = pair.isocenter.request("GET", "/patients").json()
    answer = pair.isocenter.request("POST", "/tools/create-media", json.dumps(patients).encode())
    with zipfile.ZipFile(BytesIO(answer.body)) as archive:
        archive.extractall(folder)
    return folder / "DICOMDIR"


def test_pydicom_reads_the_medium(pair: Pair, tmp_path: Path) -> None:
    found = FileSet(_extract(pair, tmp_path))
    # pydicom leaves this folder to the end of the program, which then warns.
    with found._stage["t"]:
        assert len(found) == len(_build_files())
        for instance in found:
            stored = instance.load()
            assert stored.SOPInstanceUID == instance.ReferencedSOPInstanceUIDInFile
            assert str(stored.get("PatientName", "")) == str(instance.PatientName)


def test_dcmtk_reads_the_medium_without_complaint(pair: Pair, tmp_path: Path) -> None:
    path = _extract(pair, tmp_path)
    result = subprocess.run(
        [require_program("dcmdump", "dcmtk"), "+L", str(path)],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.count(b'"Directory Record" IMAGE') == len(_build_files())
    # DCMTK takes its records over into a DICOMDIR of its own, and finds every file.
    more = tmp_path / "MORE"
    shutil.copy(tmp_path / "IMAGES" / "IM0", more)
    command = [require_program("dcmmkdir", "dcmtk"), "+A", "+D", "DICOMDIR", "+id", ".", "MORE"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr
    _, roots = read_directory(path.read_bytes())
    assert len(roots) == 3

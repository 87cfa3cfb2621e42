"""The archive that a real Orthanc made is adopted: the same questions before and after."""

import contextlib
import json
import sqlite3
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.interop.accepted import ADOPTION, CHANGES, READING
from tests.interop.comparing import Difference, compare, find_unexpected
from tests.interop.synthetic import build_all
from tests.support.orthanc import Answer, Server, run_isocenter, run_orthanc
from tests.support.orthanc_archive import snapshot
from tests.support.samples import list_samples
from tests.support.server import run_command

_LEVELS = ("patients", "studies", "series", "instances")
_OPTIONS = {
    "UserMetadata": {"Note": 1024},
    "UserContentType": {"paper": [1025, "application/pdf"]},
    "LogExportedResources": True,
    "DicomModalities": {"gone": ["GONE", "127.0.0.1", 1]},
}


@dataclass
class Known:
    """What Orthanc answered, by address."""

    answers: dict[str, Answer] = field(default_factory=dict)
    released: str = ""


def fill(server: Server) -> str:
    """Store files and do to them what users do; gives a patient that was protected for a while."""
    for data in [*build_all(), *(path.read_bytes() for path in list_samples())]:
        server.upload(data)
    studies = server.request("GET", "/studies").json()
    patients = server.request("GET", "/patients").json()
    instances = server.request("GET", "/instances").json()

    def change(method: str, target: str, body: bytes = b"") -> None:
        assert server.request(method, target, body).status == 200, target

    for study in studies[:5]:
        change("PUT", f"/studies/{study}/metadata/Note", "Größe".encode())
        change("PUT", f"/studies/{study}/metadata/1030", b"")
        change("PUT", f"/studies/{study}/attachments/paper", b"%PDF" * 100)
    change("POST", f"/studies/{studies[0]}/attachments/paper/compress")
    for instance in instances[:5]:
        change("POST", f"/instances/{instance}/attachments/dicom/compress")
    change("PUT", f"/patients/{patients[1]}/protected", b"1")
    change("PUT", f"/patients/{patients[2]}/protected", b"1")
    change("PUT", f"/patients/{patients[2]}/protected", b"0")
    server.request("POST", "/modalities/gone/store", studies[0].encode())
    change("DELETE", f"/instances/{instances[7]}")
    return str(patients[2])


def _list_parts(names: list[str]) -> list[str]:
    """List the addresses below a resource by which its attachments are told."""
    parts = ("md5", "compressed-md5", "size", "compressed-size", "data", "compressed-data")
    return [f"/attachments/{name}/{part}" for name in names for part in parts]


def ask(server: Server) -> Known:
    """Ask for everything that must be the same afterwards."""
    known = Known()
    for level in _LEVELS:
        for public_id in server.request("GET", f"/{level}").json():
            address = f"/{level}/{public_id}"
            names = server.request("GET", f"{address}/attachments").json()
            for target in ("", "/metadata?expand", "/attachments", *_list_parts(names)):
                known.answers[address + target] = server.request("GET", address + target)
    for instance in server.request("GET", "/instances").json():
        for part in ("file", "simplified-tags"):
            address = f"/instances/{instance}/{part}"
            known.answers[address] = server.request("GET", address)
    patients = server.request("GET", "/patients").json()
    logs = ("/changes?limit=10000", "/changes?last", "/exports?limit=100", "/statistics")
    for address in (*logs, *(f"/patients/{patient}/protected" for patient in patients)):
        known.answers[address] = server.request("GET", address)
    assert known.answers["/exports?limit=100"].json()["Exports"]
    return known


@dataclass
class Adopted:
    """Both sides, when all is done."""

    known: Known
    differences: list[Difference]
    index: Path
    is_untouched: bool


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Adopted:
    folder = tmp_path_factory.mktemp("adoption")
    with run_orthanc(folder / "orthanc", _OPTIONS, is_stopped=True) as orthanc:
        released = fill(orthanc)
        known = ask(orthanc)
        known.released = released
        refused = adopt(folder, orthanc)
        assert refused.returncode == 3
        assert "stop Orthanc" in refused.stderr
    before = snapshot(orthanc.storage)
    done = adopt(folder, orthanc)
    assert done.returncode == 0, done.stdout + done.stderr
    differences = []
    with run_isocenter(
        folder / "isocenter",
        {
            **_OPTIONS,
            "StorageDirectory": str(folder / "ours"),
            "IndexDirectory": str(folder / "ours"),
        },
    ) as isocenter:
        for address, theirs in known.answers.items():
            ours = isocenter.request("GET", address)
            differences += compare(f"GET {address}", ours, theirs)
    is_untouched = snapshot(orthanc.storage) == before
    return Adopted(known, differences, folder / "ours" / "index", is_untouched)


def adopt(folder: Path, orthanc: Server) -> "subprocess.CompletedProcess[str]":
    path = folder / "ours.json"
    options = {"StorageDirectory": str(folder / "ours"), "IndexDirectory": str(folder / "ours")}
    path.write_text(json.dumps(options))
    return run_command(folder, "adopt-orthanc", str(orthanc.storage), "--config", str(path))


def query(adopted: Adopted, statement: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(adopted.index)) as connection:
        return connection.execute(statement).fetchall()


def test_folder_of_orthanc_stays_as_it_was(adopted: Adopted) -> None:
    assert adopted.is_untouched


def test_adopted_archive_answers_as_orthanc_did(adopted: Adopted) -> None:
    assert find_unexpected(adopted.differences, (*ADOPTION, *READING, *CHANGES)) == []


def test_metadata_and_attachments_of_users_are_among_what_is_compared(adopted: Adopted) -> None:
    answers = adopted.known.answers
    assert any(b"Note" in answers[address].body for address in answers if "metadata" in address)
    for part in ("paper/data", "paper/compressed-data", "dicom/compressed-size"):
        assert any(address.endswith(f"attachments/{part}") for address in answers)


def test_order_of_recycling_is_kept(adopted: Adopted) -> None:
    rows = query(adopted, "SELECT public_id, recycling_order FROM resources WHERE level = 0")
    orders = [order for _, order in rows if order is not None]
    assert len(set(orders)) == len(orders) == len(rows) - 1
    # The patient that was protected for a while is the last one.
    last = max((order, public_id) for public_id, order in rows if order is not None)[1]
    assert last == adopted.known.released

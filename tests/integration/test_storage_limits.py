"""Limits of storage, protection, read-only mode and stability on running servers."""

import io
import signal
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE
from tests.integration.test_server_life import rewrite
from tests.support.dicom_files import (
    CT_IMAGE_STORAGE,
    EXPLICIT_LITTLE,
    encode_element,
)
from tests.support.server import (
    SyntheticFile,
    TestServer,
    build_synthetic,
    run_server,
    wait_until,
)

PIXEL_DATA = 0x7FE00010
OUT_OF_RESOURCES = 0xA700
NOT_AUTHORIZED = 0x0124
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """Give a server for two patients."""
    options = {"SyncStorageArea": False, "MaximumPatientCount": 2}
    with run_server(tmp_path_factory.mktemp("server"), options) as opened:
        yield opened


@pytest.fixture
def two(server: TestServer) -> list[SyntheticFile]:
    """Store two patients that are not protected, and nothing else."""
    for public_id in server.get("/patients").json():
        server.request("DELETE", f"/patients/{public_id}")
    return [server.store(build_synthetic()) for _ in range(2)]


def store_dicom(server: TestServer, *contents: bytes) -> list[int]:
    """Send files over one association and give the statuses."""
    ae = AE("SENDER")
    ae.add_requested_context(CT_IMAGE_STORAGE, EXPLICIT_LITTLE)
    association = ae.associate("127.0.0.1", server.dicom_port)
    assert association.is_established
    try:
        return [
            int(association.send_c_store(pydicom.dcmread(io.BytesIO(content))).Status)
            for content in contents
        ]
    finally:
        association.release()


def store_dicom_one(server: TestServer, content: bytes) -> str:
    statuses = {0: "Success", OUT_OF_RESOURCES: "StorageFull"}
    return statuses[store_dicom(server, content)[0]]


def post_one(server: TestServer, content: bytes) -> str:
    answer = server.upload(content)
    if answer.status == 507:
        assert answer.json()["OrthancStatus"] == 19
        return "StorageFull"
    return str(answer.json()["Status"])


def post_zip(server: TestServer, content: bytes) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("IMAGE", content)
    answer = server.upload(packed.getvalue())
    assert answer.status == 200
    return str(answer.json()[0]["Status"])


DOORS = pytest.mark.parametrize("door", [post_one, post_zip, store_dicom_one])
Door = Callable[[TestServer, bytes], str]


def build(patient_id: str = "", kilobytes: int = 1) -> SyntheticFile:
    tail = encode_element(PIXEL_DATA, "OW", bytes(kilobytes * 1024))
    return build_synthetic(patient_id=patient_id, tail=tail)


def protect(server: TestServer, file: SyntheticFile, value: bytes = b"1") -> None:
    assert server.request("PUT", f"/patients/{file.patient}/protected", value).status == 200


@DOORS
def test_oldest_patient_goes_through_every_door(
    server: TestServer, two: list[SyntheticFile], door: Door
) -> None:
    new = build_synthetic()

    assert door(server, new.content) == "Success"

    assert set(server.get("/patients").json()) == {two[1].patient, new.patient}
    wait_until(lambda: len(server.list_stored_files()) == 2, "the file of the oldest is removed")


@DOORS
def test_full_storage_is_told_through_every_door(
    server: TestServer, two: list[SyntheticFile], door: Door
) -> None:
    for file in two:
        protect(server, file)

    assert door(server, build_synthetic().content) == "StorageFull"
    assert door(server, build(two[0].patient_id).content) == "Success"

    assert set(server.get("/patients").json()) == {file.patient for file in two}
    wait_until(lambda: len(server.list_stored_files()) == 3, "no file is left behind")


def test_patient_given_free_goes_last(server: TestServer, two: list[SyntheticFile]) -> None:
    protect(server, two[0])
    protect(server, two[0], b"0")

    new = server.store(build_synthetic())

    assert set(server.get("/patients").json()) == {two[0].patient, new.patient}


def test_archive_larger_than_the_limit_keeps_its_newest_patients(
    server: TestServer, two: list[SyntheticFile]
) -> None:
    packed, files = io.BytesIO(), [build_synthetic() for _ in range(10)]
    with zipfile.ZipFile(packed, "w") as archive:
        for number, file in enumerate(files):
            archive.writestr(str(number), file.content)

    statuses = [stored["Status"] for stored in server.upload(packed.getvalue()).json()]

    assert statuses == ["Success"] * 10
    left = server.get("/patients").json()
    assert len(left) == 2
    assert set(left) <= {file.patient for file in files}
    wait_until(lambda: len(server.list_stored_files()) == 2, "all other files are removed")


def test_parallel_ingest_keeps_to_the_rule(tmp_path: Path) -> None:
    """Sixteen senders over two doors: never too much, never more deleted than needed."""
    patients = [[build(f"P{number}", 30) for _ in range(6)] for number in range(16)]
    options = {"SyncStorageArea": False, "MaximumStorageSize": 1}
    totals: list[int] = []
    with run_server(tmp_path, options) as server:

        def send(number: int) -> list[str]:
            contents = [file.content for file in patients[number]]
            if number % 2:
                return ["Success" if not s else str(s) for s in store_dicom(server, *contents)]
            statuses = []
            for content in contents:
                statuses.append(post_one(server, content))
                totals.append(int(server.get("/statistics").json()["TotalDiskSize"]))
            return statuses

        with ThreadPoolExecutor(16) as senders:
            answers = list(senders.map(send, range(16)))
        last = server.store(build("LAST", 30))

        assert answers == [["Success"] * 6] * 16
        assert max(totals) <= MIB
        instances = {row["ID"]: row["FileSize"] for row in server.get("/instances?expand").json()}
        total = int(server.get("/statistics").json()["TotalDiskSize"])
        assert total == sum(instances.values())
        # One more patient would not have fitted in.
        assert MIB - 7 * max(instances.values()) < total <= MIB
        assert last.instance in instances
        wait_until(
            lambda: len(server.list_stored_files()) == len(instances), "no file is left behind"
        )
        for instance, size in instances.items():
            assert len(server.get(f"/instances/{instance}/file").body) == size

        attachment = f"/patients/{last.patient}/attachments/1025"
        refused = server.request("PUT", attachment, bytes(MIB))
        assert (refused.status, refused.json()["OrthancStatus"]) == (507, 19)
        assert server.request("PUT", attachment, bytes(MIB // 2)).status == 200
        assert int(server.get("/statistics").json()["TotalDiskSize"]) <= MIB
        assert server.get(f"/instances/{last.instance}").status == 200
        assert "Traceback" not in server.log


def test_restart_with_a_lower_limit_recycles(tmp_path: Path) -> None:
    with run_server(tmp_path, {"SyncStorageArea": False}) as server:
        files = [server.store(build_synthetic()) for _ in range(5)]
        protect(server, files[0])
        rewrite(server, MaximumPatientCount=2)
        server.send_signal(signal.SIGHUP)
        server.wait_until_ready()

        left = {files[0].patient, files[4].patient}
        assert set(server.get("/patients").json()) == left
        wait_until(lambda: len(server.list_stored_files()) == 2, "the other files are removed")
        assert server.get("/system").json()["MaximumPatientCount"] == 2


def test_read_only_server_serves_and_changes_nothing(tmp_path: Path) -> None:
    options = {"StableAge": 3600}
    with run_server(tmp_path, options) as server:
        file = server.store(build_synthetic())
        before = {path: server.get(path).body for path in (*file.paths.values(), "/changes")}
    new = build_synthetic()
    limits = {"MaximumPatientCount": 1, "StableAge": 0, "OverwriteInstances": True}
    with run_server(tmp_path, {**options, **limits, "ReadOnly": True}) as server:
        assert server.get("/system").json()["ReadOnly"] is True
        assert server.get(f"/instances/{file.instance}/file").body == file.content
        assert server.upload(new.content).status == 403
        assert server.upload(file.content).status == 403
        assert store_dicom(server, new.content, file.content) == [NOT_AUTHORIZED] * 2
        assert server.request("DELETE", file.paths["patients"]).status == 403
        assert server.request("DELETE", "/changes").status == 403
        assert server.request("POST", "/tools/bulk-delete", b'{"Resources":[]}').status == 404
        assert "bulk-delete" not in server.get("/tools").json()
        assert {path: server.get(path).body for path in before} == before
        assert server.list_stored_files() != set()
    with run_server(tmp_path, options) as server:
        assert {path: server.get(path).body for path in before} == before


def test_resources_become_stable_after_a_restart(tmp_path: Path) -> None:
    with run_server(tmp_path, {"StableAge": 3600}) as server:
        server.store(build_synthetic())
        assert server.get("/changes?last").json()["Last"] == 4

    def list_stable() -> list[str]:
        changes = server.get("/changes?type=StablePatient;StableStudy;StableSeries").json()
        return sorted(change["ChangeType"] for change in changes["Changes"])

    stable = ["StablePatient", "StableSeries", "StableStudy"]
    with run_server(tmp_path, {"StableAge": 0}) as server:
        wait_until(lambda: list_stable() == stable, "the resources become stable")
    with run_server(tmp_path, {"StableAge": 0}) as server:
        server.store(build_synthetic())
        wait_until(lambda: len(list_stable()) == 6, "only the new resources become stable")


def test_deletions_are_followed_in_the_log_of_changes(tmp_path: Path) -> None:
    with run_server(tmp_path, {"Isocenter": {"LogDeletions": True}}) as server:
        file = server.store(build_synthetic())
        server.request("DELETE", file.paths["studies"])

        page = server.get("/changes?type=Deleted").json()

    assert [(change["ResourceType"], change["ID"]) for change in page["Changes"]] == [
        ("Instance", file.instance),
        ("Series", file.series),
        ("Study", file.study),
        ("Patient", file.patient),
    ]
    assert (page["First"], page["Last"], page["Done"]) == (5, 8, True)

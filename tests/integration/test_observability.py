"""What a running server tells of itself: its log, its metrics, its compressed answers."""

import gzip
import json
import re
from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE
from tests.support.dicom_files import CT_IMAGE_STORAGE, EXPLICIT_LITTLE
from tests.support.server import (
    SyntheticFile,
    TestServer,
    build_synthetic,
    run_server,
    wait_until,
)

JPEG = "1.2.840.10008.1.2.4.50"
PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
# Parts of what identifies a person; none of them may be in the log of a usual level.
SECRETS = ("DOE", "JANE", "19700203", "ACC77", "PID-")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    options = {
        "HttpCompressionEnabled": True,
        "StableAge": 3600,
        "DicomAlwaysAllowFind": True,
        "Isocenter": {"LogFormat": "json"},
    }
    with run_server(tmp_path_factory.mktemp("observed"), options) as opened:
        yield opened


def build_person() -> SyntheticFile:
    return build_synthetic(
        {
            0x00080050: ("SH", "ACC77"),
            0x00100010: ("PN", "DOE^JANE"),
            0x00100030: ("DA", "19700203"),
        },
        patient_id=f"PID-{build_synthetic().patient_id}",
    )


def send_by_dicom(server: TestServer, syntax: str = EXPLICIT_LITTLE) -> bool:
    """Send an instance; tell whether its presentation context was accepted."""
    file = build_person()
    ds = Dataset()
    ds.SOPClassUID = UID(CT_IMAGE_STORAGE)
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = file.uids
    ds.PatientID, ds.PatientName, ds.AccessionNumber = file.patient_id, "DOE^JANE", "ACC77"
    ds.ensure_file_meta()
    ds.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    ae = AE("SENDER")
    ae.add_requested_context(CT_IMAGE_STORAGE, syntax)
    association = ae.associate("127.0.0.1", server.dicom_port)
    if not association.is_established:
        # pynetdicom gives up where nothing was accepted.
        return False
    assert association.send_c_store(ds).Status == 0
    association.release()
    return True


def find_by_dicom(server: TestServer) -> int:
    """Search for the person; tell how many answers came."""
    query = Dataset()
    query.QueryRetrieveLevel, query.PatientName, query.PatientID = "PATIENT", "DOE*", ""
    ae = AE("SENDER")
    ae.add_requested_context(PATIENT_ROOT_FIND)
    association = ae.associate("127.0.0.1", server.dicom_port)
    statuses = [status.Status for status, _ in association.send_c_find(query, PATIENT_ROOT_FIND)]
    association.release()
    assert statuses[-1] == 0
    return len(statuses) - 1


def do_everything(server: TestServer) -> None:
    """Handle a person's data in every way, right and wrong."""
    file = server.store(build_person())
    find_by_dicom(server)
    assert send_by_dicom(server)
    server.upload(file.content[:-20])
    server.request("POST", "/tools/lookup", file.patient_id.encode())
    for target in (
        f"/instances/{file.instance}/tags",
        f"/studies/{file.study}",
        "/patients?expand&since=0&limit=2",
        "/studies/DOE%5EJANE",
        "/nothing/DOE?PatientName=JANE&id=PID-1",
        f"/patients/{file.patient_id}/statistics",
        "/studies?expand=DOE",
    ):
        server.get(target)


def set_level(server: TestServer, level: str) -> None:
    assert server.request("PUT", "/tools/log-level", level.encode()).status == 200


@pytest.fixture
def _default_level(server: TestServer) -> Iterator[None]:
    yield
    set_level(server, "default")


@pytest.mark.parametrize("level", ["default", "verbose"])
@pytest.mark.usefixtures("_default_level")
def test_log_holds_nothing_of_a_person(server: TestServer, level: str) -> None:
    set_level(server, level)
    start = len(server.log)
    do_everything(server)
    lines = [json.loads(line) for line in server.log[start:].splitlines()]
    told = {line["message"] for line in lines}
    assert "association accepted" in told
    assert ("request" in told) == (level == "verbose")
    assert ("a received instance is stored" in told) == (level == "verbose")
    for secret in SECRETS:
        assert secret not in server.log[start:]


@pytest.mark.usefixtures("_default_level")
def test_trace_of_requests_tells_their_addresses(server: TestServer) -> None:
    assert server.request("PUT", "/tools/log-level-http", b"trace").status == 200
    start = len(server.log)
    server.get("/nothing/DOE?PatientName=JANE")
    lines = [json.loads(line) for line in server.log[start:].splitlines()]
    (line,) = [line for line in lines if line.get("path") == "/nothing/DOE"]
    assert (line["level"], line["query"], line["status"]) == ("TRACE", "PatientName=JANE", "404")


def test_long_texts_are_compressed_for_clients_that_take_it(server: TestServer) -> None:
    file = server.store(build_person())
    plain = server.get("/openapi.json")
    packed = server.get("/openapi.json", Accept_Encoding="gzip, deflate, br")
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(packed.body) < len(plain.body) / 3
    assert gzip.decompress(packed.body) == plain.body
    for target in ("/tools/now", f"/instances/{file.instance}/file"):
        assert "content-encoding" not in server.get(target, Accept_Encoding="gzip").headers


def test_metrics_count_what_comes_by_http_and_dicom(server: TestServer) -> None:
    def read() -> dict[str, float]:
        text = server.get("/tools/metrics-prometheus").body.decode()
        return {
            name: float(value)
            for name, value in re.findall(r"^(orthanc_\w+) (\S+) \d+$", text, re.MULTILINE)
        }

    before = read()
    server.store(build_person())
    send_by_dicom(server)
    after = read()
    assert after["orthanc_count_instances"] == before["orthanc_count_instances"] + 2
    assert after["orthanc_storage_written_bytes"] > before["orthanc_storage_written_bytes"]
    assert after["orthanc_store_dicom_duration_ms"] > 0
    assert find_by_dicom(server) > 0
    assert read()["orthanc_find_scp_duration_ms"] > 0
    assert after["orthanc_rest_api_active_requests"] == 1
    assert 0 < after["orthanc_available_http_threads_count"] < 1000
    wait_until(
        lambda: read()["orthanc_available_dicom_threads"] == 100, "all associations have ended"
    )


def test_change_of_transfer_syntaxes_counts_for_the_next_association(server: TestServer) -> None:
    def accept(*patterns: str) -> None:
        body = json.dumps(patterns).encode()
        assert server.request("PUT", "/tools/accepted-transfer-syntaxes", body).status == 200

    try:
        accept(JPEG)
        assert not send_by_dicom(server)
        accept(EXPLICIT_LITTLE)
        assert send_by_dicom(server)
    finally:
        accept("1.2.840.10008.1.*")


def test_unknown_sop_classes_are_taken_from_the_next_association_on(server: TestServer) -> None:
    def is_accepted() -> bool:
        ae = AE("SENDER")
        ae.add_requested_context("1.2.826.0.1.3680043.10.999.77", EXPLICIT_LITTLE)
        association = ae.associate("127.0.0.1", server.dicom_port)
        is_established = bool(association.is_established)
        if is_established:
            association.release()
        return is_established

    assert not is_accepted()
    assert server.request("PUT", "/tools/unknown-sop-class-accepted", b"1").status == 200
    assert is_accepted()
    assert server.request("PUT", "/tools/unknown-sop-class-accepted", b"0").status == 200
    assert not is_accepted()

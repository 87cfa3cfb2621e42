"""PyPI's ``pyorthanc``, unmodified, against a running Isocenter."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pydicom
import pyorthanc
import pytest
from tests.support.dicom_files import encode_element
from tests.support.server import SyntheticFile, TestServer, build_synthetic, run_server

pytestmark = [
    # The client calls its own library in an older way.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]

PIXELS = encode_element(0x7FE00010, "OW", bytes(range(256)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    options = {"UserMetadata": {"ward": 1024}, "UserContentType": {"report": 1024}}
    with run_server(tmp_path_factory.mktemp("pyorthanc"), options) as opened:
        yield opened


@pytest.fixture(scope="module")
def connected(server: TestServer) -> Iterator[pyorthanc.Orthanc]:
    with pyorthanc.Orthanc(f"http://127.0.0.1:{server.http_port}") as client:
        yield client


@pytest.fixture
def client(connected: pyorthanc.Orthanc) -> Iterator[pyorthanc.Orthanc]:
    """Give a client of an empty archive."""
    yield connected
    for public_id in connected.get_patients():
        connected.delete_patients_id(public_id)


def build_family() -> list[SyntheticFile]:
    """Build two patients: one with a study of two series, one with a single image."""
    first = build_synthetic(
        {
            0x00080020: ("DA", "20260102"),
            0x00080030: ("TM", "101112"),
            0x00080060: ("CS", "CT"),
            0x00081030: ("LO", "Thorax"),
            0x00100010: ("PN", "Alpha^Anna"),
            0x00200013: ("IS", "1"),
        },
        patient_id="A-1",
        tail=PIXELS,
    )
    study = first.uids[0]
    second = build_synthetic(
        {0x00080060: ("CS", "MR"), 0x00100010: ("PN", "Alpha^Anna")}, patient_id="A-1", study=study
    )
    other = build_synthetic({0x00100010: ("PN", "Beta^Bert")}, patient_id="B-1")
    return [first, second, other]


@pytest.fixture
def family(client: pyorthanc.Orthanc) -> list[SyntheticFile]:
    """Store two patients."""
    files = build_family()
    for file in files:
        assert client.post_instances(file.content)["Status"] == "Success"
    return files


def test_system_and_statistics_are_read(
    client: pyorthanc.Orthanc, family: list[SyntheticFile]
) -> None:
    system = client.get_system()
    assert (system["ApiVersion"], system["HasLabels"]) == (31, True)
    assert client.get_statistics()["CountInstances"] == len(family)
    assert client.get_plugins() == ["explorer.js"]


def test_files_are_uploaded_from_paths_folders_archives_and_data_sets(
    client: pyorthanc.Orthanc, tmp_path: Path
) -> None:
    files = build_family()
    (tmp_path / "one.dcm").write_bytes(files[0].content)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "two.dcm").write_bytes(files[1].content)
    assert {i.id_ for i in pyorthanc.upload(client, tmp_path, recursive=True)} == {
        files[0].instance,
        files[1].instance,
    }
    again = pyorthanc.upload(client, str(tmp_path / "one.dcm"), check_before_upload=True)
    assert [instance.id_ for instance in again] == [files[0].instance]

    data_set = pydicom.dcmread(io.BytesIO(files[2].content))
    assert [i.id_ for i in pyorthanc.upload(client, data_set)] == [files[2].instance]

    packed = tmp_path / "packed.zip"
    more = [build_synthetic() for _ in range(2)]
    with zipfile.ZipFile(packed, "w") as archive:
        for number, file in enumerate(more):
            archive.writestr(f"{number}.dcm", file.content)
    found = pyorthanc.upload(client, packed)
    assert {instance.id_ for instance in found} == {file.instance for file in more}


def test_resources_lead_to_each_other(
    client: pyorthanc.Orthanc, family: list[SyntheticFile]
) -> None:
    first = family[0]
    patient = pyorthanc.Patient(first.patient, client)
    assert (patient.patient_id, patient.name) == ("A-1", "Alpha^Anna")
    (study,) = patient.studies
    assert (study.uid, study.description) == (first.uids[0], "Thorax")
    assert study.date is not None
    assert study.date.isoformat() == "2026-01-02T10:11:12"
    assert {series.modality for series in study.series} == {"CT", "MR"}
    (instance,) = pyorthanc.Series(first.series, client).instances
    assert (instance.uid, instance.instance_number) == (first.uids[2], 1)
    assert instance.file_size == len(first.content)
    assert instance.parent_patient == patient
    assert study.last_update is not None


def test_identifiers_are_those_that_the_client_computes(family: list[SyntheticFile]) -> None:
    data_set = pydicom.dcmread(io.BytesIO(family[0].content))
    assert pyorthanc.util.to_orthanc_instance_id_from_ds(data_set) == family[0].instance


def test_files_and_tags_are_read(client: pyorthanc.Orthanc, family: list[SyntheticFile]) -> None:
    first = family[0]
    instance = pyorthanc.Instance(first.instance, client)
    assert instance.get_dicom_file_content() == first.content
    streamed = io.BytesIO()
    instance.download(streamed)
    assert streamed.getvalue() == first.content
    assert instance.get_pydicom().PatientName == "Alpha^Anna"
    assert instance.tags["0010,0020"]["Value"] == "A-1"
    assert instance.simplified_tags["PatientName"] == "Alpha^Anna"
    assert (
        client.get_instances_id_tags(first.instance, params={"short": True})["0010,0020"] == "A-1"
    )
    assert client.get_instances_id_simplified_tags(first.instance)["Modality"] == "CT"


def test_content_and_shared_tags_are_read(
    client: pyorthanc.Orthanc, family: list[SyntheticFile]
) -> None:
    instance = pyorthanc.Instance(family[0].instance, client)
    assert instance.get_content_by_tag("PatientID") == "A-1"
    assert instance.get_content_by_tag("0008-1030") == "Thorax"
    patient = pyorthanc.Patient(family[0].patient, client)
    assert patient.get_shared_tags(simplify=True)["PatientName"] == "Alpha^Anna"
    assert patient.get_patient_module(simplify=True)["PatientID"] == "A-1"


def test_lists_are_paged_and_expanded(
    client: pyorthanc.Orthanc, family: list[SyntheticFile]
) -> None:
    assert len(client.get_instances()) == len(family)
    assert len(client.get_instances(params={"since": 1, "limit": 1})) == 1
    expanded = client.get_studies(params={"expand": True})
    assert {study["ID"] for study in expanded} == {family[0].study, family[2].study}


def test_resources_are_found_by_their_tags(
    client: pyorthanc.Orthanc, family: list[SyntheticFile]
) -> None:
    (patient,) = pyorthanc.find_patients(client, query={"PatientName": "alpha*"})
    assert patient.id_ == family[0].patient
    (study,) = pyorthanc.find_studies(client, query={"StudyDate": "20260101-20260131"})
    assert study.id_ == family[0].study
    found = pyorthanc.find_series(client, query={"Modality": "CT\\MR"})
    assert {series.id_ for series in found} == {family[0].series, family[1].series}
    assert len(pyorthanc.find_instances(client)) == len(family)
    some = pyorthanc.query_orthanc(
        client, "Instance", limit=1, since=1, retrieve_all_resources=False
    )
    assert len(some) == 1
    assert client.post_tools_count_resources({"Level": "Series", "Query": {}})["Count"] == 3


def test_tree_is_filtered_by_functions(
    client: pyorthanc.Orthanc, family: list[SyntheticFile]
) -> None:
    found = pyorthanc.find(
        client,
        patient_filter=lambda patient: patient.patient_id == "A-1",
        series_filter=lambda series: series.modality == "MR",
    )
    assert [patient.id_ for patient in found] == [family[1].patient]
    assert [series.id_ for series in found[0].studies[0].series] == [family[1].series]


def test_labels_are_added_found_and_removed(
    client: pyorthanc.Orthanc, family: list[SyntheticFile]
) -> None:
    study = pyorthanc.Study(family[0].study, client)
    study.add_label("teaching")
    study.add_label("urgent")
    assert study.labels == ["teaching", "urgent"]
    assert client.get_tools_labels() == ["teaching", "urgent"]
    assert pyorthanc.find_studies(client, labels=["teaching"]) == [study]
    assert len(pyorthanc.find_studies(client, labels="urgent", labels_constraint="None")) == 1
    study.remove_label("teaching")
    assert study.labels == ["urgent"]


def test_metadata_are_set_and_deleted(
    client: pyorthanc.Orthanc, family: list[SyntheticFile]
) -> None:
    public_id = family[0].study
    client.put_studies_id_metadata_name(public_id, "ward", data="3 West")
    assert client.get_studies_id_metadata_name(public_id, "ward") == "3 West"
    assert client.get_studies_id_metadata(public_id, params={"expand": True})["ward"] == "3 West"
    client.delete_studies_id_metadata_name(public_id, "ward")
    with pytest.raises(httpx.HTTPError):
        client.get_studies_id_metadata_name(public_id, "ward")
    assert "RemoteIP" in client.get_instances_id_metadata(family[0].instance)


def test_attachments_are_written_read_and_deleted(
    client: pyorthanc.Orthanc, family: list[SyntheticFile]
) -> None:
    public_id = family[0].study
    client.put_studies_id_attachments_name(public_id, "report", content=b"all is well")
    assert client.get_studies_id_attachments_name_data(public_id, "report") == b"all is well"
    assert client.get_studies_id_attachments_name_size(public_id, "report") in (11, b"11", "11")
    assert "dicom" in client.get_instances_id_attachments(family[0].instance)
    client.delete_studies_id_attachments_name(public_id, "report")
    assert "report" not in client.get_studies_id_attachments(public_id)


def test_patients_are_protected(client: pyorthanc.Orthanc, family: list[SyntheticFile]) -> None:
    patient = pyorthanc.Patient(family[0].patient, client)
    assert not patient.protected
    patient.protected = True
    assert patient.protected
    patient.protected = False


def test_changes_are_followed(client: pyorthanc.Orthanc, family: list[SyntheticFile]) -> None:
    last = client.get_changes(params={"last": True})["Last"]
    more = build_synthetic()
    client.post_instances(more.content)
    changes = client.get_changes(params={"since": last, "limit": 10})
    told = {change["ChangeType"]: change["ID"] for change in changes["Changes"]}
    assert told["NewInstance"] == more.instance
    assert told["NewPatient"] == more.patient
    assert changes["Done"] is True
    assert len(family) == 3


def test_resources_are_deleted(client: pyorthanc.Orthanc, family: list[SyntheticFile]) -> None:
    assert client.delete_series_id(family[0].series)["RemainingAncestor"]["ID"] == family[0].study
    assert client.delete_studies_id(family[0].study)["RemainingAncestor"] is None
    with pytest.raises(httpx.HTTPError):
        client.get_patients_id(family[0].patient)
    assert client.get_patients() == [family[2].patient]


def test_tools_of_the_system_work(client: pyorthanc.Orthanc, family: list[SyntheticFile]) -> None:
    (found,) = client.post_tools_lookup("B-1")
    assert found["ID"] == family[2].patient
    client.put_tools_log_level_dicom("verbose")
    assert client.get_tools_log_level_dicom() == "verbose"
    client.put_tools_log_level("default")
    client.put_tools_metrics("0")
    assert client.get_tools_metrics() == "0"
    client.put_tools_metrics("1")
    assert "orthanc_count_patients 2 " in client.get_tools_metrics_prometheus()
    assert client.put_tools_accepted_transfer_syntaxes(data="1.2.840.10008.1.2.*")
    assert client.put_tools_default_encoding("Utf8") == "Utf8"
    assert "Conformance" in client.get_tools_dicom_conformance()


def test_failed_calls_raise_what_the_client_promises(client: pyorthanc.Orthanc) -> None:
    with pytest.raises(httpx.HTTPError):
        client.get_studies_id("unknown")
    with pytest.raises(httpx.HTTPError):
        client.post_instances(b"no DICOM")


async def test_asynchronous_client_works(
    server: TestServer, client: pyorthanc.Orthanc, family: list[SyntheticFile]
) -> None:
    async with pyorthanc.AsyncOrthanc(f"http://127.0.0.1:{server.http_port}") as asynchronous:
        assert await asynchronous.get_patients() == client.get_patients()
        assert await asynchronous.get_instances_id_file(family[0].instance) == family[0].content

"""PyPI's ``orthanc-api-client``, unmodified, against a running Isocenter."""

from collections.abc import Iterator
from pathlib import Path

import orthanc_api_client
import pytest
from orthanc_api_client import ChangeType, LabelsConstraint, OrthancApiClient
from orthanc_api_client import exceptions as errors
from orthanc_api_client.logging import LogLevel
from tests.support.dicom_files import encode_element
from tests.support.server import SyntheticFile, TestServer, build_synthetic, run_server

OTHER_REVISION = '"7-0123456789abcdef0123456789abcdef"'
PIXELS = encode_element(0x7FE00010, "OW", bytes(range(256)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    options = {
        "UserMetadata": {"ward": 1024},
        "UserContentType": {"report": 1024},
        "CheckRevisions": True,
    }
    with run_server(tmp_path_factory.mktemp("orthanc-api-client"), options) as opened:
        yield opened


@pytest.fixture
def client(server: TestServer) -> Iterator[OrthancApiClient]:
    """Give a client of an empty archive."""
    client = OrthancApiClient(f"http://127.0.0.1:{server.http_port}/")
    yield client
    client.delete_all_content()
    client.close()


@pytest.fixture
def family(client: OrthancApiClient) -> list[SyntheticFile]:
    """Store two patients: one with a study of two series, one with a single image."""
    first = build_synthetic(
        {
            0x00080020: ("DA", "20260102"),
            0x00080060: ("CS", "CT"),
            0x00081030: ("LO", "Thorax"),
            0x00100010: ("PN", "Alpha^Anna"),
        },
        patient_id="A-1",
        tail=PIXELS,
    )
    study = first.uids[0]
    second = build_synthetic({0x00080060: ("CS", "MR")}, patient_id="A-1", study=study)
    other = build_synthetic({0x00100010: ("PN", "Beta^Bert")}, patient_id="B-1")
    for file in (first, second, other):
        assert client.upload(file.content) == [file.instance]
    return [first, second, other]


def test_server_is_found_alive_and_new_enough(client: OrthancApiClient) -> None:
    assert client.wait_started(10)
    assert client.is_alive()
    assert client.is_orthanc_version_at_least(1, 13)
    assert client.has_loaded_plugin("dicom-web") is False
    assert client.capabilities.has_extended_find
    assert client.capabilities.has_extended_changes
    assert client.capabilities.has_label_support
    assert client.capabilities.has_revision_support


def test_statistics_and_metrics_are_read(
    client: OrthancApiClient, family: list[SyntheticFile]
) -> None:
    statistics = client.get_statistics()
    assert (statistics.patients_count, statistics.instances_count) == (2, len(family))
    assert statistics.total_disk_size == sum(len(file.content) for file in family)
    metrics = client.get_metrics()
    assert metrics.get("orthanc_count_instances") == "3"
    assert metrics.get("orthanc_nothing") is None
    assert client.get_log_level() is LogLevel.DEFAULT


def test_folders_are_uploaded_and_what_is_no_dicom_is_told(
    client: OrthancApiClient, tmp_path: Path
) -> None:
    file = build_synthetic()
    (tmp_path / "image.dcm").write_bytes(file.content)
    (tmp_path / "notes.txt").write_text("no DICOM")
    with pytest.raises(errors.BadFileFormat):
        client.upload_file(str(tmp_path / "notes.txt"))
    assert client.upload_folder(str(tmp_path), ignore_errors=True) == [file.instance]
    assert client.upload_folder(str(tmp_path), skip_extensions=[".txt"]) == [file.instance]
    uids, studies, rejected = client.upload_folder_return_details(str(tmp_path))
    assert (uids, studies) == ({file.uids[0]}, {file.study})
    assert [path for path, _ in rejected] == [str(tmp_path / "notes.txt")]


def test_resources_lead_to_each_other(
    client: OrthancApiClient, family: list[SyntheticFile]
) -> None:
    first = family[0]
    study = client.studies.get(first.study)
    assert study.main_dicom_tags.get("StudyDescription") == "Thorax"
    assert study.patient_main_dicom_tags.get("PatientName") == "Alpha^Anna"
    assert study.dicom_id == first.uids[0]
    assert (study.statistics.series_count, study.statistics.instances_count) == (2, 2)
    assert {series.orthanc_id for series in study.series} == {first.series, family[1].series}
    assert study.last_update is not None
    assert study.labels == []
    assert client.studies.get_modalities(first.study) == {"CT", "MR"}
    assert client.studies.get_parent_patient_id(first.study) == first.patient
    assert set(client.patients.get_instances_ids(first.patient)) == {
        first.instance,
        family[1].instance,
    }
    assert client.instances.get_parent_series_id(first.instance) == first.series
    assert client.instances.get_parent_study_id(first.instance) == first.study
    assert client.series.get(first.series).main_dicom_tags.get("Modality") == "CT"
    assert client.patients.get(first.patient).dicom_id == "A-1"


def test_resources_are_looked_up_by_their_identifiers(
    client: OrthancApiClient, family: list[SyntheticFile]
) -> None:
    first = family[0]
    assert client.lookup("A-1", filter="Patient") == [first.patient]
    assert client.studies.lookup(first.uids[0]) == first.study
    assert client.series.lookup(first.uids[1]) == first.series
    assert client.instances.lookup(first.uids[2]) == first.instance
    assert client.patients.lookup("nobody") is None
    assert client.instances.exists(first.instance)
    assert not client.instances.exists("unknown")


def test_files_and_tags_are_read(
    client: OrthancApiClient, family: list[SyntheticFile], tmp_path: Path
) -> None:
    first = family[0]
    assert client.instances.get_file(first.instance) == first.content
    tags = client.instances.get_tags(first.instance)
    assert tags["PatientName"] == tags["0010,0010"] == "Alpha^Anna"
    assert client.studies.get_tags(first.study)["PatientID"] == "A-1"
    (downloaded,) = client.series.download_instances(first.series, str(tmp_path))
    assert Path(downloaded.path).read_bytes() == first.content


def test_resources_are_found_by_their_tags(
    client: OrthancApiClient, family: list[SyntheticFile]
) -> None:
    (study,) = client.studies.find({"PatientName": "alpha*"}, case_sensitive=False)
    assert study.orthanc_id == family[0].study
    (study,) = client.studies.find(
        {"StudyDate": "20260101-"}, limit=1, requested_tags=["ModalitiesInStudy", "PatientID"]
    )
    assert study.requested_tags.get("PatientID") == "A-1"
    assert study.requested_tags.get("ModalitiesInStudy") == "CT\\MR"
    ordered = client.studies.find(
        {}, order_by=[{"Type": "DicomTag", "Key": "PatientID", "Direction": "DESC"}]
    )
    assert [found.orthanc_id for found in ordered] == [family[2].study, family[0].study]
    (patient,) = client.patients.find({"PatientID": "B-*"})
    assert patient.orthanc_id == family[2].patient


def test_instances_of_a_study_are_described_at_once(
    client: OrthancApiClient, family: list[SyntheticFile]
) -> None:
    found = client.studies.get_instances(family[0].study)
    assert {instance.orthanc_id for instance in found} == {family[0].instance, family[1].instance}


def test_labels_are_added_found_and_removed(
    client: OrthancApiClient, family: list[SyntheticFile]
) -> None:
    one, other = family[0].study, family[2].study
    client.studies.add_labels(one, ["teaching", "urgent"])
    client.studies.add_label(other, "urgent")
    assert client.studies.get_labels(one) == ["teaching", "urgent"]
    assert client.get_all_labels() == ["teaching", "urgent"]

    def find(constraint: LabelsConstraint) -> set[str]:
        found = client.studies.find({}, labels=["teaching", "urgent"], labels_constraint=constraint)
        return {study.orthanc_id for study in found}

    assert find(LabelsConstraint.ANY) == {one, other}
    assert find(LabelsConstraint.ALL) == {one}
    assert find(LabelsConstraint.NONE) == set()
    client.studies.delete_labels(one, ["teaching", "urgent"])
    assert client.studies.get(one).labels == []


def test_metadata_are_written_with_revisions(
    client: OrthancApiClient, family: list[SyntheticFile]
) -> None:
    public_id = family[0].study
    assert client.studies.get_string_metadata(public_id, "ward", default_value="none") == "none"
    client.studies.set_string_metadata(public_id, "ward", content="3 Wést")
    content, revision = client.studies.get_string_metadata_with_revision(public_id, "ward")
    assert content == "3 Wést"
    with pytest.raises(errors.Conflict):
        client.studies.set_string_metadata(
            public_id, "ward", content="x", match_revision=OTHER_REVISION
        )
    client.studies.set_string_metadata(public_id, "ward", content="4", match_revision=revision)
    assert client.studies.get_string_metadata(public_id, "ward") == "4"
    assert client.studies.has_metadata(public_id, "ward")
    assert client.instances.get_metadata(family[0].instance)["Origin"] == "RestApi"


def test_attachments_are_written_with_revisions(
    client: OrthancApiClient, family: list[SyntheticFile], tmp_path: Path
) -> None:
    public_id = family[0].study
    client.studies.set_attachment(public_id, "report", content="all is well")
    content, revision = client.studies.get_attachment_with_revision(public_id, "report")
    assert content == b"all is well"
    with pytest.raises(errors.Conflict):
        client.studies.set_attachment(
            public_id, "report", content="x", match_revision=OTHER_REVISION
        )
    client.studies.set_attachment(public_id, "report", content="better", match_revision=revision)
    client.studies.download_attachment(public_id, "report", str(tmp_path / "report"))
    assert (tmp_path / "report").read_bytes() == b"better"


def test_changes_are_followed(client: OrthancApiClient, family: list[SyntheticFile]) -> None:
    changes, last, is_done = client.get_changes(since=0, limit=1000)
    assert is_done
    assert last == changes[-1].sequence_id
    new = {
        change.resource_id for change in changes if change.change_type == ChangeType.NEW_INSTANCE
    }
    assert new == {file.instance for file in family}
    assert client.get_changes(since=last)[0] == []


def test_resources_are_deleted(client: OrthancApiClient, family: list[SyntheticFile]) -> None:
    client.series.delete(family[0].series)
    with pytest.raises(errors.ResourceNotFound):
        client.series.get_json(family[0].series)
    client.series.delete(family[0].series, ignore_errors=True)
    assert set(client.studies.delete_all()) == {family[0].study, family[2].study}
    assert client.patients.get_all_ids() == []


def test_set_of_instances_is_deleted_in_one_call(
    client: OrthancApiClient, family: list[SyntheticFile]
) -> None:
    chosen = orthanc_api_client.InstancesSet.from_study(client, study_id=family[0].study)
    assert set(chosen.instances_ids) == {family[0].instance, family[1].instance}
    chosen.delete()
    assert client.studies.get_all_ids() == [family[2].study]

"""Modification and anonymization as jobs, through the REST API."""

import asyncio
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.dataset import FileDataset
from tests.support.dicom_files import EXPLICIT_LITTLE, encode_sequence
from tests.support.server import SyntheticFile, build_synthetic, compute_public_id
from tests.unit.rest.api import Api, open_api

from isocenter.archive import modifications
from isocenter.archive.exporting import ExportRequest
from isocenter.archive.reconciliation import reconcile
from isocenter.dicom.levels import Level
from isocenter.errors import FullStorageError, StorageUnavailableError
from isocenter.index.deletion import delete_resource
from isocenter.index.reading import find_removals
from isocenter.index.staging import list_staged
from isocenter.jobs.states import Action, JobState

pytestmark = pytest.mark.asyncio(loop_scope="module")

_UNKNOWN = "-".join(["11111111"] * 5)
_DEADLINE_S = 20.0
_LEVELS = ("patients", "studies", "series", "instances")


def _file(path: str, **values: str) -> SyntheticFile:
    """Build an instance; the path is that of its UIDs below ``1.2``, of patient P."""
    patient, study, series, instance = path.split("/")
    elements = {
        0x00080060: ("CS", "CT"),
        0x00081030: ("LO", values.get("study", "HEAD")),
        0x0008103E: ("LO", values.get("series", "AXIAL")),
        0x00100010: ("PN", values.get("name", "DOE^JANE")),
    }
    return build_synthetic(
        elements,
        patient_id=patient,
        study=f"1.2.{study}",
        series=f"1.2.{study}.{series}",
        instance=f"1.2.{study}.{series}.{instance}",
    )


async def _store(api: Api, *paths: str, **values: str) -> list[SyntheticFile]:
    return [await api.store(_file(path, **values)) for path in paths]


async def _post(api: Api, target: str, body: Any, status: int = 200, key: str = "") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Idempotency-Key": key} if key else {}
    result = await api.request("POST", target, body=data, headers=headers)
    assert result.status_code == status, result.text
    return result.json


async def _list(api: Api, level: str) -> list[str]:
    found: list[str] = await api.get_json(f"/{level}")
    return found


async def _count(api: Api) -> list[int]:
    return [len(await _list(api, level)) for level in _LEVELS]


async def _read(api: Api, public_id: str) -> FileDataset:
    result = await api.get(f"/instances/{public_id}/file")
    assert result.status_code == 200
    return pydicom.dcmread(BytesIO(result.content), force=True)


async def _read_below(api: Api, target: str) -> list[FileDataset]:
    children = await api.get_json(f"{target}/instances")
    return [await _read(api, child["ID"]) for child in children]


async def _check_is_clean(api: Api) -> None:
    """Make sure that nothing is left of jobs: no rows, and no files that no row names."""
    archive = api.archive
    await archive.workers.run(archive.deleter.remove_files)
    assert archive.database.read(lambda tx: find_removals(tx, 10)) == []
    report = await archive.workers.run(reconcile, archive.database, archive.storage)
    assert (report.damaged_count, report.unreferenced_count) == (0, 0)


async def test_modified_study_is_a_copy_with_new_uids(api: Api) -> None:
    files = await _store(api, "P/1/1/1", "P/1/1/2", "P/1/2/1")
    source = files[0].study

    answer = await _post(api, f"/studies/{source}/modify", {"Replace": {"StudyDescription": "X"}})

    assert answer == {
        "Description": "REST API",
        "FailedInstancesCount": 0,
        "ID": answer["ID"],
        "InstancesCount": 3,
        "IsAnonymization": False,
        "ParentResources": [source],
        "Path": f"/studies/{answer['ID']}",
        "PatientID": compute_public_id("P"),
        "Resources": [{"ID": source, "Type": "Study"}],
        "Type": "Study",
    }
    assert await _count(api) == [1, 2, 4, 6]
    study = await api.get_json(f"/studies/{answer['ID']}")
    assert study["ModifiedFrom"] == source
    assert study["MainDicomTags"]["StudyDescription"] == "X"
    for data_set in await _read_below(api, answer["Path"]):
        assert data_set.StudyDescription == "X"
        assert data_set.StudyInstanceUID == study["MainDicomTags"]["StudyInstanceUID"] != "1.2.1"
        assert data_set.file_meta.MediaStorageSOPInstanceUID == data_set.SOPInstanceUID
    await _check_is_clean(api)


async def test_metadata_of_copies_name_their_sources_and_who_asked(api: Api) -> None:
    [file] = await _store(api, "P/1/1/1")

    answer = await _post(api, f"/series/{file.series}/modify", {})

    series = await api.get_json(f"/series/{answer['ID']}/metadata?expand")
    assert series["ModifiedFrom"] == file.series
    assert "ModifiedFrom" not in await api.get_json(f"/studies/{file.study}/metadata?expand")
    [child] = await api.get_json(f"{answer['Path']}/instances")
    metadata = await api.get_json(f"/instances/{child['ID']}/metadata?expand")
    assert metadata["ModifiedFrom"] == file.instance
    assert (metadata["Origin"], metadata["RemoteIP"]) == ("RestApi", "127.0.0.1")
    assert await _count(api) == [1, 1, 2, 2]


async def test_anonymized_patient_has_renewed_and_consistent_identifiers(api: Api) -> None:
    await _store(api, "P/1/1/1", "P/1/1/2", "P/2/1/1")
    patient = compute_public_id("P")

    answer = await _post(api, f"/patients/{patient}/anonymize", {"KeepSource": False})

    assert answer["IsAnonymization"] is True
    assert (answer["Type"], answer["ID"]) == ("Patient", answer["PatientID"])
    assert await _count(api) == [1, 2, 2, 3]
    described = await api.get_json(f"/patients/{answer['ID']}")
    assert described["AnonymizedFrom"] == patient
    assert described["MainDicomTags"]["PatientName"].startswith("Anonymized")
    for data_set in await _read_below(api, answer["Path"]):
        assert data_set.PatientIdentityRemoved == "YES"
        assert "StudyDescription" not in data_set
    await _check_is_clean(api)


async def test_names_of_anonymous_patients_are_numbered(api: Api) -> None:
    await _store(api, "P/1/1/1")
    study = compute_public_id("P", "1.2.1")
    names = []
    for _ in range(2):
        answer = await _post(api, f"/studies/{study}/anonymize", {})
        names.append((await api.get_json(f"/studies/{answer['ID']}"))["PatientMainDicomTags"])
    first, second = (int(name["PatientName"].removeprefix("Anonymized")) for name in names)
    assert second == first + 1


async def test_references_follow_in_modifications_and_anonymizations(api: Api) -> None:
    image, other = (f"1.2.1.1.{number}" for number in (1, 9))
    items = [identifiers_of(uid) for uid in (image, other)]
    tail = encode_sequence(0x00081140, items, syntax=EXPLICIT_LITTLE)
    await _store(api, "P/1/1/1")
    report = build_synthetic(
        {}, tail=tail, patient_id="P", study="1.2.1", series="1.2.1.2", instance="1.2.1.2.1"
    )
    await api.store(report)

    for action in ("modify", "anonymize"):
        answer = await _post(api, f"/studies/{report.study}/{action}", {})
        files = await _read_below(api, answer["Path"])
        [copy] = [ds for ds in files if "ReferencedImageSequence" in ds]
        [new_image] = [ds for ds in files if "ReferencedImageSequence" not in ds]
        first, second = copy.ReferencedImageSequence
        assert first.ReferencedSOPInstanceUID == new_image.SOPInstanceUID
        assert (second.ReferencedSOPInstanceUID == other) is (action == "modify")


def identifiers_of(uid: str) -> bytes:
    """Encode an item that refers to an instance."""
    data_set = pydicom.Dataset()
    data_set.ReferencedSOPInstanceUID = uid
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    pydicom.filewriter.write_dataset(buffer, data_set)
    return buffer.getvalue()


@pytest.mark.parametrize("few", [0, 200])
async def test_bulk_lists_everything_it_has_made(
    api: Api, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("isocenter.rest.job_calls._FEW_RESOURCES", few)
    files = await _store(api, "P/1/1/1", "P/1/2/1", "Q/2/1/1")
    resources = [files[0].series, files[2].patient, files[0].instance]

    answer = await _post(api, "/tools/bulk-anonymize", {"Resources": resources})

    assert answer["InstancesCount"] == 2
    assert answer["ParentResources"] == resources
    assert "ID" not in answer
    types = [made["Type"] for made in answer["Resources"]]
    assert types == [t for t in ("Instance", "Series", "Study", "Patient") for _ in range(2)]
    for made in answer["Resources"]:
        found = await api.get_json(made["Path"])
        assert (found["ID"], found["Type"]) == (made["ID"], made["Type"])


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        ({}, [1, 1, 1, 2]),
        ({"Level": "Instance"}, [1, 1, 1, 2]),
        ({"Level": "Series"}, [1, 1, 2, 2]),
        ({"Level": "Study"}, [1, 2, 2, 2]),
        ({"Level": "Patient", "Replace": {"PatientID": "N"}, "Force": True}, [2, 2, 2, 2]),
        ({"Replace": {"SeriesInstanceUID": "9.9"}, "Force": True}, [1, 1, 2, 2]),
        ({"Replace": {"StudyInstanceUID": "9.9"}, "Force": True}, [1, 2, 2, 2]),
        ({"Replace": {"PatientID": "N"}, "Force": True}, [2, 2, 2, 2]),
    ],
    ids=str,
)
async def test_bulk_level_is_given_or_deduced(
    api: Api, body: dict[str, Any], counts: list[int]
) -> None:
    [file] = await _store(api, "P/1/1/1")
    await _post(api, "/tools/bulk-modify", {"Resources": [file.instance], **body})
    assert await _count(api) == counts


async def test_bulk_of_nothing_makes_nothing(api: Api) -> None:
    answer = await _post(api, "/tools/bulk-modify", {"Resources": []})
    assert (answer["InstancesCount"], answer["Resources"]) == (0, [])


async def test_asynchronous_job_tells_where_to_look(api: Api) -> None:
    [file] = await _store(api, "P/1/1/1")
    body = {"Asynchronous": True, "Priority": 3, "UserData": {"ticket": 7}}

    answer = await _post(api, f"/studies/{file.study}/modify", body)

    assert answer == {"ID": answer["ID"], "Path": f"/jobs/{answer['ID']}"}
    job = await api.jobs.wait(answer["ID"], _DEADLINE_S)
    assert job.state is JobState.SUCCESS
    described = await api.get_json(answer["Path"])
    assert described["Type"] == "ResourceModification"
    assert (described["Priority"], described["UserData"]) == (3, {"ticket": 7})
    assert described["Content"]["Path"].startswith("/studies/")
    # What links the new identifiers to the old ones is forgotten.
    assert "key" not in job.arguments or "key" not in (await _lookup(api, job.job_id)).arguments


async def _lookup(api: Api, job_id: str) -> Any:
    return await api.jobs.lookup(job_id)


async def test_request_that_is_sent_again_makes_one_copy(api: Api) -> None:
    [file] = await _store(api, "P/1/1/1")
    target = f"/studies/{file.study}/anonymize"

    answers = [await _post(api, target, {}, key="k") for _ in range(2)]

    assert answers[0] == answers[1]
    assert await _count(api) == [2, 2, 2, 2]
    await _post(api, target, {"Replace": {"PatientName": "N"}}, 409, key="k")


@pytest.mark.parametrize(
    ("target", "body", "status", "code"),
    [
        ("/studies/{study}/modify", b"", 400, 15),
        ("/studies/{study}/modify", b"{", 400, 15),
        ("/studies/{study}/modify", {"Replace": []}, 400, 8),
        ("/studies/{study}/modify", {"Remove": {}}, 400, 8),
        ("/studies/{study}/modify", {"Force": 1}, 400, 8),
        ("/studies/{study}/modify", {"KeepSource": "no"}, 400, 8),
        ("/studies/{study}/modify", {"Permissive": 1}, 400, 8),
        ("/studies/{study}/modify", {"Replace": {"Nope": "x"}}, 400, 27),
        ("/studies/{study}/modify", {"Replace": {"PatientID": "x"}}, 400, 8),
        ("/studies/{study}/modify", {"Keep": ["StudyInstanceUID"]}, 400, 8),
        ("/studies/{study}/modify", {"Remove": ["PatientID"], "Force": True}, 400, 8),
        ("/studies/{study}/anonymize", {"Remove": ["SOPInstanceUID"], "Force": True}, 400, 8),
        ("/studies/{study}/anonymize", {"DicomVersion": "1999"}, 400, 3),
        ("/studies/{study}/modify", {"Transcode": "1.2.3"}, 400, 3),
        ("/studies/{study}/modify", {"Transcode": 5}, 400, 15),
        ("/studies/{study}/modify", {"LossyQuality": 0}, 400, 3),
        ("/studies/{study}/modify", {"LossyQuality": "high"}, 400, 3),
        ("/studies/{study}/modify", {"MaskPixelData": {}}, 501, 2),
        ("/series/{series}/modify", {"Replace": {"PatientID": "x"}, "Force": True}, 400, 8),
        ("/series/{series}/modify", {"Replace": {"StudyInstanceUID": "1"}, "Force": True}, 400, 8),
        ("/tools/bulk-modify", {}, 400, 15),
        ("/tools/bulk-modify", {"Resources": "x"}, 400, 15),
        ("/tools/bulk-modify", {"Resources": [_UNKNOWN]}, 404, 17),
        ("/tools/bulk-modify", {"Resources": ["\0"]}, 404, 17),
        ("/tools/bulk-modify", {"Resources": ["{study}"], "Level": "Nope"}, 400, 3),
        ("/tools/bulk-modify", {"Resources": ["{study}"], "Level": 5}, 400, 3),
        (f"/studies/{_UNKNOWN}/modify", {}, 404, 17),
        (f"/patients/{_UNKNOWN}/anonymize", {}, 404, 17),
        ("/studies/{series}/modify", {}, 404, 17),
    ],
    ids=str,
)
async def test_what_cannot_be_done_is_refused_before_there_is_a_job(
    api: Api, target: str, body: Any, status: int, code: int
) -> None:
    [file] = await _store(api, "P/1/1/1")
    names = {"study": file.study, "series": file.series}
    jobs = await api.get_json("/jobs")
    if isinstance(body, dict) and body.get("Resources") == ["{study}"]:
        body = {**body, "Resources": [file.study]}

    answer = await _post(api, target.format(**names), body, status)

    assert answer["OrthancStatus"] == code
    assert await _count(api) == [1, 1, 1, 1]
    assert await api.get_json("/jobs") == jobs


@pytest.mark.parametrize(
    ("replaced", "status"),
    [
        ({"PatientName": "DOE^JANE"}, 200),
        ({"PatientName": "OTHER"}, 400),
        ({"PatientID": "Q", "PatientName": "ROE^R"}, 200),
        ({"PatientID": "Q"}, 400),
        ({"PatientID": "Q", "PatientName": "DOE^JANE"}, 400),
        ({"PatientID": "Q", "PatientName": "ROE^R", "PatientSex": "F"}, 400),
        ({"PatientID": "Q", "PatientName": "ROE^R", "PatientSex": ""}, 200),
        ({"PatientID": "NEW"}, 200),
        ({"StudyDescription": "X"}, 200),
    ],
    ids=str,
)
async def test_study_takes_the_tags_of_the_patient_it_goes_to(
    api: Api, replaced: dict[str, str], status: int
) -> None:
    [file, _] = await _store(api, "P/1/1/1", "P/2/1/1")
    await _store(api, "Q/3/1/1", name="ROE^R")
    body = {"Replace": replaced, "Force": True}
    await _post(api, f"/studies/{file.study}/modify", body, status)


async def test_only_study_of_a_patient_may_change_the_patient(api: Api) -> None:
    [file] = await _store(api, "P/1/1/1")
    target = f"/studies/{file.study}/modify"
    await _post(api, target, {"Replace": {"PatientName": "NEW"}, "KeepSource": False})
    [patient] = await api.get_json("/patients?expand")
    assert patient["MainDicomTags"]["PatientName"] == "NEW"


async def test_place_that_is_taken_fails_the_job_and_changes_nothing(api: Api) -> None:
    [first, _] = await _store(api, "P/1/1/1", "P/1/1/2")
    body = {"Replace": {"SOPInstanceUID": "9.9"}, "Force": True, "KeepSource": False}

    answer = await _post(api, f"/studies/{first.study}/modify", body, 409)

    assert answer["OrthancStatus"] == 2018
    assert await _count(api) == [1, 1, 1, 2]
    await _check_is_clean(api)


async def test_in_place_editing_needs_permission_to_overwrite(api: Api) -> None:
    [file] = await _store(api, "P/1/1/1")
    body = {"Keep": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"], "Force": True}
    answer = await _post(api, f"/studies/{file.study}/modify", body, 400)
    assert answer["OrthancStatus"] == 8


async def test_labels_are_copied_if_wanted(api: Api) -> None:
    [file] = await _store(api, "P/1/1/1")
    for level, public_id in (("studies", file.study), ("instances", file.instance)):
        await api.request("PUT", f"/{level}/{public_id}/labels/of-{level}", body=b"")

    for keeps in (False, True):
        answer = await _post(api, f"/studies/{file.study}/modify", {"KeepLabels": keeps})
        labels = await api.get_json(f"{answer['Path']}/labels")
        [child] = await api.get_json(f"{answer['Path']}/instances")
        assert labels == (["of-studies"] if keeps else [])
        assert child["Labels"] == (["of-instances"] if keeps else [])


@pytest.fixture
def corrupted() -> SyntheticFile:
    """Give an instance whose edit must fail: its sequence is not one."""
    tail = encode_sequence(0x00081140, [b"\x08\x00\x55\x11UI\xff\x00"], syntax=EXPLICIT_LITTLE)
    return build_synthetic({}, tail=tail, **identifiers_below("P", "1.2.1"))


def identifiers_below(patient: str, study: str) -> dict[str, str]:
    """Name an instance of its own series."""
    return {
        "patient_id": patient,
        "study": study,
        "series": f"{study}.7",
        "instance": f"{study}.7.1",
    }


async def test_instance_that_cannot_be_edited_fails_all(api: Api, corrupted: SyntheticFile) -> None:
    files = await _store(api, "P/1/1/1", "P/1/1/2")
    await api.store(corrupted)

    answer = await _post(api, f"/studies/{files[0].study}/anonymize", {"KeepSource": False}, 400)

    assert answer["OrthancStatus"] == 15
    assert await _count(api) == [1, 1, 2, 3]
    await _check_is_clean(api)


async def test_permissive_job_keeps_the_sources_of_what_failed(
    api: Api, corrupted: SyntheticFile
) -> None:
    files = await _store(api, "P/1/1/1", "P/1/1/2")
    await api.store(corrupted)
    body = {"KeepSource": False, "Permissive": True, "Asynchronous": True}

    answer = await _post(api, f"/studies/{files[0].study}/anonymize", body)
    job = await api.jobs.wait(answer["ID"], _DEADLINE_S)

    assert job.state is JobState.SUCCESS
    assert job.content["FailedInstancesCount"] == 1
    [failed] = await api.get_json(f"{answer['Path']}/failed-items")
    assert failed["ID"] == corrupted.instance
    assert corrupted.instance in await _list(api, "instances")
    assert await _count(api) == [2, 2, 2, 3]
    again = await _post(api, f"{answer['Path']}/retry-failed", b"")
    retried = await api.jobs.wait(again["ID"], _DEADLINE_S)
    assert retried.content["FailedInstancesCount"] == 1
    await _check_is_clean(api)


async def test_staged_instances_are_gone_when_a_job_is_cancelled_in_the_middle(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.tasks.editing._BATCH_FILES", 1)
    files = await _store(api, *(f"P/1/1/{number}" for number in range(1, 8)))
    submitted: list[str] = []
    save = api.jobs._store.save

    def save_and_cancel(job: Any, step: Any, **options: Any) -> Any:
        if step.checkpoint["Done"] == 3:
            assert len(api.archive.database.read(lambda tx: list_staged(tx, job.job_id))) == 2
            saved = save(job, step, **options)
            submitted.append(job.job_id)
            api.jobs._store.act(job.job_id, Action.CANCEL, None)
            return api.jobs._store.lookup(job.job_id) or saved
        return save(job, step, **options)

    monkeypatch.setattr(api.jobs._store, "save", save_and_cancel)

    answer = await _post(api, f"/studies/{files[0].study}/modify", {"KeepSource": False}, 500)

    assert answer["OrthancStatus"] == 37
    assert api.archive.database.read(lambda tx: list_staged(tx, submitted[0])) == []
    assert await _count(api) == [1, 1, 1, 7]
    await _check_is_clean(api)


async def test_source_that_is_deleted_meanwhile_fails_the_job(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.tasks.editing._BATCH_FILES", 1)
    files = await _store(api, *(f"P/1/1/{number}" for number in range(1, 5)))
    save = api.jobs._store.save

    def delete_and_save(job: Any, step: Any, **options: Any) -> Any:
        if step.checkpoint["Done"] == 3:
            api.archive.database.write(
                lambda tx: delete_resource(tx, Level.INSTANCE, files[0].instance, deleted_at=1)
            )
        return save(job, step, **options)

    monkeypatch.setattr(api.jobs._store, "save", delete_and_save)

    answer = await _post(api, f"/studies/{files[0].study}/modify", {"KeepSource": False}, 409)

    assert "deleted or replaced" in answer["Details"]
    assert await _count(api) == [1, 1, 1, 3]
    await _check_is_clean(api)


async def test_two_jobs_on_a_study_run_one_after_the_other(api: Api) -> None:
    files = await _store(api, "P/1/1/1", "P/1/1/2")
    body = {"KeepSource": False, "Asynchronous": True}
    target = f"/studies/{files[0].study}/modify"

    answers = [await _post(api, target, body) for _ in range(2)]
    first, second = [await api.jobs.wait(answer["ID"], _DEADLINE_S) for answer in answers]

    # The first one moves the study away, so the second finds none.
    assert (first.state, second.state) == (JobState.SUCCESS, JobState.FAILURE)
    assert second.failure is not None
    assert second.failure.code == 17
    assert await _count(api) == [1, 1, 1, 2]


async def test_full_disk_fails_the_job_and_leaves_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.tasks.editing._BATCH_FILES", 1)
    files = await _store(api, "P/1/1/1", "P/1/1/2", "P/1/1/3")
    calls: Iterator[int] = iter(range(100))
    write = api.archive.edits.stager._storage.write_unsynced

    def fail_in_the_middle(*arguments: Any) -> Any:
        if next(calls) == 2:
            raise FullStorageError("no room")
        return write(*arguments)

    monkeypatch.setattr(api.archive.edits.stager._storage, "write_unsynced", fail_in_the_middle)

    answer = await _post(
        api, f"/studies/{files[0].study}/modify", {"Permissive": True, "KeepSource": False}, 507
    )

    assert "no room" in answer["Details"]
    assert await _count(api) == [1, 1, 1, 3]
    monkeypatch.undo()
    await _check_is_clean(api)


@pytest.mark.parametrize("route", ["modify", "bulk-modify"])
async def test_repeated_request_gets_its_job_although_the_sources_are_gone(
    api: Api, route: str
) -> None:
    [file] = await _store(api, "P/1/1/1")
    body: dict[str, Any] = {"Replace": {"StudyDescription": "X"}, "KeepSource": False}
    target = f"/studies/{file.study}/{route}"
    if route == "bulk-modify":
        target = f"/tools/{route}"
        body |= {"Resources": [file.study], "Level": "Study"}
    first = await _post(api, target, body, key=f"repeated {route}")
    assert file.study not in await _list(api, "studies")

    assert await _post(api, target, body, key=f"repeated {route}") == first

    answer = await _post(api, target, {**body, "Asynchronous": True}, key=f"repeated {route}")
    assert answer["Path"] == f"/jobs/{answer['ID']}"
    body["Replace"] = {"StudyDescription": "Y"}
    await _post(api, target, body, 409, key=f"repeated {route}")
    await _post(api, target, body, 404, key=f"other {route}")
    await _post(api, target, body, 404)


async def test_too_many_sources_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modifications, "_MOST_SOURCES", 1)
    files = await _store(api, "P/1/1/1", "P/1/1/2")
    await _post(api, f"/studies/{files[0].study}/modify", {}, 400)
    await _post(api, "/tools/bulk-modify", {"Resources": [files[0].instance]})


@pytest.mark.parametrize("header_bytes", [200, 1 << 20])
async def test_new_files_are_described_whatever_part_of_them_is_read(
    api: Api, monkeypatch: pytest.MonkeyPatch, header_bytes: int
) -> None:
    monkeypatch.setattr("isocenter.archive.staging._HEADER_BYTES", header_bytes)
    [file] = await _store(api, "P/1/1/1")
    before = await _read(api, file.instance)

    answer = await _post(
        api, f"/studies/{file.study}/modify", {"Replace": {"PatientName": "N"}, "KeepSource": False}
    )

    [child] = await api.get_json(f"{answer['Path']}/instances")
    after = await _read(api, child["ID"])
    assert (after.PatientName, after.SOPClassUID) == ("N", before.SOPClassUID)
    verified = await api.request("POST", f"/instances/{child['ID']}/attachments/dicom/verify-md5")
    assert verified.status_code == 200
    await _check_is_clean(api)


async def test_in_place_editing_keeps_the_identifiers(tmp_path: Any) -> None:
    async with open_api(tmp_path, {"OverwriteInstances": "Always"}) as api:
        files = await _store(api, "P/1/1/1", "P/1/1/2")
        body = {
            "Keep": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"],
            "Replace": {"StudyDescription": "CORRECTED", "PatientName": "RIGHT"},
            "Force": True,
        }
        target = f"/studies/{files[0].study}/modify"
        await _post(api, target, {**body, "KeepSource": False}, 400)

        answer = await _post(api, target, body)

        assert answer["ID"] == files[0].study
        assert sorted(await _list(api, "instances")) == sorted(f.instance for f in files)
        study = await api.get_json(f"/studies/{files[0].study}")
        assert study["MainDicomTags"]["StudyDescription"] == "CORRECTED"
        assert study["PatientMainDicomTags"]["PatientName"] == "RIGHT"
        [patient] = await api.get_json("/patients?expand")
        assert patient["MainDicomTags"]["PatientName"] == "RIGHT"
        metadata = await api.get_json(f"/instances/{files[0].instance}/metadata?expand")
        assert metadata["ModifiedFrom"] == files[0].instance
        await _check_is_clean(api)


@pytest.mark.parametrize(("threads", "largest"), [(0, 1 << 20), (3, 1 << 20), (1, 10)])
async def test_compressed_copies_made_by_several_threads(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, threads: int, largest: int
) -> None:
    monkeypatch.setattr("isocenter.archive.staging._LARGEST_PACKED_WHOLE", largest)
    options = {
        "StorageCompression": True,
        "JobsEngineThreadsCount": {"ResourceModification": threads},
    }
    async with open_api(tmp_path, options) as api:
        files = await _store(api, *(f"P/1/1/{number}" for number in range(1, 6)))
        answer = await _post(api, f"/studies/{files[0].study}/anonymize", {})
        children = await api.get_json(f"{answer['Path']}/instances")
        assert len(children) == 5
        for child in children:
            target = f"/instances/{child['ID']}/attachments/dicom"
            assert (await api.get(f"{target}/is-compressed")).text == "1"
            result = await api.request("POST", f"{target}/verify-md5")
            assert result.status_code == 200
        await _check_is_clean(api)


async def _wait_until_paused(api: Api, path: str) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        # A pause has no event that a test could wait for.
        while (await api.get_json(path))["State"] != "Paused":  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_failing_disk_fails_the_job_and_leaves_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.tasks.editing._BATCH_FILES", 1)
    files = await _store(api, "P/1/1/1", "P/1/1/2")

    def fail() -> None:
        raise StorageUnavailableError("the disk is gone")

    monkeypatch.setattr(api.archive.edits.stager._storage, "sync", fail)

    answer = await _post(api, f"/studies/{files[0].study}/modify", {}, 500)

    assert "the disk is gone" in answer["Details"]
    monkeypatch.undo()
    assert await _count(api) == [1, 1, 1, 2]
    await _check_is_clean(api)


async def test_paused_job_goes_on_where_it_was(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isocenter.tasks.editing._BATCH_FILES", 1)
    files = await _store(api, *(f"P/1/1/{number}" for number in range(1, 7)))
    save, edited = api.jobs._store.save, []

    def pause_in_the_middle(job: Any, step: Any, **options: Any) -> Any:
        if step.checkpoint is None:
            return save(job, step, **options)
        edited.append(step.checkpoint["Done"])
        saved = save(job, step, **options)
        if step.checkpoint["Done"] == 3 and len(edited) == 3:
            api.jobs._store.act(job.job_id, Action.PAUSE, None)
            return api.jobs._store.lookup(job.job_id)
        return saved

    monkeypatch.setattr(api.jobs._store, "save", pause_in_the_middle)
    answer = await _post(api, f"/studies/{files[0].study}/modify", {"Asynchronous": True})
    await _wait_until_paused(api, answer["Path"])
    assert await _count(api) == [1, 1, 1, 6]

    await _post(api, f"{answer['Path']}/resume", b"")

    job = await api.jobs.wait(answer["ID"], _DEADLINE_S)
    assert job.state is JobState.SUCCESS
    assert edited == [1, 2, 3, 4, 5, 6]
    assert await _count(api) == [1, 2, 2, 12]
    await _check_is_clean(api)


@pytest.mark.parametrize("is_gone", [False, True])
async def test_job_begins_anew_if_a_power_failure_took_a_file(
    api: Api, monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    monkeypatch.setattr("isocenter.tasks.editing._BATCH_FILES", 1)
    files = await _store(api, *(f"P/1/1/{number}" for number in range(1, 5)))
    save, attempts = api.jobs._store.save, []

    def damage_and_pause(job: Any, step: Any, **options: Any) -> Any:
        if step.checkpoint is None:
            return save(job, step, **options)
        attempts.append((step.checkpoint["Attempt"], step.checkpoint["Done"]))
        saved = save(job, step, **options)
        if attempts == [(0, 1), (0, 2)]:
            [(_, first), _] = api.archive.database.read(lambda tx: list_staged(tx, job.job_id))
            name = first.attachment.attachment_uuid
            if is_gone:
                api.archive.storage.remove(name)
            else:
                api.archive.storage.write(name, bytes(first.attachment.compressed_size))
            api.jobs._store.act(job.job_id, Action.PAUSE, None)
            return api.jobs._store.lookup(job.job_id)
        return saved

    monkeypatch.setattr(api.jobs._store, "save", damage_and_pause)
    answer = await _post(api, f"/studies/{files[0].study}/modify", {"Asynchronous": True})
    await _wait_until_paused(api, answer["Path"])

    await _post(api, f"{answer['Path']}/resume", b"")

    job = await api.jobs.wait(answer["ID"], _DEADLINE_S)
    assert job.state is JobState.SUCCESS
    assert attempts == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]
    assert await _count(api) == [1, 2, 2, 8]
    await _check_is_clean(api)


async def test_file_that_was_cut_is_an_error_and_not_the_end(api: Api) -> None:
    [file] = await _store(api, "P/1/1/1")
    # Files of earlier tests may still wait for their removal.
    plan = await api.archive.exporter.plan(ExportRequest((file.instance,)))
    name = plan.files[0].attachment.attachment_uuid
    api.archive.storage.write(name, api.archive.storage.read(name)[:200])

    answer = await _post(api, f"/studies/{file.study}/modify", {}, 500)

    assert answer["OrthancStatus"] == 20

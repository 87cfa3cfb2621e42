"""What Isocenter can do beyond Orthanc when it edits: trials, keys, dates, clean text."""

import json
import threading
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.dataset import FileDataset
from tests.support.dicom_files import EXPLICIT_LITTLE, encode_sequence
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api, open_api

from isocenter.rest import modification

pytestmark = pytest.mark.asyncio(loop_scope="module")

_KEY = {"PseudonymKey": "correct horse battery staple"}


def _file(number: int, **values: Any) -> SyntheticFile:
    elements = {
        0x00080020: ("DA", values.get("date", "20240301")),
        0x00080030: ("TM", "101112"),
        0x0008002A: ("DT", "20240302101112.5"),
        0x00081030: ("LO", "HEAD of JANE 4711"),
        0x00100010: ("PN", "DOE^JANE"),
        0x00100030: ("DA", "19700102"),
    }
    return build_synthetic(
        elements,
        tail=values.get("tail", b""),
        patient_id=values.get("patient", "P4711"),
        study=f"1.3.{values.get('study', 1)}",
        series=f"1.3.{values.get('study', 1)}.1",
        instance=f"1.3.{values.get('study', 1)}.1.{number}",
    )


async def _post(api: Api, target: str, body: Any, status: int = 200) -> Any:
    result = await api.request("POST", target, body=json.dumps(body).encode())
    assert result.status_code == status, result.text
    return result.json


async def _read_below(api: Api, target: str) -> list[FileDataset]:
    files = []
    for child in await api.get_json(f"{target}/instances"):
        result = await api.get(f"/instances/{child['ID']}/file")
        files.append(pydicom.dcmread(BytesIO(result.content), force=True))
    return files


async def test_dry_run_tells_what_would_change_and_stores_nothing(api: Api) -> None:
    files = [await api.store(_file(number)) for number in range(3)]
    before = [await api.get_json(path) for path in ("/statistics", "/changes", "/jobs")]

    answer = await _post(api, f"/studies/{files[0].study}/anonymize", {"DryRun": True})

    assert (answer["InstancesCount"], answer["ExaminedInstancesCount"]) == (3, 3)
    assert answer["SourcesCount"] == {"Patients": 1, "Studies": 1, "Series": 1, "Instances": 3}
    assert answer["NewResourcesCount"] == answer["SourcesCount"]
    assert answer["Changes"]["StudyDescription"] == {"Removed": 3}
    assert answer["Changes"]["StudyDate"] == {"Emptied": 3}
    assert answer["Changes"]["PatientName"] == {"Replaced": 3}
    assert answer["Changes"]["PatientIdentityRemoved"] == {"Added": 3}
    assert (answer["Refusals"], answer["FailedInstances"]) == ([], [])
    after = [await api.get_json(path) for path in ("/statistics", "/changes", "/jobs")]
    assert after == before


async def test_dry_run_names_what_refuses(api: Api) -> None:
    files = [await api.store(_file(number)) for number in range(2)]
    await api.store(_file(1, study=2))
    target = f"/studies/{files[0].study}/modify"
    in_place = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]

    refused = [
        await _post(api, target, {"DryRun": True, "Force": True, **body})
        for body in (
            {"Replace": {"PatientName": "OTHER"}},
            {"Keep": in_place, "KeepSource": False},
            {"Replace": {"SOPInstanceUID": "9.9"}},
        )
    ]

    assert [[r["OrthancStatus"] for r in answer["Refusals"]] for answer in refused] == [
        [8],
        [8],
        [2018],
    ]
    await _post(api, target, {"DryRun": True, "Replace": {"PatientID": "x"}}, 400)
    await _post(api, target, {"DryRun": "yes"}, 400)


async def test_dry_run_lists_the_instances_that_cannot_be_edited(api: Api) -> None:
    broken = encode_sequence(0x00081140, [b"\x08\x00\x55\x11UI\xff\x00"], syntax=EXPLICIT_LITTLE)
    file = await api.store(_file(1, tail=broken))

    answer = await _post(api, f"/series/{file.series}/anonymize", {"DryRun": True})

    [failed] = answer["FailedInstances"]
    assert (failed["ID"], failed["OrthancStatus"]) == (file.instance, 15)


async def test_dry_run_looks_at_some_of_many(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isocenter.archive.edit_trials._MOST_EXAMINED", 2)
    files = [await api.store(_file(number)) for number in range(5)]
    answer = await _post(api, f"/studies/{files[0].study}/modify", {"DryRun": True})
    assert (answer["InstancesCount"], answer["ExaminedInstancesCount"]) == (5, 2)


async def test_key_gives_the_same_pseudonyms_in_each_job(api: Api) -> None:
    files = [await api.store(_file(1)), await api.store(_file(1, study=2))]
    first = await _post(api, f"/studies/{files[0].study}/anonymize", _KEY)
    second = await _post(api, f"/studies/{files[1].study}/anonymize", _KEY)
    other = await _post(
        api, f"/studies/{files[0].study}/anonymize", {"PseudonymKey": "another key"}
    )

    assert first["PatientID"] == second["PatientID"] != other["PatientID"]
    patient = await api.get_json(f"/patients/{first['PatientID']}")
    assert patient["MainDicomTags"]["PatientName"].startswith("Anonymized-")
    # What has grown meanwhile is added; what is there already stays.
    await api.store(_file(2))
    again = await _post(api, f"/studies/{files[0].study}/anonymize", _KEY)
    assert again["ID"] == first["ID"]
    assert len(await api.get_json(f"/studies/{first['ID']}/instances")) == 2


async def test_key_never_deletes_sources_whose_copies_exist(api: Api) -> None:
    file = await api.store(_file(1))
    await _post(api, f"/studies/{file.study}/anonymize", _KEY)
    body = {**_KEY, "KeepSource": False}
    answer = await _post(api, f"/studies/{file.study}/anonymize", body, 409)
    assert answer["OrthancStatus"] == 2018
    assert len(await api.get_json("/instances")) == 2


async def test_key_is_kept_nowhere(api: Api) -> None:
    file = await api.store(_file(1))
    body = {**_KEY, "Asynchronous": True}
    answer = await _post(api, f"/studies/{file.study}/anonymize", body)
    await api.jobs.wait(answer["ID"], 20)
    job = await api.jobs.lookup(answer["ID"])
    assert job is not None
    assert "horse" not in str(job)
    assert "key" not in job.arguments


@pytest.mark.parametrize("key", ["short", 5, None, "x" * 2000])
async def test_key_must_be_a_secret(api: Api, key: Any) -> None:
    file = await api.store(_file(1))
    for target in (f"/studies/{file.study}/modify", f"/instances/{file.instance}/anonymize"):
        await _post(api, target, {"PseudonymKey": key}, 400)


async def test_shifted_dates_keep_their_intervals(api: Api) -> None:
    files = [
        await api.store(_file(1)),
        await api.store(_file(1, study=2, date="20240311")),
        await api.store(_file(1, study=3, patient="Q")),
    ]
    body = {"Resources": [file.study for file in files], "ShiftDates": True}

    answer = await _post(api, "/tools/bulk-anonymize", body)

    copies = []
    for made in answer["Resources"]:
        if made["Type"] == "Study":
            copies += await _read_below(api, made["Path"])
    by_patient: dict[str, list[FileDataset]] = {}
    for copy in copies:
        by_patient.setdefault(copy.PatientID, []).append(copy)
    [pair] = [found for found in by_patient.values() if len(found) == 2]
    days = sorted(pydicom.valuerep.DA(copy.StudyDate) for copy in pair)
    assert (days[1] - days[0]).days == 10
    for copy in copies:
        assert copy.StudyDate not in {"20240301", "20240311"}
        assert copy.StudyTime == "101112"
        assert copy.AcquisitionDateTime.endswith("101112.5")
        assert copy.PatientBirthDate == ""
        assert copy.LongitudinalTemporalInformationModified == "MODIFIED"
        codes = [item.CodeValue for item in copy.DeidentificationMethodCodeSequence]
        assert codes == ["113100", "113107"]


@pytest.mark.parametrize("days", [0, -1, 40_000, True, "5"])
async def test_shift_must_be_possible(api: Api, days: Any) -> None:
    file = await api.store(_file(1))
    body = {"ShiftDates": True, "MaximumShiftDays": days}
    await _post(api, f"/studies/{file.study}/anonymize", body, 400)


async def test_descriptors_are_cleaned_instead_of_removed(api: Api) -> None:
    file = await api.store(_file(1))
    answer = await _post(api, f"/studies/{file.study}/anonymize", {"CleanDescriptors": True})
    [copy] = await _read_below(api, answer["Path"])
    assert copy.StudyDescription == "HEAD of 4711"
    assert copy.DeidentificationMethodCodeSequence[1].CodeValue == "113105"


async def test_graphics_stay_without_their_texts(api: Api) -> None:
    def build(tag: int, content: bytes) -> bytes:
        return encode_sequence(tag, [content], syntax=EXPLICIT_LITTLE)

    text = b"\x70\x00\x06\x00ST\x04\x00JANE"
    graphic = b"\x70\x00\x21\x00US\x02\x00\x03\x00"
    tail = build(0x00700001, build(0x00700008, text) + build(0x00700009, graphic))
    file = await api.store(_file(1, tail=tail))

    cleaned, plain = [
        (await _read_below(api, (await _post(api, target, body))["Path"]))[0]
        for target in (f"/studies/{file.study}/anonymize",)
        for body in ({"CleanGraphics": True}, {})
    ]

    [annotation] = cleaned.GraphicAnnotationSequence
    assert "TextObjectSequence" not in annotation
    assert annotation.GraphicObjectSequence[0].NumberOfGraphicPoints == 3
    assert len(plain.get("GraphicAnnotationSequence", [])) == 0


async def test_references_of_a_modification_stay_if_wanted(api: Api) -> None:
    item = pydicom.Dataset()
    item.ReferencedSOPInstanceUID = "1.3.1.1.1"
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    pydicom.filewriter.write_dataset(buffer, item)
    tail = encode_sequence(0x00081140, [buffer.getvalue()], syntax=EXPLICIT_LITTLE)
    file = await api.store(_file(1, tail=tail))

    for updates in (True, False):
        body = {"UpdateReferences": updates}
        answer = await _post(api, f"/studies/{file.study}/modify", body)
        [copy] = await _read_below(api, answer["Path"])
        [reference] = copy.ReferencedImageSequence
        assert (reference.ReferencedSOPInstanceUID == copy.SOPInstanceUID) is updates


@pytest.mark.parametrize("is_undefined", [None, False, True])
async def test_modification_notes_what_it_has_changed_if_wanted(
    api: Api, is_undefined: bool | None
) -> None:
    reason = b"\x00\x04\x65\x05CS\x08\x00CORRECT "
    tail = b""
    if is_undefined is not None:
        tail = encode_sequence(
            0x04000561, [reason], syntax=EXPLICIT_LITTLE, is_undefined=is_undefined
        )
    file = await api.store(_file(1, tail=tail))
    body = {
        "OriginalAttributes": True,
        "Replace": {"StudyDescription": "NEW", "InstitutionName": "added"},
        "Remove": ["AcquisitionDateTime"],
    }

    answer = await _post(api, f"/studies/{file.study}/modify", body)

    [copy] = await _read_below(api, answer["Path"])
    *older, newest = copy.OriginalAttributesSequence
    assert [item.ReasonForTheAttributeModification for item in older] == (
        [] if is_undefined is None else ["CORRECT"]
    )
    assert newest.ReasonForTheAttributeModification == "COERCE"
    assert newest.ModifyingSystem.startswith("Isocenter ")
    assert len(newest.AttributeModificationDateTime) == 19
    [originals] = newest.ModifiedAttributesSequence
    assert originals.StudyDescription == "HEAD of JANE 4711"
    assert originals.AcquisitionDateTime == "20240302101112.5"
    assert originals.SOPInstanceUID == "1.3.1.1.1"
    assert "InstitutionName" not in originals
    assert copy.InstitutionName == "added"


async def test_anonymization_cannot_note_what_it_has_changed(api: Api) -> None:
    file = await api.store(_file(1))
    await _post(api, f"/studies/{file.study}/anonymize", {"OriginalAttributes": True}, 400)


async def test_options_work_on_a_single_file(tmp_path: Any) -> None:
    async with open_api(tmp_path, {}) as api:
        file = await api.store(_file(1))
        body = json.dumps({**_KEY, "ShiftDates": True, "CleanDescriptors": True}).encode()
        answers = [
            (await api.request("POST", f"/instances/{file.instance}/anonymize", body=body)).content
            for _ in range(2)
        ]
        assert answers[0] == answers[1]


async def test_key_is_stretched_outside_of_the_event_loop(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await api.store(_file(1))
    threads: list[int] = []

    def derive(_: str) -> bytes:
        threads.append(threading.get_ident())
        return b"key"

    monkeypatch.setattr(modification, "derive_pseudonym_key", derive)
    await _post(api, f"/studies/{file.study}/anonymize", {**_KEY, "DryRun": True})
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()

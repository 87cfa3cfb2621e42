"""Split and merge as jobs, through the REST API: what moves, what stays, what is left behind."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.dataset import FileDataset
from tests.support.dicom_files import Elements, encode_element, encode_item, encode_sequence
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

from isocenter.archive import regrouping
from isocenter.archive.reconciliation import reconcile
from isocenter.dicom.levels import Level
from isocenter.errors import FullStorageError
from isocenter.index.deletion import delete_resource
from isocenter.index.reading import find_removals
from isocenter.jobs.records import FailedItem
from isocenter.jobs.states import JobState

pytestmark = pytest.mark.asyncio(loop_scope="module")

_UNKNOWN = "-".join(["11111111"] * 5)
_DEADLINE_S = 20.0
_LEVELS = ("patients", "studies", "series", "instances")
_REFERENCED_STUDY = 0x00081110
_REFERENCED_SERIES = 0x00081115


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {"UserMetadata": {"mine": 1024}, "UserContentType": {"note": 1025}}


def _file(
    path: str, *, extra: Elements | None = None, tail: bytes = b"", **more: str
) -> SyntheticFile:
    """Build an instance; the path is that of its UIDs below ``1.2``."""
    patient, study, series, instance = path.split("/")
    elements: dict[int, tuple[str, bytes | str]] = {
        0x00080060: ("CS", "CT"),
        0x00081030: ("LO", more.get("study", f"STUDY {study}")),
        0x0008103E: ("LO", f"SERIES {series}"),
        0x00100010: ("PN", more.get("name", f"{patient}^JANE")),
        0x00321060: ("LO", f"PROCEDURE {study}"),
    }
    if "accession" in more:
        elements[0x00080050] = ("SH", more["accession"])
    return build_synthetic(
        {**elements, **(extra or {})},
        patient_id=patient,
        study=f"1.2.{study}",
        series=f"1.2.{study}.{series}",
        instance=f"1.2.{study}.{series}.{instance}",
        tail=tail,
    )


async def _store(api: Api, *paths: str, **more: Any) -> list[SyntheticFile]:
    return [await api.store(_file(path, **more)) for path in paths]


async def _post(api: Api, target: str, body: Any, status: int = 200) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    result = await api.request("POST", target, body=data)
    assert result.status_code == status, result.text
    return result.json


async def _put(api: Api, target: str, data: bytes = b"") -> None:
    result = await api.request("PUT", target, body=data)
    assert result.status_code == 200, result.text


async def _count(api: Api) -> list[int]:
    return [len(await api.get_json(f"/{level}")) for level in _LEVELS]


async def _read(api: Api, public_id: str) -> FileDataset:
    result = await api.get(f"/instances/{public_id}/file")
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


async def test_split_moves_series_into_a_new_study(api: Api) -> None:
    files = await _store(api, "P/1/1/1", "P/1/1/2", "P/1/2/1", "P/1/3/1", accession="A1")
    body = {
        "Series": [files[0].series, files[2].series],
        "Replace": {"StudyDescription": "Second", "PatientName": "NEW^NAME"},
        "Remove": ["AccessionNumber"],
    }

    answer = await _post(api, f"/studies/{files[0].study}/split", body)

    assert answer.keys() == {
        "Description", "FailedInstancesCount", "InstancesCount", "TargetStudy", "TargetStudyUID",
    }  # fmt: skip
    assert (answer["InstancesCount"], answer["FailedInstancesCount"]) == (3, 0)
    assert await _count(api) == [1, 2, 3, 4]
    made = await _read_below(api, f"/studies/{answer['TargetStudy']}")
    assert {str(ds.StudyInstanceUID) for ds in made} == {answer["TargetStudyUID"]}
    assert len({str(ds.SeriesInstanceUID) for ds in made}) == 2
    assert all(ds.SOPInstanceUID.startswith("2.25.") for ds in made)
    assert {(ds.StudyDescription, str(ds.PatientName), ds.PatientID) for ds in made} == {
        ("Second", "NEW^NAME", "P")
    }
    assert not any("AccessionNumber" in ds for ds in made)
    [left] = await _read_below(api, f"/studies/{files[0].study}")
    assert left.SOPInstanceUID == "1.2.1.3.1"
    study = await api.get_json(f"/studies/{answer['TargetStudy']}")
    assert study["MainDicomTags"]["StudyDescription"] == "Second"
    patient = await api.get_json(f"/patients/{files[0].patient}")
    assert patient["MainDicomTags"]["PatientName"] == "P^JANE"
    await _check_is_clean(api)


async def test_split_of_instances_parts_a_series(api: Api) -> None:
    files = await _store(api, "P/1/1/1", "P/1/1/2")
    body = {"Instances": [files[0].instance], "KeepSource": True}
    answer = await _post(api, f"/studies/{files[0].study}/split", body)
    assert await _count(api) == [1, 2, 2, 3]
    [made] = await api.get_json(f"/studies/{answer['TargetStudy']}/instances")
    metadata = await api.get_json(f"/instances/{made['ID']}/metadata?expand")
    assert metadata["ModifiedFrom"] == files[0].instance
    for level, source in (("studies", files[0].study), ("series", files[0].series)):
        [found] = [name for name in await api.get_json(f"/{level}") if name != source]
        metadata = await api.get_json(f"/{level}/{found}/metadata?expand")
        assert metadata["ModifiedFrom"] == source


async def test_merge_gives_the_patient_and_study_of_the_target(api: Api) -> None:
    item = encode_item(encode_element(0x00081155, "UI", "1.9"))
    sequence: Elements = {_REFERENCED_STUDY: ("SQ", item)}
    [target] = await _store(api, "T/9/1/1", accession="TARGET", extra=sequence)
    sources = await _store(api, "P/1/1/1", "P/1/1/2", name="P^OTHER")
    [other] = await _store(api, "Q/2/1/1", accession="GONE")

    answer = await _post(
        api, f"/studies/{target.study}/merge", {"Resources": [sources[0].study, other.series]}
    )

    assert answer == {
        "Description": "REST API",
        "FailedInstancesCount": 0,
        "InstancesCount": 3,
        "TargetStudy": target.study,
    }
    assert await _count(api) == [1, 1, 3, 4]
    for ds in await _read_below(api, f"/studies/{target.study}"):
        assert (ds.PatientID, str(ds.PatientName), ds.AccessionNumber) == ("T", "T^JANE", "TARGET")
        assert (ds.StudyInstanceUID, ds.StudyDescription) == ("1.2.9", "STUDY 9")
        assert ds.ReferencedStudySequence[0].ReferencedSOPInstanceUID == "1.9"
        assert ds.RequestedProcedureDescription.startswith("PROCEDURE ")
    study = await api.get_json(f"/studies/{target.study}")
    # Not a tag of the module, so that of the target stays what the study is described by.
    assert study["MainDicomTags"]["RequestedProcedureDescription"] == "PROCEDURE 9"
    assert study["PatientMainDicomTags"]["PatientName"] == "T^JANE"
    metadata = await api.get_json(f"/studies/{target.study}/metadata?expand")
    assert "ModifiedFrom" not in metadata
    await _check_is_clean(api)


async def test_merge_removes_what_the_target_lacks(api: Api) -> None:
    [target] = await _store(api, "T/9/1/1")
    [source] = await _store(api, "P/1/1/1", accession="GONE")
    body = {"Resources": [source.instance], "KeepSource": True}
    await _post(api, f"/studies/{target.study}/merge", body)
    assert await _count(api) == [2, 2, 3, 3]
    made = await _read_below(api, f"/studies/{target.study}")
    assert not any("AccessionNumber" in ds for ds in made)


async def test_merge_of_nothing_does_nothing(api: Api) -> None:
    [target] = await _store(api, "T/9/1/1")
    answer = await _post(api, f"/studies/{target.study}/merge", {"Resources": []})
    assert (answer["TargetStudy"], answer["InstancesCount"]) == (target.study, 0)
    assert await _count(api) == [1, 1, 1, 1]


async def test_copies_of_one_series_do_not_become_one(api: Api) -> None:
    [target] = await _store(api, "T/9/1/1")
    first, second = await _store(api, "P/1/1/1", "Q/1/1/1")
    body = {"Resources": [first.study, second.study]}
    await _post(api, f"/studies/{target.study}/merge", body)
    assert await _count(api) == [1, 1, 3, 3]


def _refer(study: str, series: str, *instances: str) -> bytes:
    """Encode an item that names instances with their series and study."""
    items = [encode_element(0x00081155, "UI", instance) for instance in instances]
    inner = encode_sequence(0x00081199, items) + encode_element(0x0020000E, "UI", series)
    outer = encode_sequence(_REFERENCED_SERIES, [inner])
    item = outer + encode_element(0x0020000D, "UI", study)
    return encode_sequence(0x0040A375, [item])


async def _read_references(api: Api, study: str) -> tuple[str, str, str]:
    [ds] = [ds for ds in await _read_below(api, f"/studies/{study}") if 0x0040A375 in ds]
    item = ds[0x0040A375][0]
    series = item.ReferencedSeriesSequence[0]
    instance = series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    return str(item.StudyInstanceUID), str(series.SeriesInstanceUID), str(instance)


@pytest.mark.parametrize(
    ("taken", "moves"),
    [(("1/1", "2/1"), True), (("2/1",), False), (("1/1", "1/2", "2/1", "3/1"), True)],
    ids=["what is named moves, too", "what is named stays", "the whole study moves"],
)
async def test_references_follow_what_they_name(
    api: Api, taken: tuple[str, ...], moves: bool
) -> None:
    paths = ("1/1", "1/2", "3/1")
    files = {path: (await _store(api, f"P/1/{path}"))[0] for path in paths}
    [files["2/1"]] = await _store(api, "P/1/2/1", tail=_refer("1.2.1", "1.2.1.1", "1.2.1.1.1"))
    body = {"Instances": [files[path].instance for path in taken]}

    answer = await _post(api, f"/studies/{files['1/1'].study}/split", body)

    found = await _read_references(api, answer["TargetStudy"])
    if not moves:
        assert found == ("1.2.1", "1.2.1.1", "1.2.1.1.1")
        return
    made = {
        (str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID))
        for ds in await _read_below(api, f"/studies/{answer['TargetStudy']}")
    }
    assert found in made


async def test_references_hold_in_a_merged_study(api: Api) -> None:
    [target] = await _store(api, "T/9/1/1")
    [source, _] = await _store(api, "P/1/1/1", "P/1/3/1")
    await _store(api, "P/1/2/1", tail=_refer("1.2.1", "1.2.1.1", "1.2.1.1.1"))
    await _post(api, f"/studies/{target.study}/merge", {"Resources": [source.study]})
    study, series, instance = await _read_references(api, target.study)
    assert study == "1.2.9"
    assert (series, instance) in {
        (str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID))
        for ds in await _read_below(api, f"/studies/{target.study}")
    }


async def test_what_users_have_added_goes_with_what_moves(api: Api) -> None:
    [target] = await _store(api, "T/9/1/1")
    [source] = await _store(api, "P/1/1/1")
    for path in source.paths.values():
        await _put(api, f"{path}/metadata/mine", b"value")
        await _put(api, f"{path}/attachments/note", b"content")
        await _put(api, f"{path}/labels/mine")
    await _put(api, f"{target.paths['studies']}/metadata/mine", b"value")
    await _put(api, f"{target.paths['studies']}/labels/own")

    await _post(api, f"/studies/{target.study}/merge", {"Resources": [source.study]})

    assert await _count(api) == [1, 1, 2, 2]
    assert await api.get_json(f"/studies/{target.study}/labels") == ["mine", "own"]
    assert (await api.get(f"/studies/{target.study}/metadata/mine")).text == "value"
    [series] = set(await api.get_json("/series")) - {target.series}
    [instance] = set(await api.get_json("/instances")) - {target.instance}
    for path in (f"/series/{series}", f"/instances/{instance}", f"/studies/{target.study}"):
        assert (await api.get(f"{path}/attachments/note/data")).content == b"content"
        assert "mine" in await api.get_json(f"{path}/labels")
    assert (await api.get(f"/instances/{instance}/metadata/mine")).text == "value"
    await _check_is_clean(api)


async def test_merge_that_would_lose_metadata_of_users_changes_nothing(api: Api) -> None:
    [target, source] = await _store(api, "T/9/1/1", "P/1/1/1")
    for file, value in ((target, b"own"), (source, b"other")):
        await _put(api, f"/studies/{file.study}/metadata/mine", value)

    answer = await _post(api, f"/studies/{target.study}/merge", {"Resources": [source.study]}, 409)

    assert "different values of the metadata 1024" in answer["Details"]
    assert await _count(api) == [2, 2, 2, 2]
    await _check_is_clean(api)


@pytest.mark.parametrize("keep_labels", [True, False])
async def test_labels_of_what_stays_are_copied_if_wanted(api: Api, keep_labels: bool) -> None:
    files = await _store(api, "P/1/1/1", "P/1/2/1")
    await _put(api, f"/studies/{files[0].study}/labels/study")
    await _put(api, f"/series/{files[0].series}/labels/series")
    body = {"Series": [files[0].series], "KeepLabels": keep_labels, "KeepSource": True}
    answer = await _post(api, f"/studies/{files[0].study}/split", body)
    labels = await api.get_json(f"/studies/{answer['TargetStudy']}/labels")
    assert labels == (["study"] if keep_labels else [])
    assert await api.get_json(f"/studies/{files[0].study}/labels") == ["study"]
    assert await api.get_json(f"/series/{files[0].series}/labels") == ["series"]


Body = Callable[[SyntheticFile, SyntheticFile], Any]


@pytest.mark.parametrize(
    ("build", "status", "code"),
    [
        (lambda _a, _b: b"", 400, 15),
        (lambda _a, _b: {}, 400, 8),
        (lambda _a, _b: {"Series": [], "Instances": []}, 400, 8),
        (lambda _a, _b: {"Series": "x"}, 400, 15),
        (lambda _a, _b: {"Series": [5]}, 400, 15),
        (lambda _a, _b: {"Series": [_UNKNOWN]}, 404, 17),
        (lambda _a, _b: {"Series": ["a\0b"]}, 404, 17),
        (lambda _a, b: {"Series": [b.series]}, 404, 17),
        (lambda a, _b: {"Series": [a.study]}, 404, 17),
        (lambda a, _b: {"Instances": [a.series]}, 404, 17),
        (lambda _a, b: {"Instances": [b.instance]}, 404, 17),
        (lambda a, _b: {"Series": [a.series], "Replace": []}, 400, 15),
        (lambda a, _b: {"Series": [a.series], "Replace": {"Modality": "x"}}, 400, 3),
        (lambda a, _b: {"Series": [a.series], "Replace": {"StudyInstanceUID": "1"}}, 400, 3),
        (lambda a, _b: {"Series": [a.series], "Replace": {"Nonsense": "1"}}, 400, 27),
        (lambda a, _b: {"Series": [a.series], "Replace": {"PatientName": 5}}, 400, 5),
        (lambda a, _b: {"Series": [a.series], "Remove": ["StudyInstanceUID"]}, 400, 3),
        (lambda a, _b: {"Series": [a.series], "Remove": {}}, 400, 15),
        (lambda a, _b: {"Series": [a.series], "KeepSource": 5}, 400, 15),
        (lambda a, _b: {"Series": [a.series], "KeepLabels": "x"}, 400, 15),
        (lambda a, _b: {"Series": [a.series], "Permissive": 5}, 400, 8),
    ],
)
async def test_wrong_split_is_refused(api: Api, build: Body, status: int, code: int) -> None:
    [a, b] = await _store(api, "P/1/1/1", "Q/2/1/1")
    answer = await _post(api, f"/studies/{a.study}/split", build(a, b), status)
    assert answer["OrthancStatus"] == code
    assert await _count(api) == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("build", "status", "code"),
    [
        (lambda _a, _b: {}, 400, 15),
        (lambda _a, _b: {"Resources": "x"}, 400, 15),
        (lambda _a, _b: {"Resources": [5]}, 400, 15),
        (lambda _a, _b: {"Resources": [_UNKNOWN]}, 404, 17),
        (lambda a, _b: {"Resources": [a.study]}, 404, 17),
        (lambda a, _b: {"Resources": [a.series]}, 404, 17),
        (lambda a, _b: {"Resources": [a.instance]}, 404, 17),
        (lambda a, b: {"Resources": [b.study, a.series]}, 404, 17),
        (lambda _a, b: {"Resources": [b.patient]}, 404, 17),
        (lambda _a, b: {"Resources": [b.study], "KeepSource": 1}, 400, 15),
    ],
)
async def test_wrong_merge_is_refused(api: Api, build: Body, status: int, code: int) -> None:
    [a, b] = await _store(api, "P/1/1/1", "Q/2/1/1")
    answer = await _post(api, f"/studies/{a.study}/merge", build(a, b), status)
    assert answer["OrthancStatus"] == code
    assert await _count(api) == [2, 2, 2, 2]


@pytest.mark.parametrize("action", ["split", "merge"])
async def test_unknown_study_is_refused(api: Api, action: str) -> None:
    answer = await _post(api, f"/studies/{_UNKNOWN}/{action}", {"Resources": []}, 404)
    assert answer["OrthancStatus"] == 17


async def test_too_many_instances_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    [a, b] = await _store(api, "P/1/1/1", "Q/2/1/1")
    monkeypatch.setattr(regrouping, "_MOST_SOURCES", 0)
    answer = await _post(api, f"/studies/{a.study}/merge", {"Resources": [b.study]}, 400)
    assert answer["OrthancStatus"] == 8


@pytest.mark.parametrize("action", ["split", "merge"])
async def test_repeated_request_gets_its_job_although_the_sources_are_gone(
    api: Api, action: str
) -> None:
    [a, b] = await _store(api, "P/1/1/1", "Q/2/1/1")
    target = f"/studies/{a.study}/{action}"
    body = {"Series": [a.series]} if action == "split" else {"Resources": [b.study]}
    data, headers = json.dumps(body).encode(), {"Idempotency-Key": action}
    answers = [
        await api.request("POST", target, body=data, headers=headers, remote_addr=address)
        for address in ("127.0.0.1", "127.0.0.2")
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    await _post(api, target, body, 404)


async def test_asynchronous_merge_tells_where_to_look(api: Api) -> None:
    [a, b] = await _store(api, "P/1/1/1", "Q/2/1/1")
    body = {"Resources": [b.study], "Asynchronous": True}
    answer = await _post(api, f"/studies/{a.study}/merge", body)
    job = await api.jobs.wait(answer["ID"], _DEADLINE_S)
    assert (job.kind, job.state) == ("MergeStudy", JobState.SUCCESS)
    described = await api.get_json(answer["Path"])
    assert (described["Type"], described["Content"]["TargetStudy"]) == ("MergeStudy", a.study)
    # Nobody can link old and new identifiers any more.
    kept = await api.jobs.lookup(job.job_id)
    assert kept is not None
    assert "key" not in kept.arguments


@pytest.fixture
def corrupted() -> SyntheticFile:
    """Give a file of the study that can be stored and not be edited."""
    item = encode_item(b"\x08\x00\x55\x11UI\xff\x00")
    return _file("P/1/4/1", extra={0x00081140: ("SQ", item)})


async def test_instance_that_fails_keeps_everything_where_it_is(
    api: Api, corrupted: SyntheticFile
) -> None:
    [target, other] = await _store(api, "T/9/1/1", "P/1/1/1")
    await api.store(corrupted)
    body = {"Resources": [other.study]}
    await _post(api, f"/studies/{target.study}/merge", body, 400)
    assert await _count(api) == [2, 2, 3, 3]
    await _check_is_clean(api)


@pytest.mark.parametrize("action", ["split", "merge"])
async def test_permissive_job_keeps_the_source_of_what_failed(
    api: Api, corrupted: SyntheticFile, action: str
) -> None:
    [target, other] = await _store(api, "T/9/1/1", "P/1/1/1")
    await api.store(corrupted)
    body: dict[str, Any] = {"Permissive": True, "Asynchronous": True, "Resources": [other.study]}
    study = target.study
    if action == "split":
        body, study = {**body, "Series": [other.series, corrupted.series]}, other.study
    answer = await _post(api, f"/studies/{study}/{action}", body)
    job = await api.jobs.wait(answer["ID"], _DEADLINE_S)
    assert (job.state, job.content["FailedInstancesCount"]) == (JobState.SUCCESS, 1)
    assert corrupted.instance in await api.get_json("/instances")
    assert other.instance not in await api.get_json("/instances")
    new = api.jobs._kinds[job.kind].build_retry(job, [FailedItem(corrupted.instance, 1, "")])
    assert new.locks >= {f"study {study}", f"study {other.study}"}
    again = await _post(api, f"{answer['Path']}/retry-failed", b"")
    retried = await api.jobs.wait(again["ID"], _DEADLINE_S)
    assert retried.state is JobState.SUCCESS
    assert retried.content["FailedInstancesCount"] == 1
    await _check_is_clean(api)


async def test_target_that_is_deleted_meanwhile_fails_the_merge(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    [target, other] = await _store(api, "T/9/1/1", "P/1/1/1")
    save = api.jobs._store.save

    def delete_and_save(*arguments: Any, **options: Any) -> Any:
        api.archive.database.write(
            lambda tx: delete_resource(tx, Level.STUDY, target.study, deleted_at=1)
        )
        return save(*arguments, **options)

    monkeypatch.setattr(api.jobs._store, "save", delete_and_save)
    answer = await _post(api, f"/studies/{target.study}/merge", {"Resources": [other.study]}, 409)
    assert "was changed" in answer["Details"]
    assert await api.get_json("/instances") == [other.instance]
    await _check_is_clean(api)


async def test_full_archive_fails_the_split_and_leaves_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = await _store(api, "P/1/1/1", "P/1/2/1")

    def refuse(*_: object, **__: object) -> None:
        raise FullStorageError

    monkeypatch.setattr("isocenter.index.staging.store_instances", refuse)
    await _post(api, f"/studies/{files[0].study}/split", {"Series": [files[0].series]}, 507)
    assert await _count(api) == [1, 1, 2, 2]
    await _check_is_clean(api)


async def test_files_in_another_character_set_get_the_text_of_the_target(api: Api) -> None:
    text: Elements = {0x00080005: ("CS", "ISO_IR 192"), 0x00100010: ("PN", "ЙÜ".encode())}
    [target] = await _store(api, "T/9/1/1", extra=text)
    [source] = await _store(api, "P/1/1/1")
    await _post(api, f"/studies/{target.study}/merge", {"Resources": [source.study]})
    made = await _read_below(api, f"/studies/{target.study}")
    assert {str(ds.PatientName) for ds in made} == {"ЙÜ"}
    assert {ds.SpecificCharacterSet for ds in made} == {"ISO_IR 192"}

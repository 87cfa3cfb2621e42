"""Archives: streamed, and built by jobs."""

import io
import json
import zipfile
from typing import Any

import pytest
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

from isocenter.archive import exporting
from isocenter.index.port import NotBriefError
from isocenter.jobs.records import Job
from isocenter.jobs.states import JobState
from isocenter.tasks import archiving

_DEADLINE_S = 20.0
_UNKNOWN = "-".join(["11111111"] * 5)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _file(series: str, number: int, **extra: Any) -> SyntheticFile:
    elements = {
        0x00080050: ("SH", "A1"),
        0x00080060: ("CS", "CT"),
        0x00081030: ("LO", "HEAD"),
        0x00100010: ("PN", "DOE^JANE"),
        0x00200013: ("IS", str(number)),
    }
    return build_synthetic(elements, patient_id="P", study="1.2", series=series, **extra)


async def _store_study(api: Api) -> list[SyntheticFile]:
    files = [_file("1.2.1", 2), _file("1.2.1", 1), _file("1.2.2", 1)]
    return [await api.store(file) for file in files]


def _read(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def _wait(api: Api, answer: Any) -> Job:
    assert answer["Path"] == f"/jobs/{answer['ID']}"
    return await api.jobs.wait(answer["ID"], _DEADLINE_S)


async def test_archive_of_a_study_has_its_tree(api: Api) -> None:
    files = await _store_study(api)
    result = await api.get(f"/studies/{files[0].study}/archive")
    assert result.status_code == 200
    assert result.headers["content-type"] == "application/zip"
    disposition = f'filename="{files[0].study}.zip"'
    assert result.headers["content-disposition"] == disposition
    series = sorted({files[0].series, files[2].series})
    folders = {key: "CT" if i == 0 else "CT-2" for i, key in enumerate(series)}
    path = "P - DOE^JANE/A1 - HEAD"
    assert _read(result.content) == {
        f"{path}/{folders[files[0].series]}/CT000001.dcm": files[1].content,
        f"{path}/{folders[files[0].series]}/CT000002.dcm": files[0].content,
        f"{path}/{folders[files[2].series]}/CT000001.dcm": files[2].content,
    }


@pytest.mark.parametrize(("level", "count"), [("patients", 3), ("studies", 3), ("series", 2)])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_archive_of_every_level(api: Api, level: str, count: int, method: str) -> None:
    files = await _store_study(api)
    result = await api.request(method, f"{files[0].paths[level]}/archive")
    assert result.status_code == 200
    assert len(_read(result.content)) == count


async def test_resources_of_mixed_levels_are_taken_once(api: Api) -> None:
    files = await _store_study(api)
    resources = [files[0].instance, files[0].series, files[0].study, files[0].study]
    for result in (
        await api.get(f"/tools/create-archive?resources={','.join(resources)}"),
        await api.request("POST", "/tools/create-archive", body=json.dumps(resources)),
        await api.request(
            "POST", "/tools/create-archive", body=json.dumps({"Resources": resources})
        ),
    ):
        assert result.status_code == 200
        assert result.headers["content-disposition"] == 'filename="Archive.zip"'
        assert len(_read(result.content)) == 3


async def test_archive_of_nothing_is_empty(api: Api) -> None:
    result = await api.request("POST", "/tools/create-archive", body="[]")
    assert _read(result.content) == {}


async def test_names_for_saving_are_cleaned(api: Api) -> None:
    files = await _store_study(api)
    result = await api.get(f"/studies/{files[0].study}/archive?filename=a%22%0Ab.zip")
    assert result.headers["content-disposition"] == 'filename="ab.zip"'


async def test_name_of_a_job_is_cleaned_before_it_is_kept(api: Api) -> None:
    # PostgreSQL knows no text with the character NUL.
    body = json.dumps({"Resources": [], "Asynchronous": True, "Filename": "a\0\nb.zip"})
    answer = (await api.request("POST", "/tools/create-archive", body=body)).json
    job = await api.jobs.wait(answer["ID"], 10)
    assert job.arguments["FileName"] == "ab.zip"


async def test_manifest_lists_files_and_what_is_missing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = await _store_study(api)
    row = await api.archive.exporter.plan(exporting.ExportRequest((files[1].instance,)))
    api.archive.storage.remove(row.files[0].attachment.attachment_uuid)
    content = (await api.get(f"/studies/{files[0].study}/archive?manifest")).content
    read = _read(content)
    manifest = json.loads(read.pop("manifest.json"))
    assert {entry["Name"] for entry in manifest["Files"]} == read.keys()
    assert {entry["Instance"] for entry in manifest["Files"]} == {
        files[0].instance,
        files[2].instance,
    }
    assert [entry["Instance"] for entry in manifest["Missing"]] == [files[1].instance]
    assert all(len(entry["MD5"]) == 32 for entry in manifest["Files"])


async def test_large_file_is_streamed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_LARGEST_WHOLE_BYTES", 100)
    monkeypatch.setattr(exporting, "_PIECE", 64)
    files = await _store_study(api)
    row = await api.archive.exporter.plan(exporting.ExportRequest((files[1].instance,)))
    api.archive.storage.remove(row.files[0].attachment.attachment_uuid)
    result = await api.get(f"/studies/{files[0].study}/archive")
    contents = sorted(_read(result.content).values())
    assert contents == sorted([files[0].content, files[2].content])


@pytest.mark.parametrize("is_slow", [False, True], ids=["many files", "slow index"])
async def test_large_archive_is_planned_in_a_thread(
    api: Api, monkeypatch: pytest.MonkeyPatch, *, is_slow: bool
) -> None:
    """Whether the plan itself finds out that it is long, or the index before it can."""

    def give_up(_: object) -> None:
        raise NotBriefError

    monkeypatch.setattr(exporting, "_FEW_PLANNED", 1)
    if is_slow:
        monkeypatch.setattr(api.archive.workers._database, "read_briefly", give_up)
    files = await _store_study(api)
    result = await api.get(f"/studies/{files[0].study}/archive")
    assert result.status_code == 200
    assert len(_read(result.content)) == 3


async def test_asynchronous_archive_is_downloaded_with_ranges(api: Api) -> None:
    files = await _store_study(api)
    body = {"Asynchronous": True, "Filename": "x.zip", "Priority": 2, "UserData": {"a": 1}}
    answer = await api.request("POST", f"/studies/{files[0].study}/archive", body=json.dumps(body))
    job = await _wait(api, answer.json)
    assert (job.state, job.kind, job.priority) == (JobState.SUCCESS, "Archive", 2)
    assert job.user_data == {"a": 1}
    path = f"/jobs/{job.job_id}/archive"
    whole = await api.get(path)
    assert whole.headers["content-disposition"] == 'filename="x.zip"'
    assert whole.headers["content-length"] == str(len(whole.content))
    assert sorted(_read(whole.content).values()) == sorted(f.content for f in files)
    assert job.content["InstancesCount"] == 3
    assert job.content["ArchiveSize"] == str(len(whole.content))
    part = await api.get(path, headers={"Range": "bytes=10-99"})
    assert (part.status_code, part.content) == (206, whole.content[10:100])
    etag = {"If-None-Match": whole.headers["etag"]}
    assert (await api.get(path, headers=etag)).status_code == 304


async def test_archive_of_several_parts_is_one(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "_PART_BYTES", 1)
    files = await _store_study(api)
    body = json.dumps({"Asynchronous": True, "Manifest": True})
    answer = await api.request("POST", f"/studies/{files[0].study}/archive", body=body)
    job = await _wait(api, answer.json)
    whole = (await api.get(f"/jobs/{job.job_id}/archive")).content
    assert len(_read(whole)) == 4
    for start in range(0, len(whole), 97):
        part = await api.get(
            f"/jobs/{job.job_id}/archive", headers={"Range": f"bytes={start}-{start + 96}"}
        )
        assert part.content == whole[start : start + 97]


async def test_output_is_deleted(api: Api) -> None:
    files = await _store_study(api)
    answer = await api.request(
        "POST", f"/studies/{files[0].study}/archive", body='{"Synchronous": false}'
    )
    job = await _wait(api, answer.json)
    path = f"/jobs/{job.job_id}/archive"
    deleted = await api.request("DELETE", path)
    assert (deleted.status_code, deleted.content) == (200, b"")
    for method in ("GET", "DELETE"):
        result = await api.request(method, path)
        assert (result.status_code, result.json["OrthancStatus"]) == (404, 7)
    assert (await api.get(f"/jobs/{job.job_id}/other")).status_code == 404


async def test_idempotent_call_gives_the_same_job(api: Api) -> None:
    files = await _store_study(api)
    path, body = f"/studies/{files[0].study}/archive", '{"Asynchronous": true}'
    headers = {"Idempotency-Key": "k1"}
    first = await api.request("POST", path, body=body, headers=headers)
    again = await api.request("POST", path, body=body, headers=headers)
    assert first.json == again.json
    other = await api.request(
        "POST", f"/series/{files[0].series}/archive", body=body, headers=headers
    )
    assert other.status_code == 409


@pytest.mark.parametrize("level", ["patients", "studies", "series"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_archive_of_an_unknown_resource(api: Api, level: str, method: str) -> None:
    result = await api.request(method, f"/{level}/{_UNKNOWN}/archive")
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 7)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, 15),
        ("{", 400, 15),
        ("5", 400, 15),
        ("{}", 400, 15),
        ('{"Resources": "x"}', 400, 8),
        ('{"Resources": [1]}', 400, 8),
        ('{"Resources": [], "Asynchronous": 1}', 400, 8),
        ('{"Resources": [], "Priority": "high"}', 400, 8),
        ('{"Resources": [], "Priority": 99999999999}', 400, 8),
        ('{"Resources": [], "Utf8": "yes"}', 400, 8),
        (json.dumps({"Resources": [], "UserData": "x" * 65535}), 400, 8),
        ('{"Resources": [], "Filename": 7}', 400, 3),
        (json.dumps({"Resources": [], "Filename": "x" * 256}), 400, 3),
        ('{"Resources": [], "Transcode": "1.2"}', 400, 3),
        (f'["{_UNKNOWN}"]', 404, 17),
        ("[" * 100_000, 400, 15),
        (b'{"Resources": ["\xff"]}', 400, 15),
    ],
)
async def test_wrong_body_is_refused(api: Api, body: str | bytes, status: int, code: int) -> None:
    result = await api.request("POST", "/tools/create-archive", body=body)
    assert (result.status_code, result.json["OrthancStatus"]) == (status, code)


async def test_missing_argument_is_refused(api: Api) -> None:
    result = await api.get("/tools/create-archive")
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 8)

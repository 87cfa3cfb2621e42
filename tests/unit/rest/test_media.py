"""Media: archives with a DICOMDIR, streamed, and built by jobs."""

import io
import json
import zipfile
from typing import Any

import pytest
from tests.support.directories import Node, read_directory, walk
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

from isocenter.archive import exporting
from isocenter.jobs.states import JobState
from isocenter.tasks import archiving

_DEADLINE_S = 20.0
_UNKNOWN = "-".join(["11111111"] * 5)
_LEVELS = ["patients", "studies", "series"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _store(api: Api, patient: str = "M") -> list[SyntheticFile]:
    """Store two series of a study; a series description only shows in the extended form."""
    return [
        await api.store(
            build_synthetic(
                {0x00200013: ("IS", str(number)), 0x0008103E: ("LO", "axial")},
                patient_id=patient,
                study="1.7",
                series=series,
            )
        )
        for series, number in (("1.7.1", 2), ("1.7.1", 1), ("1.7.2", 1))
    ]


def _read(content: bytes) -> tuple[dict[str, bytes], list[Node]]:
    """Read the files by their names, and the records; each file has one and the reverse."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        files = {name: archive.read(name) for name in names}
    assert names[-1] == "DICOMDIR"
    _, roots = read_directory(files.pop("DICOMDIR"))
    referenced = {
        "/".join(node.record.ReferencedFileID): node.record.ReferencedSOPInstanceUIDInFile
        for depth, node in walk(roots)
        if depth == 3
    }
    assert referenced.keys() == files.keys()
    return files, roots


def _list_kinds(roots: list[Node]) -> list[str]:
    return [node.kind for _, node in walk(roots)]


def _is_extended(roots: list[Node]) -> bool:
    found = {"SeriesDescription" in node.record for _, node in walk(roots) if node.kind == "SERIES"}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize(("level", "count"), list(zip(_LEVELS, [3, 3, 2], strict=True)))
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_medium_of_every_level(api: Api, level: str, count: int, method: str) -> None:
    files = await _store(api)
    result = await api.request(method, f"{files[0].paths[level]}/media")
    assert result.status_code == 200
    assert result.headers["content-type"] == "application/zip"
    name = files[0].paths[level].split("/")[-1]
    assert result.headers["content-disposition"] == f'filename="{name}.zip"'
    read, roots = _read(result.content)
    assert sorted(read) == [f"IMAGES/IM{number}" for number in range(count)]
    assert sorted(read.values()) == sorted(file.content for file in files[:count])
    assert _list_kinds(roots).count("IMAGE") == count
    assert not _is_extended(roots)


@pytest.mark.parametrize(
    ("method", "path", "body", "is_extended"),
    [
        ("GET", "/tools/create-media?resources={0}", None, False),
        ("GET", "/tools/create-media?resources={0}&extended", None, True),
        ("GET", "/tools/create-media-extended?resources={0}", None, True),
        ("POST", "/tools/create-media", '["{0}"]', False),
        ("POST", "/tools/create-media", '{{"Resources": ["{0}"], "Extended": true}}', True),
        ("POST", "/tools/create-media-extended", '["{0}"]', True),
        (
            "POST",
            "/tools/create-media-extended",
            '{{"Resources": ["{0}"], "Extended": false}}',
            False,
        ),
        ("GET", "/studies/{0}/media?extended", None, True),
        ("POST", "/studies/{0}/media", '{{"Extended": true}}', True),
    ],
)
async def test_extended_media_have_optional_attributes(
    api: Api, method: str, path: str, body: str | None, *, is_extended: bool
) -> None:
    files = await _store(api)
    sent = None if body is None else body.format(files[0].study)
    result = await api.request(method, path.format(files[0].study), body=sent)
    assert result.status_code == 200
    _, roots = _read(result.content)
    assert sorted(_list_kinds(roots)) == ["IMAGE"] * 3 + ["PATIENT"] + ["SERIES"] * 2 + ["STUDY"]
    assert _is_extended(roots) is is_extended


async def test_medium_of_nothing_has_an_empty_directory(api: Api) -> None:
    result = await api.request("POST", "/tools/create-media", body="[]")
    assert _read(result.content) == ({}, [])


@pytest.mark.parametrize("largest", [10**6, 100])
async def test_medium_goes_on_without_what_is_missing(
    api: Api, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(exporting, "_LARGEST_WHOLE_BYTES", largest)
    files = await _store(api, f"missing-{largest}")
    row = await api.archive.exporter.plan(exporting.ExportRequest((files[1].instance,)))
    api.archive.storage.remove(row.files[0].attachment.attachment_uuid)
    read, roots = _read((await api.get(f"/studies/{files[0].study}/media")).content)
    assert sorted(read.values()) == sorted([files[0].content, files[2].content])
    assert _list_kinds(roots).count("SERIES") == 2


@pytest.mark.parametrize("part_files", [1, 2000])
async def test_asynchronous_medium_is_downloaded(
    api: Api, monkeypatch: pytest.MonkeyPatch, part_files: int
) -> None:
    monkeypatch.setattr(archiving, "_PART_FILES", part_files)
    files = await _store(api)
    body = {"Asynchronous": True, "Extended": True, "Manifest": True}
    answer = await api.request("POST", f"/patients/{files[0].patient}/media", body=json.dumps(body))
    job = await api.jobs.wait(answer.json["ID"], _DEADLINE_S)
    assert (job.state, job.kind) == (JobState.SUCCESS, "Media")
    whole = (await api.get(f"/jobs/{job.job_id}/archive")).content
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        names = archive.namelist()
        _, roots = read_directory(archive.read("DICOMDIR"))
        manifest = json.loads(archive.read("manifest.json"))
    assert names == ["IMAGES/IM0", "IMAGES/IM1", "IMAGES/IM2", "DICOMDIR", "manifest.json"]
    assert [entry["Name"] for entry in manifest["Files"]] == names[:3]
    assert _list_kinds(roots).count("IMAGE") == 3
    assert _is_extended(roots)
    described: dict[str, Any] = dict(job.content)
    assert (described["InstancesCount"], described["ArchiveSize"]) == (3, str(len(whole)))


@pytest.mark.parametrize("level", _LEVELS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_medium_of_an_unknown_resource(api: Api, level: str, method: str) -> None:
    result = await api.request(method, f"/{level}/{_UNKNOWN}/media")
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 7)


@pytest.mark.parametrize("name", ["create-media", "create-media-extended"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, 15),
        ("5", 400, 15),
        ("{}", 400, 15),
        ('{"Resources": "x"}', 400, 8),
        ('{"Resources": [], "Extended": 1}', 400, 8),
        ('{"Resources": [], "Transcode": "1.2"}', 400, 3),
        (f'["{_UNKNOWN}"]', 404, 17),
    ],
)
async def test_wrong_body_is_refused(
    api: Api, name: str, body: str, status: int, code: int
) -> None:
    result = await api.request("POST", f"/tools/{name}", body=body)
    assert (result.status_code, result.json["OrthancStatus"]) == (status, code)


async def test_missing_argument_is_refused(api: Api) -> None:
    result = await api.get("/tools/create-media")
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 8)


@pytest.mark.parametrize("small_bytes", [0, 10**6])
async def test_job_names_what_its_medium_lacks(
    api: Api, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    monkeypatch.setattr(archiving, "_SMALL_BYTES", small_bytes)
    files = await _store(api, f"lacking-{small_bytes}")
    row = await api.archive.exporter.plan(exporting.ExportRequest((files[1].instance,)))
    api.archive.storage.remove(row.files[0].attachment.attachment_uuid)
    body = json.dumps({"Resources": [files[0].study], "Asynchronous": True, "Manifest": True})
    answer = await api.request("POST", "/tools/create-media", body=body)
    job = await api.jobs.wait(answer.json["ID"], _DEADLINE_S)
    assert (job.state, job.content["FailedInstancesCount"]) == (JobState.SUCCESS, 1)
    failed = await api.get_json(f"/jobs/{job.job_id}/failed-items")
    assert [item["ID"] for item in failed] == [files[1].instance]
    path = f"/jobs/{job.job_id}/archive"
    head, whole = await api.request("HEAD", path), await api.get(path)
    assert head.headers["content-length"] == str(len(whole.content))
    assert head.headers["etag"] == whole.headers["etag"]
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        missing = json.loads(archive.read("manifest.json"))["Missing"]
        assert len(archive.namelist()) == 4
    assert [entry["Instance"] for entry in missing] == [files[1].instance]
    # A range of another archive than the client has begun with is of no use to it.
    for tag, status in ((whole.headers["etag"], 206), ('"other"', 200)):
        part = await api.get(path, headers={"Range": "bytes=5-", "If-Range": tag})
        assert part.status_code == status
    beyond = await api.get(path, headers={"Range": f"bytes={len(whole.content)}-"})
    assert beyond.status_code == 416

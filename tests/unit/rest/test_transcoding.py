"""Files, archives and edited copies in other transfer syntaxes."""

import errno
import json
import tempfile
import threading
import zipfile
from io import BytesIO
from typing import Any

import pydicom
import pytest
from tests.support.directories import read_directory, walk
from tests.support.pixels import build_image, build_samples
from tests.unit.rest.api import Api

from isocenter.archive import exporting, pieces
from isocenter.archive.transcoding import Transcoder
from isocenter.errors import FullStorageError
from isocenter.jobs.states import JobState
from isocenter.tasks import archiving

pytestmark = pytest.mark.asyncio(loop_scope="module")

_BASE = "1.2.840.10008.1.2"
_EXPLICIT, _JPEG, _LOSSLESS, _LS = (f"{_BASE}.{end}" for end in ("1", "4.50", "4.70", "4.80"))
_VIDEO = f"{_BASE}.4.100"
_UNKNOWN = "-".join(["11111111"] * 5)
_PIXELS = build_samples(240, bits=8, size=1)


async def _store(api: Api, data: bytes) -> dict[str, str]:
    result = await api.request("POST", "/instances", body=data)
    assert result.status_code == 200, result.text
    answer: dict[str, str] = result.json
    return answer


async def _store_image(api: Api, name: str = "1.2.3.1.1.1", **image: Any) -> dict[str, str]:
    return await _store(api, build_image(_PIXELS, allocated=8, name=name, **image))


async def _post(api: Api, path: str, body: Any, status: int = 200) -> Any:
    result = await api.request("POST", path, body=json.dumps(body))
    assert result.status_code == status, result.text
    return result


def _read(data: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(BytesIO(data))


def _unzip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def _name_syntax(data: bytes) -> str:
    return str(_read(data).file_meta.TransferSyntaxUID)


async def test_file_is_answered_in_the_transfer_syntax_that_is_asked_for(api: Api) -> None:
    path = (await _store_image(api))["Path"] + "/file"
    stored = (await api.get(path)).content
    for target in (_BASE, _LOSSLESS, _JPEG):
        result = await api.get(f"{path}?transcode={target}")
        assert result.status_code == 200
        assert result.headers["content-type"] == "application/dicom"
        assert result.headers["content-disposition"].endswith('.dcm"')
        assert _name_syntax(result.content) == target
        assert (_read(result.content).SOPInstanceUID == "1.2.3.1.1.1") == (target != _JPEG)
    rough = await api.get(f"{path}?transcode={_JPEG}&lossy-quality=10")
    assert len(rough.content) < len(result.content)
    assert (await api.get(f"{path}?transcode={_EXPLICIT}")).content == stored
    assert (await api.get(f"{path}?lossy-quality=50")).content == stored


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("transcode=1.2.3", 400, 3),
        ("transcode=", 400, 3),
        (f"transcode={_JPEG}", 500, 2),
        (f"transcode={_VIDEO}", 500, 2),
        (f"transcode={_LOSSLESS}&lossy-quality=0", 400, 3),
        (f"transcode={_LOSSLESS}&lossy-quality=101", 400, 3),
        (f"transcode={_LOSSLESS}&lossy-quality=x", 400, 5),
    ],
)
async def test_impossible_transcoding_is_refused(
    api: Api, query: str, status: int, code: int
) -> None:
    path = (await _store(api, build_image(build_samples(240))))["Path"]
    result = await api.get(f"{path}/file?{query}")
    assert (result.status_code, result.json["OrthancStatus"]) == (status, code)


async def test_unknown_instance_is_missing(api: Api) -> None:
    result = await api.get(f"/instances/{_UNKNOWN}/file?transcode={_BASE}")
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)


async def _store_two(api: Api) -> dict[str, str]:
    """Store an image that every codec takes, and one that the lossy ones refuse."""
    await _store_image(api)
    return await _store(api, build_image(build_samples(240), name="1.2.3.1.1.2"))


_LIMITS = pytest.mark.parametrize(
    "limits",
    [
        pytest.param((10**6, 10**6, 10**6), id="in memory"),
        pytest.param((100, 10**6, 10**6), id="large source"),
        pytest.param((100, 100, 100), id="large source, in a file"),
        pytest.param((10**6, 100, 100), id="large result"),
    ],
)


@pytest.fixture
def transcoded_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that transcode files, one for each attempt."""
    names: list[str] = []
    original = Transcoder.open

    def note(self: Transcoder, *arguments: Any, **options: Any) -> Any:
        names.append(threading.current_thread().name)
        return original(self, *arguments, **options)

    monkeypatch.setattr(Transcoder, "open", note)
    return names


def _limit(patch: pytest.MonkeyPatch, limits: tuple[int, int, int]) -> None:
    largest, transcoded, joined = limits
    patch.setattr(exporting, "_LARGEST_WHOLE_BYTES", largest)
    patch.setattr(exporting, "_LARGEST_TRANSCODED_BYTES", transcoded)
    patch.setattr(pieces, "_LARGEST_IN_MEMORY", joined)


@_LIMITS
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_archive_keeps_what_cannot_be_transcoded(
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    transcoded_in: list[str],
    method: str,
    limits: tuple[int, int, int],
) -> None:
    _limit(monkeypatch, limits)
    study = (await _store_two(api))["ParentStudy"]
    path = f"/studies/{study}/archive"
    if method == "GET":
        result = await api.get(f"{path}?transcode={_JPEG}&lossy-quality=80")
    else:
        result = await _post(api, path, {"Transcode": _JPEG, "LossyQuality": 80})
    syntaxes = sorted(_name_syntax(data) for data in _unzip(result.content).values())
    assert syntaxes == [_EXPLICIT, _JPEG]
    # Each file once, and in threads of their own.
    assert [name.split("_")[0] for name in transcoded_in] == ["transcoding"] * 2


@_LIMITS
async def test_directory_of_a_medium_names_what_is_on_it(
    api: Api, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int, int]
) -> None:
    _limit(monkeypatch, limits)
    study = (await _store_two(api))["ParentStudy"]
    result = await api.get(f"/studies/{study}/media?transcode={_JPEG}")
    files = _unzip(result.content)
    _, roots = read_directory(files.pop("DICOMDIR"))
    records = [node.record for depth, node in walk(roots) if depth == 3]
    assert {record.ReferencedSOPInstanceUIDInFile for record in records} == {
        str(_read(data).SOPInstanceUID) for data in files.values()
    }
    assert {record.ReferencedTransferSyntaxUIDInFile for record in records} == {_EXPLICIT, _JPEG}


@pytest.mark.parametrize("part_files", [1, 100])
async def test_job_writes_a_transcoded_archive(
    api: Api, monkeypatch: pytest.MonkeyPatch, transcoded_in: list[str], part_files: int
) -> None:
    monkeypatch.setattr(archiving, "_PART_FILES", part_files)
    study = (await _store_two(api))["ParentStudy"]
    body = {"Transcode": _LS, "LossyQuality": 70, "Asynchronous": True, "Manifest": True}
    job = (await _post(api, f"/studies/{study}/archive", body)).json["ID"]
    await api.jobs.wait(job, 20)
    content = (await api.get_json(f"/jobs/{job}"))["Content"]
    assert (content["Transcode"], content["LossyQuality"]) == (_LS, 70)
    files = _unzip((await api.get(f"/jobs/{job}/archive")).content)
    manifest = json.loads(files.pop("manifest.json"))
    assert {_name_syntax(data) for data in files.values()} == {_LS}
    assert {entry["Name"]: entry["Size"] for entry in manifest["Files"]} == {
        name: len(data) for name, data in files.items()
    }
    assert all("MD5" not in entry for entry in manifest["Files"])
    assert {name.split("_")[0] for name in transcoded_in} == {"transcoding"}


@pytest.mark.parametrize("operation", ["modify", "anonymize"])
async def test_edited_file_is_transcoded_with_the_uid_of_the_edit(api: Api, operation: str) -> None:
    path = f"{(await _store_image(api))['Path']}/{operation}"
    result = await _post(api, path, {"Transcode": _JPEG, "LossyQuality": 20})
    file = _read(result.content)
    assert str(file.file_meta.TransferSyntaxUID) == _JPEG
    assert file.LossyImageCompression == "01"
    assert "SourceImageSequence" not in file
    assert file.SOPInstanceUID == file.file_meta.MediaStorageSOPInstanceUID
    finer = await _post(api, path, {"Transcode": _JPEG, "LossyQuality": 95})
    assert len(finer.content) > len(result.content)


async def test_edited_file_that_cannot_be_transcoded_is_refused(api: Api) -> None:
    path = f"{(await _store_image(api))['Path']}/modify"
    assert (await _post(api, path, {"Transcode": _VIDEO}, 500)).json["OrthancStatus"] == 2


@pytest.mark.parametrize("joined", [10**6, 100])
@pytest.mark.parametrize("operation", ["modify", "anonymize"])
async def test_edited_copies_are_transcoded_or_keep_their_syntax(
    api: Api, monkeypatch: pytest.MonkeyPatch, operation: str, joined: int
) -> None:
    monkeypatch.setattr(pieces, "_LARGEST_IN_MEMORY", joined)
    study = (await _store_two(api))["ParentStudy"]
    result = await _post(api, f"/studies/{study}/{operation}", {"Transcode": _JPEG})
    assert result.json["Transcode"] == _JPEG
    assert result.json["FailedInstancesCount"] == 0
    instances = await api.get_json(f"{result.json['Path']}/instances")
    found = []
    for instance in instances:
        name = instance["ID"]
        file = _read((await api.get(f"/instances/{name}/file")).content)
        metadata = (await api.get(f"/instances/{name}/metadata/TransferSyntax")).text
        assert metadata == file.file_meta.TransferSyntaxUID
        assert instance["MainDicomTags"]["SOPInstanceUID"] == file.SOPInstanceUID
        found.append(metadata)
    assert sorted(found) == [_EXPLICIT, _JPEG]


def _fill_disk(
    monkeypatch: pytest.MonkeyPatch, limit: str = "pixels.frame_spool._MEMORY_BYTES"
) -> None:
    """Let no temporary file be made, but something need one."""

    def fail(**_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"isocenter.{limit}", 10)
    monkeypatch.setattr(tempfile, "TemporaryFile", fail)


@pytest.mark.parametrize(
    "limit", ["pixels.frame_spool._MEMORY_BYTES", "archive.pieces._LARGEST_IN_MEMORY"]
)
@pytest.mark.parametrize("operation", ["modify", "anonymize"])
async def test_full_disk_fails_a_transcoding_edit_and_leaves_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, operation: str, limit: str
) -> None:
    study = (await _store_two(api))["ParentStudy"]
    before = await api.get_json("/statistics")
    body = {"Transcode": _JPEG, "KeepSource": operation == "anonymize"}
    with monkeypatch.context() as patch:
        _fill_disk(patch, limit)
        result = await _post(api, f"/studies/{study}/{operation}", body, 507)
    assert result.json["OrthancStatus"] == FullStorageError.code
    [job] = await api.get_json("/jobs?expand&state=Failure&type=ResourceModification")
    assert job["ErrorCode"] == FullStorageError.code
    assert await api.get_json("/statistics") == before
    await _post(api, f"/jobs/{job['ID']}/resubmit", {})
    assert (await api.jobs.wait(job["ID"], 20)).state is JobState.SUCCESS


async def test_download_goes_on_with_the_original_when_the_disk_is_full(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = (await _store_image(api))["ParentStudy"]
    _fill_disk(monkeypatch)
    result = await api.get(f"/studies/{study}/archive?transcode={_JPEG}")
    assert [_name_syntax(data) for data in _unzip(result.content).values()] == [_EXPLICIT]


async def test_quality_of_a_job_counts(api: Api) -> None:
    study = (await _store_image(api))["ParentStudy"]
    sizes = []
    for quality in (10, 95):
        body = {"Transcode": _JPEG, "LossyQuality": quality}
        path = (await _post(api, f"/studies/{study}/modify", body)).json["Path"]
        sizes.append((await api.get_json(f"{path}/statistics"))["DicomDiskSize"])
    assert int(sizes[0]) < int(sizes[1])

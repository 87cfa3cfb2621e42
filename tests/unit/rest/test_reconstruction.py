"""Resources built anew from their files, and main tags that the configuration adds."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from tests.support.dicom_files import encode_element, encode_item
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api, open_api

from isocenter.archive.configured_tags import build_configured_main_tags
from isocenter.config.configuration import Configuration
from isocenter.errors import ConfigurationError
from isocenter.storage.memory import MemoryStorage

pytestmark = pytest.mark.asyncio(loop_scope="module")
LEVELS = ["patients", "studies", "series", "instances"]
EVERY_LEVEL = pytest.mark.parametrize("level", LEVELS)

EXTRA = {
    "Patient": ["EthnicGroup"],
    "Study": ["StudyComments", "ReferencedStudySequence"],
    "Series": ["0009,1001"],
    "Instance": ["Rows", "0028-0011"],
}
ADDED: dict[str, dict[str, Any]] = {
    "patients": {"EthnicGroup": "invented"},
    "studies": {
        "RETIRED_StudyComments": "a comment",
        "ReferencedStudySequence": [{"ReferencedSOPInstanceUID": "1.2.3.99"}],
    },
    "series": {"0009,1001": "private"},
    "instances": {"Rows": "16"},
}
_ITEM = encode_item(encode_element(0x00081155, "UI", "1.2.3.99"))
ELEMENTS: dict[int, tuple[str, bytes | str]] = {
    0x00081110: ("SQ", _ITEM),
    0x00090010: ("LO", "INVENTED 1.0"),
    0x00091001: ("LO", "private"),
    0x00100010: ("PN", "DOE^JANE"),
    0x00102160: ("SH", "invented"),
    0x00280010: ("US", b"\x10\0"),
    0x00324000: ("LT", "a comment"),
}


def build_file(number: int, **names: Any) -> Any:
    named = {"patient_id": "P", "study": "1.2.3", "series": f"1.2.3.{number % 2}", **names}
    return build_synthetic(ELEMENTS, instance=f"1.2.3.9.{number}", **named)


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


def compute_md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


async def reconstruct(api: Api, path: str, **body: object) -> None:
    result = await api.request("POST", f"{path}/reconstruct", json=body or None)
    assert (result.status_code, result.content) == (200, b""), result.text
    assert result.headers["content-type"] == "text/plain"


@EVERY_LEVEL
async def test_extra_main_tags_are_kept_and_signed(
    tmp_path: Path, storage: MemoryStorage, level: str
) -> None:
    async with open_api(tmp_path, {"ExtraMainDicomTags": EXTRA}, storage=storage) as api:
        await api.store(build_file(1))
        (one,) = await api.get_json(f"/{level}?response-content=MainDicomTags;Metadata")
        assert {key: one["MainDicomTags"].get(key) for key in ADDED[level]} == ADDED[level]
        signature = one["Metadata"]["MainDicomTagsSignature"]
        assert signature.split(";") == sorted(signature.split(";"))
        number = {
            "patients": "0010,2160",
            "studies": "0032,4000",
            "series": "0009,1001",
            "instances": "0028,0010",
        }[level]
        assert number in signature
        sequences = one["Metadata"].get("MainDicomSequences")
        expected = (
            '{"Sequences":{"ReferencedStudySequence":[{"ReferencedSOPInstanceUID":"1.2.3.99"}]},'
            '"Version":1}'
        )
        assert sequences == (expected if level == "studies" else None)


async def test_extra_main_tags_are_answered_without_files(
    tmp_path: Path, storage: MemoryStorage
) -> None:
    options = {"ExtraMainDicomTags": EXTRA, "StorageAccessOnFind": "Never"}
    async with open_api(tmp_path, options, storage=storage) as api:
        file = await api.store(build_file(1))
        asked = "Rows;Columns;EthnicGroup;StudyComments;0009,1001;ReferencedStudySequence"
        one = await api.get_json(f"/instances/{file.instance}?requested-tags={asked}")
    expected = {key: value for added in ADDED.values() for key, value in added.items()}
    assert one["RequestedTags"] == expected | {"Columns": None}


async def test_patient_tags_of_a_study_have_the_extra_ones(
    tmp_path: Path, storage: MemoryStorage
) -> None:
    async with open_api(tmp_path, {"ExtraMainDicomTags": EXTRA}, storage=storage) as api:
        file = await api.store(build_file(1))
        study = await api.get_json(f"/studies/{file.study}")
    assert study["PatientMainDicomTags"] == {
        "EthnicGroup": "invented",
        "PatientID": "P",
        "PatientName": "DOE^JANE",
    }


@pytest.mark.parametrize(
    ("tags", "warnings"),
    [
        (["StudyDate", "0008-0020"], 2),
        (["EthnicGroup", "0010,2160"], 1),
        (["PatientName"], 1),
        (["EthnicGroup"], 0),
    ],
)
async def test_extra_main_tag_that_is_there_already_is_warned_about(
    tags: list[str], warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    configuration = Configuration.defaults().with_values({"ExtraMainDicomTags": {"Study": tags}})
    build_configured_main_tags(configuration)
    assert len(caplog.messages) == warnings


@pytest.mark.parametrize("tag", ["Nobody", "0002,0010", "PixelData", "TransferSyntaxUID"])
async def test_extra_main_tag_that_cannot_be_is_refused(tag: str) -> None:
    configuration = Configuration.defaults().with_values({"ExtraMainDicomTags": {"Study": [tag]}})
    with pytest.raises(ConfigurationError, match="ExtraMainDicomTags"):
        build_configured_main_tags(configuration)


@pytest.mark.parametrize("target", [*LEVELS, "tools"])
async def test_reconstruction_adds_main_tags(
    tmp_path: Path, storage: MemoryStorage, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_api(tmp_path, {}, storage=storage) as api:
        file = await api.store(build_file(1))
        for number in (2, 3):
            await api.store(build_file(number))
        await api.request("PUT", f"/series/{file.series}/labels/kept")
        before = {
            level: await api.get_json(f"/{level}?response-content=Metadata;Attachments;Labels")
            for level in LEVELS
        }
    async with open_api(tmp_path, {"ExtraMainDicomTags": EXTRA}, storage=storage) as api:
        path = f"/studies/{file.study}"
        asked = await api.get_json(f"{path}?requested-tags=StudyComments")
        assert asked["RequestedTags"] == {"RETIRED_StudyComments": "a comment"}
        assert sorted(text[:4] for text in caplog.messages) == ["W001", "W002"]
        for _ in range(2):
            await reconstruct(api, "/tools" if target == "tools" else file.paths[target])
            for level in LEVELS:
                tags = (await api.get_json(file.paths[level]))["MainDicomTags"]
                assert {key: tags.get(key) for key in ADDED[level]} == ADDED[level]
        for level in LEVELS:
            after = await api.get_json(f"/{level}?response-content=Metadata;Attachments;Labels")
            for one in (*before[level], *after):
                one["Metadata"].pop("MainDicomTagsSignature")
                one["Metadata"].pop("MainDicomSequences", None)
            assert after == before[level]
        caplog.clear()
        await api.get_json(f"{path}?requested-tags=StudyComments")
        assert caplog.messages == []


async def test_limited_reconstruction_changes_one_level_only(
    tmp_path: Path, storage: MemoryStorage
) -> None:
    async with open_api(tmp_path, {}, storage=storage) as api:
        file = await api.store(build_file(1))
    async with open_api(tmp_path, {"ExtraMainDicomTags": EXTRA}, storage=storage) as api:
        await reconstruct(api, file.paths["studies"], LimitToThisLevelMainDicomTags=True)
        for level in LEVELS:
            tags = (await api.get_json(file.paths[level]))["MainDicomTags"]
            expected = ADDED[level] if level == "studies" else {}
            assert {key: tags[key] for key in ADDED[level] if key in tags} == expected
        # The copy of the patient's tags belongs to the study.
        study = await api.get_json(file.paths["studies"])
        assert study["PatientMainDicomTags"]["EthnicGroup"] == "invented"


@pytest.mark.parametrize("target", ["instances", "series", "studies", "patients", "tools"])
async def test_reconstruction_of_files_follows_the_configuration(
    tmp_path: Path, storage: MemoryStorage, target: str
) -> None:
    async with open_api(tmp_path, {}, storage=storage) as api:
        file = await api.store(build_file(1))
    for is_compressed, name in ((True, "Uncompressed"), (False, "Compressed")):
        async with open_api(
            tmp_path, {"StorageCompression": is_compressed}, storage=storage
        ) as api:
            path = "/tools" if target == "tools" else file.paths[target]
            await reconstruct(api, path, ReconstructFiles=True)
            await reconstruct(api, path, ReconstructFiles=True)
            (one,) = await api.get_json("/instances?response-content=Attachments")
            (attachment,) = one["Attachments"]
            stored = storage.read(attachment["Uuid"])
            assert (stored == file.content) is not is_compressed
            assert len(stored) == attachment["CompressedSize"]
            assert attachment["UncompressedMD5"] == compute_md5(file.content)
            assert attachment["CompressedMD5"] == compute_md5(stored)
            assert (await api.get(f"/instances/{file.instance}/file")).content == file.content
            statistics = await api.get_json("/statistics")
            assert statistics["TotalDiskSize"] == str(len(stored)), name
            api.archive.deleter.remove_files()
            assert list(storage.iter_uuids()) == [attachment["Uuid"]]


async def test_reconstruction_of_files_follows_the_transcoding_of_what_arrives(
    tmp_path: Path, storage: MemoryStorage
) -> None:
    implicit = "1.2.840.10008.1.2"
    async with open_api(tmp_path, {}, storage=storage) as api:
        file = await api.store(build_file(1))
        path = file.paths["instances"]
        tags = await api.get_json(f"{path}/tags")
    async with open_api(tmp_path, {"IngestTranscoding": implicit}, storage=storage) as api:
        await reconstruct(api, file.paths["studies"])
        assert (await api.get(f"{path}/file")).content == file.content
        await reconstruct(api, file.paths["studies"], ReconstructFiles=True)
        assert (await api.get(f"{path}/metadata/TransferSyntax")).text == implicit
        content = (await api.get(f"{path}/file")).content
        assert implicit.encode() + b"\0" in content[:400]
        assert content != file.content
        assert (await api.get_json(f"{path}/tags")).keys() == tags.keys()


@EVERY_LEVEL
async def test_unreadable_file_leaves_everything_as_it_is(
    tmp_path: Path, storage: MemoryStorage, level: str
) -> None:
    async with open_api(tmp_path, {}, storage=storage) as api:
        first = await api.store(build_file(1))
        file = await api.store(build_file(3))
        instance = await api.get_json(f"/instances/{file.instance}")
        storage.remove(instance["FileUuid"])
    async with open_api(tmp_path, {"ExtraMainDicomTags": EXTRA}, storage=storage) as api:
        before = [await api.get_json(f"/{one}?expand") for one in LEVELS]
        result = await api.request("POST", f"{file.paths[level]}/reconstruct")
        assert (result.status_code, result.json["OrthancStatus"]) == (404, 13)
        assert [await api.get_json(f"/{one}?expand") for one in LEVELS] == before
        await reconstruct(api, first.paths["instances"])
        tags = (await api.get_json(first.paths["patients"]))["MainDicomTags"]
        assert tags["EthnicGroup"] == "invented"


async def test_patient_that_cannot_be_rebuilt_keeps_none_of_the_others(
    tmp_path: Path, storage: MemoryStorage
) -> None:
    async with open_api(tmp_path, {}, storage=storage) as api:
        files = [
            await api.store(build_file(n, patient_id=f"P{n}", study=f"1.2.{n}")) for n in range(3)
        ]
        instance = await api.get_json(f"/instances/{files[1].instance}")
        storage.remove(instance["FileUuid"])
    async with open_api(tmp_path, {"ExtraMainDicomTags": EXTRA}, storage=storage) as api:
        result = await api.request("POST", "/tools/reconstruct")
        assert (result.status_code, result.json["OrthancStatus"]) == (404, 13)
        tags = [(await api.get_json(file.paths["instances"]))["MainDicomTags"] for file in files]
        assert ["Rows" in one for one in tags] == [True, False, True]


async def test_file_of_another_instance_is_not_taken(
    tmp_path: Path, storage: MemoryStorage
) -> None:
    async with open_api(tmp_path, {}, storage=storage) as api:
        file = await api.store(build_file(1))
        instance = await api.get_json(f"/instances/{file.instance}")
        storage.write(instance["FileUuid"], build_file(2).content)
        result = await api.request("POST", f"/instances/{file.instance}/reconstruct")
        assert (result.status_code, result.json["OrthancStatus"]) == (500, 20)


@pytest.mark.parametrize("target", [*(f"/{level}/nobody" for level in LEVELS)])
async def test_reconstruction_of_an_unknown_resource_is_404(api: Api, target: str) -> None:
    result = await api.request("POST", f"{target}/reconstruct")
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)


@pytest.mark.parametrize("target", ["/studies/nobody", "/tools"])
@pytest.mark.parametrize(
    "body",
    [
        *(b"x", b"[]", b"1", b"null", b"\xff", b"{", b'"text"', b"[" * 100_000),
        *(b'{"ReconstructFiles": 1}', b'{"ReconstructFiles": null}'),
    ],
)
async def test_reconstruction_with_a_wrong_body_is_400(api: Api, target: str, body: bytes) -> None:
    result = await api.request("POST", f"{target}/reconstruct", body=body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 8)


async def test_long_values_of_main_tags_are_shown_whole_but_not_without_end(
    tmp_path: Path, storage: MemoryStorage
) -> None:
    values = {0x00081030: ("LO", "a" * 300), 0x00080080: ("LO", "b" * 65_000)}
    comments = encode_element(0x00204000, "UT", "c" * 70_000)
    async with open_api(tmp_path, {}, storage=storage) as api:
        file = await api.store(build_synthetic(values, tail=comments))
        tags = (await api.get_json(file.paths["studies"]))["MainDicomTags"]
        assert tags["StudyDescription"] == "a" * 300
        assert tags["InstitutionName"] == "b" * 65_000
        path = file.paths["instances"]
        one = await api.get_json(f"{path}?requested-tags=ImageComments;StudyDescription")
        assert "ImageComments" not in one["MainDicomTags"]
        assert one["RequestedTags"] == {"ImageComments": None, "StudyDescription": "a" * 300}

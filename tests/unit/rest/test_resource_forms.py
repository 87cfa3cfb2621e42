"""Expanded objects, chosen parts and requested tags, over the whole API."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.dicom_files import encode_element, encode_item
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api, open_api

from isocenter.archive.browse import Page
from isocenter.dicom.levels import Level
from isocenter.rest import resource_answers

pytestmark = pytest.mark.asyncio(loop_scope="module")
LEVELS = ["patients", "studies", "series", "instances"]
EVERY_LEVEL = pytest.mark.parametrize("level", LEVELS)
PARTS = {
    "MainDicomTags": {"MainDicomTags", "PatientMainDicomTags"},
    "Metadata": {"Metadata"},
    "Status": {"Status"},
    "Parent": {"ParentPatient", "ParentStudy", "ParentSeries"},
    "Children": {"Studies", "Series", "Instances"},
    "Labels": {"Labels"},
    "Attachments": {"Attachments"},
    "IsStable": {"IsStable"},
    "IsProtected": {"IsProtected"},
}


def build_first(**names: Any) -> SyntheticFile:
    """Build an ultrasound image with tags that the index keeps, and others."""
    return build_synthetic(
        {
            0x00080016: ("UI", "1.2.840.10008.5.1.4.1.1.6.1"),
            0x00080060: ("CS", "US"),
            0x00081030: ("LO", "Follow-up"),
            0x00100010: ("PN", "DOE^JANE"),
            0x00280010: ("US", b"\x10\0"),
            0x00291010: ("OB", b"\1\2"),
            0x00324000: ("LT", "x" * 300),
        },
        **{"patient_id": "P-1001", "study": "1.2.3", "series": "1.2.3.4", **names},
    )


async def get_requested(api: Api, target: str, tags: str) -> Any:
    answer = await api.get_json(f"{target}?requested-tags={tags}")
    return answer["RequestedTags"]


async def test_requested_tags_are_answered_as_by_orthanc(api: Api) -> None:
    file = await api.store(build_first(instance="1.2.3.4.1"))
    tags = (
        "PatientName;ModalitiesInStudy;NumberOfStudyRelatedInstances;SOPClassesInStudy;Rows;"
        "EthnicGroup"
    )
    # examples.md 16
    assert await get_requested(api, f"/studies/{file.study}", tags) == {
        "EthnicGroup": None,
        "ModalitiesInStudy": "US",
        "NumberOfStudyRelatedInstances": "1",
        "PatientName": "DOE^JANE",
        "Rows": "16",
        "SOPClassesInStudy": "1.2.840.10008.5.1.4.1.1.6.1",
    }


@EVERY_LEVEL
async def test_requested_tags_of_any_level_come_from_above_and_from_the_file(
    api: Api, level: str
) -> None:
    file = await api.store(build_first())
    tags = "PatientName;0008-1030;00080060;0028,0010;0032,4000;0029,1010;0010,2160"
    requested = await get_requested(api, file.paths[level], tags)
    assert requested == {
        "0029,1010": None,
        "EthnicGroup": None,
        "Modality": "US",
        "PatientName": "DOE^JANE",
        "RETIRED_StudyComments": "x" * 300,
        "Rows": "16",
        "StudyDescription": "Follow-up",
    }


COUNTED = {
    "patients": {
        "NumberOfPatientRelatedStudies": "2",
        "NumberOfPatientRelatedSeries": "3",
        "NumberOfPatientRelatedInstances": "4",
    },
    "studies": {
        "ModalitiesInStudy": r"CT\US",
        "NumberOfStudyRelatedSeries": "2",
        "NumberOfStudyRelatedInstances": "3",
        "SOPClassesInStudy": r"1.2.840.10008.5.1.4.1.1.2\1.2.840.10008.5.1.4.1.1.6.1",
    },
    "series": {"NumberOfSeriesRelatedInstances": "2"},
    "instances": {"InstanceAvailability": "ONLINE"},
}


async def store_counted(api: Api) -> SyntheticFile:
    """Store a patient with two studies, three series and four instances; give the first."""
    first = await api.store(build_first(instance="1.2.3.4.1"))
    await api.store(build_first(instance="1.2.3.4.2"))
    await api.store(
        build_synthetic(
            {0x00080060: ("CS", "CT")}, patient_id="P-1001", study="1.2.3", series="1.2.3.5"
        )
    )
    await api.store(build_first(study="1.2.9", series="1.2.9.1"))
    return first


@EVERY_LEVEL
async def test_computed_tags_describe_the_level_and_those_above(api: Api, level: str) -> None:
    first = await store_counted(api)
    asked = ";".join(name for counted in COUNTED.values() for name in counted)
    expected: dict[str, str] = {}
    for above in LEVELS[: LEVELS.index(level) + 1]:
        expected |= COUNTED[above]
    assert await get_requested(api, first.paths[level], asked) == expected


async def test_requested_tags_of_a_list_are_those_of_each(api: Api) -> None:
    await store_counted(api)
    listed = await api.get_json(
        "/series?expand&requested-tags=NumberOfSeriesRelatedInstances;StudyInstanceUID;Rows"
    )
    requested = [one["RequestedTags"] for one in listed]
    assert sorted(
        (one["NumberOfSeriesRelatedInstances"], one["StudyInstanceUID"]) for one in requested
    ) == [
        ("1", "1.2.3"),
        ("1", "1.2.9"),
        ("2", "1.2.3"),
    ]


@pytest.mark.parametrize(
    "target",
    ["/patients/{0.patient}/studies", "/instances/{0.instance}/study", "/studies?expand"],
)
@pytest.mark.parametrize("argument", ["requested-tags", "requestedTags"])
async def test_requested_tags_apply_to_relatives(api: Api, target: str, argument: str) -> None:
    file = await api.store(build_first())
    plain = target.format(file)
    joined = f"{plain}{'&' if '?' in plain else '?'}{argument}=;Rows;;"
    answer = await api.get_json(joined)
    one = answer[0] if isinstance(answer, list) else answer
    assert one.pop("RequestedTags") == {"Rows": "16"}
    expected = await api.get_json(plain)
    assert one == (expected[0] if isinstance(expected, list) else expected)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("requested-tags=Nobody", 8),
        ("requested-tags=PatientName;Nobody", 8),
        ("requested-tags=RequestAttributesSequence[0].Modality", 8),
        ("requested-tags=" + ";".join(f"0029{n:04x}" for n in range(1001)), 8),
        ("requestedTags=Nobody", 8),
        ("response-content=Nobody", 3),
        ("response-content=Labels;labels", 3),
        ("expand=maybe&response-content=Labels", 3),
    ],
)
@EVERY_LEVEL
async def test_unknown_part_or_tag_is_400(api: Api, level: str, query: str, code: int) -> None:
    result = await api.get(f"/{level}?{query}")
    assert (result.status_code, result.json["OrthancStatus"]) == (400, code)


async def test_single_resource_ignores_response_content(api: Api) -> None:
    file = await api.store()
    for path in file.paths.values():
        plain = await api.get_json(path)
        assert await api.get_json(f"{path}?response-content=Nobody") == plain


@EVERY_LEVEL
async def test_requested_tags_without_objects_change_nothing(api: Api, level: str) -> None:
    file = await api.store()
    listed = await api.get_json(f"/{level}?requested-tags=Rows")
    assert listed == [file.paths[level].split("/")[-1]]


@EVERY_LEVEL
@pytest.mark.parametrize("part", list(PARTS))
async def test_part_shows_itself_and_nothing_else(api: Api, level: str, part: str) -> None:
    await api.store(build_first())
    (chosen,) = await api.get_json(f"/{level}?response-content={part}")
    (classic,) = await api.get_json(f"/{level}?expand")
    shown = PARTS[part] & set(classic)
    if part in {"Metadata", "Attachments"}:
        shown = PARTS[part]
    assert set(chosen) == {"ID", "Type"} | shown
    for key in set(chosen) & set(classic):
        assert chosen[key] == classic[key]


@EVERY_LEVEL
async def test_empty_list_of_parts_leaves_identifier_and_type(api: Api, level: str) -> None:
    await api.store()
    for query in ("response-content=", "response-content", "response-content=;&expand=false"):
        (chosen,) = await api.get_json(f"/{level}?{query}")
        assert set(chosen) == {"ID", "Type"}


async def test_paged_list_with_chosen_parts_is_as_by_orthanc(api: Api) -> None:
    file = await api.store(build_first())
    # examples.md 15
    query = "since=0&limit=1&response-content=Parent;Labels;IsStable;Attachments"
    assert await api.get_json(f"/series?{query}") == [
        {
            "Attachments": [],
            "ID": file.series,
            "IsStable": False,
            "Labels": [],
            "ParentStudy": file.study,
            "Type": "Series",
        }
    ]


async def test_attachments_and_metadata_of_an_instance_are_as_by_orthanc(api: Api) -> None:
    await api.store(build_first())
    # examples.md 19
    (one,) = await api.get_json("/instances?since=0&limit=1&response-content=Metadata;Attachments")
    (attachment,) = one["Attachments"]
    assert attachment["ContentType"] == 1
    assert attachment["CompressedMD5"] == attachment["UncompressedMD5"]
    metadata = one["Metadata"]
    assert metadata.pop("ReceptionDate")
    assert metadata == {
        "HttpUsername": "",
        "MainDicomTagsSignature": "0008,0012;0008,0013;0008,0018;0020,0012;0020,0013;0020,0032;"
        "0020,0037;0020,0100;0020,4000;0028,0008;0054,1330",
        "Origin": "RestApi",
        "RemoteAET": "",
        "RemoteIP": "127.0.0.1",
        "SopClassUid": "1.2.840.10008.5.1.4.1.1.6.1",
        "TransferSyntax": "1.2.840.10008.1.2.1",
    }


@EVERY_LEVEL
@pytest.mark.parametrize("query", ["expand", "response-content=MainDicomTags;Metadata"])
async def test_long_list_comes_in_pages_and_is_the_same(
    api: Api, level: str, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await api.store()
    whole = await api.get(f"/{level}?{query}")
    for size in (1, 2, 4):
        monkeypatch.setattr(resource_answers, "_PAGE", size)
        assert (await api.get(f"/{level}?{query}")).content == whole.content


async def test_long_list_whose_resources_vanish_is_valid_json(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.store()
    monkeypatch.setattr(resource_answers, "_PAGE", 2)
    browse = api.archive.browse
    [row] = await browse.list_rows(Level.STUDY, Page())
    gone = [10**6 + n for n in range(5)]
    for rows, found in ((gone, 0), ([*gone, row], 1), ([row, *gone], 1), ([*gone, row, *gone], 1)):

        async def list_rows(*_: object, rows: list[int] = rows) -> list[int]:
            return rows

        monkeypatch.setattr(type(browse), "list_rows", list_rows)
        assert len(await api.get_json("/studies?expand")) == found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed_api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """An API that may not open files for tags, and keeps silent about it."""
    options = {"StorageAccessOnFind": "Never", "Warnings": {"W006": False}}
    async with open_api(tmp_path_factory.mktemp("closed"), options) as api:
        yield api


async def test_requested_tags_of_closed_files_are_left_out(
    closed_api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    file = await closed_api.store(build_first(instance="1.2.3.4.77"))
    with caplog.at_level(logging.WARNING):
        requested = await get_requested(
            closed_api, f"/series/{file.series}", "Rows;Modality;0002,0010"
        )
    assert requested == {"Modality": "US"}
    # W006 is silenced.
    assert [text[:4] for text in caplog.messages] == ["W007"]


async def test_requested_tags_are_warned_about(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    file = await api.store(build_first())
    with caplog.at_level(logging.WARNING):
        requested = await get_requested(
            api, f"/studies/{file.study}", "Modality;0002,0010;TransferSyntaxUID"
        )
    assert requested == {"Modality": "US"}
    assert sorted(text[:4] for text in caplog.messages) == ["W001", "W005", "W006"]
    assert "US" not in " ".join(caplog.messages)


async def test_tags_of_a_damaged_file_are_left_out(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    file = await api.store(build_first())
    good = await api.store(build_first(study="1.2.9", series="1.2.9.1"))
    instance = await api.get_json(f"/instances/{file.instance}")
    api.archive.storage.remove(instance["FileUuid"])
    listed = await api.get_json("/studies?expand&requested-tags=Rows;PatientName")
    requested = {one["ID"]: one["RequestedTags"] for one in listed}
    assert requested == {
        file.study: {"PatientName": "DOE^JANE"},
        good.study: {"PatientName": "DOE^JANE", "Rows": "16"},
    }
    assert any("cannot be read" in text for text in caplog.messages)


async def test_requested_sequence_is_answered_whole(api: Api) -> None:
    content = encode_element(0x00081150, "UI", "1.2.840.10008.5.1.4.1.1.2")
    file = await api.store(
        build_synthetic({0x00081140: ("SQ", encode_item(content)), 0x00280010: ("US", b"\2\0")})
    )
    path = f"/instances/{file.instance}"
    items = [{"ReferencedSOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}]
    assert await get_requested(api, path, "ReferencedImageSequence") == {
        "ReferencedImageSequence": items
    }
    answer = await api.get_json(f"{path}?short&requested-tags=ReferencedImageSequence;Rows")
    assert json.dumps(answer["RequestedTags"], sort_keys=True) == (
        '{"0008,1140": [{"0008,1150": "1.2.840.10008.5.1.4.1.1.2"}], "0028,0010": "2"}'
    )

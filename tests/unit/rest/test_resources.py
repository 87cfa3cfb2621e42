"""Lists, single resources, relatives, deletion: exactly what the manual says a client sees."""

import re

import pytest
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
TIMESTAMP = re.compile(r"\d{8}T\d{6}")
LEVELS = ["patients", "studies", "series", "instances"]
EVERY_LEVEL = pytest.mark.parametrize("level", LEVELS)
HUMAN = {"PatientID": "P-1001", "PatientName": "DOE^JANE", "PatientSex": "F"}


def build_first() -> SyntheticFile:
    """Build a CT image with tags of every level."""
    return build_synthetic(
        {
            0x00080020: ("DA", "20260102"),
            0x00080060: ("CS", "CT"),
            0x00081030: ("LO", ""),
            0x00100010: ("PN", "DOE^JANE"),
            0x00100040: ("CS", "F"),
            0x00200013: ("IS", "2"),
        },
        patient_id="P-1001",
        study="1.2.3",
        series="1.2.3.4",
        instance="1.2.3.4.2",
    )


def build_second() -> SyntheticFile:
    """Build the other image of the same series."""
    return build_synthetic(
        {0x00100010: ("PN", "OTHER")},
        patient_id="P-1001",
        study="1.2.3",
        series="1.2.3.4",
        instance="1.2.3.4.1",
    )


async def test_patient_is_described_as_by_orthanc(api: Api) -> None:
    file = await api.store(build_first())
    patient = await api.get_json(f"/patients/{file.patient}")
    assert TIMESTAMP.fullmatch(patient.pop("LastUpdate"))
    assert patient == {
        "ID": file.patient,
        "IsProtected": False,
        "IsStable": False,
        "Labels": [],
        "MainDicomTags": {"PatientID": "P-1001", "PatientName": "DOE^JANE", "PatientSex": "F"},
        "Studies": [file.study],
        "Type": "Patient",
    }


async def test_study_is_described_as_by_orthanc(api: Api) -> None:
    file = await api.store(build_first())
    study = await api.get_json(f"/studies/{file.study}")
    assert TIMESTAMP.fullmatch(study.pop("LastUpdate"))
    assert study == {
        "ID": file.study,
        "IsStable": False,
        "Labels": [],
        # An absent tag is left out, an empty one is an empty text (behaviour manual §3.2).
        "MainDicomTags": {
            "StudyDate": "20260102",
            "StudyDescription": "",
            "StudyInstanceUID": "1.2.3",
        },
        "ParentPatient": file.patient,
        "PatientMainDicomTags": {
            "PatientID": "P-1001",
            "PatientName": "DOE^JANE",
            "PatientSex": "F",
        },
        "Series": [file.series],
        "Type": "Study",
    }


async def test_series_is_described_as_by_orthanc(api: Api) -> None:
    first, second = await api.store(build_first()), await api.store(build_second())
    series = await api.get_json(f"/series/{first.series}")
    assert TIMESTAMP.fullmatch(series.pop("LastUpdate"))
    assert series == {
        "ExpectedNumberOfInstances": None,
        "ID": first.series,
        "Instances": sorted([first.instance, second.instance]),
        "IsStable": False,
        "Labels": [],
        "MainDicomTags": {"Modality": "CT", "SeriesInstanceUID": "1.2.3.4"},
        "ParentStudy": first.study,
        "Status": "Unknown",
        "Type": "Series",
    }


async def test_instance_is_described_as_by_orthanc(api: Api) -> None:
    first, second = await api.store(build_first()), await api.store(build_second())
    instance = await api.get_json(f"/instances/{first.instance}")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", instance.pop("FileUuid"))
    assert instance == {
        "FileSize": len(first.content),
        "ID": first.instance,
        "IndexInSeries": 2,
        "Labels": [],
        "MainDicomTags": {"InstanceNumber": "2", "SOPInstanceUID": "1.2.3.4.2"},
        "ParentSeries": first.series,
        "Type": "Instance",
    }
    assert (await api.get_json(f"/instances/{second.instance}"))["IndexInSeries"] is None


async def test_json_has_sorted_keys_indentation_and_utf8(api: Api) -> None:
    file = await api.store(
        build_synthetic({0x00080005: ("CS", "ISO_IR 192"), 0x00100010: ("PN", "Ü".encode())})
    )
    result = await api.get(f"/patients/{file.patient}")
    lines = result.text.splitlines()
    keys = [line.split('"')[1] for line in lines if re.match(r' {3}"', line)]
    assert lines[0] == "{"
    assert keys == sorted(keys)
    assert keys[0] == "ID"
    assert '      "PatientName": "Ü"' in result.text


async def test_tags_of_two_instances_come_from_the_first(api: Api) -> None:
    file = await api.store(build_first())
    await api.store(build_second())
    patient = await api.get_json(f"/patients/{file.patient}")
    assert patient["MainDicomTags"]["PatientName"] == "DOE^JANE"


@EVERY_LEVEL
async def test_list_of_an_empty_archive_is_empty(api: Api, level: str) -> None:
    assert await api.get_json(f"/{level}") == []
    assert await api.get_json(f"/{level}?expand") == []


@EVERY_LEVEL
async def test_list_is_in_the_order_of_the_identifiers(api: Api, level: str) -> None:
    files = [await api.store() for _ in range(5)]
    expected = sorted(file.paths[level].split("/")[-1] for file in files)
    assert await api.get_json(f"/{level}") == expected
    expanded = await api.get_json(f"/{level}?expand")
    assert [resource["ID"] for resource in expanded] == expected
    singles = [await api.get_json(f"/{level}/{public_id}") for public_id in expected]
    assert expanded == singles


@EVERY_LEVEL
@pytest.mark.parametrize("expand", ["", "&expand"])
async def test_page_of_a_list_is_a_slice(api: Api, level: str, expand: str) -> None:
    for _ in range(4):
        await api.store()
    whole = await api.get_json(f"/{level}?since=0&limit=0{expand}")
    assert len(whole) == 4
    for since, limit, stop in [(0, 2, 2), (1, 2, 3), (3, 9, 12), (4, 1, 5), (2**63 - 1, 1, 0)]:
        page = await api.get_json(f"/{level}?since={since}&limit={limit}{expand}")
        assert page == whole[since:stop]
    assert await api.get_json(f"/{level}?since=1&limit=0{expand}") == whole[1:]


@EVERY_LEVEL
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("since=0", 8),
        ("limit=0", 8),
        ("since=a&limit=1", 5),
        ("since=0&limit=", 5),
        ("since=0&limit=1.5", 5),
        ("since=0&limit=%D9%A1", 5),
        ("since=0&limit=99999999999999999999", 5),
        ("since=0&limit=9223372036854775808", 5),
        ("since=1&since=2&limit=1", 5),
        ("since=-1&limit=1", 3),
        ("since=0&limit=-1", 3),
        ("expand=maybe", 3),
        ("expand=TRUE", 3),
        ("expand=1&expand=1", 3),
        ("expand&full=2", 3),
    ],
)
async def test_list_with_a_wrong_argument_is_400(
    api: Api, level: str, query: str, code: int
) -> None:
    result = await api.get(f"/{level}?{query}")
    assert (result.status_code, result.json["OrthancStatus"]) == (400, code)


@pytest.mark.parametrize(
    ("query", "is_expanded"),
    [
        ("expand", True),
        ("expand=", True),
        ("expand=1", True),
        ("expand=true", True),
        ("expand=0", False),
        ("expand=false", False),
        ("Expand", False),
        ("unknown=1", False),
    ],
)
async def test_expand_is_read_as_by_orthanc(api: Api, query: str, is_expanded: bool) -> None:
    await api.store()
    (entry,) = await api.get_json(f"/studies?{query}")
    assert isinstance(entry, dict) == is_expanded


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", HUMAN),
        (
            "simplify&short&full",
            {"PatientID": "P-1001", "PatientName": "DOE^JANE", "PatientSex": "F"},
        ),
        ("short&full", {"0010,0010": "DOE^JANE", "0010,0020": "P-1001", "0010,0040": "F"}),
        (
            "short=0&simplify=false",
            {"PatientID": "P-1001", "PatientName": "DOE^JANE", "PatientSex": "F"},
        ),
        (
            "full",
            {
                "0010,0010": {"Name": "PatientName", "Type": "String", "Value": "DOE^JANE"},
                "0010,0020": {"Name": "PatientID", "Type": "String", "Value": "P-1001"},
                "0010,0040": {"Name": "PatientSex", "Type": "String", "Value": "F"},
            },
        ),
    ],
)
async def test_main_tags_take_the_asked_shape(
    api: Api, query: str, expected: dict[str, object]
) -> None:
    file = await api.store(build_first())
    assert (await api.get_json(f"/patients/{file.patient}?{query}"))["MainDicomTags"] == expected
    study = await api.get_json(f"/studies/{file.study}?{query}")
    assert study["PatientMainDicomTags"] == expected
    (listed,) = await api.get_json(f"/patients?expand&{query}")
    assert listed["MainDicomTags"] == expected
    (child,) = await api.get_json(f"/patients/{file.patient}/studies?{query}")
    assert child["PatientMainDicomTags"] == expected
    assert await api.get_json(f"/instances/{file.instance}/study?{query}") == study


async def test_argument_in_the_address_of_a_post_is_ignored(api: Api) -> None:
    file = build_synthetic()
    result = await api.request("POST", "/instances?expand=nonsense", body=file.content)
    assert result.status_code == 200


async def test_descendants_are_objects_unless_expand_is_false(api: Api) -> None:
    first, second = await api.store(build_first()), await api.store(build_second())
    identifiers = sorted([first.instance, second.instance])
    for parent in (first.paths["patients"], first.paths["studies"], first.paths["series"]):
        expanded = await api.get_json(f"{parent}/instances")
        assert [child["ID"] for child in expanded] == identifiers
        assert await api.get_json(f"{parent}/instances?expand=true") == expanded
        assert await api.get_json(f"{parent}/instances?expand=false") == identifiers
    (series,) = await api.get_json(f"/patients/{first.patient}/series")
    assert series == await api.get_json(f"/series/{first.series}")
    (study,) = await api.get_json(f"/patients/{first.patient}/studies")
    assert study == await api.get_json(f"/studies/{first.study}")


async def test_ancestor_is_the_expanded_parent(api: Api) -> None:
    file = await api.store()
    for below, above, path in [
        ("studies", "patient", "patients"),
        ("series", "patient", "patients"),
        ("series", "study", "studies"),
        ("instances", "patient", "patients"),
        ("instances", "study", "studies"),
        ("instances", "series", "series"),
    ]:
        ancestor = await api.get_json(f"{file.paths[below]}/{above}")
        assert ancestor == await api.get_json(file.paths[path])


async def test_statistics_of_a_study_count_what_lies_below(api: Api) -> None:
    first, second = await api.store(build_first()), await api.store(build_second())
    size = str(len(first.content) + len(second.content))
    assert await api.get_json(f"/studies/{first.study}/statistics") == {
        "CountInstances": 2,
        "CountSeries": 1,
        "DicomDiskSize": size,
        "DicomDiskSizeMB": 0,
        "DicomUncompressedSize": size,
        "DicomUncompressedSizeMB": 0,
        "DiskSize": size,
        "DiskSizeMB": 0,
        "UncompressedSize": size,
        "UncompressedSizeMB": 0,
    }
    patient = await api.get_json(f"/patients/{first.patient}/statistics")
    assert (patient["CountStudies"], patient["CountSeries"], patient["CountInstances"]) == (1, 1, 2)
    instance = await api.get_json(f"/instances/{first.instance}/statistics")
    assert not any(key.startswith("Count") for key in instance)
    assert instance["DicomDiskSize"] == str(len(first.content))


async def test_deleting_one_of_two_answers_the_nearest_ancestor_left(api: Api) -> None:
    first, second = await api.store(build_first()), await api.store(build_second())
    result = await api.request("DELETE", f"/instances/{second.instance}")
    assert result.status_code == 200
    assert result.headers["content-type"] == "application/json; charset=utf-8"
    assert result.json == {
        "RemainingAncestor": {
            "ID": first.series,
            "Path": f"/series/{first.series}",
            "Type": "Series",
        }
    }
    assert (await api.get(f"/instances/{second.instance}/file")).status_code == 404
    assert (await api.get(f"/instances/{first.instance}/file")).status_code == 200


@EVERY_LEVEL
async def test_deleting_the_only_one_leaves_nothing(api: Api, level: str) -> None:
    file = await api.store()
    result = await api.request("DELETE", file.paths[level])
    assert result.json == {"RemainingAncestor": None}
    for path in file.paths.values():
        assert (await api.get(path)).status_code == 404
    assert (await api.request("DELETE", file.paths[level])).content == b""
    assert (await api.get_json("/statistics"))["CountInstances"] == 0
    assert (await api.get_json("/changes"))["Changes"] == []
    # What was deleted can be stored again.
    await api.store(file)


@EVERY_LEVEL
async def test_method_override_deletes(api: Api, level: str) -> None:
    first, second = await api.store(), await api.store()
    answer = await api.get(f"{first.paths[level]}?_method=delete")
    assert answer.json == {"RemainingAncestor": None}
    headers = {"X-HTTP-Method-Override": "DELETE"}
    answer = await api.request("POST", second.paths[level], headers=headers)
    assert answer.json == {"RemainingAncestor": None}
    assert await api.get_json("/instances") == []


@pytest.mark.parametrize("method", ["patch", "head", "", "delete,put", "delete%00"])
async def test_method_override_with_another_value_is_400(api: Api, method: str) -> None:
    file = await api.store()
    result = await api.get(f"{file.paths['studies']}?_method={method}")
    assert (result.status_code, result.content) == (400, b"")
    headers = {"X-HTTP-Method-Override": "TRACE"}
    result = await api.request("GET", file.paths["studies"], headers=headers)
    assert (result.status_code, result.content) == (400, b"")
    assert (await api.get(file.paths["studies"])).status_code == 200


def build_of_two(instance_number: str) -> SyntheticFile:
    """Build an image of a series that will have two (behaviour manual §3.7, first rule)."""
    return build_synthetic(
        {
            0x00200013: ("IS", instance_number),
            0x00200105: ("IS", "1"),
            0x00201002: ("IS", "2"),
        },
        patient_id="P",
        study="1.2",
        series="1.2.3",
    )


async def test_series_with_known_length_tells_its_status(api: Api) -> None:
    statuses = []
    for instance_number in ("1", "2", "2"):
        file = await api.store(build_of_two(instance_number))
        series = await api.get_json(f"/series/{file.series}")
        assert series["ExpectedNumberOfInstances"] == 2
        statuses.append(series["Status"])
    assert statuses == ["Missing", "Complete", "Inconsistent"]
    changes = (await api.get_json("/changes?type=CompletedSeries"))["Changes"]
    assert [change["ID"] for change in changes] == [file.series]


async def test_file_without_patient_id_gets_the_identifier_of_the_empty_text(api: Api) -> None:
    elements = {0x00100020: ("LO", "")}
    file = build_synthetic(elements, patient_id="ignored")
    result = await api.request("POST", "/instances", body=file.content)
    patient = "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"
    assert result.json["ParentPatient"] == patient
    tags = (await api.get_json(f"/patients/{patient}"))["MainDicomTags"]
    assert tags == {"PatientID": ""}

"""Tags as JSON: of instances, modules, and all instances of a resource."""

from typing import Any

import pytest
from tests.support.dicom_files import Elements, encode_element, encode_item, encode_sequence
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
UNKNOWN = "-".join(["11111111"] * 5)
LONG = "x" * 300


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {
        "Dictionary": {
            "0009,1001": ["LO", "InventedText", 1, 1, "INVENTED 1.0"],
            "00091003": ["US", "InventedNumber", 1, 0, "INVENTED 1.0"],
        }
    }


def build_rich() -> SyntheticFile:
    """Build a file with the kinds of elements that have their own form in JSON."""
    item = encode_element(0x00081155, "UI", "1.2.3.9")
    return build_synthetic(
        {
            0x00081140: ("SQ", encode_item(item)),
            0x00090010: ("LO", "INVENTED 1.0"),
            0x00091001: ("LO", "private text"),
            0x00091002: ("LO", "other text"),
            0x00100010: ("PN", "DOE^JANE"),
            0x00204000: ("LT", LONG),
            0x00280010: ("US", b"\x10\x00"),
            0x7FE00010: ("OW", bytes(100)),
        },
        tail=encode_element(0xFFFCFFFC, "OB", b"\0\0"),
    )


async def test_tags_have_the_full_shape_by_default(api: Api) -> None:
    file = await api.store(build_rich())
    tags = await api.get_json(f"/instances/{file.instance}/tags")
    assert list(tags) == sorted(tags)
    expected: dict[str, Any] = {
        "0008,1140": {
            "Name": "ReferencedImageSequence",
            "Type": "Sequence",
            "Value": [
                {
                    "0008,1155": {
                        "Name": "ReferencedSOPInstanceUID",
                        "Type": "String",
                        "Value": "1.2.3.9",
                    }
                }
            ],
        },
        "0009,0010": {"Name": "PrivateCreator", "Type": "String", "Value": "INVENTED 1.0"},
        "0009,1001": {
            "Name": "InventedText",
            "PrivateCreator": "INVENTED 1.0",
            "Type": "String",
            "Value": "private text",
        },
        "0009,1002": {
            "Name": "Unknown Tag & Data",
            "PrivateCreator": "INVENTED 1.0",
            "Type": "String",
            "Value": "other text",
        },
        "0010,0010": {"Name": "PatientName", "Type": "String", "Value": "DOE^JANE"},
        "0020,4000": {"Name": "ImageComments", "Type": "TooLong", "Value": None},
        "0028,0010": {"Name": "Rows", "Type": "String", "Value": "16"},
        "7fe0,0010": {"Name": "PixelData", "Type": "Null", "Value": None},
    }
    assert {key: tags[key] for key in expected} == expected
    assert not any(key.startswith("0002") for key in tags)
    assert await api.get_json(f"/instances/{file.instance}/tags?full") == tags


async def test_tags_short_and_simplified_are_the_values_alone(api: Api) -> None:
    file = await api.store(build_rich())
    path = f"/instances/{file.instance}"
    short = await api.get_json(f"{path}/tags?short")
    assert short["0008,1140"] == [{"0008,1155": "1.2.3.9"}]
    assert (short["0010,0010"], short["0020,4000"], short["7fe0,0010"]) == ("DOE^JANE", None, None)
    human = await api.get_json(f"{path}/simplified-tags")
    assert human["ReferencedImageSequence"] == [{"ReferencedSOPInstanceUID": "1.2.3.9"}]
    assert human["Unknown Tag & Data"] == "other text"
    assert human["InventedText"] == "private text"
    assert (human["ImageComments"], human["PixelData"]) == (None, None)
    for query in ("simplify", "simplify&short", "simplify=1&full"):
        assert await api.get_json(f"{path}/tags?{query}") == human
    # The other arguments of a shape do not change the route that has the shape in its name.
    assert await api.get_json(f"{path}/simplified-tags?short") == human


@pytest.mark.parametrize("name", ["ImageComments", "0020-4000", "00204000"])
async def test_ignore_length_lifts_the_limit_of_the_named_tags(api: Api, name: str) -> None:
    file = await api.store(build_rich())
    path = f"/instances/{file.instance}/simplified-tags"
    tags = await api.get_json(f"{path}?ignore-length=PatientName,{name},")
    assert tags["ImageComments"] == LONG
    assert (await api.get_json(path))["ImageComments"] is None


async def test_whole_goes_on_after_the_pixel_data(api: Api) -> None:
    file = await api.store(build_rich())
    path = f"/instances/{file.instance}/tags"
    assert "fffc,fffc" not in await api.get_json(path)
    assert "fffc,fffc" in await api.get_json(f"{path}?whole")


@pytest.mark.parametrize(
    "query",
    ["short=2", "simplify=yes", "whole=x", "ignore-length=NoSuchTag", "ignore-length=00,11"],
)
async def test_tags_with_a_wrong_argument_are_400(api: Api, query: str) -> None:
    file = await api.store()
    result = await api.get(f"/instances/{file.instance}/tags?{query}")
    assert result.status_code == 400
    assert result.json["HttpStatus"] == 400


async def test_ignore_length_with_too_many_tags_is_400(api: Api) -> None:
    file = await api.store()
    names = ",".join(["00100010"] * 1001)
    result = await api.get(f"/instances/{file.instance}/tags?ignore-length={names}")
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 3)


async def test_nested_sequences_of_a_stored_file_do_not_end_the_server(api: Api) -> None:
    content = b""
    for _ in range(200):
        content = encode_sequence(0x00081140, [content], is_undefined=True)
    file = build_synthetic(tail=content)
    stored = await api.request("POST", "/instances", body=file.content)
    if stored.status_code == 200:
        result = await api.get(f"/instances/{file.instance}/tags")
        assert result.status_code in {200, 400}
    assert (await api.get("/system")).status_code == 200


async def test_unknown_tag_has_the_code_of_orthanc(api: Api) -> None:
    file = await api.store()
    for path in (file.paths["instances"] + "/tags", file.paths["studies"] + "/module"):
        result = await api.get(f"{path}?ignore-length=NoSuchTag")
        assert (result.status_code, result.json["OrthancStatus"]) == (400, 27)


async def test_configured_private_tag_is_known_by_name_and_vr(api: Api) -> None:
    elements: Elements = {
        0x00090011: ("LO", "INVENTED 1.0"),
        0x00091101: ("LO", LONG),
        0x00091103: ("UN", b"\1\0"),
    }
    file = await api.store(build_synthetic(elements))
    path = f"/instances/{file.instance}"
    assert (await api.get_json(f"{path}/simplified-tags"))["InventedText"] is None
    tags = await api.get_json(f"{path}/tags?short&ignore-length=0009-1101")
    assert tags["0009,1101"] == LONG
    content = await api.get(f"{path}/content/0009-1103")
    assert content.content == b"\1\0"


async def test_header_is_the_file_meta_information_in_each_shape(api: Api) -> None:
    file = await api.store(build_rich())
    path = f"/instances/{file.instance}/header"
    assert (await api.get_json(f"{path}?short"))["0002,0010"] == "1.2.840.10008.1.2.1"
    human = await api.get_json(f"{path}?simplify")
    assert human["TransferSyntaxUID"] == "1.2.840.10008.1.2.1"
    full = await api.get_json(path)
    assert full["0002,0010"]["Name"] == "TransferSyntaxUID"
    assert all(key.startswith("0002,") for key in full)


async def test_module_of_each_level_is_read_from_one_instance(api: Api) -> None:
    file = await api.store(build_rich())
    names = {
        "patients": "PatientName",
        "studies": "StudyInstanceUID",
        "series": "SeriesInstanceUID",
        "instances": "SOPInstanceUID",
    }
    for level, name in names.items():
        module = await api.get_json(f"{file.paths[level]}/module?simplify")
        assert name in module
        assert not (names.keys() - {level}) & module.keys()
    patient = await api.get_json(f"{file.paths['patients']}/module")
    assert await api.get_json(f"{file.paths['studies']}/module-patient") == patient
    assert patient["0010,0010"]["Value"] == "DOE^JANE"


async def store_series(api: Api) -> list[SyntheticFile]:
    """Store three instances of a series, one of another series of the study."""
    first = await api.store(build_rich())
    study, series, _ = first.uids
    rest = [
        await api.store(
            build_synthetic(
                {
                    0x00100010: ("PN", "DOE^JANE"),
                    0x00200013: ("IS", str(number)),
                    0x00204000: ("LT", LONG),
                    0x00280010: ("US", b"\x10\x00"),
                },
                patient_id=first.patient_id,
                study=study,
                series=series if number < 3 else "",
            )
        )
        for number in (1, 2, 3)
    ]
    return [first, *rest]


async def test_instances_tags_hold_the_tags_of_each_instance(api: Api) -> None:
    files = await store_series(api)
    expected = {"patients": files, "studies": files, "series": files[:3]}
    for level, below in expected.items():
        for query in ("", "?short", "?simplify", "?short&ignore-length=ImageComments", "?whole"):
            result = await api.get(f"{files[0].paths[level]}/instances-tags{query}")
            assert result.json == {
                file.instance: await api.get_json(f"{file.paths['instances']}/tags{query}")
                for file in below
            }
            assert list(result.json) == sorted(result.json)
            assert result.headers["content-length"] == str(len(result.content))
            assert result.content.startswith(b'{\n   "')
            assert result.content.endswith(b"\n   }\n}\n")


async def test_shared_tags_are_those_with_one_text_in_all_instances(api: Api) -> None:
    files = await store_series(api)
    study, series = files[0].paths["studies"], files[0].paths["series"]
    expected = {
        "PatientID": files[0].patient_id,
        "PatientName": "DOE^JANE",
        "Rows": "16",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "StudyInstanceUID": files[0].uids[0],
    }
    assert await api.get_json(f"{study}/shared-tags?simplify") == expected
    in_series = expected | {"SeriesInstanceUID": files[0].uids[1]}
    assert await api.get_json(f"{series}/shared-tags?simplify") == in_series
    short = await api.get_json(f"{study}/shared-tags?short")
    assert short["0028,0010"] == "16"
    full = await api.get_json(f"{study}/shared-tags")
    assert full["0028,0010"] == {"Name": "Rows", "Type": "String", "Value": "16"}
    long = await api.get_json(f"{study}/shared-tags?simplify&ignore-length=ImageComments")
    assert long == expected | {"ImageComments": LONG}


async def test_shared_tags_of_one_instance_are_its_texts(api: Api) -> None:
    file = await api.store(build_rich())
    shared = await api.get_json(f"{file.paths['patients']}/shared-tags?simplify")
    tags = await api.get_json(f"{file.paths['instances']}/simplified-tags")
    assert shared == {name: text for name, text in tags.items() if isinstance(text, str)}


async def test_instances_have_no_tags_of_many(api: Api) -> None:
    file = await api.store()
    for name in ("shared-tags", "instances-tags", "module-patient"):
        result = await api.get(f"{file.paths['instances']}/{name}")
        assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)


async def test_invalidating_tags_changes_no_answer(api: Api) -> None:
    file = await api.store()
    before = await api.get_json(f"{file.paths['instances']}/tags")
    result = await api.request("POST", "/tools/invalidate-tags")
    assert (result.status_code, result.content) == (200, b"")
    assert await api.get_json(f"{file.paths['instances']}/tags") == before


@pytest.mark.parametrize("name", ["module", "module-patient", "shared-tags", "instances-tags"])
@pytest.mark.parametrize(
    "query", ["short=2", "ignore-length=00,11", "ignore-length=" + "1," * 1001]
)
async def test_wrong_arguments_are_400(api: Api, name: str, query: str) -> None:
    file = await api.store()
    result = await api.get(f"{file.paths['studies']}/{name}?{query}")
    assert result.status_code == 400


async def test_tags_of_an_unknown_instance_are_404(api: Api) -> None:
    for name in ("tags", "simplified-tags", "header", "module"):
        result = await api.get(f"/instances/{UNKNOWN}/{name}")
        assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)

"""The file and the tags of an instance."""

import hashlib
from typing import Any

import pytest
from tests.support.dicom_files import encode_element, encode_item, encode_sequence
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("rest")]
UNKNOWN = "-".join(["11111111"] * 5)
LONG = "x" * 300


def build_rich() -> SyntheticFile:
    """Build a file with the kinds of elements that have their own form in JSON."""
    item = encode_element(0x00081155, "UI", "1.2.3.9")
    return build_synthetic(
        {
            0x00081140: ("SQ", encode_item(item)),
            0x00090010: ("LO", "INVENTED 1.0"),
            0x00091001: ("LO", "private text"),
            0x00100010: ("PN", "DOE^JANE"),
            0x00204000: ("LT", LONG),
            0x00280010: ("US", b"\x10\x00"),
            0x7FE00010: ("OW", bytes(100)),
        },
        tail=encode_element(0xFFFCFFFC, "OB", b"\0\0"),
    )


async def test_file_is_what_was_stored_byte_for_byte(api: Api) -> None:
    file = await api.store()
    result = await api.get(f"/instances/{file.instance}/file")
    assert result.content == file.content
    assert result.headers["content-type"] == "application/dicom"
    assert result.headers["content-disposition"] == f'filename="{file.instance}.dcm"'
    assert result.headers["content-length"] == str(len(file.content))
    md5 = hashlib.md5(file.content, usedforsecurity=False).hexdigest()
    assert result.headers["etag"] == f'"0-{md5}"'


@pytest.mark.parametrize("query", ["transcode=1.2.840.10008.1.2", "lossy-quality=50"])
async def test_transcoded_file_is_refused_not_answered_as_it_is(api: Api, query: str) -> None:
    file = await api.store()
    result = await api.get(f"/instances/{file.instance}/file?{query}")
    assert (result.status_code, result.json["OrthancStatus"]) == (501, 2)


@pytest.mark.parametrize("form", ["application/dicom+json", "application/dicom+xml"])
async def test_file_in_another_form_is_refused(api: Api, form: str) -> None:
    file = await api.store()
    result = await api.get(f"/instances/{file.instance}/file", headers={"Accept": form})
    assert result.status_code == 501


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
            "Name": "Unknown Tag & Data",
            "PrivateCreator": "INVENTED 1.0",
            "Type": "String",
            "Value": "private text",
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
    assert human["Unknown Tag & Data"] == "private text"
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


async def test_tags_of_an_unknown_instance_are_404(api: Api) -> None:
    for name in ("file", "tags", "simplified-tags"):
        result = await api.get(f"/instances/{UNKNOWN}/{name}")
        assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)

"""The three JSON shapes; expected forms are those of the manual §5 and of a running server."""

import struct
import zlib
from typing import Any

import pytest
from tests.support import dicom_files
from tests.support.dicom_files import (
    UNDEFINED,
    build_file,
    build_instance,
    encode_element,
    encode_fragments,
    encode_item,
    encode_meta,
    encode_sequence,
)

from isocenter.dicom import json_forms
from isocenter.dicom.dictionary import Definition
from isocenter.dicom.json_forms import (
    Shape,
    build_header_json,
    build_some_tags_json,
    build_tags_json,
)
from isocenter.dicom.tags import ConfiguredElement, TagDictionary
from isocenter.errors import BadFileFormatError

PIXEL_DATA = encode_element(0x7FE00010, "OW", b"abcd")


def _show(tag: int, vr: str, value: bytes | str) -> Any:
    """Show one element in the full shape."""
    key = f"{tag >> 16:04x},{tag & 0xFFFF:04x}"
    return build_tags_json(build_instance({tag: (vr, value)}), Shape.FULL).get(key)


def test_full_shape_tells_name_type_and_value() -> None:
    assert _show(0x00100010, "PN", "DOE^JANE") == {
        "Name": "PatientName",
        "Type": "String",
        "Value": "DOE^JANE",
    }


def test_short_and_human_shapes_hold_the_values_alone() -> None:
    data = build_instance({0x00280010: ("US", b"\x10\0")})
    short = build_tags_json(data, Shape.SHORT)
    human = build_tags_json(data, Shape.HUMAN)
    assert (short["0010,0020"], short["0028,0010"]) == ("P-1", "16")
    assert (human["PatientID"], human["Rows"]) == ("P-1", "16")
    assert list(short.values()) == list(human.values())


@pytest.mark.parametrize(
    ("vr", "value", "kind", "text"),
    [
        ("LO", "", "String", ""),
        ("LO", "a\\b ", "String", "a\\b"),
        ("LO", "x" * 256, "String", "x" * 256),
        ("LO", "x" * 257, "TooLong", None),
        ("LO", b"\xe9" * 128, "String", "é" * 128),
        ("LO", b"\xe9" * 129, "TooLong", None),
        ("LO", "x" * 5000, "TooLong", None),
        ("US", b"", "Null", None),
        ("US", b"\1\0" * 128, "String", "\\".join("1" * 128)),
        ("US", b"\1\0" * 200, "TooLong", None),
        ("OB", b"abcd", "Null", None),
        ("OW", b"", "Null", None),
        ("UN", b"text", "String", "text"),
        ("UN", b"", "String", ""),
    ],
)
def test_type_of_element_follows_its_value(
    vr: str, value: bytes | str, kind: str, text: str | None
) -> None:
    shown = _show(0x00081030, vr, value)
    assert (shown["Type"], shown["Value"]) == (kind, text)


@pytest.mark.parametrize("tag", [0x00280010, 0x00091001, 0x00080F01])
def test_unknown_binary_value_is_null(tag: int) -> None:
    assert _show(tag, "UN", b"\1\0")["Type"] == "Null"


def test_long_value_is_shown_if_asked() -> None:
    data = build_instance({0x00081030: ("LO", "x" * 5000), 0x00204000: ("LT", "y" * 300)})
    tags = build_tags_json(data, Shape.SHORT, ignore_length=frozenset({0x00081030}))
    assert tags["0008,1030"] == "x" * 5000
    assert tags["0020,4000"] is None


def test_unknown_element_has_the_observed_name() -> None:
    assert _show(0x00080F01, "LO", "ab")["Name"] == "Unknown Tag & Data"


def test_private_elements_tell_their_creator() -> None:
    data = build_instance(
        {
            0x00090010: ("LO", "GEMS_IDEN_01"),
            0x00091001: ("LO", "ab"),
            0x000910AA: ("LO", "cd"),
            0x00091101: ("LO", "ef"),
        }
    )
    tags = build_tags_json(data, Shape.FULL)
    assert tags["0009,0010"] == {
        "Name": "PrivateCreator",
        "Type": "String",
        "Value": "GEMS_IDEN_01",
    }
    assert tags["0009,1001"]["Name"] == "FullFidelity"
    assert tags["0009,1001"]["PrivateCreator"] == "GEMS_IDEN_01"
    assert tags["0009,10aa"]["Name"] == "Unknown Tag & Data"
    assert tags["0009,10aa"]["PrivateCreator"] == "GEMS_IDEN_01"
    assert "PrivateCreator" not in tags["0009,1101"]


def test_private_creator_that_is_a_sequence_names_nothing() -> None:
    tail = encode_sequence(0x00090010, [b""]) + encode_element(0x00091001, "LO", "ab")
    tags = build_tags_json(build_instance(tail=tail), Shape.FULL)
    assert "PrivateCreator" not in tags["0009,1001"]


def test_private_element_in_implicit_encoding_uses_the_dictionary() -> None:
    syntax = dicom_files.IMPLICIT_LITTLE
    creator = encode_element(0x00090010, "LO", "GEMS_IDEN_01", syntax=syntax)
    date = encode_element(0x00091027, "SL", struct.pack("<i", 77), syntax=syntax)
    other = encode_element(0x000910AA, "LO", "ab", syntax=syntax)
    tags = build_tags_json(encode_meta(syntax) + creator + date + other, Shape.SHORT)
    assert (tags["0009,1027"], tags["0009,10aa"]) == ("77", None)


def test_configured_dictionary_names_elements() -> None:
    dictionary = TagDictionary(
        [ConfiguredElement(0x00091001, Definition("LO", "1", "Ward"), "NOBODY")]
    )
    data = build_instance({0x00090010: ("LO", "NOBODY"), 0x00091001: ("LO", "7B")})
    assert build_tags_json(data, Shape.HUMAN, dictionary=dictionary)["Ward"] == "7B"


def test_last_of_equal_names_wins_in_human_shape() -> None:
    data = build_instance({0x00080F01: ("LO", "a"), 0x00080F02: ("LO", "b")})
    assert build_tags_json(data, Shape.HUMAN)["Unknown Tag & Data"] == "b"


@pytest.mark.parametrize("shape", [Shape.FULL, Shape.SHORT])
def test_first_of_equal_tags_wins_in_other_shapes(shape: Shape) -> None:
    tail = encode_element(0x00400254, "LO", "a") + encode_element(0x00400254, "LO", "b")
    shown = build_tags_json(build_instance(tail=tail), shape)["0040,0254"]
    assert (shown["Value"] if shape is Shape.FULL else shown) == "a"


@pytest.mark.parametrize("is_undefined", [False, True])
@pytest.mark.parametrize(
    "syntax",
    [dicom_files.IMPLICIT_LITTLE, dicom_files.EXPLICIT_LITTLE, dicom_files.EXPLICIT_BIG],
)
def test_sequence_is_an_array_of_objects(syntax: str, *, is_undefined: bool) -> None:
    inner = encode_element(0x00400009, "SH", "SPS1", syntax=syntax)
    deep = encode_sequence(0x00400008, [inner], syntax=syntax, is_undefined=is_undefined)
    data = encode_sequence(
        0x00400275, [inner + deep, b""], syntax=syntax, is_undefined=is_undefined
    )
    data += encode_element(0x00401001, "SH", "RP1", syntax=syntax)
    tags = build_tags_json(encode_meta(syntax) + data, Shape.FULL)
    step = {"Name": "ScheduledProcedureStepID", "Type": "String", "Value": "SPS1"}
    assert tags["0040,0275"] == {
        "Name": "RequestAttributesSequence",
        "Type": "Sequence",
        "Value": [
            {
                "0040,0009": step,
                "0040,0008": {
                    "Name": "ScheduledProtocolCodeSequence",
                    "Type": "Sequence",
                    "Value": [{"0040,0009": step}],
                },
            },
            {},
        ],
    }
    assert tags["0040,1001"]["Value"] == "RP1"


def test_empty_sequence_is_an_empty_array() -> None:
    assert _show(0x00400275, "SQ", b"")["Value"] == []


def test_unknown_vr_of_undefined_length_is_a_sequence() -> None:
    inner = encode_element(0x00400009, "SH", "SPS1", syntax=dicom_files.IMPLICIT_LITTLE)
    tail = encode_sequence(0x00400275, [inner], vr="UN", is_undefined=True)
    tags = build_tags_json(build_instance(tail=tail), Shape.SHORT)
    assert tags["0040,0275"] == [{"0040,0009": "SPS1"}]


def test_fragments_inside_a_sequence_are_null() -> None:
    icon = encode_fragments([b"abcd"]) + encode_element(0x7FE10010, "LO", "ab")
    tail = encode_sequence(0x00880200, [icon], is_undefined=True)
    tags = build_tags_json(build_instance(tail=tail), Shape.SHORT)
    assert tags["0088,0200"] == [{"7fe0,0010": None, "7fe1,0010": "ab"}]


def _nest(depth: int, *, is_undefined: bool) -> bytes:
    content = encode_element(0x00400009, "SH", "SPS1")
    for _ in range(depth):
        content = encode_sequence(0x00400275, [content], is_undefined=is_undefined)
    return content


@pytest.mark.parametrize("is_undefined", [False, True])
@pytest.mark.parametrize(("depth", "shown"), [(64, 64), (65, 64), (100, 64)])
def test_sequences_deeper_than_64_are_null(depth: int, shown: int, *, is_undefined: bool) -> None:
    data = build_instance(tail=_nest(depth, is_undefined=is_undefined))
    item = build_tags_json(data, Shape.SHORT)
    count = 0
    while item.get("0040,0275") is not None:
        item = item["0040,0275"][0]
        count += 1
    assert count == shown
    assert item == ({"0040,0009": "SPS1"} if depth == shown else {"0040,0275": None})


def test_character_set_of_an_item_is_its_own() -> None:
    greek = encode_element(0x00080005, "CS", "ISO_IR 126")
    first = encode_element(0x00400007, "LO", b"\xc4 ")
    data = build_instance(
        {0x00080005: ("CS", "ISO_IR 100")}, tail=encode_sequence(0x00400275, [greek + first, first])
    )
    tags = build_tags_json(data, Shape.HUMAN)
    texts = [
        item["ScheduledProcedureStepDescription"] for item in tags["RequestAttributesSequence"]
    ]
    assert texts == ["Δ", "Ä"]


@pytest.mark.parametrize(("encoding", "text"), [("Latin1", "Ä"), ("Greek", "Δ")])
def test_default_encoding_serves_files_without_character_set(encoding: str, text: str) -> None:
    data = build_instance({0x00081030: ("LO", b"\xc4 ")})
    tags = build_tags_json(data, Shape.SHORT, default_encoding=encoding)
    assert tags["0008,1030"] == text


@pytest.mark.parametrize(("is_signed", "text"), [(b"\0\0", "65535"), (b"\1\0", "-1")])
def test_ambiguous_number_in_implicit_encoding_follows_the_pixels(
    is_signed: bytes, text: str
) -> None:
    syntax = dicom_files.IMPLICIT_LITTLE
    data = encode_element(0x00280103, "US", is_signed, syntax=syntax)
    data += encode_element(0x00280106, "US", b"\xff\xff", syntax=syntax)
    assert (
        build_tags_json(encode_meta(syntax) + data, Shape.HUMAN)["SmallestImagePixelValue"] == text
    )


def test_group_lengths_are_not_listed() -> None:
    data = build_instance({0x00080000: ("UL", b"\0\0\0\0"), 0x00090000: ("UL", b"\0\0\0\0")})
    assert not [key for key in build_tags_json(data, Shape.SHORT) if key.endswith(",0000")]


def test_listing_ends_with_the_pixel_data() -> None:
    tail = PIXEL_DATA + encode_element(0xFFFCFFFC, "OB", b"\0\0")
    tags = build_tags_json(build_instance(tail=tail), Shape.FULL)
    assert list(tags)[-1] == "7fe0,0010"
    assert tags["7fe0,0010"] == {"Name": "PixelData", "Type": "Null", "Value": None}


def test_listing_without_pixel_data_ends_at_their_place() -> None:
    tail = encode_element(0xFFFCFFFC, "OB", b"\0\0")
    assert "fffc,fffc" not in build_tags_json(build_instance(tail=tail), Shape.SHORT)
    assert "fffc,fffc" in build_tags_json(build_instance(tail=tail), Shape.SHORT, whole=True)


@pytest.mark.parametrize("pixels", [PIXEL_DATA, encode_fragments([b"abcd"])])
def test_whole_listing_goes_on_after_the_pixel_data(pixels: bytes) -> None:
    tail = pixels + encode_element(0x7FE10010, "LO", "ab")
    tags = build_tags_json(build_instance(tail=tail), Shape.SHORT, whole=True)
    assert (tags["7fe0,0010"], tags["7fe1,0010"]) == (None, "ab")


def test_beginning_up_to_the_pixel_data_is_enough() -> None:
    data = build_instance(tail=PIXEL_DATA)
    assert build_tags_json(data[:-4], Shape.FULL) == build_tags_json(data, Shape.FULL)
    with pytest.raises(BadFileFormatError):
        build_tags_json(data[:-4], Shape.FULL, whole=True)


def test_deflated_file_is_listed_even_behind_large_pixel_data() -> None:
    pixels = encode_element(0x7FE00010, "OW", b"\0" * (3 << 20))
    content = encode_element(0x00100010, "PN", "DOE") + pixels
    content += encode_element(0x7FE10010, "LO", "ab")
    stream = zlib.compressobj(wbits=-15)
    data = encode_meta(dicom_files.DEFLATED_LITTLE) + stream.compress(content) + stream.flush()
    assert list(build_tags_json(data, Shape.SHORT)) == ["0010,0010", "7fe0,0010"]
    assert build_tags_json(data, Shape.SHORT, whole=True)["7fe1,0010"] == "ab"


@pytest.mark.parametrize(
    "tail",
    [
        encode_element(0x00400254, "LO", b"ab", length=20),
        encode_element(0x00400275, "SQ", b"", length=20),
        encode_element(0x00400275, "SQ", encode_element(0x00400254, "LO", b"ab")),
        encode_element(0x00400275, "SQ", encode_item(b"\x10\0\x10\0LO\x09\0")),
        encode_element(0x7FD00010, "OB", b"\1\2\3\4\0\0\0\0", length=UNDEFINED),
    ],
)
def test_contradictory_lengths_are_refused(tail: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        build_tags_json(build_instance(tail=tail), Shape.FULL)


def test_header_holds_the_meta_information_without_binary_values() -> None:
    header = build_header_json(build_instance(), Shape.HUMAN)
    assert header == {
        "FileMetaInformationGroupLength": "106",
        "MediaStorageSOPClassUID": dicom_files.CT_IMAGE_STORAGE,
        "MediaStorageSOPInstanceUID": "1.2.3.4",
        "TransferSyntaxUID": dicom_files.EXPLICIT_LITTLE,
        "ImplementationClassUID": "1.2.3",
    }
    assert build_header_json(build_instance(), Shape.FULL)["0002,0010"] == {
        "Name": "TransferSyntaxUID",
        "Type": "String",
        "Value": dicom_files.EXPLICIT_LITTLE,
    }


def test_some_tags_are_those_asked_for_and_nothing_else() -> None:
    data = build_file(
        encode_element(0x00080005, "CS", "ISO_IR 144")
        + encode_sequence(0x00081140, [encode_element(0x00100010, "PN", "in")], is_undefined=True)
        + encode_element(0x00090010, "LO", "GEMS_IDEN_01")
        + encode_element(0x00091001, "LO", "ab")
        + encode_element(0x00100010, "PN", b"\xcf\xf0")
        + encode_sequence(0x00400275, [encode_element(0x00100020, "LO", "id")])
        + encode_element(0x7FE00010, "OW", b"ab")
    )
    tags = {0x00091001, 0x00100010, 0x00400275, 0x00100020, 0x7FE00010}

    some = build_some_tags_json(data, Shape.FULL, tags)

    assert list(some) == ["0009,1001", "0010,0010", "0040,0275"]
    assert some["0009,1001"]["PrivateCreator"] == "GEMS_IDEN_01"
    assert some["0010,0010"]["Value"] == b"\xcf\xf0".decode("iso8859_5")
    everything = build_tags_json(data, Shape.FULL)
    assert some == {key: everything[key] for key in some}


@pytest.mark.parametrize("vr", ["LO", "UN"])
def test_some_tags_of_a_truncated_file_are_an_error(vr: str) -> None:
    data = build_file(encode_element(0x00080060, vr, "ab", length=100))
    with pytest.raises(BadFileFormatError):
        build_some_tags_json(data, Shape.SHORT, {0x00100010})


def test_too_many_elements_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_forms, "MAXIMUM_ELEMENTS", 2)
    item = encode_element(0x00100010, "PN", "in")
    build_tags_json(build_file(encode_sequence(0x00081140, [item])), Shape.SHORT)
    with pytest.raises(BadFileFormatError, match="more than 2"):
        build_tags_json(build_file(encode_sequence(0x00081140, [item, item])), Shape.SHORT)


def test_very_long_text_is_not_shown_even_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_forms, "MAXIMUM_TEXT_BYTES", 5000)
    for size, shown in ((5000, "x" * 5000), (5002, None)):
        data = build_file(encode_element(0x0040A160, "UT", "x" * size))
        tags = build_tags_json(data, Shape.SHORT, ignore_length=frozenset({0x0040A160}))
        assert tags == {"0040,a160": shown}

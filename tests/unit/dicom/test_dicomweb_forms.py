"""The two encodings of the DICOM model, byte for byte."""

import base64
import json
import struct
import zlib
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tests.support.dicom_files import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    build_data_set,
    build_file,
    encode_element,
    encode_fragments,
    encode_item,
    encode_meta,
    encode_sequence,
)

from isocenter.dicom import native_model
from isocenter.dicom.dicomweb_json import iter_dicom_json
from isocenter.dicom.dicomweb_xml import iter_native_xml
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.errors import BadFileFormatError

START = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<NativeDicomModel xml:space="preserve" '
    b'xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
)
END = b"</NativeDicomModel>\n"
NAME = (
    '<PersonName number="1"><Alphabetic><FamilyName>Fa</FamilyName><GivenName>Gi</GivenName>'
    "<MiddleName>Mi</MiddleName><NamePrefix>Pre</NamePrefix><NameSuffix>Suf</NameSuffix>"
    "</Alphabetic><Ideographic><FamilyName>I</FamilyName></Ideographic></PersonName>"
)


def write_json(data: bytes) -> bytes:
    pieces = iter_dicom_json(data, default_encoding="Latin1", dictionary=DEFAULT_DICTIONARY)
    return b"".join(pieces)


def load_json(data: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(write_json(data))
    return document


def write_xml(data: bytes) -> bytes:
    pieces = iter_native_xml(data, default_encoding="Latin1", dictionary=DEFAULT_DICTIONARY)
    document = b"".join(pieces)
    ET.fromstring(document)  # noqa: S314 - our own document
    assert document.startswith(START)
    assert document.endswith(END)
    return document[len(START) : -len(END)]


def build(vr: str, value: bytes | str, syntax: str = EXPLICIT_LITTLE) -> bytes:
    element = encode_element(0x00091001, vr, value, syntax=syntax)
    return build_file(element, syntax=syntax)


# PS3.18 §F.2.3.
@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("AE", b"  TITLE ", b'{"Value":["TITLE"],"vr":"AE"}'),
        ("AS", "030Y", b'{"Value":["030Y"],"vr":"AS"}'),
        ("AT", b"\x28\0\x0a\0\x10\0\x20\0", b'{"Value":["0028000A","00100020"],"vr":"AT"}'),
        ("CS", "A\\B", b'{"Value":["A","B"],"vr":"CS"}'),
        ("DS", "1.5\\ -2\\1e3", b'{"Value":[1.5,-2.0,1000.0],"vr":"DS"}'),
        ("DS", "abc\\1e9999", b'{"Value":["abc","1e9999"],"vr":"DS"}'),
        ("IS", "12\\ -3\\+4", b'{"Value":[12,-3,4],"vr":"IS"}'),
        ("IS", "1.5", b'{"Value":["1.5"],"vr":"IS"}'),
        ("FD", struct.pack("<dd", 1.5, -0.25), b'{"Value":[1.5,-0.25],"vr":"FD"}'),
        (
            "FD",
            struct.pack("<ddd", float("nan"), float("inf"), float("-inf")),
            b'{"Value":["NaN","Infinity","-Infinity"],"vr":"FD"}',
        ),
        ("FL", struct.pack("<f", 0.5), b'{"Value":[0.5],"vr":"FL"}'),
        ("LO", "a\\\\b", b'{"Value":["a",null,"b"],"vr":"LO"}'),
        ("LO", "", b'{"vr":"LO"}'),
        ("LO", "\\", b'{"vr":"LO"}'),
        ("LT", "a\\b ", b'{"Value":["a\\\\b"],"vr":"LT"}'),
        (
            "PN",
            "A^B=C^D=E^F",
            b'{"Value":[{"Alphabetic":"A^B","Ideographic":"C^D","Phonetic":"E^F"}],"vr":"PN"}',
        ),
        ("PN", "A^B\\=C", b'{"Value":[{"Alphabetic":"A^B"},{"Ideographic":"C"}],"vr":"PN"}'),
        ("UI", "1.2.3", b'{"Value":["1.2.3"],"vr":"UI"}'),
        ("UV", struct.pack("<QQ", 2**53, 1), b'{"Value":["9007199254740992",1],"vr":"UV"}'),
        ("SV", struct.pack("<q", -(2**60)), b'{"Value":["-1152921504606846976"],"vr":"SV"}'),
        ("US", b"\1\0\2\0", b'{"Value":[1,2],"vr":"US"}'),
        ("US", b"", b'{"vr":"US"}'),
        ("OB", b"ab", b'{"InlineBinary":"YWI=","vr":"OB"}'),
        ("OB", b"", b'{"vr":"OB"}'),
        ("UN", b"ab", b'{"InlineBinary":"YWI=","vr":"UN"}'),
        ("SQ", b"", b'{"vr":"SQ"}'),
        ("SQ", encode_item(b"") * 2, b'{"Value":[{},{}],"vr":"SQ"}'),
    ],
)
def test_value_in_json_is_that_of_the_standard(
    vr: str, value: bytes | str, expected: bytes
) -> None:
    assert write_json(build(vr, value)) == b'{"00091001":' + expected + b"}"


# PS3.19 §A.1.5.
@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("CS", "A\\B", '<Value number="1">A</Value><Value number="2">B</Value>'),
        ("LO", "a\\\\b", '<Value number="1">a</Value><Value number="3">b</Value>'),
        ("LO", '<b>&"', '<Value number="1">&lt;b&gt;&amp;"</Value>'),
        ("LT", b"a\r\nb\1", '<Value number="1">a&#13;\nb\N{REPLACEMENT CHARACTER}</Value>'),
        ("DS", "1.50", '<Value number="1">1.50</Value>'),
        ("US", b"\1\0\2\0", '<Value number="1">1</Value><Value number="2">2</Value>'),
        ("AT", b"\x28\0\x0a\0", '<Value number="1">0028000A</Value>'),
        (
            "PN",
            "Fa^Gi^Mi^Pre^Suf=I",
            NAME,
        ),
        ("OB", b"ab", "<InlineBinary>YWI=</InlineBinary>"),
        ("SQ", encode_item(b"") * 2, '<Item number="1"></Item><Item number="2"></Item>'),
        ("LO", "", ""),
    ],
)
def test_value_in_xml_is_that_of_the_standard(vr: str, value: bytes | str, expected: str) -> None:
    start = f'<DicomAttribute tag="00091001" vr="{vr}">'
    assert write_xml(build(vr, value)).decode() == f"{start}{expected}</DicomAttribute>"


def test_attributes_in_xml_have_keyword_and_private_creator() -> None:
    data = build_file(
        build_data_set(
            {
                0x00080008: ("CS", "A"),
                0x00090010: ("LO", 'A "&'),
                0x00091001: ("LO", "x"),
                0x00324000: ("LT", "c"),
                0x60020010: ("US", b"\1\0"),
            }
        )
    )
    starts = [part.partition(b">")[0] for part in write_xml(data).split(b"<DicomAttribute ")[1:]]
    assert starts == [
        b'tag="00080008" vr="CS" keyword="ImageType"',
        b'tag="00090010" vr="LO"',
        b'tag="00091001" vr="LO" privateCreator=\'A "&amp;\'',
        b'tag="00324000" vr="LT" keyword="StudyComments"',
        b'tag="60020010" vr="US" keyword="OverlayRows"',
    ]


def test_text_is_utf_8_and_says_so() -> None:
    name = encode_element(0x00100010, "PN", "Müller".encode("latin-1") + b" ")
    latin = build_file(encode_element(0x00080005, "CS", "ISO_IR 100") + name)
    unnamed = build_file(name)
    nested = build_file(encode_sequence(0x00081140, [name]))
    plain = build_file(encode_element(0x00100010, "PN", "Miller"))

    for data in (latin, unnamed, nested):
        assert load_json(data)["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
        assert b">ISO_IR 192</Value>" in write_xml(data)
    assert load_json(latin)["00100010"]["Value"] == [{"Alphabetic": "Müller"}]
    assert "00080005" not in load_json(plain)


def test_items_may_have_their_own_character_set() -> None:
    name = encode_element(0x00100010, "PN", b"\xcf\xf0")
    inner = encode_element(0x00080005, "CS", "ISO_IR 144") + name
    outer = encode_element(0x00080005, "CS", "ISO_IR 100")
    document = load_json(build_file(outer + encode_sequence(0x00081140, [inner]) + name))

    [item] = document["00081140"]["Value"]
    assert item["00100010"]["Value"] == [{"Alphabetic": b"\xcf\xf0".decode("iso8859_5")}]
    assert document["00100010"]["Value"] == [{"Alphabetic": b"\xcf\xf0".decode("latin-1")}]


def test_group_lengths_and_repeated_tags_are_left_out() -> None:
    data = build_file(
        encode_element(0x00080000, "UL", b"\1\0\0\0")
        + encode_element(0x00080060, "CS", "CT")
        + encode_element(0x00080060, "CS", "MR")
    )
    assert load_json(data) == {"00080060": {"vr": "CS", "Value": ["CT"]}}


def test_words_of_big_endian_become_little_endian() -> None:
    document = load_json(build("OW", b"\1\2\3\4", EXPLICIT_BIG))
    assert base64.b64decode(document["00091001"]["InlineBinary"]) == b"\2\1\4\3"


def test_fragments_are_written_with_the_headers_of_their_items() -> None:
    fragments = encode_fragments([b"ab", b"cdef"])
    document = load_json(build_file(fragments))
    value = base64.b64decode(document["7FE00010"]["InlineBinary"])
    assert value == encode_item(b"") + encode_item(b"ab") + encode_item(b"cdef")


@pytest.mark.parametrize("size", [1, 2, 3, 196_607, 196_608, 196_609, 1_000_000])
def test_long_binary_value_is_one_text_in_base64(size: int) -> None:
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    document = load_json(build("OB", content))
    assert document["00091001"]["InlineBinary"] == base64.b64encode(content).decode()


def test_deflated_data_set_is_written_as_any_other() -> None:
    plain = build_data_set({0x00080060: ("CS", "CT"), 0x7FE00010: ("OW", bytes(2_000_000))})
    packer = zlib.compressobj(wbits=-15)
    document = load_json(encode_meta(DEFLATED_LITTLE) + packer.compress(plain) + packer.flush())
    assert document["00080060"]["Value"] == ["CT"]
    assert len(base64.b64decode(document["7FE00010"]["InlineBinary"])) == 2_000_000


def test_sequences_deeper_than_the_limit_are_shown_without_items() -> None:
    content = b""
    for _ in range(70):
        content = encode_sequence(0x00081140, [content])
    document = load_json(build_file(content))
    depth = 0
    while "Value" in document.get("00081140", {}):
        [document] = document["00081140"]["Value"]
        depth += 1
    assert depth == 64


@pytest.mark.parametrize("write", [write_json, write_xml])
def test_limits_are_errors(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = build_file(build_data_set({0x00080060: ("CS", "CT"), 0x00080070: ("LO", "x")}))
    monkeypatch.setattr(native_model, "MAXIMUM_ELEMENTS", 1)
    with pytest.raises(BadFileFormatError, match="more than 1 elements"):
        write(data)
    monkeypatch.setattr(native_model, "MAXIMUM_ELEMENTS", 10)
    monkeypatch.setattr(native_model, "MAXIMUM_TEXT_BYTES", 1)
    with pytest.raises(BadFileFormatError, match="more than 1 bytes"):
        write(data)


@pytest.mark.parametrize("write", [write_json, write_xml])
def test_file_without_its_pixel_data_is_an_error(write: Any) -> None:
    with pytest.raises(BadFileFormatError):
        write(build_file(encode_element(0x7FE00010, "OW", b"ab", length=100)))

"""From JSON to the bytes of values."""

import codecs
import subprocess
import sys
from typing import Any

import pytest
from pydicom import charset

from isocenter.dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, Layout
from isocenter.dicom.encoding import _USUAL_ENCODINGS, Encoder, TextCodec
from isocenter.dicom.new_elements import NewElement, NewItems
from isocenter.dicom.tags import DEFAULT_DICTIONARY, parse_tag
from isocenter.errors import ServerError


def _encoder(character_set: str = "", layout: Layout = EXPLICIT_LITTLE) -> Encoder:
    return Encoder(layout, TextCodec(character_set), DEFAULT_DICTIONARY)


@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [
        ("PatientName", "DOE^JANE", NewElement("PN", b"DOE^JANE")),
        ("PatientName", "", NewElement("PN", b"")),
        ("StudyInstanceUID", "1.2", NewElement("UI", b"1.2")),
        ("Rows", "512", NewElement("US", b"\0\2")),
        ("Rows", "", NewElement("US", b"")),
        ("RecommendedDisplayFrameRateInFloat", "1.5", NewElement("FL", b"\0\0\xc0?")),
        ("OffendingElement", "0010,0020", NewElement("AT", b"\x10\0\x20\0")),
        ("PixelData", "data:;base64,AAE=", NewElement("OW", b"\0\1")),
        ("ReferencedImageSequence", "", NewItems(())),
        ("ReferencedImageSequence", [], NewItems(())),
        (
            "ReferencedImageSequence",
            [{"ReferencedSOPInstanceUID": "1.2", "0008,1150": "3"}],
            NewItems((b"\x08\0\x50\x11UI\2\x003\0\x08\0\x55\x11UI\4\x001.2\0",)),
        ),
    ],
)
def test_value_is_encoded(tag: str, value: Any, expected: NewElement | NewItems) -> None:
    assert _encoder().encode(parse_tag(tag), value) == expected


def test_numbers_follow_the_byte_order() -> None:
    encoder = _encoder(layout=EXPLICIT_BIG)
    assert encoder.encode(parse_tag("Rows"), "1\\258") == NewElement("US", b"\0\1\1\2")


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("PatientName", 5),
        ("PatientName", None),
        ("PatientName", {}),
        ("Rows", "many"),
        ("Rows", "70000"),
        ("Rows", "-1"),
        ("ReferencedImageSequence", "text"),
        ("ReferencedImageSequence", ["text"]),
        ("ReferencedImageSequence", [{"Nonsense": "x"}]),
        ("PixelData", "data:image/png"),
        ("PixelData", "data:;base64,!"),
        ("OffendingElement", "Nonsense"),
    ],
)
def test_wrong_value_is_refused(tag: str, value: Any) -> None:
    with pytest.raises(ServerError) as caught:
        _encoder().encode(parse_tag(tag), value)
    assert caught.value.http_status == 400


def test_deep_value_is_refused() -> None:
    value: Any = []
    for _ in range(100):
        value = [{"ReferencedImageSequence": value}]
    with pytest.raises(ServerError):
        _encoder().encode(parse_tag("ReferencedImageSequence"), value)


@pytest.mark.parametrize(
    ("character_set", "text", "encoded"),
    [
        ("ISO_IR 100", "M\u00fcller", b"M\xfcller"),
        ("ISO_IR 192", "山田", "山田".encode()),
        ("GB18030", "山田", "山田".encode("gb18030")),
        (
            "\\ISO 2022 IR 87",
            "Yamada^Tarou=山田^太郎",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
        ),
    ],
)
def test_text_is_encoded_in_the_character_set(
    character_set: str, text: str, encoded: bytes
) -> None:
    codec = TextCodec(character_set)
    assert codec.can_encode(text)
    assert codec.encode(text) == encoded


@pytest.mark.parametrize("character_set", ["", "ISO_IR 6", "ISO_IR 100", "\\ISO 2022 IR 87"])
def test_letter_that_the_character_set_lacks_is_refused(character_set: str) -> None:
    assert not TextCodec(character_set).can_encode("한")
    with pytest.raises(ServerError):
        _encoder(character_set).encode(parse_tag("PatientName"), "한")


def test_usual_character_sets_are_those_of_pydicom() -> None:
    known = charset.python_encoding
    assert {term: codecs.lookup(name).name for term, name in _USUAL_ENCODINGS.items()} == {
        term: codecs.lookup(known[term]).name for term in _USUAL_ENCODINGS
    }


def test_ascii_needs_no_other_library() -> None:
    program = (
        "import sys; from isocenter.dicom.encoding import TextCodec;"
        "TextCodec('ISO_IR 100').encode('é'); TextCodec('').encode('e');"
        "sys.exit('pydicom' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0

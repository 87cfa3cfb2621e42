"""Writing many data sets: always what writing each for itself gives."""

from typing import Any

import pytest
from tests.support.dicom_files import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    Elements,
    build_data_set,
    build_file,
    encode_element,
    encode_fragments,
    encode_sequence,
)
from tests.support.samples import list_samples

from isocenter.dicom import tags_writer
from isocenter.dicom.dictionary import Definition
from isocenter.dicom.json_forms import Shape, build_tags_json
from isocenter.dicom.tags import ConfiguredElement, TagDictionary
from isocenter.dicom.tags_writer import TagsWriter
from isocenter.errors import BadFileFormatError, ServerError

DICTIONARY = TagDictionary(
    [ConfiguredElement(0x00091001, Definition("LO", "1", "Invented"), "NOBODY")]
)
LONG = 0x00204000


def new_writer(shape: Shape) -> TagsWriter:
    return TagsWriter(
        shape,
        ignore_length=frozenset({LONG}),
        default_encoding="Latin1",
        dictionary=DICTIONARY,
    )


def build_expected(data: bytes, shape: Shape) -> dict[str, Any]:
    return build_tags_json(data, shape, ignore_length=frozenset({LONG}), dictionary=DICTIONARY)


NAME = encode_element(0x00100010, "PN", b"\xcf\xf0")
CYRILLIC = encode_element(0x00080005, "CS", "ISO_IR 144")
LATIN = encode_element(0x00080005, "CS", "ISO_IR 100")
CREATOR = encode_element(0x00090010, "LO", "NOBODY")
OTHER = encode_element(0x00090010, "LO", "OTHERS")
PRIVATE = encode_element(0x00091001, "LO", "ab")
PIXELS = encode_element(0x7FE00010, "OW", b"ab")

# Each of these would go wrong if too much were recognized.
CONTENTS = [
    NAME,
    CYRILLIC + NAME,
    LATIN + NAME,
    encode_element(0x00080005, "CS", "") + NAME,
    encode_element(0x00080005, "CS", "\\ISO 2022 IR 87") + NAME,
    encode_element(0x00080005, "UN", "ISO_IR 144") + NAME,
    CREATOR + PRIVATE + NAME,
    OTHER + PRIVATE,
    PRIVATE,
    CREATOR + NAME + PRIVATE,  # The group comes in two parts.
    NAME + encode_element(0x00100010, "PN", "XY"),
    encode_element(0x00080000, "UL", b"\1\0\0\0") + NAME,
    encode_sequence(0x00081140, [CYRILLIC + NAME, NAME]) + NAME + PIXELS,
    encode_sequence(0x00081140, [CREATOR + PRIVATE], is_undefined=True),
    encode_sequence(0x00091001, [b""], vr="UN", is_undefined=True) + NAME,
    encode_element(LONG, "LT", "x" * 9000) + encode_element(0x00104000, "LT", "x" * 9000),
    NAME + encode_fragments([b"ab"]),
    NAME + PIXELS + encode_element(0xFFFCFFFC, "OB", b"ab"),
    encode_element(0x7FE00000, "UL", b"\1\0\0\0") + PIXELS,
    b"",
]
ROWS: Elements = {0x00280010: ("US", b"\1\0")}
SIGNED: Elements = {0x00280103: ("US", b"\1\0"), 0x00280106: ("SS", b"\xff\xff")}
FILES = [
    *map(build_file, CONTENTS),
    *(
        build_file(build_data_set(elements, syntax=syntax), syntax=syntax)
        for elements in (ROWS, SIGNED)
        for syntax in (EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE)
    ),
]


@pytest.mark.parametrize("shape", list(Shape))
def test_each_file_is_written_as_if_it_were_alone(shape: Shape) -> None:
    writer = new_writer(shape)
    for data in (*FILES, *reversed(FILES), *FILES):
        assert writer.write(data) == build_expected(data, shape)
        assert writer.write(memoryview(data)) == build_expected(data, shape)


@pytest.mark.parametrize("shape", list(Shape))
def test_samples_are_written_as_if_each_were_alone(shape: Shape) -> None:
    if not list_samples():
        pytest.skip("The folder of sample files is absent")
    writer = new_writer(shape)
    for path in list_samples() * 2:
        data = path.read_bytes()
        try:
            expected = build_expected(data, shape)
        except ServerError as error:
            with pytest.raises(type(error)):
                writer.write(data)
        else:
            assert writer.write(data) == expected


@pytest.mark.parametrize(
    "content",
    [
        NAME[:-1],
        NAME + CREATOR[:-1],
        encode_element(0x00081140, "SQ", b"no items"),
        encode_element(0x00081140, "SQ", b"", length=0xFFFFFFFF),
        encode_element(0x0040A160, "UT", b"ab", length=100),
    ],
)
def test_damaged_file_is_an_error_each_time(content: bytes) -> None:
    writer = new_writer(Shape.SHORT)
    for _ in range(2):
        with pytest.raises(BadFileFormatError):
            writer.write(build_file(content))


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags_writer, "_MOST_KNOWN_BYTES", 100)
    writer = new_writer(Shape.SHORT)
    for number in range(1000):
        data = build_file(encode_element(0x00200013, "IS", f"{number:06}"))
        assert writer.write(data) == {"0020,0013": f"{number:06}"}

    assert writer._known_bytes <= 200


def test_recognized_elements_count_as_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    item = encode_element(0x00100020, "LO", "ab")
    data = build_file(encode_sequence(0x00081140, [item, item]) + NAME)
    monkeypatch.setattr(tags_writer, "MAXIMUM_ELEMENTS", 3)
    writer = new_writer(Shape.SHORT)
    for _ in range(2):
        with pytest.raises(BadFileFormatError, match="more than 3"):
            writer.write(data)

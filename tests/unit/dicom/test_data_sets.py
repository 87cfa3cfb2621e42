"""Reading small data sets, and writing them again."""

import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.dicom_files import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    build_data_set,
    build_file,
    build_instance,
    encode_element,
    encode_fragments,
    encode_sequence,
)

from isocenter.dicom import data_sets
from isocenter.dicom.data_set_writer import AnswerEncoding, build_element, encode_data_set
from isocenter.dicom.data_sets import (
    DataSet,
    Element,
    get_layout,
    get_text,
    read_data_set,
    read_file_elements,
)
from isocenter.dicom.elements import MAXIMUM_DEPTH
from isocenter.errors import BadFileFormatError, BadParameterError

NAME, LEVEL, ROWS, STEPS = 0x00100010, 0x00080052, 0x00280010, 0x00400100
CHARACTER_SET, STATION, DESCRIPTION = 0x00080005, 0x00400001, 0x00400007
SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG)


def read(data: bytes, syntax: str = EXPLICIT_LITTLE) -> DataSet:
    return read_data_set(data, get_layout(syntax))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("is_undefined", [False, True])
def test_sequences_and_numbers_are_read_however_encoded(syntax: str, *, is_undefined: bool) -> None:
    order = ">" if syntax == EXPLICIT_BIG else "<"
    inner = encode_element(STATION, "AE", "S1 ", syntax=syntax)
    head = build_data_set({LEVEL: ("CS", "STUDY ")}, syntax=syntax)
    number = b"\x10\0" if order == "<" else b"\0\x10"
    rows = encode_element(ROWS, "US", number, syntax=syntax)
    steps = encode_sequence(STEPS, [inner, b""], syntax=syntax, is_undefined=is_undefined)

    found = read(head + rows + steps, syntax)

    assert found == {
        LEVEL: Element("CS", "STUDY"),
        ROWS: Element("US", "16"),
        STEPS: Element("SQ", [{STATION: Element("AE", "S1")}, {}]),
    }


def test_text_is_decoded_by_the_character_set_of_the_data_set_and_the_item() -> None:
    cyrillic, greek = "Иванов".encode("iso8859_5"), "Ωμέγα".encode("iso8859_7")
    item = encode_element(CHARACTER_SET, "CS", "ISO_IR 126") + encode_element(
        DESCRIPTION, "LO", greek + b" "
    )
    plain = encode_element(DESCRIPTION, "LO", cyrillic)
    found = read(
        encode_element(CHARACTER_SET, "CS", "ISO_IR 144")
        + encode_element(NAME, "PN", cyrillic)
        + encode_sequence(STEPS, [item, plain])
    )
    assert get_text(found, NAME) == "Иванов"
    items = found[STEPS].value
    assert isinstance(items, list)
    assert [get_text(item, DESCRIPTION) for item in items] == ["Ωμέγα", "Иванов"]
    # Behind the item with a character set of its own the outer one holds again.
    assert get_text(read(encode_element(NAME, "PN", b"M\xfcller")), NAME) == "Müller"


def test_unknown_value_representation_is_found_in_the_dictionary() -> None:
    inner = encode_element(STATION, "AE", "S1", syntax=IMPLICIT_LITTLE)
    items = encode_sequence(STEPS, [inner], syntax=EXPLICIT_LITTLE, vr="UN", is_undefined=True)
    creator = encode_element(0x00290010, "LO", "SIEMENS CSA HEADER")
    private = encode_element(0x00291008, "UN", b"IMAGE NUM 4 ")
    found = read(encode_element(ROWS, "UN", b"\x10\0") + items + creator + private)
    assert found[ROWS] == Element("US", "16")
    assert found[STEPS].value == [{STATION: Element("AE", "S1")}]
    assert found[0x00291008].vr == "CS"


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        encode_element(LEVEL, "CS", "STUDY ", length=40),
        encode_sequence(STEPS, [b"\1\2\3"]),
        encode_element(STEPS, "SQ", b"\x08\0\x52\0\0\0\0\0"),
        encode_element(STEPS, "SQ", b"\xfe\xff\x00\xe0\xff\xff\xff\xff"),
        encode_element(STEPS, "SQ", b"\xfe\xff\x00\xe0\x40\0\0\0"),
        encode_element(STEPS, "SQ", b"", length=0xFFFFFFFF),
        b"\xfe\xff\x0d\xe0\0\0\0\0",
        b"\xfe\xff\x00\xe0\0\0\0\0",
    ],
)
def test_damaged_data_set_is_refused(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        read(data)


def test_depth_and_number_of_elements_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    nested = b""
    for _ in range(66):
        nested = encode_sequence(STEPS, [nested], is_undefined=True)
    with pytest.raises(BadFileFormatError):
        read(nested)
    known = b""
    for _ in range(66):
        known = encode_sequence(STEPS, [known])
    with pytest.raises(BadFileFormatError):
        read(known)
    monkeypatch.setattr(data_sets, "MAXIMUM_ELEMENTS", 10)
    with pytest.raises(BadFileFormatError):
        read(encode_sequence(STEPS, [b""] * 20))


def test_repeated_elements_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    element = encode_element(0x00100020, "LO", b"P1")
    monkeypatch.setattr(data_sets, "MAXIMUM_ELEMENTS", 10)
    assert len(read(element * 10)) == 1
    with pytest.raises(BadFileFormatError):
        read(element * 11)


def test_nested_sequences_of_undefined_length_are_passed_over_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    data = b""
    for _ in range(MAXIMUM_DEPTH):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + data
        item += struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
        data = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + item + end
    monkeypatch.setattr(data_sets, "measure_undefined_length", None)
    found, depth = read(data), 0
    while found:
        items = found[0x0040A730].value
        assert isinstance(items, list)
        found, depth = items[0], depth + 1
    assert depth == MAXIMUM_DEPTH
    with pytest.raises(BadFileFormatError):
        read(data[: -len(end)])


def test_first_of_equal_elements_counts() -> None:
    assert get_text(read(2 * encode_element(LEVEL, "CS", "STUDY ") + b""), LEVEL) == "STUDY"
    both = encode_element(LEVEL, "CS", "STUDY ") + encode_element(LEVEL, "CS", "SERIES")
    assert get_text(read(both), LEVEL) == "STUDY"


def test_wanted_elements_of_a_file_are_read_up_to_the_pixels() -> None:
    inner = encode_element(STATION, "AE", "S1")
    tail = encode_sequence(STEPS, [inner]) + encode_fragments([b"abcd"])
    file = build_instance({NAME: ("PN", "A")}, tail=tail)
    found = read_file_elements(file, wanted=frozenset({STEPS}))
    assert found[STEPS].value == [{STATION: Element("AE", "S1")}]
    assert NAME not in found
    # The header alone is enough.
    cut = file[: file.index(b"\xe0\x7f\x10\0") + 12]
    assert read_file_elements(cut, wanted=frozenset({STEPS})) == found


def test_deflated_file_is_inflated() -> None:
    deflater = zlib.compressobj(wbits=-15)
    data = deflater.compress(build_data_set({NAME: ("PN", "A")})) + deflater.flush()
    file = build_file(data, syntax=DEFLATED_LITTLE)
    assert get_text(read_file_elements(file, wanted=frozenset({NAME})), NAME) == "A"


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\\^=\x1b"), max_size=20).map(
    lambda text: text.strip(" ")
)
elements = st.fixed_dictionaries(
    {},
    optional={
        LEVEL: st.just(Element("CS", "STUDY")),
        NAME: texts.map(lambda text: Element("PN", text)),
        ROWS: st.integers(0, 65535).map(lambda number: Element("US", str(number))),
        DESCRIPTION: texts.map(lambda text: Element("LO", text)),
        0x00720078: st.integers(0, 2**32 - 1).map(lambda number: Element("UL", str(number))),
        0x00209165: st.just(Element("AT", "0010,0020\\0008,0018")),
    },
)
trees = st.recursive(
    elements,
    lambda inner: st.builds(
        lambda flat, items: flat | {STEPS: Element("SQ", items)}, elements, st.lists(inner)
    ),
    max_leaves=8,
)


@given(trees, st.sampled_from(SYNTAXES))
def test_answer_that_is_written_can_be_read(answer: DataSet, syntax: str) -> None:
    layout = get_layout(syntax)
    data = AnswerEncoding(layout, "ISO_IR 192").encode(answer)
    assert read_data_set(data, layout) == answer | {CHARACTER_SET: Element("CS", "ISO_IR 192")}


@given(st.binary(max_size=200), st.sampled_from(SYNTAXES))
def test_any_bytes_are_read_or_refused(data: bytes, syntax: str) -> None:
    with suppress(BadFileFormatError):
        read_data_set(data, get_layout(syntax))


@pytest.mark.parametrize(
    ("asked", "default", "name", "term"),
    [
        # The character set of the question, if it has all letters; else UTF-8.
        ("ISO_IR 144", "Latin1", "Иванов", "ISO_IR 144"),
        ("ISO_IR 144", "Latin1", "Müller", "ISO_IR 192"),
        ("ISO_IR 144", "Latin1", "Doe", "ISO_IR 144"),
        ("\\ISO 2022 IR 87", "Latin1", "Yamada=山田", "\\ISO 2022 IR 87"),
        ("\\ISO 2022 IR 87", "Latin1", "Müller", "ISO_IR 192"),
        ("ISO_IR 13", "Latin1", "ﾔﾏﾀﾞ", "ISO_IR 13"),
        ("ISO_IR 13", "Latin1", "山田", "ISO_IR 192"),
        ("GB18030", "Latin1", "王", "GB18030"),
        # No question, no answer: the option counts.
        ("", "Latin1", "Müller", "ISO_IR 100"),
        ("", "Latin1", "Иванов", "ISO_IR 192"),
        ("", "Cyrillic", "Иванов", "ISO_IR 144"),
        ("", "Windows1251", "Иванов", "ISO_IR 192"),
        ("NONSENSE", "Latin1", "Müller", "ISO_IR 192"),
    ],
)
def test_answer_is_in_the_character_set_of_the_question(
    asked: str, default: str, name: str, term: str
) -> None:
    layout = get_layout(EXPLICIT_LITTLE)
    encoding = AnswerEncoding.choose(layout, asked, default)
    found = read(encoding.encode({NAME: Element("PN", name)}))
    assert (get_text(found, CHARACTER_SET), get_text(found, NAME)) == (term, name)


def test_value_that_fits_no_representation_is_sent_empty() -> None:
    encoding = AnswerEncoding(get_layout(EXPLICIT_LITTLE), "ISO_IR 100")
    found = read(encoding.encode({ROWS: Element("US", "many"), NAME: Element("PN", "A" * 70_000)}))
    assert (found[ROWS], found[NAME]) == (Element("US", ""), Element("PN", ""))
    with pytest.raises(BadParameterError):
        encode_data_set({ROWS: Element("US", "many")}, get_layout(EXPLICIT_LITTLE))


def test_values_of_json_become_elements() -> None:
    assert build_element(NAME, "A") == Element("PN", "A")
    assert build_element(NAME, None) == Element("PN", "")
    assert build_element(STEPS, None) == Element("SQ", [])
    assert build_element(0x00091001, "x", "LO") == Element("LO", "x")
    items = [{"ScheduledStationAETitle": "S1", "No such name": "x"}]
    assert build_element(STEPS, items) == Element("SQ", [{STATION: Element("AE", "S1")}])

"""Walking over elements and items."""

import pytest
from tests.support import dicom_files
from tests.support.dicom_files import (
    build_data_set,
    encode_element,
    encode_fragments,
    encode_item,
    encode_sequence,
)

from isocenter.dicom.dictionary import Definition
from isocenter.dicom.element_walk import Element, ElementWalk, Region
from isocenter.dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from isocenter.dicom.tags import DEFAULT_DICTIONARY, ConfiguredElement, TagDictionary
from isocenter.errors import BadFileFormatError

LAYOUTS = {
    dicom_files.IMPLICIT_LITTLE: IMPLICIT_LITTLE,
    dicom_files.EXPLICIT_LITTLE: EXPLICIT_LITTLE,
    dicom_files.EXPLICIT_BIG: EXPLICIT_BIG,
}
SYNTAXES = pytest.mark.parametrize("syntax", LAYOUTS)


def walk(data: bytes, syntax: str = dicom_files.EXPLICIT_LITTLE) -> list[Element]:
    region = Region(0, len(data), LAYOUTS[syntax])
    return list(ElementWalk(data, DEFAULT_DICTIONARY).iter_elements(region))


@SYNTAXES
def test_elements_have_tag_vr_and_value(syntax: str) -> None:
    data = build_data_set(
        {0x00080060: ("CS", "CT"), 0x00280010: ("US", b"\1\0"), 0x00091001: ("LO", "ab")},
        syntax=syntax,
    )

    elements = walk(data, syntax)

    assert [element.tag for element in elements] == [0x00080060, 0x00091001, 0x00280010]
    is_implicit = syntax == dicom_files.IMPLICIT_LITTLE
    vrs = ["CS", "UN" if is_implicit else "LO", "US"]
    assert [element.vr for element in elements] == vrs
    assert [data[e.start : e.stop] for e in elements] == [b"CT", b"ab", b"\1\0"]


@SYNTAXES
@pytest.mark.parametrize("is_undefined", [True, False])
def test_items_that_are_entered_and_that_are_not_end_at_the_same_place(
    syntax: str, is_undefined: bool
) -> None:
    inner = encode_sequence(
        0x00081199,
        [encode_element(0x00080018, "UI", "1.2", syntax=syntax)] * 2,
        syntax=syntax,
        is_undefined=is_undefined,
    )
    sequence = encode_sequence(0x00081140, [inner, inner], syntax=syntax, is_undefined=is_undefined)
    data = sequence + encode_element(0x00100010, "PN", "A^B ", syntax=syntax)

    passed_over = [element.tag for element in walk(data, syntax)]
    walker = ElementWalk(data, DEFAULT_DICTIONARY)
    entered = []
    for element in walker.iter_elements(Region(0, len(data), LAYOUTS[syntax])):
        entered.append(element.tag)
        if element.has_items:
            for item in walker.iter_items(element):
                entered += [below.tag for below in walker.iter_elements(item)]

    assert passed_over == [0x00081140, 0x00100010]
    assert entered == [0x00081140, 0x00081199, 0x00081199, 0x00100010]


def test_items_of_which_some_are_entered_are_all_found() -> None:
    item = encode_element(0x00080018, "UI", "1.2.3 ")
    data = encode_sequence(0x00081140, [item] * 3, is_undefined=True)
    walker = ElementWalk(data, DEFAULT_DICTIONARY)
    [element] = [*walker.iter_elements(Region(0, len(data), EXPLICIT_LITTLE))]

    counts = [
        len(list(walker.iter_elements(region))) if number == 1 else 0
        for number, region in enumerate(walker.iter_items(element))
    ]

    assert counts == [0, 1, 0]
    assert element.stop == len(data)


def test_sequence_sent_as_un_holds_implicit_items() -> None:
    item = encode_element(0x00100010, "PN", "A^B ", syntax=dicom_files.IMPLICIT_LITTLE)
    data = encode_sequence(0x00091001, [item], vr="UN", is_undefined=True)
    walker = ElementWalk(data, DEFAULT_DICTIONARY)
    [element] = [*walker.iter_elements(Region(0, len(data), EXPLICIT_LITTLE))]

    [region] = [*walker.iter_items(element)]

    assert element.has_items
    assert [below.tag for below in walker.iter_elements(region)] == [0x00100010]


def test_fragments_are_no_items() -> None:
    data = encode_fragments([b"ab", b"cd"])

    [element] = walk(data)

    assert element.is_encapsulated
    assert not element.has_items
    assert element.stop == len(data)


def test_private_elements_know_their_creator() -> None:
    dictionary = TagDictionary(
        [ConfiguredElement(0x00091001, Definition("US", "1", "Dose"), "NOBODY")]
    )
    data = build_data_set(
        {
            0x00090010: ("LO", "OTHER "),
            0x00090011: ("LO", "NOBODY"),
            0x00091001: ("LO", "ab"),
            0x00091101: ("US", b"\1\0"),
        },
        syntax=dicom_files.IMPLICIT_LITTLE,
    )
    region = Region(0, len(data), IMPLICIT_LITTLE)

    elements = {e.tag: e for e in ElementWalk(data, dictionary).iter_elements(region)}

    assert elements[0x00091001].creator == "OTHER"
    assert (elements[0x00091101].creator, elements[0x00091101].vr) == ("NOBODY", "US")


def test_us_or_ss_follows_the_pixel_representation() -> None:
    data = build_data_set(
        {0x00280103: ("US", b"\1\0"), 0x00280106: ("SS", b"\xff\xff")},
        syntax=dicom_files.IMPLICIT_LITTLE,
    )

    assert [e.vr for e in walk(data, dicom_files.IMPLICIT_LITTLE)] == ["US", "SS"]


def test_pixel_data_that_are_not_in_the_buffer_end_behind_it() -> None:
    data = encode_element(0x7FE00010, "OW", b"", length=1000)

    [element] = walk(data)

    assert element.stop == len(data) + 1000


@pytest.mark.parametrize(
    "data",
    [
        encode_element(0x00080060, "CS", "CT", length=100),
        encode_element(0x00080060, "CS", "CT")[:-3],
        encode_sequence(0x00081140, [b""], is_undefined=True)[:-8],
        encode_element(0x00081140, "SQ", b"no items", length=0xFFFFFFFF),
        encode_fragments([b"ab"], is_complete=False),
    ],
)
def test_what_does_not_fit_is_an_error(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        walk(data)


def test_something_that_is_no_item_is_an_error() -> None:
    data = encode_element(0x00081140, "SQ", b"no items")
    walker = ElementWalk(data, DEFAULT_DICTIONARY)
    [element] = [*walker.iter_elements(Region(0, len(data), EXPLICIT_LITTLE))]

    with pytest.raises(BadFileFormatError, match="not an item"):
        list(walker.iter_items(element))


def test_item_longer_than_its_sequence_ends_with_it() -> None:
    item = encode_item(encode_element(0x00080018, "UI", "1.2 "))
    longer = item[:4] + (100).to_bytes(4, "little") + item[8:]
    data = encode_element(0x00081140, "SQ", longer) + encode_element(0x00100010, "PN", "AB")
    walker = ElementWalk(data, DEFAULT_DICTIONARY)
    element, _ = [*walker.iter_elements(Region(0, len(data), EXPLICIT_LITTLE))]

    [region] = [*walker.iter_items(element)]

    assert region.limit == element.stop


def test_sequences_that_nest_too_deep_are_an_error_and_no_crash() -> None:
    data = b""
    for _ in range(2000):
        data = encode_sequence(0x00081140, [data], is_undefined=True)

    with pytest.raises(BadFileFormatError, match="too deep"):
        walk(data)

"""What headers have in common."""

import pytest
from tests.support.dicom_files import encode_element, encode_fragments, encode_sequence

from isocenter.dicom.elements import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Layout
from isocenter.dicom.header_patterns import (
    LONGEST_ELEMENT,
    HeaderElement,
    HeaderPattern,
    build_pattern,
    list_header,
)

_PIXELS = encode_element(0x7FE00010, "OW", b"\1\2")
_TEXTS = {0x00080050: "A", 0x00080060: "CT", 0x00100020: "ID"}


def _encode(texts: dict[int, str]) -> bytes:
    return b"".join(encode_element(tag, "LO", text) for tag, text in texts.items()) + _PIXELS


def _build(
    data: bytes, *, fixed: tuple[int, ...] = (), layout: Layout = EXPLICIT_LITTLE
) -> HeaderPattern | None:
    elements = list_header(data, 0, layout)
    stop = sum(len(content) for _, content in elements)
    return build_pattern(elements, data, stop, layout, fixed=fixed, variable=())


def test_file_matches_its_own_pattern() -> None:
    data = _encode(_TEXTS)
    pattern = _build(data)
    assert pattern is not None
    match = pattern.match(data, 0)
    assert match is not None
    assert match.spans == []
    assert match.stop == len(data) - len(_PIXELS)


def test_what_differs_is_learned_and_found() -> None:
    pattern = _build(_encode(_TEXTS))
    other = _encode(_TEXTS | {0x00080060: "LONGER"})
    assert pattern is not None
    assert pattern.match(other, 0) is None
    learned = pattern.learn(other, 0)
    assert learned is not None
    grown, match = learned
    [(start, stop)] = match.spans
    assert other[start:stop] == encode_element(0x00080060, "LO", "LONGER")
    assert grown.variable == {1}
    # A third value needs nothing new, and a view of a file will do.
    third = b"??" + _encode(_TEXTS | {0x00080060: "MR"})
    found = grown.match(memoryview(third), 2)
    assert found is not None
    assert third[slice(*found.spans[0])] == encode_element(0x00080060, "LO", "MR")


@pytest.mark.parametrize(
    "other",
    [
        _encode(_TEXTS | {0x00100020: "OTHER"}),
        _encode(_TEXTS | {0x00100030: "more"}),
        _encode({tag: text for tag, text in _TEXTS.items() if tag != 0x00080060}),
        _encode(_TEXTS).replace(b"LO\2\0CT", b"CS\2\0CT"),
        _encode(_TEXTS)[: -len(_PIXELS)],
        _encode(_TEXTS)[:20],
        _encode(_TEXTS).replace(b"LO\2\0CT", b"LO\xff\xffCT"),
        b"",
    ],
    ids=["fixed", "more", "less", "other VR", "no pixels", "cut", "wrong", "empty"],
)
def test_files_that_are_not_alike(other: bytes) -> None:
    pattern = _build(_encode(_TEXTS), fixed=(0x00100020,))
    assert pattern is not None
    assert pattern.match(other, 0) is None
    assert pattern.learn(other, 0) is None


def test_element_that_is_too_long_is_not_learned() -> None:
    first, other = (
        encode_element(0x00080060, "UT", text) + _PIXELS for text in ("CT", "X" * LONGEST_ELEMENT)
    )
    pattern = _build(first)
    assert pattern is not None
    assert pattern.learn(other, 0) is None


def test_sequence_with_many_items_is_not_learned() -> None:
    """Whoever sends it must not make all patterns walk over it."""
    first, other = (
        encode_sequence(0x00081115, [b""] * count, is_undefined=True) + _PIXELS
        for count in (1, 1000)
    )
    pattern = _build(first)
    assert pattern is not None
    assert pattern.learn(first.replace(b"\xfe\xff\x00\xe0", b"\xfe\xff\x00\xe1"), 0) is None
    assert pattern.learn(other, 0) is None


def test_files_that_differ_much_are_of_another_series() -> None:
    tags = range(0x00110010, 0x00110010 + 60)
    pattern = _build(_encode(dict.fromkeys(tags, "A")))
    assert pattern is not None
    few, many = ({tag: "B" if tag < tags[n] else "A" for tag in tags} for n in (20, 40))
    learned = pattern.learn(_encode(few), 0)
    assert learned is not None
    assert pattern.learn(_encode(many), 0) is None
    assert learned[0].learn(_encode(many), 0) is None


def test_without_pixels_the_header_ends_with_the_data() -> None:
    data = _encode(_TEXTS)[: -len(_PIXELS)]
    pattern = _build(data)
    assert pattern is not None
    assert pattern.match(data, 0) is not None
    assert pattern.match(data + encode_element(0x00200013, "IS", "1"), 0) is None


def test_sequences_of_any_length_may_differ() -> None:
    item = encode_element(0x00080060, "CS", "MR")
    sequences = [
        encode_sequence(0x00081115, [item]),
        encode_sequence(0x00081115, [item, item], is_undefined=True),
    ]
    data = [encode_element(0x00080050, "SH", "A") + one + _PIXELS for one in sequences]
    pattern = _build(data[0])
    assert pattern is not None
    learned = pattern.learn(data[1], 0)
    assert learned is not None
    assert data[1][slice(*learned[1].spans[0])] == sequences[1]


@pytest.mark.parametrize(
    "data",
    [
        _encode({0x00100020: "A", 0x00080060: "CT"}),
        _encode(_TEXTS) + encode_element(0x7FE00010, "OW", b"") * 2,
        encode_element(0x00080060, "UT", "X" * LONGEST_ELEMENT) + _PIXELS,
        encode_element(0x00080060, "CS", "CT") + b"\xfe\xff\x00\xe0\0\0\0\0" + _PIXELS,
        b"".join(encode_element(0x00110000 + n, "LO", "") for n in range(0x10, 0x10 + 1025))
        + _PIXELS,
        b"".join(encode_element(0x00110000 + n, "UT", "X" * 99_000) for n in (16, 17, 18)),
        encode_element(0x00080050, "SH", "A")[:-1],
    ],
    ids=["order", "pixels twice", "long", "item", "many", "large", "cut"],
)
def test_headers_without_a_pattern(data: bytes) -> None:
    pattern = _build(data)
    if data.count(_PIXELS[:4]) > 1:
        # What stands behind the pixel data is nobody's business here.
        assert pattern is not None
    else:
        assert pattern is None


def test_implicit_encoding_has_patterns_too() -> None:
    syntax = "1.2.840.10008.1.2"
    data = [
        encode_element(0x00080060, "CS", text, syntax=syntax)
        + encode_element(0x7FE00010, "OW", b"\1\2", syntax=syntax)
        for text in ("CT", "LONGER")
    ]
    pattern = _build(data[0], layout=IMPLICIT_LITTLE)
    assert pattern is not None
    learned = pattern.learn(data[1], 0)
    assert learned is not None
    assert learned[1].spans == [(0, 14)]


def test_encapsulated_pixel_data_follow_a_header() -> None:
    pixels = encode_fragments([b"", b"\1\2"])
    data = encode_element(0x00080060, "CS", "CT") + pixels
    assert [tag for tag, _ in list_header(data, 0, EXPLICIT_LITTLE)] == [0x00080060]
    assert _build(data) is not None


def test_damaged_header_is_listed_up_to_the_damage() -> None:
    good = encode_element(0x00080050, "SH", "A")
    assert list_header(good + b"\x08\0\x60\0CS\xff\0", 0, EXPLICIT_LITTLE) == [
        HeaderElement(0x00080050, good)
    ]

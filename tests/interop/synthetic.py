"""Synthetic files for the comparison: what real files seldom have."""

from collections.abc import Iterator
from itertools import product

from tests.support.dicom_files import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    build_data_set,
    build_file,
    build_instance,
    encode_element,
    encode_fragments,
    encode_sequence,
    identifiers,
)

__all__ = ["build_all", "build_contents", "build_hierarchy"]

Elements = dict[int, tuple[str, bytes | str]]

_PATIENT_NAME = 0x00100010
_PATIENT_ID = 0x00100020
_STUDY_DESCRIPTION = 0x00081030
_SERIES_NUMBER = 0x00200011
_INSTANCE_NUMBER = 0x00200013
_IMAGE_INDEX = 0x00541330
_IMAGES = 0x00201002
_POSITIONS = 0x00200105
_SLICES = 0x00540081
_TIME_SLICES = 0x00540101
_CARDIAC = 0x00181090
_PIXELS: Elements = {0x7FE00010: ("OW", b"\1\2\3\4")}

# Elements that tell the expected number of instances, and the indexes that arrive.
_EXPECTATIONS: tuple[tuple[Elements, tuple[str, ...]], ...] = (
    ({_IMAGES: ("IS", "2"), _POSITIONS: ("IS", "1")}, ("1", "2")),
    ({_IMAGES: ("IS", "3"), _POSITIONS: ("IS", "1")}, ("1", "2")),
    ({_IMAGES: ("IS", "2"), _POSITIONS: ("IS", "1")}, ("1", "1")),
    ({_IMAGES: ("IS", "2"), _POSITIONS: ("IS", "1")}, ("1", "3")),
    ({_IMAGES: ("IS", "2"), _POSITIONS: ("IS", "1")}, ("0", "1")),
    ({_IMAGES: ("IS", "1"), _POSITIONS: ("IS", "1")}, ("",)),
    ({_IMAGES: ("IS", "2")}, ("1", "2")),
    ({_IMAGES: ("IS", "2"), _CARDIAC: ("IS", "1")}, ("1",)),
    ({_IMAGES: ("IS", "abc"), _POSITIONS: ("IS", "1"), _CARDIAC: ("IS", "1")}, ("1",)),
    ({_IMAGES: ("IS", " 2"), _POSITIONS: ("IS", "1 ")}, ("1", "2")),
    ({_IMAGES: ("IS", "+2"), _POSITIONS: ("IS", "1")}, ("1", "2")),
    ({_IMAGES: ("IS", "2.0"), _POSITIONS: ("IS", "1")}, ("1", "2")),
    ({_IMAGES: ("IS", "-2"), _POSITIONS: ("IS", "1")}, ("1", "2")),
    ({_IMAGES: ("IS", "-2"), _POSITIONS: ("IS", "-1")}, ("1", "2")),
    ({_IMAGES: ("IS", "0"), _POSITIONS: ("IS", "5")}, ("1", "2")),
    ({_IMAGES: ("IS", "2\\3"), _POSITIONS: ("IS", "1")}, ("1", "2")),
    ({_IMAGES: ("IS", "2"), _POSITIONS: ("IS", "")}, ("1", "2")),
    ({_IMAGES: ("IS", "70000"), _POSITIONS: ("IS", "70000")}, ("1", "2")),
    ({_IMAGES: ("IS", "99999999999"), _POSITIONS: ("IS", "1")}, ("1", "2")),
    ({_IMAGES: ("IS", "1\r\n"), _POSITIONS: ("IS", "1")}, ("1",)),
    ({_SLICES: ("US", b"\2\0"), _TIME_SLICES: ("US", b"\1\0")}, ("1", "2")),
    ({_SLICES: ("US", b"\2\0")}, ("1", "2")),
    ({_CARDIAC: ("IS", "2")}, ("2", "1")),
    ({_CARDIAC: ("IS", "0")}, ("1",)),
    ({_CARDIAC: ("IS", "-1")}, ("1",)),
    (
        {
            _IMAGES: ("IS", "1"),
            _POSITIONS: ("IS", "1"),
            _SLICES: ("US", b"\2\0"),
            _TIME_SLICES: ("US", b"\1\0"),
            _CARDIAC: ("IS", "3"),
        },
        ("1",),
    ),
)

# What may tell the index of an instance in its series.
_INDEXES: tuple[Elements, ...] = (
    {},
    {_INSTANCE_NUMBER: ("IS", "3")},
    {_IMAGE_INDEX: ("US", b"\4\0")},
    {_INSTANCE_NUMBER: ("IS", "3"), _IMAGE_INDEX: ("US", b"\4\0")},
    {_INSTANCE_NUMBER: ("IS", "x"), _IMAGE_INDEX: ("US", b"\4\0")},
    {_INSTANCE_NUMBER: ("IS", "3"), _IMAGE_INDEX: ("US", b"")},
    {_INSTANCE_NUMBER: ("IS", ""), _IMAGE_INDEX: ("US", b"\4\0")},
    {_IMAGE_INDEX: ("US", b"\4\0\5\0")},
    {_IMAGE_INDEX: ("US", b"\xff\xff")},
    {_INSTANCE_NUMBER: ("US", b"\4\0")},
    {_INSTANCE_NUMBER: ("UN", b"4 ")},
    {_INSTANCE_NUMBER: ("LO", "4")},
    *(
        Elements({_INSTANCE_NUMBER: ("IS", text)})
        for text in (
            *(
                "",
                " 3",
                "3 4",
                "007",
                "+3",
                "-3",
                "0",
                "1.5",
                "1e1",
                "0x3",
                "1\\2",
                "three",
                "3abc",
            ),
            *("65536", "2147483647", "2147483648", "4294967295", "4294967296", "99999999999"),
            *("-2147483648", "-2147483649", "\t3", "3\n", "--3", "-0"),
        )
    ),
)

# Main tags with values at the edge of what is shown.
_VALUES: tuple[Elements, ...] = (
    {_STUDY_DESCRIPTION: ("LO", "x" * 256)},
    {_STUDY_DESCRIPTION: ("LO", "x" * 257)},
    {_STUDY_DESCRIPTION: ("LO", "x" * 256 + "  ")},
    {_STUDY_DESCRIPTION: ("LO", b"\xe9" * 128)},
    {_STUDY_DESCRIPTION: ("LO", b"\xe9" * 130)},
    {_STUDY_DESCRIPTION: ("LO", b"\xe9" * 256)},
    {_STUDY_DESCRIPTION: ("LO", "  both  ")},
    {_STUDY_DESCRIPTION: ("LO", "   ")},
    {_STUDY_DESCRIPTION: ("LO", b"nul\0inside\0")},
    {_STUDY_DESCRIPTION: ("LO", b"end\0\0\0")},
    {_STUDY_DESCRIPTION: ("LO", b"\ttab\r\n")},
    {_STUDY_DESCRIPTION: ("LO", "one\\ two \\\\")},
    {_STUDY_DESCRIPTION: ("LO", "<b>\"quoted\" & 'so'</b>")},
    {_STUDY_DESCRIPTION: ("UN", b"unknown ")},
    {_STUDY_DESCRIPTION: ("OB", b"bytes\0")},
    {_STUDY_DESCRIPTION: ("US", b"\1\0\2\0")},
    {_STUDY_DESCRIPTION: ("FL", b"\0\0\xc0\x3f")},
    {_STUDY_DESCRIPTION: ("UT", "unlimited ")},
    {_STUDY_DESCRIPTION: ("LO", "")},
    {0x00080005: ("CS", "ISO_IR 192"), _PATIENT_NAME: ("PN", "Ünïcödé^日本".encode())},
    {0x00080005: ("CS", "ISO_IR 999"), _PATIENT_NAME: ("PN", b"unknown\xe9")},
    {0x00080005: ("CS", ""), _PATIENT_NAME: ("PN", b"empty\xe9")},
    {_PATIENT_NAME: ("PN", b"\xe9 without character set")},
    {_PATIENT_NAME: ("PN", "Family^Given^^^=Ideo^graphic=Pho^netic")},
    {_PATIENT_NAME: ("PN", "Trailing^^^^")},
    {_SERIES_NUMBER: ("IS", "0012")},
    {_SERIES_NUMBER: ("IS", " 12 ")},
    {0x00200037: ("DS", "1\\0\\0\\0\\1\\0"), 0x00200032: ("DS", "-1.50 \\ 2.5e1\\ .5")},
    {0x00101000: ("LO", "one\\two"), 0x00080050: ("SH", " A 1 ")},
    {0x00100030: ("DA", "19700101"), 0x00080020: ("DA", "2020.01.02"), 0x00080030: ("TM", "1:2")},
    {0x00080060: ("CS", "mr"), 0x00180015: ("CS", "HEAD\\NECK")},
    {0x00280008: ("IS", "10"), 0x00204000: ("LT", "a\\b\r\nc  ")},
    {0x00290010: ("LO", "Nobody"), 0x00291001: ("LO", "private"), 0x00291002: ("UN", b"\1\2")},
    {0x00080000: ("UL", b"\4\0\0\0")},
    {0x00080201: ("SH", "+0200"), 0x00400244: ("DA", "20200101"), 0x00400245: ("TM", "101010")},
    {0x0040000A: ("LO", "x"), 0x00321060: ("LO", "procedure"), 0x00400254: ("LO", "step")},
)

_PATIENT_IDS: tuple[bytes, ...] = (
    b"",
    b"  lead",
    b"trail ",
    b" both ",
    b"Lower Case",
    b"a\\b ",
    b"    ",
    b"nul\0",
    b"pipe|in",
    "é".encode("latin-1") + b" ",
    b'"quoted" <i>',
    b"100%_x",
)


def build_hierarchy() -> Iterator[bytes]:
    """Build one patient with two studies of two series of two instances."""
    for study in (1, 2):
        for series in (1, 2):
            for instance in (1, 2):
                uid = f"1.2.9.1.{study}"
                yield build_instance(
                    {
                        _PATIENT_NAME: ("PN", "Tree^Family"),
                        _STUDY_DESCRIPTION: ("LO", f"Study {study}"),
                        _INSTANCE_NUMBER: ("IS", str(instance)),
                        0x7FE00010: ("OW", bytes(64 * study)),
                    },
                    patient_id="Hierarchy",
                    study=uid,
                    series=f"{uid}.{series}",
                    instance=f"{uid}.{series}.{instance}",
                )


def _build_expectations() -> Iterator[bytes]:
    for number, (elements, indexes) in enumerate(_EXPECTATIONS, 1):
        for position, index in enumerate(indexes, 1):
            yield build_instance(
                {**elements, _INSTANCE_NUMBER: ("IS", index)},
                patient_id="Expected",
                study="1.2.9.2",
                series=f"1.2.9.2.{number}",
                instance=f"1.2.9.2.{number}.{position}",
            )


def _build_values() -> Iterator[bytes]:
    for number, elements in enumerate(_VALUES, 1):
        yield build_instance(
            elements,
            patient_id=f"Value {number}",
            study=f"1.2.9.4.{number}",
            series=f"1.2.9.4.{number}.1",
            instance=f"1.2.9.4.{number}.1.1",
        )


def _build_indexes() -> Iterator[bytes]:
    for number, elements in enumerate(_INDEXES, 1):
        yield build_instance(
            {_CARDIAC: ("IS", "9"), **elements},
            patient_id="Indexes",
            study="1.2.9.3",
            series=f"1.2.9.3.{number}",
            instance=f"1.2.9.3.{number}.1",
        )


def _build_patient_ids() -> Iterator[bytes]:
    for number, patient_id in enumerate(_PATIENT_IDS, 1):
        uid = f"1.2.9.5.{number}"
        yield build_instance(
            {_PATIENT_ID: ("LO", patient_id)},
            study=uid,
            series=f"{uid}.1",
            instance=f"{uid}.1.1",
        )


def _build_oddities() -> Iterator[bytes]:
    """Sequences as main tags, no SOP class, several values in a UID, elements after the pixels."""
    item = encode_element(0x00400007, "LO", "step")
    requests = encode_sequence(0x00400275, [item, item])
    names = encode_sequence(0x00104001, [encode_element(0x00100010, "PN", "inner")])
    yield build_instance(instance="1.2.9.6.1", series="1.2.9.6", study="1.2.9", tail=requests)
    yield build_instance(instance="1.2.9.7.1", series="1.2.9.7", study="1.2.9", tail=names)
    yield build_instance({0x00080016: ("UI", "")}, instance="1.2.9.8.1", series="1.2.9.8")
    yield build_instance({0x00080016: ("LO", "x")}, instance="1.2.9.9.1", series="1.2.9.9")
    yield build_instance(instance=" 1.2.9.10 ", series=" 1.2.9.11", study="1.2.9.12 ")
    yield build_instance(instance="1.2\\3.4", series="abc", study="x|y")
    pixels = encode_element(0x7FE00010, "OW", bytes(16))
    after = encode_element(0xFFFCFFFC, "OB", bytes(2))
    yield build_instance(instance="1.2.9.13.1", series="1.2.9.13", tail=pixels + after)


def build_all() -> list[bytes]:
    """Build all synthetic files, in the order in which they are to be stored."""
    return [
        *build_hierarchy(),
        *_build_expectations(),
        *_build_indexes(),
        *_build_values(),
        *_build_patient_ids(),
        *_build_oddities(),
    ]


def build_contents() -> Iterator[bytes]:
    """Build instances whose elements are of all kinds and encodings, for reading single ones."""
    text: Elements = {
        _STUDY_DESCRIPTION: ("LO", b"abc   "),
        0x0008103E: ("LO", b"  lead"),
        0x00100010: ("PN", b"end\0\0\0"),
        0x00204000: ("LT", b"a\r\n \0"),
        0x00321060: ("LO", b"nul\0in  "),
        0x00400254: ("UN", b"un  "),
        0x00090010: ("LO", "INVENTED 1.0"),
        0x00091001: ("LO", b"pv"),
        0x00091002: ("OB", b"a "),
        0x00091003: ("UN", b"\1\0"),
        0x00081190: ("UR", b"http://x  "),
        0x0040A160: ("UT", b"ut"),
        0x00104000: ("LT", "x" * 300),
        0x00280109: ("US", b"\1\0"),
        0x00420011: ("OB", b"\1\2\3\4"),
    }
    numbers: Elements = {
        0x00280009: ("AT", b"\x54\0\x10\0"),
        0x00280106: ("US", b"\1\0\2\0"),
        0x00186020: ("SL", b"\1\0\0\0"),
        0x00189073: ("FD", b"\0\0\0\0\0\0\xf8\x3f"),
        0x00089459: ("FL", b"\0\0\xc0\x3f"),
        0x00281201: ("OW", b"\1\2\3\4"),
    }
    syntaxes = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG)
    for number, (syntax, is_undefined) in enumerate(product(syntaxes, (False, True)), 1):
        yield _build_content(
            number, numbers, _build_nested(syntax, is_undefined=is_undefined), syntax
        )
    for number, syntax in enumerate(syntaxes, 7):
        yield _build_content(number, text, b"", syntax)
    fragments = encode_fragments([b"ab", b"cdef"])
    yield build_instance(
        patient_id="Fragments",
        instance="1.2.9.21.1",
        series="1.2.9.21",
        study="1.2.9",
        tail=fragments,
    )


def _build_nested(syntax: str, *, is_undefined: bool) -> bytes:
    inner = encode_element(0x00080100, "SH", "T1", syntax=syntax)
    code = encode_sequence(0x0040A168, [inner, inner], syntax=syntax, is_undefined=is_undefined)
    return encode_sequence(0x0040A730, [b"", code], syntax=syntax, is_undefined=is_undefined)


def _build_content(number: int, elements: Elements, sequence: bytes, syntax: str) -> bytes:
    ids = identifiers(
        patient_id=f"Contents {number}",
        study=f"1.2.9.20.{number}",
        series=f"1.2.9.20.{number}.1",
        instance=f"1.2.9.20.{number}.1.1",
    )
    before = build_data_set({**ids, **elements}, syntax=syntax)
    return build_file(before + sequence + build_data_set(_PIXELS, syntax=syntax), syntax=syntax)

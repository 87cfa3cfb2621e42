"""Anonymization: nothing survives that the profile names, wherever and however it is encoded."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.dicom_files import (
    CT_IMAGE_STORAGE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    build_data_set,
    build_file,
    encode_element,
    encode_item,
    encode_sequence,
    identifiers,
)

from isocenter.archive.edit_requests import (
    build_anonymous_values,
    build_edit,
    parse_anonymization,
    parse_modification,
)
from isocenter.dicom.confidentiality import EDITIONS, load_profile
from isocenter.dicom.editing import Edit, edit_file
from isocenter.dicom.pseudonyms import Pseudonyms
from isocenter.dicom.tags import DEFAULT_DICTIONARY

_SYNTAXES = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG)
_MARKER = b"ZMITHZ"
_TEXT = "ZMITHZ"
_REFERENCED_SERIES = 0x00081115
_UNKNOWN_SEQUENCE = 0x00091010
_KEEPING = {"KeepPrivateTags": True}


def _build_edit(body: dict[str, Any]) -> Edit:
    request = parse_anonymization(body)
    return build_edit(request, Pseudonyms(b"key"), defaults=build_anonymous_values(request, 1))


def _anonymize(extra: dict[int, bytes], body: dict[str, Any], syntax: str) -> bytes:
    """Anonymize a file with some encoded elements besides the identifiers."""
    elements = {
        tag: encode_element(tag, vr, value, syntax=syntax)
        for tag, (vr, value) in identifiers().items()
    }
    data_set = b"".join(value for _, value in sorted((elements | extra).items()))
    return b"".join(edit_file(build_file(data_set, syntax=syntax), _build_edit(body)))


def _element(tag: int, vr: str, value: bytes | str, syntax: str = EXPLICIT_LITTLE) -> bytes:
    return encode_element(tag, vr, value, syntax=syntax)


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("syntax", _SYNTAXES)
@pytest.mark.parametrize(("tag", "vr"), [(0x00100010, "PN"), (0x00100020, "LO")])
def test_name_and_id_in_an_item_go(edition: str, syntax: str, tag: int, vr: str) -> None:
    item = _element(tag, vr, _TEXT, syntax)
    deep = encode_sequence(0x0040A730, [item], syntax=syntax, is_undefined=True)
    for inner in (item, deep):
        sequence = encode_sequence(_REFERENCED_SERIES, [inner], syntax=syntax)
        body = {"DicomVersion": edition}
        assert _MARKER not in _anonymize({_REFERENCED_SERIES: sequence}, body, syntax)


def test_id_in_an_item_is_the_one_of_the_file() -> None:
    sequence = encode_sequence(_REFERENCED_SERIES, [_element(0x00100020, "LO", "P-1")])
    result = _anonymize({_REFERENCED_SERIES: sequence}, {}, EXPLICIT_LITTLE)
    assert result.count(Pseudonyms(b"key").replace_patient_id("P-1").encode()) == 2
    given = {"Replace": {"PatientID": "NEW-ID"}, "Force": True}
    assert _anonymize({_REFERENCED_SERIES: sequence}, given, EXPLICIT_LITTLE).count(b"NEW-ID") == 2
    kept = {"Keep": ["PatientID"], "Force": True}
    assert _anonymize({_REFERENCED_SERIES: sequence}, kept, EXPLICIT_LITTLE).count(b"P-1 ") == 2


@st.composite
def _hidden(draw: st.DrawFn) -> tuple[str, str, dict[int, bytes]]:
    """Hide a marker in an element that an edition names, below some sequences."""
    edition, syntax = draw(st.sampled_from(EDITIONS)), draw(st.sampled_from(_SYNTAXES))
    named = {*load_profile(edition).actions, 0x00100010, 0x00100020, 0x0020000D}
    tag = draw(st.sampled_from(sorted(tag for tag in named if tag >> 16 > 2)))
    vr = DEFAULT_DICTIONARY.lookup_vr(tag)
    inner = syntax
    parents = draw(st.lists(st.sampled_from(["known", "private", "UN"]), min_size=1, max_size=3))
    if "UN" in parents:
        # The content of an element of unknown VR is implicit, however deep.
        inner = IMPLICIT_LITTLE
    if vr == "SQ":
        content = encode_sequence(tag, [_element(0x00080060, "LO", _TEXT, inner)], syntax=inner)
    else:
        content = _element(tag, vr if draw(st.booleans()) else "LO", _TEXT, inner)
    outermost = len(parents) - 1 - parents[::-1].index("UN") if "UN" in parents else None
    for place, parent in enumerate(parents):
        is_undefined = draw(st.booleans())
        last_tag = _REFERENCED_SERIES if parent == "known" else _UNKNOWN_SEQUENCE
        if place == outermost:
            value = encode_item(content, is_undefined=is_undefined)
            content, inner = encode_element(last_tag, "UN", value, syntax=syntax), syntax
        else:
            content = encode_sequence(last_tag, [content], syntax=inner, is_undefined=is_undefined)
    return edition, syntax, {last_tag: content}


@settings(max_examples=400)
@given(_hidden(), st.sampled_from([{}, {"ShiftDates": True}]))
def test_nothing_that_the_profile_names_survives(
    hidden: tuple[str, str, dict[int, bytes]], options: dict[str, Any]
) -> None:
    edition, syntax, extra = hidden
    body = {"DicomVersion": edition, **_KEEPING, **options}
    assert _MARKER not in _anonymize(extra, body, syntax)


@pytest.mark.parametrize("vr", ["TM", "DA", "DT"])
def test_name_that_is_sent_as_a_date_is_no_date(vr: str) -> None:
    names = {0x00101001: _element(0x00101001, vr, _TEXT)}
    assert _MARKER not in _anonymize(names, {"ShiftDates": True}, EXPLICIT_LITTLE)


def test_date_that_is_sent_as_text_is_shifted() -> None:
    dates = {0x00080020: _element(0x00080020, "LO", "20240301")}
    body = {"ShiftDates": True, "MaximumShiftDays": 1}
    result = _anonymize(dates, body, EXPLICIT_LITTLE)
    assert b"20240229" in result
    assert b"20240301" not in result


def test_private_date_that_nobody_knows_is_shifted() -> None:
    dates = {
        0x00090010: _element(0x00090010, "LO", "NOBODY"),
        0x00091001: _element(0x00091001, "DA", "20240301"),
    }
    body = {"ShiftDates": True, "MaximumShiftDays": 1, **_KEEPING}
    assert b"20240301" not in _anonymize(dates, body, EXPLICIT_LITTLE)


def test_text_in_a_time_goes_when_dates_are_shifted() -> None:
    times = {0x00080030: _element(0x00080030, "TM", "1011 " + _TEXT)}
    assert _MARKER not in _anonymize(times, {"ShiftDates": True}, EXPLICIT_LITTLE)


@pytest.mark.parametrize("vr", ["OB", "LO", "UT"])
def test_sequence_that_is_sent_as_something_else_goes(vr: str) -> None:
    value = encode_item(_element(0x00100010, "PN", _TEXT))
    hidden = {_REFERENCED_SERIES: _element(_REFERENCED_SERIES, vr, value)}
    assert _MARKER not in _anonymize(hidden, {}, EXPLICIT_LITTLE)


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, EXPLICIT_BIG])
@pytest.mark.parametrize("tag", [_REFERENCED_SERIES, _UNKNOWN_SEQUENCE])
def test_items_that_cannot_be_walked_go(syntax: str, tag: int) -> None:
    order = ">" if syntax == EXPLICIT_BIG else "<"
    # Explicit items in an element of unknown VR are against the standard (PS3.5 §6.2.2).
    value = encode_item(_element(0x00100010, "PN", _TEXT, syntax), order=order)
    hidden = {tag: _element(tag, "UN", value, syntax)}
    result = _anonymize(hidden, _KEEPING, syntax)
    assert _MARKER not in result
    assert struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF) not in result


def test_explicit_items_that_could_be_implicit_ones_go() -> None:
    # Read as implicit, the first element is a private one that reaches to the end of the item.
    name = _element(0x00100010, "PN", _TEXT)
    first = _element(0x00091001, "UN", b"")
    length = struct.unpack("<I", b"UN\0\0")[0]
    item = first + name + bytes(length - len(first) - len(name) + 8)
    hidden = {_UNKNOWN_SEQUENCE: _element(_UNKNOWN_SEQUENCE, "UN", encode_item(item))}
    assert _MARKER not in _anonymize(hidden, _KEEPING, EXPLICIT_LITTLE)


@pytest.mark.parametrize("vr", ["OB", "LO"])
def test_graphics_that_are_sent_as_something_else_go(vr: str) -> None:
    value = encode_item(_element(0x00700008, "PN", _TEXT))
    graphics = {0x00700001: _element(0x00700001, vr, value)}
    assert _MARKER not in _anonymize(graphics, {"CleanGraphics": True}, EXPLICIT_LITTLE)


def test_bytes_of_unknown_vr_that_are_no_items_stay() -> None:
    hidden = {_UNKNOWN_SEQUENCE: _element(_UNKNOWN_SEQUENCE, "UN", b"no items")}
    assert b"no items" in _anonymize(hidden, _KEEPING, EXPLICIT_LITTLE)


def test_rest_behind_the_end_of_a_sequence_goes() -> None:
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    value = encode_item(_element(0x00080060, "CS", "CT")) + end + _MARKER
    hidden = {_REFERENCED_SERIES: _element(_REFERENCED_SERIES, "SQ", value)}
    assert _MARKER not in _anonymize(hidden, {}, EXPLICIT_LITTLE)


@pytest.mark.parametrize("tag", [0x00000010, 0x00020016, 0xFFFCFFFC])
@pytest.mark.parametrize("edition", EDITIONS)
def test_what_belongs_into_no_data_set_goes(tag: int, edition: str) -> None:
    item = encode_sequence(_REFERENCED_SERIES, [_element(tag, "LO", _TEXT)])
    body = {"DicomVersion": edition}
    assert _MARKER not in _anonymize({_REFERENCED_SERIES: item}, body, EXPLICIT_LITTLE)


@pytest.mark.parametrize("group", [0x5000, 0x5002, 0x50FE])
def test_curves_of_every_group_go(group: int) -> None:
    tag = group << 16 | 0x0022
    curve = {tag: _element(tag, "LO", _TEXT)}
    assert _MARKER not in _anonymize(curve, {}, EXPLICIT_LITTLE)


@pytest.mark.parametrize("group", [0x6000, 0x6002, 0x60FE])
def test_overlays_of_every_group_go(group: int) -> None:
    for element, vr in ((0x3000, "OB"), (0x4000, "LT")):
        tag = group << 16 | element
        overlay = {tag: _element(tag, vr, _TEXT)}
        assert _MARKER not in _anonymize(overlay, {}, EXPLICIT_LITTLE)


def test_private_uids_are_replaced_but_those_of_the_standard() -> None:
    uids = {
        0x00090010: _element(0x00090010, "LO", "NOBODY"),
        0x00091001: _element(0x00091001, "UI", f"1.2.3.1\\{CT_IMAGE_STORAGE}\\9.8.7654321"),
        0x00091002: _element(0x00091002, "UI", f"1.2.840.10008.{_TEXT}"),
    }
    result = _anonymize(uids, _KEEPING, EXPLICIT_LITTLE)
    study = Pseudonyms(b"key").replace_uid("1.2.3.1")
    assert _MARKER not in result
    assert f"{study}\\{CT_IMAGE_STORAGE}\\2.25.".encode() in result
    assert b"9.8.7654321" not in result


@pytest.mark.parametrize("tag", [0x00080018, 0x0020000D, 0x00200052, 0x00081155])
def test_empty_uid_in_one_file_teaches_nothing_for_the_next(tag: int) -> None:
    edit = _build_edit({})
    base = identifiers() | {0x00080005: ("CS", "ISO_IR 100")}
    for value in ("", "9.8.7654321"):
        file = build_file(build_data_set(base | {tag: ("LO", value)}))
        result = b"".join(edit_file(file, edit))
    assert b"9.8.7654321" not in result


def test_private_element_in_one_file_teaches_nothing_for_the_next() -> None:
    """A block belongs to whoever reserves it, in each file anew (PS3.5 §7.8.1)."""
    edit = _build_edit(_KEEPING)
    for creator in ("NOBODY", "CARDIO-D.R. 1.0"):
        # Of the latter it is a sequence.
        elements = {0x00090010: ("LO", creator), 0x00091040: ("LO", _TEXT)}
        result = b"".join(edit_file(build_file(build_data_set(identifiers() | elements)), edit))
    assert _MARKER not in result


def test_same_patient_with_blanks_has_one_pseudonym() -> None:
    new = {
        patient_id: _anonymize(
            {0x00100020: _element(0x00100020, "LO", patient_id)}, {}, EXPLICIT_LITTLE
        )
        for patient_id in (" 123", "123 ", "123")
    }
    pseudonym = Pseudonyms(b"key").replace_patient_id("123").encode()
    assert all(pseudonym in result for result in new.values())


@pytest.mark.parametrize("is_reversed", [False, True])
def test_most_precise_of_two_values_counts(is_reversed: bool) -> None:
    values = {
        "ReferencedSeriesSequence[0].Modality": "CT",
        "ReferencedSeriesSequence[*].Modality": "MR",
    }
    if is_reversed:
        values = dict(reversed(values.items()))
    items = [b"", _element(0x00080060, "CS", "US"), b""]
    for sequence in (
        encode_sequence(_REFERENCED_SERIES, items),
        encode_sequence(_REFERENCED_SERIES, [_element(0x00080060, "CS", "US"), b"", b""]),
    ):
        request = parse_modification({"Replace": values}, None)
        elements = identifiers() | {_REFERENCED_SERIES: ("SQ", sequence[12:])}
        file = build_file(build_data_set(elements))
        result = b"".join(edit_file(file, build_edit(request, Pseudonyms(b"key"))))
        assert (result.count(b"CT"), result.count(b"MR"), result.count(b"US")) == (1, 2, 0)


def test_private_creator_that_is_given_twice_is_written_once() -> None:
    request = parse_modification(
        {"Replace": {"0009,0010": "ONE", "0009,1001": "x"}, "PrivateCreator": "TWO"}, None
    )
    result = b"".join(
        edit_file(
            build_file(build_data_set(identifiers())), build_edit(request, Pseudonyms(b"key"))
        )
    )
    assert b"ONE" in result
    assert b"TWO" not in result


def test_original_attributes_of_an_element_that_stands_twice() -> None:
    twice = _element(0x00081030, "LO", "A") + _element(0x00081030, "LO", "B")
    body = {"Replace": {"StudyDescription": "NEW"}, "OriginalAttributes": True}
    request = parse_modification(body, None)
    file = build_file(build_data_set({0x00080016: ("UI", CT_IMAGE_STORAGE)}) + twice)
    assert b"NEW" in b"".join(edit_file(file, build_edit(request, Pseudonyms(b"key"))))

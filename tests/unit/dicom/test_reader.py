"""What storing an instance must know of its header."""

import mmap
import struct
import zlib
from pathlib import Path

import pytest
from tests.support import dicom_files
from tests.support.dicom_files import (
    UNDEFINED,
    build_data_set,
    build_file,
    build_instance,
    encode_element,
    encode_fragments,
    encode_item,
    encode_meta,
    encode_sequence,
    identifiers,
)

from isocenter.dicom import reader
from isocenter.dicom.elements import Buffer
from isocenter.dicom.identifiers import build_public_ids
from isocenter.dicom.main_tags import build_main_tags
from isocenter.dicom.reader import (
    MAXIMUM_TOP_LEVEL,
    MAXIMUM_VALUE_BYTES,
    FileSummary,
    build_identity,
    read_summary,
    read_values,
)
from isocenter.errors import BadFileFormatError, MissingTagError

WANTED = build_main_tags().wanted
PATIENT_NAME = 0x00100010
PIXEL_DATA = 0x7FE00010
SYNTAXES = [
    dicom_files.IMPLICIT_LITTLE,
    dicom_files.EXPLICIT_LITTLE,
    dicom_files.EXPLICIT_BIG,
    dicom_files.DEFLATED_LITTLE,
]


def _summarize(data: Buffer) -> FileSummary:
    return read_summary(data, wanted=WANTED)


def _encode(elements: dict[int, tuple[str, bytes | str]], syntax: str, tail: bytes = b"") -> bytes:
    data = build_data_set({**identifiers(), **elements}, syntax=syntax) + tail
    if syntax == dicom_files.DEFLATED_LITTLE:
        stream = zlib.compressobj(wbits=-15)
        data = stream.compress(data) + stream.flush()
    return encode_meta(syntax) + data


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_summary_holds_wanted_values_in_each_encoding(syntax: str) -> None:
    summary = _summarize(_encode({PATIENT_NAME: ("PN", "DOE^JANE")}, syntax))
    assert summary.transfer_syntax_uid == syntax
    assert summary.sop_class_uid == dicom_files.CT_IMAGE_STORAGE
    assert summary.values[PATIENT_NAME] == "DOE^JANE"
    assert summary.values[0x00100020] == "P-1"
    assert summary.pixel_data_offset is None
    assert summary.pixel_data_vr is None
    assert summary.has_meta_header


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("is_undefined", [False, True])
def test_summary_holds_wanted_sequences_in_human_shape(syntax: str, *, is_undefined: bool) -> None:
    inner = encode_element(0x00400009, "SH", "SPS1", syntax=syntax)
    sequence = encode_sequence(0x00400275, [inner], syntax=syntax, is_undefined=is_undefined)
    summary = _summarize(_encode({}, syntax, tail=sequence))
    assert summary.sequences == {0x00400275: [{"ScheduledProcedureStepID": "SPS1"}]}


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
@pytest.mark.parametrize("is_undefined", [False, True])
def test_elements_inside_other_sequences_are_not_taken(syntax: str, *, is_undefined: bool) -> None:
    inner = encode_element(PATIENT_NAME, "PN", "OTHER", syntax=syntax)
    sequence = encode_sequence(0x00081140, [inner], syntax=syntax, is_undefined=is_undefined)
    instance = encode_element(0x00080018, "UI", "1.2", syntax=syntax)
    study = encode_element(0x0020000D, "UI", "1.3", syntax=syntax)
    summary = _summarize(encode_meta(syntax) + instance + sequence + study)
    assert PATIENT_NAME not in summary.values
    assert summary.values[0x0020000D] == "1.3"


def test_value_in_character_set_of_the_file_is_decoded() -> None:
    extra: dict[int, tuple[str, bytes | str]] = {
        0x00080005: ("CS", "ISO_IR 126"),
        PATIENT_NAME: ("PN", b"\xc4\xe9"),
    }
    summary = _summarize(build_instance(extra))
    assert summary.values[PATIENT_NAME] == "Δι"
    assert summary.specific_character_set == "ISO_IR 126"


def test_value_of_file_without_character_set_uses_the_default_encoding() -> None:
    data = build_instance({PATIENT_NAME: ("PN", b"\xc4\xe9")})
    assert _summarize(data).values[PATIENT_NAME] == "Äé"
    greek = read_summary(data, wanted=WANTED, default_encoding="Greek")
    assert greek.values[PATIENT_NAME] == "Δι"
    assert greek.specific_character_set is None


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ((0x00541330, "US", struct.pack("<H", 7)), "7"),
        ((0x00200032, "DS", "1\\2\\3 "), "1\\2\\3"),
        ((0x00204000, "LT", ""), ""),
        ((PATIENT_NAME, "UN", "DOE^JANE  "), "DOE^JANE  "),
        ((PATIENT_NAME, "IS", "DOE^JANE"), "DOE^JANE"),
        ((PATIENT_NAME, "OB", "DOE^JANE"), None),
        ((0x00541330, "UN", b"\7\0"), None),
    ],
)
def test_value_of_any_representation_is_tolerated(
    element: tuple[int, str, bytes | str], value: str | None
) -> None:
    tag, vr, data = element
    assert _summarize(build_instance({tag: (vr, data)})).values.get(tag) == value


def test_first_of_equal_elements_counts() -> None:
    tail = encode_element(0x00400254, "LO", "first") + encode_element(0x00400254, "LO", "second")
    assert _summarize(build_instance(tail=tail)).values[0x00400254] == "first"


def test_elements_out_of_order_are_found() -> None:
    tail = encode_element(PATIENT_NAME, "PN", "DOE")
    assert _summarize(build_instance(tail=tail)).values[PATIENT_NAME] == "DOE"


def test_group_lengths_private_elements_and_zero_tails_are_passed_over() -> None:
    extra: dict[int, tuple[str, bytes | str]] = {
        0x00080000: ("UL", struct.pack("<I", 44)),
        0x00090010: ("LO", "SOMEBODY"),
        0x00091001: ("UN", b"abcd"),
    }
    assert _summarize(build_instance(extra, tail=b"\0" * 64)).values[0x00100020] == "P-1"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_read(kind: type) -> None:
    inner = encode_element(0x00400009, "SH", "SPS1")
    data = build_instance(tail=encode_sequence(0x00400275, [inner]))
    assert _summarize(kind(data)) == _summarize(data)


def test_memory_mapped_file_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "instance.dcm"
    path.write_bytes(_encode({}, dicom_files.DEFLATED_LITTLE))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        assert build_identity(_summarize(buffer)).patient_id == "P-1"


@pytest.mark.parametrize("vr", ["OW", "OB", "UN", "LO"])
def test_pixel_data_in_explicit_encoding_are_located(vr: str) -> None:
    head = build_instance()
    summary = _summarize(head + encode_element(PIXEL_DATA, vr, b"abcd"))
    assert (summary.pixel_data_offset, summary.pixel_data_vr) == (len(head), vr)


def test_pixel_data_in_implicit_encoding_are_located() -> None:
    syntax = dicom_files.IMPLICIT_LITTLE
    head = encode_meta(syntax) + build_data_set(identifiers(), syntax=syntax)
    summary = _summarize(head + encode_element(PIXEL_DATA, "OW", b"abcd", syntax=syntax))
    assert (summary.pixel_data_offset, summary.pixel_data_vr) == (len(head), "OW")


def test_pixel_data_of_deflated_file_have_no_offset() -> None:
    tail = encode_element(PIXEL_DATA, "OW", b"abcd")
    summary = _summarize(_encode({}, dicom_files.DEFLATED_LITTLE, tail=tail))
    assert (summary.pixel_data_offset, summary.pixel_data_vr) == (None, "OW")


@pytest.mark.parametrize("syntax", [dicom_files.JPEG_BASELINE, dicom_files.EXPLICIT_LITTLE])
def test_encapsulated_pixel_data_are_located(syntax: str) -> None:
    head = encode_meta(syntax) + build_data_set(identifiers())
    summary = _summarize(head + encode_fragments([b"abcd", b"ef"]))
    assert summary.pixel_data_offset == len(head)


def test_what_follows_the_pixel_data_is_not_read() -> None:
    tail = encode_element(PIXEL_DATA, "OW", b"ab") + encode_element(0xFFFCFFFC, "OB", b"\0\0")
    assert _summarize(build_instance(tail=tail)).pixel_data_vr == "OW"


NATIVE = build_instance()
JPEG = encode_meta(dicom_files.JPEG_BASELINE) + build_data_set(identifiers())


# Each of these is refused by Orthanc as well.
@pytest.mark.parametrize(
    "data",
    [
        NATIVE + encode_element(PIXEL_DATA, "OW", b"ab", length=64),
        NATIVE + encode_element(PIXEL_DATA, "OW", b"", length=UNDEFINED),
        JPEG + encode_fragments([b"abcd"], is_complete=False),
        JPEG + encode_fragments([b"abcd"])[:-10],
        JPEG + encode_element(PIXEL_DATA, "OB", b"abcd"),
        NATIVE + b"\x20\0",
        NATIVE + encode_element(0x00280010, "US", b"\1\0")[:7],
        NATIVE + encode_element(0x00280010, "US", b"\1\0")[:9],
        NATIVE + encode_element(0x00400254, "LO", b"ab", length=20),
        NATIVE + encode_element(0x00400275, "SQ", encode_item(b""), length=UNDEFINED),
        NATIVE + encode_element(0x00400275, "SQ", encode_item(b""), length=400),
        encode_meta(dicom_files.EXPLICIT_LITTLE)
        + build_data_set(identifiers(), syntax=dicom_files.EXPLICIT_BIG),
        encode_meta(dicom_files.IMPLICIT_LITTLE) + build_data_set(identifiers()),
        encode_meta(dicom_files.DEFLATED_LITTLE) + b"\xff\xff\xff\xff",
    ],
)
def test_contradictory_or_truncated_file_is_refused(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        _summarize(data)


def test_truncated_implicit_file_is_refused() -> None:
    syntax = dicom_files.IMPLICIT_LITTLE
    data = encode_meta(syntax) + build_data_set(identifiers(), syntax=syntax)
    with pytest.raises(BadFileFormatError):
        _summarize(data + b"\x20\0\0")


def test_item_longer_than_its_sequence_ends_with_it() -> None:
    inner = encode_element(0x00400009, "SH", "SPS1")
    item = encode_item(inner)
    false = item[:4] + struct.pack("<I", 255) + inner
    summary = _summarize(NATIVE + encode_element(0x00400275, "SQ", false))
    assert summary.sequences == {0x00400275: [{"ScheduledProcedureStepID": "SPS1"}]}


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_bare_data_set_of_known_encoding_is_read(syntax: str) -> None:
    data = _encode({}, syntax)[len(encode_meta(syntax)) :]
    summary = read_summary(data, wanted=WANTED, transfer_syntax_uid=syntax)
    assert summary.transfer_syntax_uid == syntax
    assert not summary.has_meta_header
    assert build_identity(summary).sop_instance_uid == "1.2.3.1.1.1"


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_bare_data_set_of_unknown_encoding_is_guessed(syntax: str) -> None:
    summary = _summarize(build_data_set(identifiers(), syntax=syntax))
    assert summary.transfer_syntax_uid == syntax
    assert not summary.has_meta_header


def test_identity_holds_the_identifiers_and_their_sums() -> None:
    identity = build_identity(_summarize(build_instance(patient_id="  P-1")))
    assert identity.patient_id == "  P-1"
    assert identity.study_instance_uid == "1.2.3.1"
    assert identity.series_instance_uid == "1.2.3.1.1"
    assert identity.sop_instance_uid == "1.2.3.1.1.1"
    assert identity.public_ids == build_public_ids("  P-1", "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1")


def test_absent_patient_id_counts_as_empty() -> None:
    elements = identifiers()
    del elements[0x00100020]
    identity = build_identity(_summarize(build_file(build_data_set(elements))))
    assert identity.patient_id == ""
    assert identity.public_ids.patient == "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"


@pytest.mark.parametrize("tag", [0x00080018, 0x0020000D, 0x0020000E])
def test_absent_identifier_is_a_missing_tag(tag: int) -> None:
    elements = identifiers()
    del elements[tag]
    summary = _summarize(build_file(build_data_set(elements)))
    with pytest.raises(MissingTagError):
        build_identity(summary)


@pytest.mark.parametrize("tag", [0x00080018, 0x0020000D, 0x0020000E])
@pytest.mark.parametrize("value", ["", "  "])
def test_empty_identifier_is_a_bad_format(tag: int, value: str) -> None:
    summary = _summarize(build_instance({tag: ("UI", value.encode())}))
    with pytest.raises(BadFileFormatError):
        build_identity(summary)


def test_absent_sop_class_does_no_harm() -> None:
    elements = identifiers()
    del elements[0x00080016]
    assert _summarize(build_file(build_data_set(elements))).sop_class_uid is None


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_values_are_those_that_are_wanted(syntax: str) -> None:
    inner = encode_element(0x00081150, "UI", "1.2", syntax=syntax)
    elements: dict[int, tuple[str, bytes | str]] = {
        0x00102160: ("SH", "group"),
        0x00281101: ("OW", b"\1\2"),
    }
    tail = encode_sequence(0x00400275, [inner], syntax=syntax)
    if syntax == dicom_files.DEFLATED_LITTLE:
        tail = encode_sequence(0x00400275, [inner])
    found = read_values(
        _encode(elements, syntax, tail=tail),
        wanted=frozenset({0x00102160, 0x00400275, 0x00101010}),
    )
    assert found.values[0x00102160] == "group"
    assert 0x00101010 not in found.values
    assert 0x00281101 not in found.values
    assert found.sequences == {0x00400275: [{"ReferencedSOPClassUID": "1.2"}]}


def test_values_end_with_the_header_of_the_pixel_data() -> None:
    head = _encode({0x00280010: ("US", b"\2\0")}, dicom_files.EXPLICIT_LITTLE)
    buffer = head + encode_element(PIXEL_DATA, "OW", b"", length=1000)
    behind = buffer + bytes(1000) + encode_element(0xFFFCFFFC, "OB", b"ab")
    wanted = frozenset({0x00280010, PIXEL_DATA, 0xFFFCFFFC})
    for data in (buffer, behind):
        found = read_values(data, wanted=wanted)
        assert found.values[0x00280010] == "2"
        assert not {PIXEL_DATA, 0xFFFCFFFC} & set(found.values)


@pytest.mark.parametrize("vr", [None, "UN"])
def test_private_value_takes_its_vr_from_the_dictionary_of_its_creator(vr: str | None) -> None:
    syntax = dicom_files.IMPLICIT_LITTLE if vr is None else dicom_files.EXPLICIT_LITTLE
    block = encode_element(0x00090010, "LO", "GEMS_IDEN_01", syntax=syntax)
    other = encode_element(0x00090011, "LO", "NOBODY", syntax=syntax)
    known = encode_element(0x00091002, vr or "SH", b"suite ", syntax=syntax)
    unknown = encode_element(0x00091102, vr or "SH", b"suite ", syntax=syntax)
    data = encode_meta(syntax) + block + other + known + unknown
    found = read_values(data, wanted=frozenset({0x00091002, 0x00091102}))
    assert found.values[0x00091002].strip() == "suite"
    assert 0x00091102 not in found.values


def test_long_value_is_passed_over_unless_it_identifies() -> None:
    text = "x" * (MAXIMUM_VALUE_BYTES + 2)
    tail = encode_element(0x00204000, "UT", text)
    summary = _summarize(build_instance({0x00081030: ("UT", text[:-2])}, tail=tail))
    assert len(summary.values[0x00081030]) == MAXIMUM_VALUE_BYTES
    assert 0x00204000 not in summary.values
    assert _summarize(build_instance({0x00100020: ("UT", text)})).values[0x00100020] == text


def test_summary_of_a_header_needs_no_pixel_data() -> None:
    head = encode_meta() + build_data_set(identifiers())
    data = head + encode_element(PIXEL_DATA, "OW", bytes(100))
    part = data[: len(head) + 12]
    summary = read_summary(part, wanted=WANTED, is_whole=False)
    assert summary == read_summary(data, wanted=WANTED)
    with pytest.raises(BadFileFormatError):
        read_summary(part, wanted=WANTED)
    with pytest.raises(BadFileFormatError):
        read_summary(head[:-1], wanted=WANTED, is_whole=False)


@pytest.mark.parametrize("syntax", [dicom_files.EXPLICIT_LITTLE, dicom_files.IMPLICIT_LITTLE])
def test_padding_of_any_length_is_passed_over(syntax: str) -> None:
    padding = bytes(8 * MAXIMUM_TOP_LEVEL + 8)
    assert _summarize(_encode({}, syntax, padding)).sop_class_uid
    with pytest.raises(BadFileFormatError, match="truncated"):
        _summarize(_encode({}, syntax, padding + b"\0"))


@pytest.mark.parametrize("syntax", [dicom_files.EXPLICIT_LITTLE, dicom_files.IMPLICIT_LITTLE])
def test_more_elements_than_anybody_counts_are_refused(syntax: str) -> None:
    empty = encode_element(0x00091010, "LO", "", syntax=syntax)
    with pytest.raises(BadFileFormatError, match="262144 elements"):
        _summarize(_encode({}, syntax, empty * MAXIMUM_TOP_LEVEL))


def test_elements_of_all_sequences_together_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAXIMUM_NESTED", 20)
    # An item, its element and two delimitations.
    element = encode_element(PATIENT_NAME, "PN", "A")
    sequence = encode_sequence(0x00081140, [element], is_undefined=True)
    tails = [sequence * count for count in (5, 6)]
    assert _summarize(_encode({}, dicom_files.EXPLICIT_LITTLE, tails[0])).sop_class_uid
    with pytest.raises(BadFileFormatError, match="elements"):
        _summarize(_encode({}, dicom_files.EXPLICIT_LITTLE, tails[1]))

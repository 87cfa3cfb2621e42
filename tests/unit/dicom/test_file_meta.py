"""File meta information."""

import io
import struct

import pydicom
import pytest
from tests.support import dicom_files
from tests.support.dicom_files import (
    build_data_set,
    build_instance,
    encode_element,
    encode_meta,
    identifiers,
)

from isocenter.dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Layout
from isocenter.dicom.file_meta import build_file_meta, choose_layout, read_file_meta
from isocenter.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from isocenter.errors import BadFileFormatError

PREAMBLE = b"\0" * 128 + b"DICM"


def test_file_meta_of_a_file_tells_encoding_and_offset() -> None:
    meta = read_file_meta(build_instance())
    assert meta.transfer_syntax_uid == dicom_files.EXPLICIT_LITTLE
    assert meta.layout is EXPLICIT_LITTLE
    assert meta.data_set_offset == len(encode_meta())
    assert meta.has_meta_header
    assert not meta.is_deflated


def test_file_meta_without_preamble_is_read() -> None:
    head = encode_meta(has_preamble=False)
    meta = read_file_meta(head + build_data_set(identifiers()))
    assert (meta.has_meta_header, meta.data_set_offset) == (True, len(head))


@pytest.mark.parametrize("length", [0, 4, 4000])
def test_false_group_length_is_not_believed(length: int) -> None:
    false = encode_element(0x00020000, "UL", struct.pack("<I", length))
    head = PREAMBLE + false + encode_meta()[144:]
    meta = read_file_meta(head + build_data_set(identifiers()))
    assert meta.data_set_offset == len(head)


def test_absent_group_length_does_no_harm() -> None:
    head = PREAMBLE + encode_meta()[144:]
    assert read_file_meta(head + build_data_set(identifiers())).data_set_offset == len(head)


@pytest.mark.parametrize(
    ("syntax", "layout"),
    [
        (dicom_files.EXPLICIT_LITTLE, EXPLICIT_LITTLE),
        (dicom_files.IMPLICIT_LITTLE, IMPLICIT_LITTLE),
        (dicom_files.EXPLICIT_BIG, EXPLICIT_BIG),
    ],
)
def test_encoding_of_bare_data_set_is_guessed(syntax: str, layout: Layout) -> None:
    meta = read_file_meta(build_data_set(identifiers(), syntax=syntax))
    assert meta.transfer_syntax_uid == syntax
    assert meta.layout is layout
    assert not meta.has_meta_header
    assert meta.data_set_offset == 0


@pytest.mark.parametrize(
    ("syntax", "layout"),
    [
        (dicom_files.EXPLICIT_LITTLE, EXPLICIT_LITTLE),
        (dicom_files.IMPLICIT_LITTLE, IMPLICIT_LITTLE),
    ],
)
def test_encoding_of_unknown_transfer_syntax_is_guessed(syntax: str, layout: Layout) -> None:
    data = encode_meta("1.2.3.4") + build_data_set(identifiers(), syntax=syntax)
    meta = read_file_meta(data)
    assert (meta.transfer_syntax_uid, meta.layout) == ("1.2.3.4", layout)


def test_encoding_without_transfer_syntax_is_guessed() -> None:
    head = PREAMBLE + encode_element(0x00020002, "UI", "1.2")
    meta = read_file_meta(head + build_data_set(identifiers()))
    assert meta.transfer_syntax_uid == dicom_files.EXPLICIT_LITTLE


def test_private_first_element_is_accepted_behind_meta_information() -> None:
    head = PREAMBLE + encode_element(0x00020002, "UI", "1.2")
    private = encode_element(0x00010001, "LO", "ab", syntax=dicom_files.IMPLICIT_LITTLE)
    assert read_file_meta(head + private).layout is IMPLICIT_LITTLE


def test_meta_information_alone_is_read() -> None:
    assert read_file_meta(encode_meta()).data_set_offset == len(encode_meta())
    alone = PREAMBLE + encode_element(0x00020002, "UI", "1.2")
    assert read_file_meta(alone).layout is EXPLICIT_LITTLE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\0" * 100,
        b"\0" * 132,
        b"DICM" + build_instance()[132:],
        b"# Readme\n\nSome text that is long enough to hold an element header.",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"%PDF-1.4 and so on and so forth",
        PREAMBLE + encode_meta()[132:200],
        PREAMBLE + encode_element(0x00020002, "UI", "1.2") + b"\x08\0\x05",
    ],
)
def test_bytes_that_are_no_dicom_are_refused(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        read_file_meta(data)


def test_unknown_transfer_syntax_counts_as_explicit_little_endian() -> None:
    assert choose_layout("1.2.3") is EXPLICIT_LITTLE


@pytest.mark.parametrize("source_ae_title", [None, "MODALITY", "MODALITY1"])
def test_built_file_meta_is_what_pydicom_reads(source_ae_title: str | None) -> None:
    head = build_file_meta(
        dicom_files.CT_IMAGE_STORAGE,
        "1.2.3.4",
        transfer_syntax_uid=dicom_files.EXPLICIT_LITTLE,
        source_ae_title=source_ae_title,
    )
    meta = pydicom.dcmread(io.BytesIO(head + build_data_set(identifiers()))).file_meta
    assert meta.FileMetaInformationGroupLength == len(head) - 144
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.MediaStorageSOPClassUID == dicom_files.CT_IMAGE_STORAGE
    assert meta.MediaStorageSOPInstanceUID == "1.2.3.4"
    assert meta.TransferSyntaxUID == dicom_files.EXPLICIT_LITTLE
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert meta.get("SourceApplicationEntityTitle") == source_ae_title


def test_built_file_meta_is_read_back() -> None:
    head = build_file_meta("1.2", "1.2.3", transfer_syntax_uid=dicom_files.IMPLICIT_LITTLE)
    meta = read_file_meta(head + build_data_set(identifiers(), syntax=dicom_files.IMPLICIT_LITTLE))
    assert meta.data_set_offset == len(head)
    assert meta.elements[0x00020002] == ("UI", b"1.2\0")

"""Records of a DICOMDIR, built from files of all encodings and kinds."""

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.support.data_sets import write_data_set
from tests.support.dicom_files import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    build_instance,
    encode_element,
    encode_sequence,
)
from tests.support.directories import Node, read_directory, walk

from isocenter.dicom.directory import Directory
from isocenter.dicom.directory_records import FilePlace, build_records
from isocenter.errors import BadFileFormatError

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_PLACE = FilePlace("IMAGES/IM5", (2, 3, 4), ("20260102", "030405"))
_SYNTAXES = [IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE, EXPLICIT_BIG]


def _build(data: bytes, *, is_extended: bool = False, encoding: str = "Latin1") -> list[Node]:
    records = build_records(data, _PLACE, is_extended=is_extended, default_encoding=encoding)
    directory = Directory()
    directory.add(("p", "s", "e"), records)
    _, roots = read_directory(b"".join(directory.write("1.2.3")))
    return [node for _, node in walk(roots)]


def _code(meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = "1"
    item.CodingSchemeDesignator = "99X"
    item.CodeMeaning = meaning
    return item


def _content(relationship: str, meaning: str) -> Dataset:
    item = Dataset()
    item.RelationshipType = relationship
    item.ValueType = "CODE"
    item.ConceptNameCodeSequence = Sequence([_code(meaning)])
    return item


def _write(syntax: str = EXPLICIT_LITTLE, sop_class: str = "2", **values: Any) -> bytes:
    ds = Dataset()
    ds.SOPClassUID = _STORAGE + sop_class
    ds.SOPInstanceUID = "1.2.3.4"
    ds.StudyInstanceUID = "1.2"
    ds.SeriesInstanceUID = "1.2.3"
    ds.PatientID = "P"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return write_data_set(ds, syntax)


_FULL: dict[str, Any] = {
    "PatientName": "Doe^Jane",
    "StudyDate": "20200101",
    "StudyTime": "120000",
    "StudyID": "S1",
    "StudyDescription": "head",
    "AccessionNumber": "A1",
    "Modality": "CT",
    "SeriesNumber": "7",
    "InstanceNumber": "8",
}


@pytest.mark.parametrize("syntax", _SYNTAXES)
def test_records_of_an_image_have_the_keys_of_the_standard(syntax: str) -> None:
    patient, study, series, image = (
        {element.keyword: element.value for element in node.record}
        for node in _build(_write(syntax, **_FULL))
    )
    assert patient == {
        "DirectoryRecordType": "PATIENT",
        "PatientName": "Doe^Jane",
        "PatientID": "P",
    }
    assert study == {
        "DirectoryRecordType": "STUDY",
        "StudyDate": "20200101",
        "StudyTime": "120000",
        "AccessionNumber": "A1",
        "StudyDescription": "head",
        "StudyInstanceUID": "1.2",
        "StudyID": "S1",
    }
    assert series == {
        "DirectoryRecordType": "SERIES",
        "Modality": "CT",
        "SeriesInstanceUID": "1.2.3",
        "SeriesNumber": 7,
    }
    assert image == {
        "DirectoryRecordType": "IMAGE",
        "ReferencedFileID": ["IMAGES", "IM5"],
        "ReferencedSOPClassUIDInFile": _STORAGE + "2",
        "ReferencedSOPInstanceUIDInFile": "1.2.3.4",
        "ReferencedTransferSyntaxUIDInFile": syntax,
        "InstanceNumber": 8,
    }


@pytest.mark.parametrize("syntax", _SYNTAXES)
def test_extended_records_have_optional_keys(syntax: str) -> None:
    data = _write(syntax, **_FULL, PatientSex="F", SeriesDescription="axial", Rows=0x1234)
    patient, _, series, image = (node.record for node in _build(data, is_extended=True))
    assert patient.PatientSex == "F"
    assert series.SeriesDescription == "axial"
    assert image.Rows == 0x1234
    assert "PatientBirthDate" not in patient


def test_required_values_that_are_missing_have_something_in_their_place() -> None:
    patient, study, series, image = (node.record for node in _build(_write(PatientID="")))
    assert patient.PatientID == "UNKNOWN"
    assert patient.PatientName == ""
    assert (study.StudyDate, study.StudyTime) == ("20260102", "030405")
    assert (study.StudyID, study.AccessionNumber) == ("2", "")
    assert (series.Modality, series.SeriesNumber) == ("OT", 3)
    assert image.InstanceNumber == 4


@pytest.mark.parametrize(
    ("values", "date", "time"),
    [
        ({"SeriesDate": "20200102", "SeriesTime": "01"}, "20200102", "01"),
        ({"AcquisitionDate": "20200103"}, "20200103", "000000"),
        ({"ContentDate": "20200104", "StudyTime": "02"}, "20200104", "02"),
    ],
)
def test_date_of_a_study_without_one_is_the_next_best(
    values: dict[str, str], date: str, time: str
) -> None:
    study = _build(_write(**values))[1].record
    assert (study.StudyDate, study.StudyTime) == (date, time)


# The types are those of PS3.3 Table F.4-1.
@pytest.mark.parametrize(
    ("sop_class", "kind"),
    [
        ("1.2.3.4.5", "IMAGE"),
        (_STORAGE + "2", "IMAGE"),
        (_STORAGE + "66.4", "IMAGE"),
        (_STORAGE + "481.1", "IMAGE"),
        (_STORAGE + "11", "IMAGE"),
        (_STORAGE + "481.2", "RT DOSE"),
        (_STORAGE + "481.3", "RT STRUCTURE SET"),
        (_STORAGE + "481.5", "RT PLAN"),
        (_STORAGE + "481.8", "RT PLAN"),
        (_STORAGE + "481.9", "RT TREAT RECORD"),
        (_STORAGE + "481.12", "RADIOTHERAPY"),
        (_STORAGE + "11.1", "PRESENTATION"),
        (_STORAGE + "9.1.1", "WAVEFORM"),
        (_STORAGE + "88.67", "SR DOCUMENT"),
        (_STORAGE + "88.59", "KEY OBJECT DOC"),
        (_STORAGE + "4.2", "SPECTROSCOPY"),
        (_STORAGE + "66", "RAW DATA"),
        (_STORAGE + "66.1", "REGISTRATION"),
        (_STORAGE + "66.2", "FIDUCIAL"),
        (_STORAGE + "104.1", "ENCAP DOC"),
        (_STORAGE + "67", "VALUE MAP"),
        (_STORAGE + "77.1.5.3", "STEREOMETRIC"),
        (_STORAGE + "78.7", "MEASUREMENT"),
        (_STORAGE + "66.5", "SURFACE"),
        (_STORAGE + "68.1", "SURFACE SCAN"),
        (_STORAGE + "66.6", "TRACT"),
        (_STORAGE + "90.1", "ASSESSMENT"),
        (_STORAGE + "91.1", "ANNOTATION"),
        ("1.2.840.10008.5.1.4.34.7", "PLAN"),
    ],
)
def test_type_of_a_record_follows_from_the_sop_class(sop_class: str, kind: str) -> None:
    leaf = _build(build_instance({0x00080016: ("UI", sop_class)}))[3]
    assert leaf.kind == kind
    assert leaf.record.ReferencedSOPClassUIDInFile == sop_class


@pytest.mark.parametrize("syntax", _SYNTAXES)
def test_record_of_a_report_has_its_title_and_what_modifies_it(syntax: str) -> None:
    observers = []
    for moment in ("20200101", "20210101"):
        observer = Dataset()
        observer.VerificationDateTime = moment
        observers.append(observer)
    data = _write(
        syntax,
        "88.11",
        CompletionFlag="COMPLETE",
        VerificationFlag="VERIFIED",
        ContentDate="20200102",
        ContentTime="03",
        ConceptNameCodeSequence=Sequence([_code("Title")]),
        VerifyingObserverSequence=Sequence(observers),
        ContentSequence=Sequence(
            [_content("HAS CONCEPT MOD", "modifies"), _content("CONTAINS", "does not")]
        ),
    )
    record = _build(data)[3].record
    assert record.VerificationDateTime == "20210101"
    assert record.ConceptNameCodeSequence[0].CodeMeaning == "Title"
    (item,) = record.ContentSequence
    assert item.ConceptNameCodeSequence[0].CodeMeaning == "modifies"
    assert (record.CompletionFlag, record.VerificationFlag) == ("COMPLETE", "VERIFIED")


def test_report_without_flags_is_partial_and_unverified() -> None:
    record = _build(_write(sop_class="88.11"))[3].record
    assert (record.CompletionFlag, record.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    assert len(record.ConceptNameCodeSequence) == 0
    assert "ContentSequence" not in record
    assert (record.ContentDate, record.ContentTime) == ("20260102", "030405")


def test_numbers_of_big_endian_files_are_turned() -> None:
    record = _build(_write(EXPLICIT_BIG, "4.2", Rows=3, DataPointColumns=70_000))[3].record
    assert (record.Rows, record.Columns) == (3, 1)
    assert (record.DataPointRows, record.DataPointColumns) == (1, 70_000)


def test_text_keeps_the_character_set_of_its_file() -> None:
    for terms, name in (
        ("ISO_IR 192", "Jäger^Ö"),
        ("ISO_IR 100", "Jäger^Ö"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
    ):
        nodes = _build(_write(SpecificCharacterSet=terms, PatientName=name))
        assert str(nodes[0].record.PatientName) == name
        assert all(node.record.SpecificCharacterSet == terms for node in nodes)


def test_text_without_character_set_has_the_default_one() -> None:
    data = build_instance({0x00100010: ("PN", "Jäger ".encode("latin-1"))})
    nodes = _build(data)
    assert nodes[0].record.SpecificCharacterSet == "ISO_IR 100"
    assert str(nodes[0].record.PatientName) == "Jäger"
    # Only where it is needed.
    assert "SpecificCharacterSet" not in nodes[1].record


def test_too_long_values_are_left_out() -> None:
    item = encode_element(0x00080104, "LO", "x" * 60_000)
    sequence = encode_sequence(0x0040A043, [item, item])
    elements = {0x00080016: ("UI", _STORAGE + "88.11"), 0x00080050: ("UT", "y" * 70_000)}
    nodes = _build(build_instance(elements, tail=sequence))
    assert nodes[1].record.AccessionNumber == ""
    assert len(nodes[3].record.ConceptNameCodeSequence) == 0


def test_sequence_that_cannot_be_read_is_left_out() -> None:
    deep = b""
    for _ in range(70):
        deep = encode_sequence(0x0040A043, [deep])
    broken = encode_element(0x0040A073, "SQ", b"no items")
    data = build_instance({0x00080016: ("UI", _STORAGE + "88.11")}, tail=deep + broken)
    record = _build(data)[3].record
    assert len(record.ConceptNameCodeSequence) == 0
    assert "VerificationDateTime" not in record


def test_sequence_of_countless_items_is_left_out() -> None:
    sequence = encode_sequence(0x0040A043, [b""] * 200_000)
    data = build_instance({0x00080016: ("UI", _STORAGE + "88.11")}, tail=sequence)
    assert len(_build(data)[3].record.ConceptNameCodeSequence) == 0


def test_identifiers_come_from_the_meta_information_if_need_be() -> None:
    leaf = _build(build_instance({0x00080016: ("UI", "")}))[3].record
    # What `build_instance` writes into (0002,0002).
    assert leaf.ReferencedSOPClassUIDInFile == _STORAGE + "2"


@pytest.mark.parametrize("data", [b"", b"x" * 200, build_instance()[:-1]])
def test_what_is_no_file_is_refused(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        build_records(data, _PLACE, is_extended=False)

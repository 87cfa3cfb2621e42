"""Created files: what is inherited, written by default, refused."""

import io
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from tests.support.images import build_data_uri, build_jpeg, build_png

from isocenter.archive.created_files import FileBuilder, Inherited
from isocenter.archive.creation_requests import decode_data_uri, parse_creation
from isocenter.dicom.levels import Level
from isocenter.dicom.modules import MODULE_TAGS
from isocenter.dicom.portable import PortableElement
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.errors import (
    BadFileFormatError,
    BadParameterError,
    BadRequestError,
    MisplacedPixelsError,
    NoContentError,
    NoDataURIError,
    NotTextError,
    OverriddenTagError,
    ParameterTypeError,
    ParentEncodingError,
    ServerError,
    UnknownParentError,
    UnknownTagError,
)

PNG = build_data_uri("image/png", build_png((2, 1), 8, 0, b"\1\2"))
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PARENT = Inherited(
    {
        0x00100010: PortableElement("PN", "MÜLLER^A"),
        0x00100020: PortableElement("LO", "P1"),
        0x0020000D: PortableElement("UI", b"1.2.3"),
        0x00081110: PortableElement("SQ", ({0x00081155: PortableElement("UI", b"1.9")},)),
    },
    MODULE_TAGS[Level.PATIENT] | MODULE_TAGS[Level.STUDY],
    "ISO_IR 100",
)


def build(
    body: dict[str, Any],
    inherited: Inherited | None = None,
    *,
    default_encoding: str = "Latin1",
    private_creator: str = "",
) -> list[Dataset]:
    request = parse_creation(body, private_creator=private_creator, dictionary=DEFAULT_DICTIONARY)
    builder = FileBuilder(
        request,
        inherited,
        dictionary=DEFAULT_DICTIONARY,
        default_encoding=default_encoding,
        created_at=1_000_000_000,
    )
    return [pydicom.dcmread(io.BytesIO(b"".join(pieces))) for pieces in builder.iter_files()]


def build_one(body: dict[str, Any], inherited: Inherited | None = None, **more: Any) -> Dataset:
    [ds] = build(body, inherited, **more)
    return ds


def test_tags_alone_get_identifiers_dates_and_class() -> None:
    ds = build_one({"Tags": {"PatientName": "A^B", "StudyDate": "20200101"}})
    assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == SECONDARY_CAPTURE
    assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
    assert ds.StudyInstanceUID.startswith("2.25.")
    assert len(ds.PatientID) == 36
    assert (ds.StudyDate, ds.StudyTime) == ("20200101", "014640.000000")
    assert (ds.SeriesDate, ds.ContentDate, ds.AcquisitionDate) == ("20010909",) * 3
    assert ds.SpecificCharacterSet == "ISO_IR 100"


def test_old_form_gets_identifiers_only() -> None:
    ds = build_one({"PatientName": "A^B", "PixelData": PNG, "StudyInstanceUID": "1.2.3"})
    assert ds.StudyInstanceUID == "1.2.3"
    assert ds.PixelData == b"\1\2"
    assert "StudyDate" not in ds
    assert "SpecificCharacterSet" not in ds
    assert build_one({"PatientName": "é"}).SpecificCharacterSet == "ISO_IR 100"


def test_parent_gives_its_modules_and_no_dates() -> None:
    ds = build_one({"Tags": {"SeriesDescription": "x", "PatientName": "MÜLLER^A"}}, PARENT)
    assert (ds.PatientName, ds.PatientID, ds.StudyInstanceUID) == ("MÜLLER^A", "P1", "1.2.3")
    assert ds.ReferencedStudySequence[0].ReferencedSOPInstanceUID == "1.9"
    assert "StudyDate" not in ds
    assert ds.SeriesDate == "20010909"


def test_parent_without_patient_id_gets_none() -> None:
    parent = Inherited({0x0020000D: PortableElement("UI", b"1.2")}, PARENT.tags, "")
    assert "PatientID" not in build_one({"Tags": {}}, parent)


def test_inherited_value_is_changed_only_by_force() -> None:
    body = {"Tags": {"PatientName": "OTHER"}}
    with pytest.raises(OverriddenTagError) as caught:
        build(body, PARENT)
    assert caught.value.details == "PatientName"
    assert build_one({**body, "Force": True}, PARENT).PatientName == "OTHER"


@pytest.mark.parametrize(
    ("tags", "parent", "default", "expected"),
    [
        ({"PatientName": "é"}, None, "Latin1", "ISO_IR 100"),
        ({"PatientName": "Й"}, None, "Cyrillic", "ISO_IR 144"),
        ({"PatientName": "Й"}, None, "Latin1", "ISO_IR 192"),
        ({"PatientName": "é"}, None, "Ascii", "ISO_IR 192"),
        ({"PatientName": "Й"}, None, "Windows1251", "ISO_IR 192"),
        ({"PatientName": "A"}, None, "Ascii", None),
        ({"SeriesDescription": "é"}, PARENT, "Cyrillic", "ISO_IR 100"),
        ({"SeriesDescription": "Й"}, PARENT, "Cyrillic", "ISO_IR 192"),
        ({"PatientName": "Й", "SpecificCharacterSet": "ISO_IR 144"}, None, "Utf8", "ISO_IR 144"),
        (
            {"PatientName": "Yamada=山田", "SpecificCharacterSet": "\\ISO 2022 IR 87"},
            None,
            "Utf8",
            ["", "ISO 2022 IR 87"],
        ),
    ],
)
def test_character_set_holds_all_text(
    tags: dict[str, str], parent: Inherited | None, default: str, expected: Any
) -> None:
    ds = build_one({"Tags": tags}, parent, default_encoding=default)
    found = ds.get("SpecificCharacterSet")
    assert (found if found is None or isinstance(found, str) else list(found)) == expected
    for name in ("PatientName", "SeriesDescription"):
        if name in tags:
            assert str(ds[name].value) == tags[name]
    if parent is not None:
        assert ds.PatientName == "MÜLLER^A"


def test_parent_in_an_unknown_character_set_is_refused() -> None:
    parent = Inherited({}, frozenset(), "ISO_IR 999")
    with pytest.raises(ParentEncodingError):
        build({"Tags": {}}, parent)


def test_series_numbers_its_instances() -> None:
    body = {
        "Tags": {"PatientID": "P", "InstanceNumber": "9", "SeriesDescription": "s"},
        "Content": [PNG, {"Content": PNG, "Tags": {"ImageComments": "c"}}],
    }
    first, second = build(body)
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert [ds.InstanceNumber for ds in (first, second)] == [1, 2]
    assert [ds.ImageIndex for ds in (first, second)] == [1, 2]
    assert first.ImagesInAcquisition == 2
    assert "ImageComments" not in first
    assert second.ImageComments == "c"


@pytest.mark.parametrize("value", ["x", "y"])
def test_item_may_only_repeat_what_all_have(value: str) -> None:
    item = {"Content": PNG, "Tags": {"SeriesDescription": value}}
    body = {"Tags": {"SeriesDescription": "x"}, "Content": [item]}
    if value == "x":
        assert build_one(body).SeriesDescription == "x"
        return
    with pytest.raises(OverriddenTagError):
        build(body)


def test_image_decides_its_geometry_and_the_client_its_meaning() -> None:
    tags = {"Rows": "9", "PhotometricInterpretation": "MONOCHROME1", "SOPClassUID": "1.2.4"}
    ds = build_one({"Tags": tags, "Content": PNG})
    assert (ds.Rows, ds.Columns, ds.BitsStored, ds.HighBit) == (1, 2, 8, 7)
    assert (ds.PhotometricInterpretation, ds.SOPClassUID) == ("MONOCHROME1", "1.2.4")


@pytest.mark.parametrize(
    ("color", "options", "photometric"),
    [
        ((9,), {}, "MONOCHROME2"),
        ((1, 2, 3), {"subsampling": "420"}, "YBR_FULL_422"),
        ((1, 2, 3), {"subsampling": "444"}, "YBR_FULL"),
        ((1, 2, 3), {"outcolorspace": "RGB", "colorspace": "RGB"}, "RGB"),
    ],
)
def test_jpeg_is_kept_as_it_is(
    color: tuple[int, ...], options: dict[str, Any], photometric: str
) -> None:
    jpeg = build_jpeg(color, **options)
    body = {"Tags": {}, "Content": build_data_uri("image/jpeg", jpeg), "Encapsulate": True}
    ds = build_one(body)
    assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    assert ds.PhotometricInterpretation == photometric
    assert ds.LossyImageCompression == "01"
    [frame] = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
    assert frame.rstrip(b"\0") == jpeg.rstrip(b"\0")


def test_jpeg_of_another_process_cannot_be_kept() -> None:
    jpeg = build_jpeg((1, 2, 3)).replace(b"\xff\xc0", b"\xff\xc2")
    body = {"Tags": {}, "Content": build_data_uri("image/jpeg", jpeg), "Encapsulate": True}
    with pytest.raises(BadFileFormatError, match="baseline"):
        build(body)


@pytest.mark.parametrize(
    ("kind", "data", "sop_class", "modality"),
    [
        ("application/pdf", b"%PDF-1.7", "1.2.840.10008.5.1.4.1.1.104.1", "OT"),
        ("model/stl", b"solid ", "1.2.840.10008.5.1.4.1.1.104.3", "M3D"),
        ("model/obj", b"v 1 2 3 ", "1.2.840.10008.5.1.4.1.1.104.4", "M3D"),
        ("Model/MTL", b"newmtl", "1.2.840.10008.5.1.4.1.1.104.5", "M3D"),
    ],
)
def test_document_is_encapsulated(kind: str, data: bytes, sop_class: str, modality: str) -> None:
    ds = build_one({"Tags": {}, "Content": build_data_uri(kind, data)})
    assert (ds.SOPClassUID, ds.Modality) == (sop_class, modality)
    assert ds.EncapsulatedDocument.rstrip(b"\0") == data
    assert ds.MIMETypeOfEncapsulatedDocument == kind.lower()
    assert ds.get("ConversionType") == ("WSD" if "pdf" in kind else None)


def test_raw_pixels_are_taken_with_the_geometry_of_the_tags() -> None:
    tags = {"Rows": "1", "Columns": "3", "BitsAllocated": "8"}
    body = {"Tags": tags, "Content": build_data_uri("application/octet-stream", b"\1\2\3")}
    ds = build_one(body)
    assert (ds.Rows, ds.Columns, ds.PixelData) == (1, 3, b"\1\2\3\0")


@pytest.mark.parametrize(
    ("interprets", "value"), [(True, b"\1\2\3\4"), (False, b"data:x/y;base64,AQIDBA==")]
)
def test_data_uri_of_a_binary_tag_is_decoded_on_request(interprets: bool, value: bytes) -> None:
    uri = build_data_uri("x/y", b"\1\2\3\4")
    tags = {"RedPaletteColorLookupTableData": uri, "ImageComments": uri}
    ds = build_one({"Tags": tags, "InterpretBinaryTags": interprets})
    assert ds.RedPaletteColorLookupTableData == value
    assert ds.ImageComments == uri


@pytest.mark.parametrize(
    ("body", "creator"),
    [
        ({"Tags": {"0009,1001": "v"}, "PrivateCreator": "ME"}, "ME"),
        ({"Tags": {"0009,1001": "v"}}, "DEFAULT"),
        ({"Tags": {"0009,1001": "v", "0009,0010": "OWN"}, "PrivateCreator": "ME"}, "OWN"),
    ],
)
def test_private_block_is_reserved(body: dict[str, Any], creator: str) -> None:
    ds = build_one(body, private_creator="DEFAULT")
    assert ds[0x00090010].value == creator
    assert ds[0x00091001].value == "v"


def test_private_elements_of_a_known_creator_get_its_representation() -> None:
    body = {"Tags": {"0019,0010": "GEMS_ACQU_01", "0019,1002": "5"}}
    assert build_one(body)[0x00191002].VR == "SL"


def test_meta_information_and_group_lengths_are_ours() -> None:
    ds = build_one({"Tags": {"TransferSyntaxUID": "1.2.840.10008.1.2", "0010,0000": "7"}})
    assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"Tags": []}, BadRequestError),
        ({"Tags": {"PatientID": 5}}, ParameterTypeError),
        ({"Tags": {"PatientID": True}}, ParameterTypeError),
        ({"Tags": {"OtherPatientIDsSequence": [{"PatientID": 5}]}}, ParameterTypeError),
        ({"Tags": {"OtherPatientIDsSequence": ["x"]}}, ParameterTypeError),
        ({"Tags": {"OtherPatientIDsSequence": "x"}}, BadParameterError),
        ({"Tags": {"Nonsense": "x"}}, UnknownTagError),
        ({"Tags": {"FFFE,E000": "x"}}, BadParameterError),
        ({"Tags": {"OtherPatientIDsSequence": [{"FFFE,E00D": "x"}]}}, BadParameterError),
        ({"Tags": {"PatientID": [{"PatientID": "x"}]}}, ParameterTypeError),
        ({"Tags": {"Rows": "abc"}}, BadParameterError),
        ({"Tags": {"AccessionNumber": "x" * 70_000}}, BadRequestError),
        ({"Tags": {"SpecificCharacterSet": "nope"}}, BadParameterError),
        ({"Tags": {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Й"}}, BadParameterError),
        ({"Tags": {"PixelData": PNG}}, MisplacedPixelsError),
        ({"Tags": {"7fe0,0008": "x"}}, MisplacedPixelsError),
        ({"Tags": {"StudyInstanceUID": "1"}}, OverriddenTagError),
        ({"Tags": {}, "Content": 5}, NoDataURIError),
        ({"Tags": {}, "Content": None}, NoDataURIError),
        ({"Tags": {}, "Content": [5]}, NoDataURIError),
        ({"Tags": {}, "Content": [{"Tags": {}}]}, NoContentError),
        ({"Tags": {}, "Content": [{"Content": 5}]}, NoDataURIError),
        ({"Tags": {}, "Content": [{"Content": PNG, "Tags": []}]}, BadRequestError),
        (
            {"Tags": {}, "Content": [{"Content": PNG, "Tags": {"SOPInstanceUID": "1"}}]},
            OverriddenTagError,
        ),
        (
            {
                "Tags": {},
                "Force": True,
                "Content": [{"Content": PNG, "Tags": {"SeriesInstanceUID": "1"}}],
            },
            BadRequestError,
        ),
        ({"Tags": {}, "Content": [PNG] * 10_001}, BadRequestError),
        ({"Tags": {}, "Content": "text"}, BadFileFormatError),
        ({"Tags": {}, "Content": "data:image/png;base64,$"}, BadFileFormatError),
        ({"Tags": {}, "Content": "data:image/png;base64,é"}, BadFileFormatError),
        ({"Tags": {}, "Content": build_data_uri("image/gif", b"x")}, BadParameterError),
        ({"Tags": {}, "Content": build_data_uri("application/pdf", b"x")}, BadFileFormatError),
        ({"Tags": {}, "Content": build_data_uri("model/stl", b"")}, BadFileFormatError),
        ({"Tags": {"EncapsulatedDocument": build_data_uri("x/y", b"")}}, BadParameterError),
        ({"Tags": {}, "Force": "yes"}, BadRequestError),
        ({"Tags": {}, "Encapsulate": 1}, BadRequestError),
        ({"Tags": {}, "PrivateCreator": 5}, BadRequestError),
        ({"Tags": {}, "Parent": 5}, UnknownParentError),
        ({"PatientID": 5}, NotTextError),
        ({"PatientID": "x", "Force": True}, NotTextError),
        ({"PixelData": "x"}, BadFileFormatError),
    ],
)
def test_wrong_request_is_refused(body: dict[str, Any], error: type[ServerError]) -> None:
    with pytest.raises(error) as caught:
        build(body)
    assert type(caught.value) is error


def test_data_uri_may_have_parameters() -> None:
    assert decode_data_uri("data:IMAGE/png;name=a;base64,AQ==") == ("image/png", b"\1")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 6, 7, 12])
def test_data_uri_is_decoded_piece_by_piece(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("isocenter.archive.creation_requests._PIECE", 4)
    data = bytes(range(size))
    assert decode_data_uri(build_data_uri("a/b", data)) == ("a/b", data)


@pytest.mark.parametrize("text", ["AA==AA==", "AAA=AAAA", "AAAAA", "=", "AA\nAA"])
def test_wrong_base64_is_refused_piece_by_piece(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("isocenter.archive.creation_requests._PIECE", 4)
    with pytest.raises(BadFileFormatError):
        decode_data_uri(f"data:a/b;base64,{text}")

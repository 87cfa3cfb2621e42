"""Random data sets, built and written by pydicom, for property tests."""

import io

from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID
from tests.support import dicom_files

__all__ = ["SYNTAXES", "rich_data_sets", "write_data_set"]

SYNTAXES = (
    dicom_files.IMPLICIT_LITTLE,
    dicom_files.EXPLICIT_LITTLE,
    dicom_files.DEFLATED_LITTLE,
    dicom_files.EXPLICIT_BIG,
)
"""All that pydicom writes without a codec."""

# Text that survives a round trip: no padding at the end, no backslash, no control character.
_CHARACTERS = st.characters(categories=("L", "N", "P", "Zs"), exclude_characters="\\^=\u00a0")
_TEXT = st.text(_CHARACTERS, min_size=1, max_size=20).map(lambda text: text.strip()).filter(bool)
_UIDS = st.from_regex(r"[12](\.(0|[1-9][0-9]{0,8})){1,6}", fullmatch=True)
_WORDS = st.integers(0, 65535)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
_DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
_DECIMALS = st.decimals(-9999, 9999, places=3).map(str)

# Tag, VR, and what a value of it may be; several values unless the tag takes one alone.
_TEXTS = {
    0x00080008: ("CS", st.sampled_from(["ORIGINAL", "DERIVED", "A_1"])),
    0x00081030: ("LO", _TEXT),
    0x00081070: ("PN", st.tuples(_TEXT, _TEXT).map("^".join)),
    0x00101000: ("LO", _TEXT),
    0x00204000: ("LT", _TEXT),
    0x00081155: ("UI", _UIDS),
    0x00200032: ("DS", _DECIMALS),
    0x00200013: ("IS", st.integers(-(2**31), 2**31 - 1).map(str)),
    0x00089007: ("CS", st.sampled_from(["MIXED", "VOLUME"])),
    0x0040A160: ("UT", _TEXT),
}
_NUMBERS = {
    0x00280010: ("US", _WORDS),
    0x00189219: ("SS", st.integers(-(2**15), 2**15 - 1)),
    0x00186020: ("SL", st.integers(-(2**31), 2**31 - 1)),
    0x00189073: ("FD", _DOUBLES),
    0x00189089: ("FD", _DOUBLES),
    0x00186030: ("UL", st.integers(0, 2**32 - 1)),
    0x00089459: ("FL", _FLOATS),
    0x00280009: ("AT", st.integers(0x00080000, 0x7FDFFFFF)),
}
_BINARIES = {0x00420011: "OB", 0x00281201: "OW", 0x00091002: "OB"}
_SINGLE = frozenset({0x00204000, 0x0040A160, 0x00200013})


@st.composite
def _fill(draw: st.DrawFn, depth: int) -> Dataset:
    ds = Dataset()
    for tag in draw(st.sets(st.sampled_from([*_TEXTS, *_NUMBERS]), max_size=8)):
        vr, values = (_TEXTS | _NUMBERS)[tag]
        drawn = draw(st.lists(values, max_size=1 if tag in _SINGLE else 3))
        ds.add_new(tag, vr, drawn[0] if len(drawn) == 1 else drawn or None)
    for tag in draw(st.sets(st.sampled_from([*_BINARIES]), max_size=2)):
        if tag >> 16 == 0x0009:
            ds.add_new(0x00090010, "LO", "NOBODY")
        ds.add_new(tag, _BINARIES[tag], draw(st.binary(max_size=40).map(lambda data: data * 2)))
    if depth and draw(st.booleans()):
        ds.add_new(0x00081140, "SQ", draw(st.lists(_fill(depth - 1), max_size=2)))
        ds[0x00081140].is_undefined_length = draw(st.booleans())
    return ds


@st.composite
def rich_data_sets(draw: st.DrawFn) -> Dataset:
    """Draw a data set of all kinds of elements, nested, with the four identifiers."""
    ds = draw(_fill(2))
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = dicom_files.CT_IMAGE_STORAGE
    ds.SOPInstanceUID = draw(_UIDS)
    ds.StudyInstanceUID = draw(_UIDS)
    ds.SeriesInstanceUID = draw(_UIDS)
    ds.PatientID = draw(_TEXT)
    if draw(st.booleans()):
        ds.add_new(0x7FE00010, "OW", draw(st.binary(max_size=40).map(lambda data: data * 2)))
    return ds


def write_data_set(ds: Dataset, syntax: str) -> bytes:
    """Write a data set as a file in one of ``SYNTAXES``."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(dicom_files.CT_IMAGE_STORAGE)
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta = meta
    stream = io.BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()

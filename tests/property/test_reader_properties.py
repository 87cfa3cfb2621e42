"""The reader meets any bytes: written by pydicom, cut, changed, or random."""

import contextlib
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from tests.support import dicom_files
from tests.support.data_sets import write_data_set

from isocenter.dicom.identifiers import build_public_ids
from isocenter.dicom.json_forms import Shape, build_header_json, build_tags_json
from isocenter.dicom.main_tags import build_main_tags
from isocenter.dicom.reader import build_identity, read_summary, read_values
from isocenter.dicom.tags import format_tag
from isocenter.errors import ServerError

WANTED = build_main_tags().wanted

# A slow machine is no failure.
_UNTIMED = settings(deadline=None, max_examples=60)

SYNTAXES = [
    dicom_files.IMPLICIT_LITTLE,
    dicom_files.EXPLICIT_LITTLE,
    dicom_files.DEFLATED_LITTLE,
    dicom_files.EXPLICIT_BIG,
]

# Text that survives a round trip: no padding at the end, no backslash, no control character.
plain = st.text(
    st.characters(categories=("L", "N", "P", "Zs"), exclude_characters="\\^=\u00a0"), max_size=40
).map(lambda text: text.strip())
uids = st.from_regex(r"[12](\.(0|[1-9][0-9]{0,8})){1,6}", fullmatch=True)
words = st.integers(0, 65535)


@st.composite
def data_sets(draw: st.DrawFn) -> Dataset:
    """Draw a data set with the four identifiers, some values and a sequence."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = dicom_files.CT_IMAGE_STORAGE
    ds.SOPInstanceUID = draw(uids)
    ds.StudyInstanceUID = draw(uids)
    ds.SeriesInstanceUID = draw(uids)
    ds.PatientID = draw(plain)
    ds.PatientName = draw(plain)
    ds.StudyDescription = draw(plain)
    ds.ImagePositionPatient = [str(draw(words)), "0", "1"]
    ds.Rows = draw(words)
    ds.ImageIndex = draw(words)
    ds.add_new(0x00281201, "OW", bytes(2 * draw(st.integers(0, 50))))
    items = []
    for text in draw(st.lists(plain, max_size=3)):
        item = Dataset()
        item.ScheduledProcedureStepDescription = text
        items.append(item)
    ds.RequestAttributesSequence = items
    ds["RequestAttributesSequence"].is_undefined_length = draw(st.booleans())
    if draw(st.booleans()):
        ds.add_new(0x7FE00010, "OW", bytes(2 * draw(st.integers(0, 50))))
    return ds


@_UNTIMED
@given(data_sets(), st.sampled_from(SYNTAXES))
def test_summary_of_file_written_by_pydicom_holds_its_values(ds: Dataset, syntax: str) -> None:
    summary = read_summary(write_data_set(ds, syntax), wanted=WANTED)
    assert summary.transfer_syntax_uid == syntax
    assert summary.values[0x00100010] == str(ds.PatientName)
    assert summary.values[0x00081030] == ds.StudyDescription
    assert summary.values[0x00541330] == str(ds.ImageIndex)
    assert [
        item.get("ScheduledProcedureStepDescription") for item in summary.sequences[0x00400275]
    ] == [item.ScheduledProcedureStepDescription for item in ds.RequestAttributesSequence]
    assert build_identity(summary).public_ids == build_public_ids(
        ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID
    )


@_UNTIMED
@given(data_sets(), st.sampled_from(SYNTAXES[:2] + SYNTAXES[3:]))
def test_offset_of_pixel_data_is_where_pydicom_wrote_them(ds: Dataset, syntax: str) -> None:
    data = write_data_set(ds, syntax)
    summary = read_summary(data, wanted=WANTED)
    pixels = ds.get("PixelData")
    header = 8 if syntax == dicom_files.IMPLICIT_LITTLE else 12
    expected = None if pixels is None else len(data) - len(pixels) - header
    assert summary.pixel_data_offset == expected


@_UNTIMED
@given(data_sets(), st.sampled_from(SYNTAXES))
def test_listing_of_file_written_by_pydicom_holds_its_tags(ds: Dataset, syntax: str) -> None:
    tags = build_tags_json(write_data_set(ds, syntax), Shape.SHORT)
    assert set(tags) == {format_tag(element.tag) for element in ds}
    assert tags["0028,0010"] == str(ds.Rows)
    assert tags["0010,0020"] == ds.PatientID


def _read_everything(data: bytes) -> None:
    """Read in every way; only errors of the tree may come out."""
    for shape in Shape:
        try:
            build_tags_json(data, shape, whole=shape is Shape.FULL)
            build_header_json(data, shape)
        except ServerError:
            pass
    with contextlib.suppress(ServerError):
        build_identity(read_summary(data, wanted=WANTED))
    with contextlib.suppress(ServerError):
        read_summary(data, wanted=WANTED, is_whole=False)
    with contextlib.suppress(ServerError):
        read_values(memoryview(data), wanted=WANTED)


@_UNTIMED
@given(data_sets(), st.sampled_from(SYNTAXES))
def test_header_holds_the_values_of_the_whole_file(ds: Dataset, syntax: str) -> None:
    data = write_data_set(ds, syntax)
    summary = read_summary(data, wanted=WANTED)
    if summary.pixel_data_offset is not None:
        data = data[: summary.pixel_data_offset + 12]
    is_whole = summary.pixel_data_offset is None
    assert read_summary(data, wanted=WANTED, is_whole=is_whole) == summary
    assert read_values(data, wanted=WANTED) == (summary.values, summary.sequences)


@_UNTIMED
@given(data_sets(), st.sampled_from(SYNTAXES), st.data())
def test_truncated_file_raises_our_errors_only(
    ds: Dataset, syntax: str, draw: st.DataObject
) -> None:
    data = write_data_set(ds, syntax)
    _read_everything(data[: draw.draw(st.integers(0, len(data)))])


@_UNTIMED
@given(data_sets(), st.sampled_from(SYNTAXES), st.data())
def test_changed_file_raises_our_errors_only(ds: Dataset, syntax: str, draw: st.DataObject) -> None:
    data = bytearray(write_data_set(ds, syntax))
    places = st.tuples(st.integers(132, len(data) - 1), st.integers(0, 255))
    for position, value in draw.draw(st.lists(places, min_size=1, max_size=8)):
        data[position] = value
    _read_everything(bytes(data))


@_UNTIMED
@given(st.binary(max_size=300), st.sampled_from([*SYNTAXES, "1.2.3", ""]))
def test_random_data_set_raises_our_errors_only(noise: bytes, syntax: str) -> None:
    if syntax == dicom_files.DEFLATED_LITTLE:
        stream = zlib.compressobj(wbits=-15)
        noise = stream.compress(noise) + stream.flush()
    _read_everything(dicom_files.encode_meta(syntax) + noise)


@_UNTIMED
@given(st.binary(max_size=400))
def test_random_bytes_raise_our_errors_only(noise: bytes) -> None:
    _read_everything(noise)


# Items, delimiters and sequences in any order reach the walkers more often than random bytes do.
_PIECES = st.lists(
    st.sampled_from(
        [
            b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
            b"\xfe\xff\x00\xe0\x08\0\0\0",
            b"\xfe\xff\x0d\xe0\0\0\0\0",
            b"\xfe\xff\xdd\xe0\0\0\0\0",
            b"\x40\0\x75\x02SQ\0\0\xff\xff\xff\xff",
            b"\x40\0\x75\x02UN\0\0\xff\xff\xff\xff",
            b"\x40\0\x75\x02\xff\xff\xff\xff",
            b"\x40\0\x07\0LO\2\0ab",
            b"\x40\0\x07\0\2\0\0\0ab",
            b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff",
        ]
    ),
    max_size=40,
).map(b"".join)


@_UNTIMED
@given(_PIECES, st.sampled_from(SYNTAXES[:2]))
def test_shuffled_delimiters_raise_our_errors_only(pieces: bytes, syntax: str) -> None:
    _read_everything(dicom_files.encode_meta(syntax) + pieces)


@_UNTIMED
@given(st.integers(1, 3000), st.booleans())
def test_deep_nesting_raises_our_errors_only(depth: int, is_unknown: bool) -> None:
    vr = b"UN" if is_unknown else b"SQ"
    head = b"\x40\0\x75\x02" + vr + b"\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    _read_everything(dicom_files.encode_meta() + head * depth)

"""Data sets in other encodings, with pydicom as the judge."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from tests.support.dicom_files import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    build_data_set,
    encode_element,
    encode_sequence,
)

from isocenter.dicom.data_sets import get_layout
from isocenter.dicom.recoding import recode_data_set
from isocenter.dicom.values import reverse_words
from isocenter.errors import BadFileFormatError

PIXELS = bytes(range(64))
SYNTAXES = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG)


def build(*, is_signed: bool) -> Dataset:
    item = Dataset()
    item.CodeValue = "X"
    inner = Dataset()
    inner.NumberOfFrames = "4"
    inner.FrameIncrementPointer = [0x00181063, 0x00181065]
    item.PurposeOfReferenceCodeSequence = [inner, Dataset()]
    data_set = Dataset()
    data_set.PatientName = "A^B"
    data_set.Rows = 258
    data_set.PixelRepresentation = int(is_signed)
    data_set.SmallestImagePixelValue = -2 if is_signed else 3
    data_set["SmallestImagePixelValue"].VR = "SS" if is_signed else "US"
    data_set.RescaleSlope = "1.5"
    data_set.EventElapsedTimes = ["1", "2"]
    data_set.RecommendedDisplayFrameRateInFloat = 1.25
    data_set.SelectorFDValue = [1.5, -2.5]
    data_set.ReferencedImageSequence = [item]
    data_set.PixelData = PIXELS
    data_set["PixelData"].VR = "OW"
    return data_set


def encode(data_set: Dataset, syntax: str) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian = syntax != EXPLICIT_BIG
    buffer.is_implicit_VR = syntax == IMPLICIT_LITTLE
    write_dataset(buffer, data_set)
    return buffer.getvalue()


def decode(data: bytes, syntax: str) -> Dataset:
    found = read_dataset(
        BytesIO(data), syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG, bytelength=len(data)
    )
    for element in found.iterall():
        assert element.VR
    return found


def recode(data: bytes, source: str, target: str) -> bytes:
    return b"".join(recode_data_set(memoryview(data), 0, get_layout(source), get_layout(target)))


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("target", SYNTAXES)
@pytest.mark.parametrize("source", SYNTAXES)
def test_values_are_the_same_in_all_encodings(source: str, target: str, *, is_signed: bool) -> None:
    data_set = build(is_signed=is_signed)
    recoded = recode(encode(data_set, source), source, target)
    found = decode(recoded, target)
    assert found.SmallestImagePixelValue == data_set.SmallestImagePixelValue
    pixels, expected = found.pop("PixelData").value, PIXELS
    del data_set.PixelData
    # pydicom writes the words of pixel data as they are.
    is_swapped = (source == EXPLICIT_BIG) != (target == EXPLICIT_BIG)
    assert pixels == (reverse_words(expected, 2) if is_swapped else expected)
    assert found.to_json_dict() == decode(encode(data_set, target), target).to_json_dict()
    # And back again, which must be stable.
    again = recode(recode(recoded, target, source), source, target)
    assert again == recoded


def test_group_lengths_are_left_out_and_unknown_elements_kept() -> None:
    private = encode_element(0x00091001, "LO", "abcd", syntax=IMPLICIT_LITTLE)
    data = encode_element(0x00080000, "UL", b"\1\0\0\0", syntax=IMPLICIT_LITTLE) + private
    assert recode(data, IMPLICIT_LITTLE, EXPLICIT_LITTLE) == encode_element(
        0x00091001, "UN", "abcd"
    )


def test_long_text_of_a_short_representation_becomes_unknown() -> None:
    data = encode_element(0x00081030, "LO", "x" * 70_000, syntax=IMPLICIT_LITTLE)
    assert recode(data, IMPLICIT_LITTLE, EXPLICIT_LITTLE) == encode_element(
        0x00081030, "UN", b"x" * 70_000
    )


def test_sequence_of_unknown_representation_is_read_as_implicit() -> None:
    item = encode_element(0x00080100, "SH", "X ", syntax=IMPLICIT_LITTLE)
    data = encode_sequence(0x00081140, [item], vr="UN", is_undefined=True)
    expected = encode_sequence(
        0x00081140, [encode_element(0x00080100, "SH", "X ")], is_undefined=True
    )
    recoded = recode(data, EXPLICIT_LITTLE, EXPLICIT_BIG)
    assert recode(recoded, EXPLICIT_BIG, EXPLICIT_LITTLE)[:12] == expected[:12]
    found = decode(recoded, EXPLICIT_BIG)
    assert found.ReferencedImageSequence[0].CodeValue == "X"


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        encode_element(0x00100010, "PN", "A ", length=40),
        encode_sequence(0x00081140, [b"\1\2\3"]),
        encode_element(0x00081140, "SQ", b"\x08\0\x52\0\0\0\0\0"),
        encode_element(0x00081140, "SQ", b"\xfe\xff\x00\xe0\xff\xff\xff\xff"),
        b"\xfe\xff\x00\xe0\0\0\0\0",
    ],
)
def test_damaged_data_set_is_refused(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        recode(data, EXPLICIT_LITTLE, IMPLICIT_LITTLE)


def test_depth_is_limited() -> None:
    nested = b""
    for _ in range(66):
        nested = encode_sequence(0x00081140, [nested])
    with pytest.raises(BadFileFormatError):
        recode(nested, EXPLICIT_LITTLE, IMPLICIT_LITTLE)


@given(st.binary(max_size=200), st.sampled_from(SYNTAXES), st.sampled_from(SYNTAXES))
def test_any_bytes_are_recoded_or_refused(data: bytes, source: str, target: str) -> None:
    try:
        recoded = recode(data, source, target)
    except BadFileFormatError:
        return
    assert recode(recode(recoded, target, source), source, target) is not None


def test_what_is_recoded_can_be_read() -> None:
    data = build_data_set({0x00080052: ("CS", "STUDY ")})
    assert recode(data, EXPLICIT_LITTLE, EXPLICIT_LITTLE) == data

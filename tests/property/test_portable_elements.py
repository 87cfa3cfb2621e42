"""Elements that go from file to file mean the same in every encoding."""

import io

import pydicom
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from tests.support.data_sets import SYNTAXES, rich_data_sets, write_data_set
from tests.support.dicom_files import EXPLICIT_LITTLE

from isocenter.dicom.elements import EXPLICIT_BIG, IMPLICIT_LITTLE, Layout
from isocenter.dicom.elements import EXPLICIT_LITTLE as EXPLICIT
from isocenter.dicom.encoding import Encoder, TextCodec
from isocenter.dicom.file_meta import build_file_meta
from isocenter.dicom.new_elements import encode_element
from isocenter.dicom.portable import PortableElement, read_elements
from isocenter.dicom.tags import DEFAULT_DICTIONARY

LAYOUTS = {EXPLICIT_LITTLE: EXPLICIT, SYNTAXES[0]: IMPLICIT_LITTLE, SYNTAXES[3]: EXPLICIT_BIG}


def write(elements: dict[int, PortableElement], syntax: str, layout: Layout) -> bytes:
    encoder = Encoder(layout, TextCodec("ISO_IR 192"), DEFAULT_DICTIONARY)
    body = b"".join(
        encode_element(tag, encoder.encode_portable(elements[tag]), layout)
        for tag in sorted(elements)
    )
    return build_file_meta("1.2", "1.3", transfer_syntax_uid=syntax) + body


def drop_words(ds: Dataset, element: DataElement) -> None:
    if element.VR == "OW":
        del ds[element.tag]


@settings(max_examples=60, deadline=None)
@given(rich_data_sets(), st.sampled_from(SYNTAXES), st.sampled_from(list(LAYOUTS)))
def test_elements_survive_any_pair_of_encodings(ds: Dataset, source: str, target: str) -> None:
    # Private elements lose their value representation in implicit encoding, as everywhere; words
    # in bytes are not swapped by pydicom.
    ds.remove_private_tags()
    ds.walk(drop_words)
    tags = frozenset(int(element.tag) for element in ds)
    elements = read_elements(write_data_set(ds, source), tags, default_encoding="Latin1")
    assert elements.keys() == tags
    copied = pydicom.dcmread(io.BytesIO(write(elements, target, LAYOUTS[target])))
    again = pydicom.dcmread(io.BytesIO(write_data_set(ds, EXPLICIT_LITTLE)))
    assert copied.to_json_dict() == again.to_json_dict()

"""What was changed in a data set, told by the data set itself.

References
----------
PS3.3 §C.12.1.1.9 (Original Attributes Sequence)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from isocenter.dicom.elements import Layout
from isocenter.dicom.new_elements import NewElement, NewItems, encode_element
from isocenter.dicom.rewriting import Element

__all__ = ["LARGEST_ORIGINAL_BYTES", "ORIGINAL_ATTRIBUTES", "Provenance", "build_original_item"]

ORIGINAL_ATTRIBUTES = 0x04000561
"""Tag of the sequence."""

LARGEST_ORIGINAL_BYTES = 65_534
"""Longer values are not kept, nor are sequences."""

_MODIFIED_ATTRIBUTES = 0x04000550
_MODIFICATION_DATE_TIME = 0x04000562
_MODIFYING_SYSTEM = 0x04000563
_SOURCE_OF_PREVIOUS_VALUES = 0x04000564
_REASON = 0x04000565
_COERCE = b"COERCE"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who changes a data set, and when.

    Attributes
    ----------
    modified_at
        As a DT.
    """

    modified_at: str
    system: str


def build_original_item(
    originals: Sequence[Element], provenance: Provenance, layout: Layout
) -> bytes:
    """Encode an item of the Original Attributes Sequence.

    Parameters
    ----------
    originals
        What was changed, as it was.
    """
    kept = {
        element.tag: NewElement(element.vr, element.value)
        for element in originals
        if element.vr != "SQ" and len(element.value) <= LARGEST_ORIGINAL_BYTES
    }
    modified = b"".join(encode_element(tag, kept[tag], layout) for tag in sorted(kept))
    elements = (
        (_MODIFIED_ATTRIBUTES, NewItems((modified,))),
        (_MODIFICATION_DATE_TIME, NewElement("DT", provenance.modified_at.encode("ascii"))),
        (_MODIFYING_SYSTEM, NewElement("LO", provenance.system.encode("ascii", "replace"))),
        (_SOURCE_OF_PREVIOUS_VALUES, NewElement("LO", b"")),
        (_REASON, NewElement("CS", _COERCE)),
    )
    return b"".join(encode_element(tag, value, layout) for tag, value in elements)

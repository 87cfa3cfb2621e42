"""Descriptive text without the words that tell who the patient is.

No program understands text as a person does: what is removed are the words of the identifying
attributes of the same file, dates, and long numbers.

References
----------
PS3.15 §E.3.5 (Clean Descriptors Option), table E.1-1
"""

import re
from collections.abc import Iterable

from isocenter.dicom.main_tags import fold_text

__all__ = ["DESCRIPTORS", "IDENTIFYING", "clean_text", "split_words"]

DESCRIPTORS = frozenset(
    {
        *(0x00081030, 0x0008103E, 0x00081080, 0x00082111, 0x00084000),
        *(0x00102000, 0x00102110, 0x00102180, 0x001021B0, 0x00104000),
        *(0x00180010, 0x00181030, 0x00181400, 0x00184000, 0x00189424, 0x00204000, 0x00209158),
        *(0x00321030, 0x00321060, 0x00321070, 0x00324000),
        *(0x00380062, 0x00380500, 0x00384000),
        *(0x00400007, 0x00400012, 0x00400254, 0x00400280, 0x00400400),
        *(0x00401002, 0x00401400, 0x00402001, 0x00402400),
        *(0x30060002, 0x30060004, 0x30060006, 0x30060026, 0x30060028, 0x30060085, 0x30060088),
        *(0x300A0002, 0x300A0003, 0x300A0004),
    }
)
"""Attributes whose text is cleaned instead of removed."""

IDENTIFYING = frozenset(
    {
        *(0x00080050, 0x00080080, 0x00080081, 0x00080090, 0x00080092, 0x00081010, 0x00081040),
        *(0x00081048, 0x00081050, 0x00081060, 0x00081070),
        *(0x00100010, 0x00100020, 0x00100021, 0x00100030, 0x00101000, 0x00101001, 0x00101005),
        *(0x00101040, 0x00101060, 0x00102154, 0x00102160, 0x00102299),
        *(0x00200010, 0x00321032, 0x00380010, 0x00380300, 0x00400006, 0x00401001),
    }
)
"""Attributes whose words are removed."""

_WORD = re.compile(r"[^\W_]+")
_SHORTEST = 2
# Dates in any order, and numbers of five digits and more.
_NUMBERS = re.compile(r"\b\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\b|\d{5,}")
_GAPS = re.compile(r"[ \t]{2,}")


def split_words(values: Iterable[str]) -> frozenset[str]:
    """List the words of some values, without case and accents."""
    words = (word for value in values for word in _WORD.findall(fold_text(value)))
    return frozenset(word for word in words if len(word) >= _SHORTEST)


def clean_text(text: str, identifying: frozenset[str]) -> str:
    """Remove words from a text.

    Parameters
    ----------
    identifying
        What `split_words` gives.
    """

    def keep(match: re.Match[str]) -> str:
        return "" if fold_text(match[0]) in identifying else match[0]

    cleaned = _WORD.sub(keep, _NUMBERS.sub("", text))
    cleaned = _GAPS.sub(" ", cleaned).strip()
    return cleaned if _WORD.search(cleaned) else ""

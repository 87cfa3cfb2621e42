"""Dictionaries of data elements in the text format of DCMTK.

Each line holds a tag, a value representation, a name, a multiplicity and, mostly, where it comes
from, with tabs in between. A tag is ``(gggg,eeee)`` or, with a private creator,
``(gggg,"CREATOR",ee)``; group and element may be ranges: of groups ``gggg-gggg`` means the even
ones between, ``-o-`` the odd ones, ``-u-`` all.

References
----------
Orthanc configuration: ``ExternalDictionaries`` (behaviour manual §38); the notes at the head of
DCMTK's own dictionaries
"""

import re
from collections.abc import Iterator
from pathlib import Path

from isocenter.dicom.dictionary import Definition
from isocenter.dicom.element_ranges import ElementRange
from isocenter.dicom.tags import ConfiguredElement
from isocenter.errors import ConfigurationError

__all__ = ["parse_dictionary", "read_dictionary"]

_LARGEST_BYTES = 16 * 1024 * 1024
_MOST_ENTRIES = 200_000
_MOST_RANGES = 1_000
_LONGEST_SHOWN = 60

_NUMBERS = r"([0-9A-Fa-f]{1,4})(?:-([oue]-)?([0-9A-Fa-f]{1,4}))?"
_TAG = re.compile(rf'\({_NUMBERS},(?:"([^"]{{1,64}})",)?{_NUMBERS}\)')
# DCMTK's own names of private elements hold spaces and begin with digits.
_NAME = re.compile(r"[!-~][ -~]{0,127}")
_MULTIPLICITY = re.compile(r"[0-9]{1,4}(-([0-9]{1,4}|[0-9]{0,4}n))?")
_FIELDS = (4, 5)
# PS3.5 §6.2, and the names that DCMTK gives to a choice of several.
_CHOICES = {
    "ox": "OB or OW",
    "px": "OB or OW",
    "xs": "US or SS",
    "lt": "US or SS or OW",
    "up": "UL",
    "??": "UN",
    "na": "UN",
    "UNKNOWN": "UN",
}
_VRS = frozenset(
    {
        *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF"),
        *("OL", "OV", "OW", "PN", "SH", "SL", "SQ", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN"),
        *("UR", "US", "UT", "UV"),
    }
)
_STEPS = {None: 2, "e-": 2, "o-": 2, "u-": 1}


def read_dictionary(path: Path) -> list[ConfiguredElement | ElementRange]:
    """Read a file.

    Raises
    ------
    ConfigurationError
        If it cannot be read, or a line is wrong; ``details`` names it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _LARGEST_BYTES:
        raise ConfigurationError(f"{path} is larger than 16 MB")
    try:
        return list(parse_dictionary(data))
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}, {error.details}") from None


def parse_dictionary(data: bytes) -> Iterator[ConfiguredElement | ElementRange]:
    """Read the lines of a dictionary.

    Raises
    ------
    ConfigurationError
        If one is wrong, or they are too many; ``details`` begins with its number, from 1.
    """
    entries = ranges = 0
    # Only ASCII has a meaning; a creator or a comment may hold what it likes.
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            entry = _parse_line(line)
        except ValueError as error:
            raise ConfigurationError(f"line {number}: {error}") from None
        entries += 1
        ranges += isinstance(entry, ElementRange)
        if entries > _MOST_ENTRIES or ranges > _MOST_RANGES:
            raise ConfigurationError(f"line {number}: there are too many entries or ranges")
        yield entry


def _parse_line(line: str) -> ConfiguredElement | ElementRange:
    tag, *fields = (field.strip() for field in line.split("\t") if field.strip())
    if len(fields) + 1 not in _FIELDS:
        raise ValueError("must have tag, VR, name, multiplicity and version, with tabs in between")
    match = _TAG.fullmatch(tag)
    if match is None:
        raise ValueError(f"{tag[:_LONGEST_SHOWN]!r} is no tag")
    vr, name, multiplicity = fields[:3]
    if vr not in _VRS and vr not in _CHOICES:
        raise ValueError(f"{vr[:_LONGEST_SHOWN]!r} is no value representation")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name[:_LONGEST_SHOWN]!r} is no name of an element")
    if _MULTIPLICITY.fullmatch(multiplicity) is None:
        raise ValueError(f"{multiplicity[:_LONGEST_SHOWN]!r} is no multiplicity")
    return _build(match, Definition(_CHOICES.get(vr, vr), multiplicity, name))


def _build(match: re.Match[str], definition: Definition) -> ConfiguredElement | ElementRange:
    creator = match[4]
    groups, elements = _read_range(match, 1), _read_range(match, 5)
    if creator is not None and not groups.start & 1:
        raise ValueError("a private creator has an odd group")
    if len(groups) == len(elements) == 1:
        return ConfiguredElement(groups.start << 16 | elements.start, definition, creator)
    return ElementRange(groups, elements, definition, creator)


def _read_range(match: re.Match[str], first: int) -> range:
    start = int(match[first], 16)
    if match[first + 2] is None:
        return range(start, start + 1)
    stop, kind = int(match[first + 2], 16), match[first + 1]
    if stop < start:
        raise ValueError("a range ends before it begins")
    if kind is None and first > 1:
        # DCMTK counts all elements of a plain range, but only the even groups.
        return range(start, stop + 1)
    if kind in {None, "e-"}:
        start += start & 1
    elif kind == "o-":
        start += 1 - (start & 1)
    if start > stop:
        raise ValueError("a range holds no number")
    return range(start, stop + 1, _STEPS[kind])

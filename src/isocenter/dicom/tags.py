"""Names, numbers and value representations of data elements.

References
----------
PS3.6 §6-§8, PS3.5 §7.8 (private elements); Orthanc REST: tag names (behaviour manual §5.1, §5.3)
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from isocenter.dicom.dictionary import Definition, load_element_table
from isocenter.dicom.element_ranges import ElementRange, RangeIndex
from isocenter.errors import UnknownTagError

__all__ = [
    "DEFAULT_DICTIONARY",
    "PRIVATE_CREATOR",
    "UNKNOWN_NAME",
    "ConfiguredElement",
    "TagDictionary",
    "choose_vr",
    "format_tag",
    "is_private",
    "is_private_creator",
    "parse_tag",
]

UNKNOWN_NAME = "Unknown Tag & Data"
"""Name of an element that no dictionary knows, as Orthanc shows it."""

_RETIRED = "RETIRED_"
_VR_SIZE = 2
# More of a wrong name is not repeated in the error.
_LONGEST_SHOWN_NAME = 64
_NUMBER = re.compile(r"([0-9a-f]{4})[,-]?([0-9a-f]{4})", re.IGNORECASE)


class ConfiguredElement(NamedTuple):
    """An element that the configuration adds to the dictionary.

    Parameters
    ----------
    creator
        Private creator of a private element, else ``None``.
    """

    tag: int
    definition: Definition
    creator: str | None = None


PRIVATE_CREATOR = Definition("LO", "1", "PrivateCreator")
"""Any element (gggg,0010-00FF) of an odd group (PS3.5 §7.8.1)."""

_GROUP_LENGTH = Definition("UL", "1", "GenericGroupLength")


def is_private(tag: int) -> bool:
    """Tell whether a tag has an odd group number (PS3.5 §7.8)."""
    return bool(tag & 0x10000)


def is_private_creator(tag: int) -> bool:
    """Tell whether an element reserves a block of private elements (PS3.5 §7.8.1)."""
    return bool(tag & 0x10000) and 0x10 <= tag & 0xFFFF <= 0xFF


def format_tag(tag: int) -> str:
    """Write a tag as Orthanc does, for example ``0010,0010``."""
    return tag.to_bytes(4, "big").hex(",", 2)


class TagDictionary:
    """The dictionaries of the standard and of private elements, and what the configuration adds.

    Parameters
    ----------
    configured
        Elements of the options ``ExternalDictionaries`` and ``Dictionary``; they win over the
        built-in ones, later over earlier ones, and ranges come last. A private one without a
        creator holds whatever the creator of its block is.
    knows_private
        Whether the published private elements are known (option ``LoadPrivateDictionary``).

    References
    ----------
    Orthanc configuration: ``Dictionary``, ``ExternalDictionaries``, ``LoadPrivateDictionary``
    (behaviour manual §38)
    """

    def __init__(
        self,
        configured: Iterable[ConfiguredElement | ElementRange] = (),
        *,
        knows_private: bool = True,
    ) -> None:
        table = load_element_table()
        self._standard = table.standard
        self._repeating = table.repeating
        self._private = table.private if knows_private else {}
        self._configured: dict[int, Definition] = {}
        self._configured_private: dict[tuple[str, int], Definition] = {}
        ranges: list[ElementRange] = []
        names: dict[str, int] = {}
        for entry in configured:
            if isinstance(entry, ElementRange):
                ranges.append(entry)
                continue
            tag, definition, creator = entry
            if creator is None:
                self._configured[tag] = definition
            else:
                self._configured_private[creator, _build_private_key(tag)] = definition
                # The block is the creator's to choose; requests mean the first one.
                tag |= 0 if tag & 0xFF00 else 0x1000
            names[definition.name] = tag
        self._ranges = RangeIndex(ranges) if ranges else None
        self._tags = _load_tags() | names if names else _load_tags()

    def lookup(self, tag: int, creator: str | None = None) -> Definition | None:
        """Find what is known of an element, or ``None``.

        Parameters
        ----------
        tag
            Number of the element.
        creator
            Private creator of its block, if it is private and the creator is known.
        """
        if self._configured and (configured := self._configured.get(tag)):
            return configured
        known = self._standard.get(tag)
        if known is not None:
            return known
        if tag & 0x10000:
            known = self._lookup_private(tag, creator)
            if known is None and self._ranges is not None:
                known = self._ranges.lookup(tag, creator)
            return known
        if not tag & 0xFFFF:
            return _GROUP_LENGTH
        if self._ranges is not None and (found := self._ranges.lookup(tag, None)):
            return found
        return next((found for mask, key, found in self._repeating if tag & mask == key), None)

    def _lookup_private(self, tag: int, creator: str | None) -> Definition | None:
        if is_private_creator(tag):
            return PRIVATE_CREATOR
        if not tag & 0xFFFF:
            return _GROUP_LENGTH
        if creator is None:
            return None
        key = _build_private_key(tag)
        if configured := self._configured_private.get((creator, key)):
            return configured
        known = self._private.get(creator)
        return (known.get(key) or known.get(_build_range_key(key))) if known else None

    def get_name(self, tag: int, creator: str | None = None) -> str:
        """Name an element as Orthanc does; an unknown one is ``UNKNOWN_NAME``."""
        definition = self.lookup(tag, creator)
        return definition.name if definition else UNKNOWN_NAME

    def get_key(self, tag: int) -> str:
        """Name an element so that the name leads back to it; else give its number.

        Names of private elements and of repeating groups do not, so two of them would collide.
        """
        definition = self.lookup(tag)
        if definition is not None and self.lookup_tag(definition.name) == tag:
            return definition.name
        return format_tag(tag)

    def lookup_vr(self, tag: int, creator: str | None = None) -> str:
        """Find the value representation of an element in implicit encoding."""
        return choose_vr(self.lookup(tag, creator))

    def lookup_tag(self, text: str) -> int | None:
        """Find the number of a tag given by name or number, or ``None``.

        Parameters
        ----------
        text
            ``PatientName``, ``0010,0010``, ``0010-0010`` or ``00100010`` in any case; names of
            retired elements with or without their prefix.

        References
        ----------
        Orthanc REST: tag names in requests (behaviour manual §5.3)
        """
        if match := _NUMBER.fullmatch(text):
            return int(match[1] + match[2], 16)
        return self._tags.get(text) or self._tags.get(text.removeprefix(_RETIRED))

    def parse_tag(self, text: str) -> int:
        """Find the number of a tag given by name or number.

        Raises
        ------
        UnknownTagError
            If no dictionary knows the name.
        """
        tag = self.lookup_tag(text.strip())
        if tag is None:
            raise UnknownTagError(
                f"No dictionary knows the tag {text.strip()[:_LONGEST_SHOWN_NAME]!r}"
            )
        return tag


def choose_vr(definition: Definition | None) -> str:
    """Choose one value representation of an element for implicit encoding.

    Returns
    -------
    str
        ``UN`` for an unknown element; of several possible ones ``OW``, else the first.

    References
    ----------
    PS3.5 §A.1
    """
    if definition is None:
        return "UN"
    vr = definition.vr
    if len(vr) == _VR_SIZE:
        return vr
    return "OW" if vr.endswith("OW") else vr[:_VR_SIZE]


@cache
def _load_tags() -> dict[str, int]:
    """Map the plain keywords of the standard to their tags."""
    standard = load_element_table().standard
    return {known.name.removeprefix(_RETIRED): tag for tag, known in standard.items()}


def _build_private_key(tag: int) -> int:
    """Drop the block number of a private element (PS3.5 §7.8.1)."""
    return tag >> 16 << 8 | tag & 0xFF


def _build_range_key(key: int) -> int:
    """Find the key of an element in the first of the private groups that repeat like overlays."""
    return key & 0xFF00FF | 0x100 if 0x60 <= key >> 16 <= 0x70 else key


DEFAULT_DICTIONARY = TagDictionary()
"""The built-in dictionaries alone."""


def parse_tag(text: str) -> int:
    """Find the number of a tag given by name or number in the built-in dictionaries.

    Raises
    ------
    UnknownTagError
        If the name is not known.

    References
    ----------
    Orthanc REST: tag names in requests (behaviour manual §5.3)
    """
    return DEFAULT_DICTIONARY.parse_tag(text)

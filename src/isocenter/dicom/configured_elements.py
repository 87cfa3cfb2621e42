"""Data elements that the configuration adds to the dictionary.

References
----------
Orthanc configuration: ``Dictionary`` (behaviour manual §38)
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isocenter.dicom.dictionary import Definition
from isocenter.dicom.tags import ConfiguredElement

__all__ = ["iter_configured_elements"]

_SEPARATOR = re.compile("[,-]")
_ELEMENT_DIGITS = 4


def iter_configured_elements(entries: Mapping[str, Sequence[Any]]) -> Iterator[ConfiguredElement]:
    """Read the option ``Dictionary``, whose form was checked when it was loaded.

    Parameters
    ----------
    entries
        Tag, such as ``00e1,10c2``, to VR, name and, all optional, the least and the largest number
        of values (0 for any) and the private creator.
    """
    for number, entry in entries.items():
        defaults: tuple[Any, ...] = (1, 1, "")
        vr, name, least, largest, creator = (*entry, *defaults[len(entry) - 2 :])
        definition = Definition(vr, _format_multiplicity(least, largest), name)
        yield ConfiguredElement(_parse_number(number), definition, creator or None)


def _parse_number(number: str) -> int:
    """Read a tag; without a separator its last four digits are those of the element."""
    group, *element = _SEPARATOR.split(number)
    if not element:
        group, element = number[:-_ELEMENT_DIGITS] or "0", [number[-_ELEMENT_DIGITS:]]
    return int(group, 16) << 16 | int(element[0], 16)


def _format_multiplicity(least: int, largest: int) -> str:
    if least == largest:
        return str(least)
    return f"{least}-{largest or 'n'}"

"""From bytes to the text of a value, as every client of Orthanc sees it.

References
----------
PS3.5 §6.2; Orthanc REST: JSON of tags (behaviour manual §5.1), number formats by observation
"""

import struct
from collections.abc import Sequence
from typing import Literal

from isocenter.dicom.character_sets import CharacterSet, cut_at_nul

__all__ = [
    "MAXIMUM_SHOWN_BYTES",
    "NUMBER_VRS",
    "TEXT_VRS",
    "format_numbers",
    "format_text",
    "format_unknown",
    "get_word_size",
    "parse_numbers",
    "reverse_words",
]

MAXIMUM_SHOWN_BYTES = 256
"""A longer text, counted in UTF-8, is not shown (behaviour manual §5.1)."""

TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI"}
) | {"UR", "UT"}
"""Value representations whose values are text."""

_FORMATS = {
    "US": ("H", 2),
    "SS": ("h", 2),
    "UL": ("I", 4),
    "SL": ("i", 4),
    "FL": ("f", 4),
    "FD": ("d", 8),
    "SV": ("q", 8),
    "UV": ("Q", 8),
    "AT": ("I", 4),
}

_WHOLE_NUMBERS = frozenset("HhIiQq")
_BYTE_ORDERS: dict[str, Literal["little", "big"]] = {"<": "little", ">": "big"}

# PS3.5 §7.3: the words of these are in the byte order of the transfer syntax, too.
_WORD_SIZES = {vr: size for vr, (_, size) in _FORMATS.items()} | {
    "AT": 2,
    "OW": 2,
    "OF": 4,
    "OL": 4,
    "OD": 8,
    "OV": 8,
}

NUMBER_VRS = frozenset(_FORMATS)
"""Value representations whose values are binary numbers that are shown as text."""


def format_text(data: bytes, vr: str, character_set: CharacterSet) -> str:
    """Turn the bytes of a text value into text without padding.

    Leading blanks are kept, except in UIDs; multiple values stay joined with a backslash.

    References
    ----------
    PS3.5 §6.2; Orthanc REST: identifier recipe (behaviour manual §1.2)
    """
    data = data.rstrip(b" ")
    if b"\0" in data:
        data = cut_at_nul(data)
    if data.isascii() and not character_set.has_code_extensions:
        text = data.decode("ascii")
    else:
        text = character_set.decode(data, is_person_name=vr == "PN")
    return text.strip(" ") if vr == "UI" else text


def format_unknown(data: bytes, vr: str, character_set: CharacterSet) -> str:
    """Turn the bytes of a text value that was sent as UN into text.

    Its padding stays, except in UIDs, as in Orthanc (measured): it counts in the identifiers.

    Parameters
    ----------
    vr
        What the dictionary says.
    """
    text = character_set.decode(cut_at_nul(data), is_person_name=vr == "PN")
    return text.strip(" ") if vr == "UI" else text


def format_numbers(data: bytes, vr: str, byte_order: str) -> str:
    """Write binary numbers as text, joined with a backslash.

    Parameters
    ----------
    data
        The value; an incomplete number at its end is left out.
    vr
        One of ``NUMBER_VRS``.
    byte_order
        ``<`` or ``>``, as in ``struct``.

    Notes
    -----
    Real numbers have 17 significant digits, tags the form ``gggg,eeee``, as in Orthanc (measured).
    """
    code, size = _FORMATS[vr]
    if len(data) == size and code in _WHOLE_NUMBERS and vr != "AT":
        # Most numbers come alone: this is three times faster than the general way.
        return str(int.from_bytes(data, _BYTE_ORDERS[byte_order], signed=code.islower()))
    if vr == "AT":
        return "\\".join(f"{tag[:4]},{tag[4:]}" for tag in _parse_tags(data, byte_order))
    numbers = struct.unpack_from(f"{byte_order}{len(data) // size}{code}", data)
    if code in "fd":
        return "\\".join([f"{number:.17g}" for number in numbers])
    return "\\".join(map(str, numbers))


def get_word_size(vr: str) -> int:
    """Tell the size in bytes of the words of a value whose order depends on the transfer syntax.

    References
    ----------
    PS3.5 §7.3
    """
    return _WORD_SIZES.get(vr, 1)


def reverse_words(data: bytes, size: int) -> bytes:
    """Turn words from big to little endian or back; an incomplete one at the end stays as it is.

    Parameters
    ----------
    size
        Of a word, in bytes.
    """
    if size == 1:
        return data
    whole = len(data) - len(data) % size
    result = bytearray(data)
    for offset in range(size):
        result[offset:whole:size] = data[size - 1 - offset : whole : size]
    return bytes(result)


def parse_numbers(data: bytes, vr: str, byte_order: str) -> Sequence[int | float | str]:
    """Read binary numbers; tags are texts of eight capital digits.

    Parameters
    ----------
    data, vr, byte_order
        As for `format_numbers`.

    References
    ----------
    PS3.18 §F.2.3, PS3.19 §A.1.5
    """
    if vr == "AT":
        return [tag.upper() for tag in _parse_tags(data, byte_order)]
    code, size = _FORMATS[vr]
    return struct.unpack_from(f"{byte_order}{len(data) // size}{code}", data)


def _parse_tags(data: bytes, byte_order: str) -> list[str]:
    halves = struct.unpack_from(f"{byte_order}{len(data) // 4 * 2}H", data)
    pairs = zip(halves[::2], halves[1::2], strict=True)
    return [f"{group:04x}{element:04x}" for group, element in pairs]

"""From bytes to text: Specific Character Set with code extensions.

A byte that its character set does not define is dropped, as in Orthanc, because identifiers are
computed from the text; only UTF-8 shows U+FFFD in its place. Nothing here raises.

References
----------
PS3.3 §C.12.1.1.2, PS3.5 §6.1 and annexes H, I, J, K
"""

import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = [
    "DEFAULT_ENCODINGS",
    "DEFINED_TERMS",
    "CharacterSet",
    "build_character_set",
    "cut_at_nul",
    "normalize_character_set",
    "strip_padding",
]

_ESCAPE = 0x1B
_SHIFT_JIS = "shift_jis"
_ASCII = "ascii"
_JIS_X_0208 = b"\x1b$B"
_JIS_X_0212 = b"\x1b$(D"

# PS3.3 Table C.12-2, C.12-3, C.12-4 and C.12-5: the number of the defined term and the Python codec
# of the initial state. The 94x94 sets of JIS start in ASCII until an escape sequence.
_CODECS = {
    "6": _ASCII,
    "13": _SHIFT_JIS,
    "58": "gb2312",
    "87": _ASCII,
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "149": "euc_kr",
    "159": _ASCII,
    "166": "iso8859_11",
    "192": "utf_8",
    "203": "iso8859_15",
}
# Sets that have no defined term without code extensions (PS3.3 Table C.12-4).
_EXTENSIONS_ONLY = frozenset({"58", "87", "149", "159"})
_NAMED_CODECS = {"GB18030": "gb18030", "GBK": "gbk"}
_MOST_TERMS = 16
_TERM = re.compile(r"ISO(?:[ _]?2022)?[ _-]?IR[ _-]?(\d+)", re.IGNORECASE)

DEFINED_TERMS = (*(f"ISO_IR {number}" for number in _CODECS), *_NAMED_CODECS)
"""Character sets that are read; each number also with code extensions, as ``ISO 2022 IR``."""

# The escape sequences of the same tables; multi-byte sets of JIS keep theirs for the codec.
_ESCAPES = {
    b"\x1b(B": _ASCII,
    b"\x1b(J": _SHIFT_JIS,
    b"\x1b)I": _SHIFT_JIS,
    b"\x1b-A": "latin_1",
    b"\x1b-B": "iso8859_2",
    b"\x1b-C": "iso8859_3",
    b"\x1b-D": "iso8859_4",
    b"\x1b-F": "iso8859_7",
    b"\x1b-G": "iso8859_6",
    b"\x1b-H": "iso8859_8",
    b"\x1b-L": "iso8859_5",
    b"\x1b-M": "iso8859_9",
    b"\x1b-T": "iso8859_11",
    b"\x1b-b": "iso8859_15",
    b"\x1b$)A": "gb2312",
    b"\x1b$)C": "euc_kr",
    _JIS_X_0208: "iso2022_jp_2",
    _JIS_X_0212: "iso2022_jp_2",
}
_ESCAPE_SEQUENCE = re.compile(b"(\x1b[$(),-][()]?[A-Za-z])")
_DELIMITERS = re.compile(rb"[\\\t\n\f\r]")
_NAME_DELIMITERS = re.compile(rb"[\\\t\n\f\r^=]")

DEFAULT_ENCODINGS = {
    "Ascii": "ISO_IR 6",
    "Utf8": "ISO_IR 192",
    "Latin1": "ISO_IR 100",
    "Latin2": "ISO_IR 101",
    "Latin3": "ISO_IR 109",
    "Latin4": "ISO_IR 110",
    "Latin5": "ISO_IR 148",
    "Cyrillic": "ISO_IR 144",
    "Windows1251": "",
    "Arabic": "ISO_IR 127",
    "Greek": "ISO_IR 126",
    "Hebrew": "ISO_IR 138",
    "Thai": "ISO_IR 166",
    "Japanese": "ISO_IR 13",
    "JapaneseKanji": "ISO 2022 IR 87",
    "Korean": "ISO 2022 IR 149",
    "SimplifiedChinese": "ISO 2022 IR 58",
    "Chinese": "GB18030",
}
"""Names that the option ``DefaultEncoding`` accepts and the defined term of each, if it has one.

References
----------
Orthanc REST: /tools/default-encoding (behaviour manual §15.5)
"""


def strip_padding(data: bytes) -> bytes:
    """Remove the blanks at the end of a text value, then everything from its first NUL on.

    The order matters for identifiers: a blank before a NUL stays, as in Orthanc (measured).

    References
    ----------
    PS3.5 §6.2
    """
    return cut_at_nul(data.rstrip(b" "))


def cut_at_nul(data: bytes) -> bytes:
    """Remove everything from the first NUL on."""
    end = data.find(0)
    return data if end < 0 else data[:end]


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """How the text of one data set is encoded.

    Parameters
    ----------
    codec
        Python codec of the initial state.
    has_code_extensions
        Whether escape sequences switch the codec inside a text.
    """

    codec: str
    has_code_extensions: bool = False

    def decode(self, data: bytes, *, is_person_name: bool = False) -> str:
        """Turn a value into text; multiple values stay joined with a backslash.

        Parameters
        ----------
        data
            Value without padding.
        is_person_name
            Whether ``^`` and ``=`` also end a code extension (PS3.5 §6.1.2.5.3).
        """
        if self.has_code_extensions and _ESCAPE in data:
            return self._decode_extended(data, _NAME_DELIMITERS if is_person_name else _DELIMITERS)
        if data.isascii():
            return data.decode(_ASCII)
        return _decode(data, self.codec)

    def _decode_extended(self, data: bytes, delimiters: re.Pattern[bytes]) -> str:
        first, *rest = _ESCAPE_SEQUENCE.split(data)
        parts = [_decode(first, self.codec)]
        for escape, fragment in zip(rest[::2], rest[1::2], strict=True):
            codec = _ESCAPES.get(escape)
            if codec == "iso2022_jp_2":
                parts.append(_decode(escape + fragment + b"\x1b(B", codec))
                continue
            # A delimiter brings back the initial state.
            end = match.start() if (match := delimiters.search(fragment)) else len(fragment)
            parts.append(_decode(fragment[:end], codec or self.codec))
            parts.append(_decode(fragment[end:], self.codec))
        return "".join(parts)


def _decode(data: bytes, codec: str) -> str:
    return data.decode(codec, "replace" if codec == "utf_8" else "ignore")


@lru_cache(maxsize=256)
def build_character_set(
    specific_character_set: str | None, default_encoding: str = "Latin1"
) -> CharacterSet:
    r"""Choose the decoder of a data set.

    Parameters
    ----------
    specific_character_set
        Value of (0008,0005), its values joined with ``\``; ``None`` or blank if the data set has
        none.
    default_encoding
        One of ``DEFAULT_ENCODINGS``, used in that case; an unknown name counts as ``Latin1``.

    References
    ----------
    PS3.3 §C.12.1.1.2, Orthanc configuration: ``DefaultEncoding``
    """
    text = (specific_character_set or "").strip(" \0")
    if not text:
        if default_encoding == "Windows1251":
            return CharacterSet("cp1251")
        text = DEFAULT_ENCODINGS.get(default_encoding, "ISO_IR 100")
    first, *more = (term.strip(" ") for term in text.split("\\"))
    codec = _lookup_codec(first)
    is_standalone = codec == "utf_8" or codec in _NAMED_CODECS.values()
    has_extensions = not is_standalone and (bool(more) or "2022" in first)
    return CharacterSet(codec, has_extensions)


def normalize_character_set(specific_character_set: str) -> str | None:
    """Spell the terms of a value of (0008,0005) as the standard does; ``None`` if one is unknown.

    References
    ----------
    PS3.3 §C.12.1.1.2
    """
    first, *more = (term.strip(" ") for term in specific_character_set.split("\\"))
    if len(more) >= _MOST_TERMS:
        return None
    spelled = [_spell(term) for term in more]
    spelled.insert(0, "" if more and not first else _spell(first))
    known = [term for term in spelled if term is not None]
    return "\\".join(known) if len(known) == len(spelled) else None


def _spell(term: str) -> str | None:
    match = _TERM.fullmatch(term)
    if match is None:
        return term.upper() if term.upper() in _NAMED_CODECS else None
    if match[1] not in _CODECS:
        return None
    has_extensions = "2022" in term or match[1] in _EXTENSIONS_ONLY
    return f"ISO 2022 IR {match[1]}" if has_extensions else f"ISO_IR {match[1]}"


def _lookup_codec(term: str) -> str:
    if match := _TERM.fullmatch(term):
        return _CODECS.get(match[1], _ASCII)
    return _NAMED_CODECS.get(term.upper(), _ASCII)

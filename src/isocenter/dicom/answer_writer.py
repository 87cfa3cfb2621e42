"""Answers to one C-FIND, written by a plan: what is the same in all of them is prepared once.

References
----------
PS3.4 §C.2.2.1.3 (return keys); PS3.5 §7.1
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any

from isocenter.dicom.data_set_writer import (
    UTF8,
    AnswerEncoding,
    Codec,
    build_codec,
    build_element,
    encode_leniently,
)
from isocenter.dicom.data_sets import DataSet, Element
from isocenter.dicom.elements import Layout
from isocenter.dicom.find_request import select_keys
from isocenter.dicom.tags import DEFAULT_DICTIONARY, is_private_creator
from isocenter.dicom.values import NUMBER_VRS, TEXT_VRS

__all__ = ["AnswerWriter"]

_SPECIFIC_CHARACTER_SET = 0x00080005
_LONG_VRS = frozenset({"UC", "UR", "UT"})
_LONGEST_SHORT = 0xFFFE


@dataclass(frozen=True, slots=True)
class _Column:
    """One element of all answers.

    Attributes
    ----------
    fixed
        Its bytes, if they are always the same.
    head, pack_length, padding
        Of a plain text: the bytes before its length, how to write that, what makes it even.
        ``None`` for what is written in the general way.
    """

    tag: int
    key: Element
    fixed: bytes | None = None
    head: bytes | None = None
    pack_length: Callable[[int], bytes] = Struct("<H").pack
    padding: bytes = b" "
    empty: bytes = b""


class AnswerWriter:
    """Writes answers to one question.

    Parameters
    ----------
    encoding
        Transfer syntax and character set; an answer with letters that this lacks is in UTF-8.
    keys
        Elements of the question that come back.
    fixed
        Elements that are the same in all answers; they go before the keys.
    """

    def __init__(
        self, encoding: AnswerEncoding, keys: Mapping[int, Element], fixed: DataSet
    ) -> None:
        self._layout = encoding.layout
        self._keys = keys
        self._fixed = fixed
        self._term = encoding.term
        self._plans: dict[str, tuple[Codec, list[_Column]]] = {}

    def write(self, values: Mapping[int, Any]) -> bytes:
        """Write an answer.

        Parameters
        ----------
        values
            Tag to text or items of human JSON; what is absent or ``None`` comes back empty.
        """
        try:
            return self._write(values, self._term)
        except UnicodeEncodeError:
            return self._write(values, UTF8)

    def write_all(self, answers: Iterable[Mapping[int, Any]]) -> list[bytes]:
        """Write some answers."""
        return list(map(self.write, answers))

    def _write(self, values: Mapping[int, Any], term: str) -> bytes:
        codec, columns = self._plans.get(term) or self._plan(term)
        parts: list[bytes] = []
        for column in columns:
            if column.fixed is not None:
                parts.append(column.fixed)
                continue
            value = values.get(column.tag)
            if column.head is not None and (value is None or value == ""):
                parts.append(column.empty)
            elif column.head is not None and isinstance(value, str) and value.isascii():
                data = value.encode("ascii")
                if len(data) & 1:
                    data += column.padding
                if len(data) > _LONGEST_SHORT:
                    data = b""
                parts += (column.head, column.pack_length(len(data)), data)
            else:
                parts.append(self._write_any(column, value, codec))
        return b"".join(parts)

    def _write_any(self, column: _Column, value: Any, codec: Codec) -> bytes:
        element = select_keys(build_element(column.tag, value, column.key.vr), column.key)
        return encode_leniently(column.tag, element, self._layout, codec)

    def _plan(self, term: str) -> tuple[Codec, list[_Column]]:
        codec = build_codec(term)
        fixed = {**self._fixed, _SPECIFIC_CHARACTER_SET: Element("CS", term)}
        fixed |= {tag: key for tag, key in self._keys.items() if is_private_creator(tag)}
        columns = []
        for tag in sorted({**self._keys, **fixed}):
            if tag in fixed:
                data = encode_leniently(tag, fixed[tag], self._layout, codec)
                columns.append(_Column(tag, fixed[tag], fixed=data))
            else:
                columns.append(_plan_column(tag, self._keys[tag], self._layout, codec))
        self._plans[term] = codec, columns
        return self._plans[term]


def _plan_column(tag: int, key: Element, layout: Layout, codec: Codec) -> _Column:
    vr = DEFAULT_DICTIONARY.lookup_vr(tag)
    vr = key.vr if vr == "UN" else vr
    if vr not in TEXT_VRS or vr in NUMBER_VRS or vr in _LONG_VRS:
        return _Column(tag, key)
    empty = encode_leniently(tag, Element(vr, ""), layout, codec)
    length_size = 2 if layout.is_explicit else 4
    return _Column(
        tag,
        key,
        head=empty[:-length_size],
        pack_length=Struct(f"{layout.byte_order}{'H' if layout.is_explicit else 'I'}").pack,
        padding=b"\0" if vr == "UI" else b" ",
        empty=empty,
    )

"""The JSON of many data sets: what was read of one of them is recognized in the next.

The instances of a study share most of their elements to the byte. Looking such an element up takes
a third of the time of reading it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from isocenter.dicom.character_sets import CharacterSet, build_character_set
from isocenter.dicom.elements import (
    IMPLICIT_LITTLE,
    PIXEL_DATA,
    UNDEFINED_LENGTH,
    Buffer,
    Layout,
    measure_undefined_length,
    read_element_header,
    truncated,
)
from isocenter.dicom.file_meta import FileMeta, read_file_meta
from isocenter.dicom.json_forms import (
    MAXIMUM_ELEMENTS,
    JsonWriter,
    Scope,
    Shape,
    build_tags_json,
)
from isocenter.dicom.tags import TagDictionary
from isocenter.errors import BadFileFormatError

__all__ = ["TagsWriter"]

_PIXEL_GROUP = PIXEL_DATA >> 16
# Longer elements seldom are the same.
_LONGEST_KNOWN = 4096
# What is remembered takes some ten times as much.
_MOST_KNOWN_BYTES = 1024 * 1024


class _Known(NamedTuple):
    """What one element, or the elements of one private group, become in JSON."""

    part: dict[str, Any]
    element_count: int


_Context = tuple[CharacterSet, str]


class TagsWriter:
    """Writes the data sets of files as JSON, all in the same form. Thread-safe.

    The values of what it returns are shared and must not be changed.

    Parameters
    ----------
    shape, ignore_length, default_encoding, dictionary
        As for `build_tags_json`.

    Attributes
    ----------
    default_encoding
        As given.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        ignore_length: frozenset[int],
        default_encoding: str,
        dictionary: TagDictionary,
    ) -> None:
        self._shape = shape
        self._ignore_length = ignore_length
        self.default_encoding = default_encoding
        self._dictionary = dictionary
        # Each use is one step of a dictionary, so it needs no lock; that two threads learn the same
        # is harmless.
        self._known: dict[_Context, dict[bytes, _Known]] = {}
        self._known_bytes = 0

    def write(self, buffer: Buffer) -> dict[str, Any]:
        """Write the data set of a file up to the pixel data.

        Raises
        ------
        BadFileFormatError
            As by `build_tags_json`, which returns the same.
        """
        meta = read_file_meta(buffer)
        # In implicit encoding a value may mean something else after another Pixel Representation.
        if meta.layout.is_explicit and not meta.is_deflated:
            tags = self._write(buffer, meta)
            if tags is not None:
                return tags
        return build_tags_json(
            buffer,
            self._shape,
            ignore_length=self._ignore_length,
            default_encoding=self.default_encoding,
            dictionary=self._dictionary,
        )

    def _write(self, buffer: Buffer, meta: FileMeta) -> dict[str, Any] | None:
        """Write element by element; ``None`` if a private group comes in several parts."""
        layout, position, end = meta.layout, meta.data_set_offset, len(buffer)
        unpack, short_vrs = layout.unpack_header, layout.short_vrs
        writer = JsonWriter(
            buffer,
            self._shape,
            self._ignore_length,
            self._dictionary,
            default_encoding=self.default_encoding,
        )
        scope = Scope(layout, build_character_set(None, self.default_encoding))
        known = self._enter(scope)
        parts: list[dict[str, Any]] = []
        private_groups: set[int] = set()
        while position + 8 <= end:
            group, element, vr, length = unpack(buffer, position)
            if group >= _PIXEL_GROUP:
                break
            stop = position + 8 + length
            if vr not in short_vrs or stop > end or group & 1:
                stop = _find_end(buffer, position, end, layout)
            if group & 1:
                if group in private_groups:
                    return None
                private_groups.add(group)
                stop = _find_group_end(buffer, stop, end, layout, group)
            raw = bytes(buffer[position:stop]) if stop - position <= _LONGEST_KNOWN else b""
            found = known.get(raw)
            if found is None:
                found = self._learn(writer, (position, stop), scope, raw=raw, known=known)
            writer.count += found.element_count
            parts.append(found.part)
            if group == 0x0008 and element == 0x0005:
                scope = Scope(layout, self._choose_character_set(found.part))
                known = self._enter(scope)
            position = stop
        if writer.count > MAXIMUM_ELEMENTS:
            raise BadFileFormatError(f"The data set has more than {MAXIMUM_ELEMENTS} elements")
        parts.append(writer.write_data_set(position, layout, whole=False))
        return self._merge(parts)

    def _enter(self, scope: Scope) -> dict[bytes, _Known]:
        """Find what is known of elements in a character set and byte order."""
        return self._known.setdefault((scope.character_set, scope.layout.byte_order), {})

    def _learn(
        self,
        writer: JsonWriter,
        span: tuple[int, int],
        scope: Scope,
        *,
        raw: bytes,
        known: dict[bytes, _Known],
    ) -> _Known:
        """Have elements written, and remember what they become if they are short."""
        before = writer.count
        part: dict[str, Any] = {}
        writer.write_elements(part, *span, scope)
        found = _Known(part, writer.count - before)
        # The caller counts it, as if it had been known.
        writer.count = before
        if raw and self._known_bytes < _MOST_KNOWN_BYTES:
            self._known_bytes += len(raw)
            known[raw] = found
        return found

    def _merge(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Join elements as `JsonWriter` does: of names the last one counts, of tags the first."""
        target: dict[str, Any] = {}
        for part in parts if self._shape is Shape.HUMAN else reversed(parts):
            target.update(part)
        return target

    def _choose_character_set(self, part: dict[str, Any]) -> CharacterSet:
        """Choose the character set that was written a moment ago."""
        shown = next(iter(part.values()), None)
        text = shown["Value"] if isinstance(shown, dict) else shown
        return build_character_set(text, self.default_encoding)


def _find_end(buffer: Buffer, position: int, end: int, layout: Layout) -> int:
    _, vr, value, length = read_element_header(buffer, position, end, layout)
    if length == UNDEFINED_LENGTH:
        items = IMPLICIT_LITTLE if vr == "UN" else layout
        return measure_undefined_length(buffer, value, end, items)
    if value + length > end:
        raise truncated()
    return value + length


def _find_group_end(buffer: Buffer, position: int, end: int, layout: Layout, group: int) -> int:
    """Find the end of the elements of a group."""
    while position + 8 <= end and layout.unpack_header(buffer, position)[0] == group:
        position = _find_end(buffer, position, end, layout)
    return position

"""Summaries of files that are like earlier ones, read from what differs.

References
----------
PS3.10 §7.1
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from isocenter.dicom.alike_files import AlikeFiles
from isocenter.dicom.character_sets import CharacterSet
from isocenter.dicom.elements import Buffer, Layout, read_element_header
from isocenter.dicom.file_meta import FileMeta, read_file_meta
from isocenter.dicom.header_patterns import (
    HeaderElement,
    HeaderPattern,
    Match,
    build_pattern,
    list_header,
)
from isocenter.dicom.reader import (
    FileSummary,
    FileValues,
    build_summary,
    check_pixel_data,
    find_character_set,
    lookup_vr,
    read_text,
    summarize,
)
from isocenter.dicom.tags import is_private

__all__ = ["SummaryMemory"]

_SPECIFIC_CHARACTER_SET = 0x00080005
_LAST_BLOCK = 0xFF


class SummaryMemory:
    """Reads summaries. Threads may share it."""

    def __init__(self) -> None:
        self._files: AlikeFiles[_KnownFile] = AlikeFiles()

    def read_summary(
        self,
        buffer: Buffer,
        *,
        wanted: frozenset[int],
        default_encoding: str = "Latin1",
        is_whole: bool = True,
    ) -> FileSummary:
        """Read a summary as `reader.read_summary` does.

        Raises
        ------
        BadFileFormatError
            See there.
        """
        meta = read_file_meta(buffer)
        question = _Question(wanted, default_encoding, meta.transfer_syntax_uid, meta.layout)
        files = self._files
        if not meta.is_deflated:
            found = files.lookup(question, buffer, meta.data_set_offset)
            if found is not None:
                known, match = found
                return known.summarize(buffer, meta, match, is_whole=is_whole)
        summary = summarize(
            buffer, meta, wanted=wanted, default_encoding=default_encoding, is_whole=is_whole
        )
        if not meta.is_deflated:
            files.note_miss()
            learned = _learn(buffer, meta, question, summary) if files.is_learning else None
            if learned is not None:
                files.add(learned)
        return summary

    def forget(self) -> None:
        """Forget all files, which may have been deleted."""
        self._files = AlikeFiles()


class _Question(NamedTuple):
    """What is to be read, and in which encoding it stands."""

    wanted: frozenset[int]
    default_encoding: str
    transfer_syntax_uid: str
    layout: Layout


class _Field(NamedTuple):
    """An element whose value is wanted.

    Attributes
    ----------
    vr
        As encoded; what the dictionary says in implicit encoding.
    known_vr
        What the dictionary says if it is unknown.
    value
        Offset of its value in the element.
    """

    tag: int
    vr: str
    known_vr: str
    value: int


@dataclass(frozen=True, slots=True)
class _KnownFile:
    """What was read of a file (see `alike_files.Kind`).

    Attributes
    ----------
    fields
        For each element of the pattern, ``None`` if nobody wants it.
    """

    question: _Question
    pattern: HeaderPattern
    character_set: CharacterSet
    fields: Sequence[_Field | None]
    # Whoever shows it shows no patient's data.
    summary: FileSummary = field(repr=False)
    _same: Mapping[int, str] = field(init=False, repr=False)
    _differing: Sequence[_Field | None] = field(init=False)

    def __post_init__(self) -> None:
        differing = [self.fields[index] for index in sorted(self.pattern.variable)]
        tags = {one.tag for one in differing if one is not None}
        same = {tag: text for tag, text in self.summary.values.items() if tag not in tags}
        object.__setattr__(self, "_same", same)
        object.__setattr__(self, "_differing", differing)

    def change_pattern(self, pattern: HeaderPattern) -> "_KnownFile":
        """Note that more elements differ."""
        return replace(self, pattern=pattern)

    def summarize(
        self, buffer: Buffer, meta: FileMeta, match: Match, *, is_whole: bool
    ) -> FileSummary:
        """Read a file that has the same elements."""
        values = dict(self._same)
        layout, character_set = meta.layout, self.character_set
        for (start, stop), one in zip(match.spans, self._differing, strict=True):
            if one is None:
                continue
            data = bytes(buffer[start + one.value : stop])
            text = read_text(one.vr, data, one.known_vr, layout, character_set)
            if text is not None:
                values[one.tag] = text
        has_pixels = self.summary.pixel_data_offset is not None
        pixel_data, pixel_data_vr = check_pixel_data(
            buffer, match.stop if has_pixels else None, meta, is_whole=is_whole
        )
        read = FileValues(values, self.summary.sequences)
        return build_summary(meta, read, pixel_data, pixel_data_vr)


def _learn(
    buffer: Buffer, meta: FileMeta, question: _Question, summary: FileSummary
) -> _KnownFile | None:
    elements = list_header(buffer, meta.data_set_offset, meta.layout)
    stop = meta.data_set_offset + sum(len(content) for _, content in elements)
    fixed = {
        tag
        for tag, _ in elements
        if tag == _SPECIFIC_CHARACTER_SET or tag in summary.sequences or _may_be_creator(tag)
    }
    pattern = build_pattern(elements, buffer, stop, meta.layout, fixed=fixed, variable=())
    if pattern is None:
        return None
    return _KnownFile(
        question=question,
        pattern=pattern,
        character_set=_find_character_set(elements, meta.layout, question.default_encoding),
        fields=[*_iter_fields(elements, meta.layout, question, summary)],
        summary=summary,
    )


def _may_be_creator(tag: int) -> bool:
    """Tell whether the meaning of other elements may depend on one, wherever its block begins."""
    return is_private(tag) and tag & 0xFFFF <= _LAST_BLOCK


def _find_character_set(
    elements: Sequence[HeaderElement], layout: Layout, default_encoding: str
) -> CharacterSet:
    for tag, content in elements:
        if tag == _SPECIFIC_CHARACTER_SET:
            _, vr, value, _ = read_element_header(content, 0, len(content), layout)
            return find_character_set(content, [(tag, vr, value, len(content))], default_encoding)
    return find_character_set(b"", [], default_encoding)


def _iter_fields(
    elements: Sequence[HeaderElement], layout: Layout, question: _Question, summary: FileSummary
) -> Iterator[_Field | None]:
    # The reader gives more than is asked for; what it does give must not go stale.
    wanted = question.wanted | summary.values.keys()
    for tag, content in elements:
        if tag not in wanted:
            yield None
            continue
        _, vr, value, _ = read_element_header(content, 0, len(content), layout)
        known_vr = lookup_vr(tag, summary.values) if vr is None or vr == "UN" else vr
        yield _Field(tag, vr or known_vr, known_vr, value)

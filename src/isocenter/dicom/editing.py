"""Changes of a data set, as a client asks for them: one description for all files of a job.

Modification and anonymization are the same work with different rules. An `Edit` says what is to be
done; `edit_file` does it to one file.

References
----------
Orthanc REST: modification and anonymization (behaviour manual §18.5, §19.2)
"""

from enum import Enum
from typing import NamedTuple

from isocenter.dicom.alike_files import AlikeFiles
from isocenter.dicom.character_sets import build_character_set
from isocenter.dicom.deflate import deflate_data_set, inflate_data_set
from isocenter.dicom.descriptors import IDENTIFYING, split_words
from isocenter.dicom.edit_rules import Edit, EditRules, FileFacts, Observe
from isocenter.dicom.elements import Buffer, Layout
from isocenter.dicom.file_meta import FileMeta, build_file_meta, read_file_meta
from isocenter.dicom.header_patterns import HeaderPattern
from isocenter.dicom.new_elements import NewElement
from isocenter.dicom.provenance import build_original_item
from isocenter.dicom.reader import check_pixel_data, read_summary
from isocenter.dicom.recipes import Recipe, Source, record_rewriting, repeat_rewriting
from isocenter.dicom.rewriting import (
    Action,
    AppendedItem,
    Decision,
    Element,
    Piece,
    rewrite_data_set,
)

__all__ = ["Change", "ChangeKind", "Edit", "EditMemory", "edit_file", "list_changes"]

_PATIENT_ID = 0x00100020
_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018


class ChangeKind(Enum):
    """What becomes of an element; the values are for clients."""

    ADDED = "Added"
    EMPTIED = "Emptied"
    REMOVED = "Removed"
    REPLACED = "Replaced"


class Change(NamedTuple):
    """An element that is changed, and the sequences around it."""

    parents: tuple[int, ...]
    tag: int
    kind: ChangeKind


class EditMemory:
    """How files were edited, which saves most of the work on those that are like them.

    For one `Edit`. Threads may share it.
    """

    def __init__(self) -> None:
        self._files: AlikeFiles[_EditedFile] = AlikeFiles()

    def repeat(
        self, buffer: Buffer, meta: FileMeta, edit: Edit, default_encoding: str
    ) -> list[Piece] | None:
        """Edit a file that is like an earlier one; ``None`` if it is like none.

        Raises
        ------
        ServerError
            See `edit_file`.
        """
        question = (meta.transfer_syntax_uid, default_encoding, meta.layout)
        found = self._files.lookup(question, buffer, meta.data_set_offset)
        if found is None:
            return None
        known, match = found
        if match.stop < len(buffer):
            check_pixel_data(buffer, match.stop, meta, is_whole=True)
        source = Source(buffer, meta.data_set_offset, meta.layout, edit.dictionary)
        rules = known.rules.renew()
        pieces = repeat_rewriting(source, rules, known.recipe, match)
        return [_build_header(rules, meta), *pieces]

    def record(
        self, source: Source, rules: EditRules, meta: FileMeta, default_encoding: str
    ) -> list[Piece]:
        """Rewrite the data set of a file that was like none, and remember how.

        Raises
        ------
        ServerError
            See `edit_file`.
        """
        self._files.note_miss()
        if not self._files.is_learning:
            return rewrite_data_set(
                source.buffer, source.start, source.layout, rules, source.dictionary
            )
        pieces, recipe = record_rewriting(source, rules, fixed=rules.fixed, observed=rules.observed)
        if recipe is not None:
            question = (meta.transfer_syntax_uid, default_encoding, meta.layout)
            self._files.add(_EditedFile(question, rules, recipe))
        return pieces


class _EditedFile(NamedTuple):
    """A file that was edited (see `alike_files.Kind`)."""

    question: tuple[str, str, Layout]
    rules: EditRules
    recipe: Recipe

    @property
    def pattern(self) -> HeaderPattern:
        return self.recipe.pattern

    def change_pattern(self, pattern: HeaderPattern) -> "_EditedFile":
        return self._replace(recipe=self.recipe.change_pattern(pattern))


def edit_file(
    buffer: Buffer,
    edit: Edit,
    *,
    default_encoding: str = "Latin1",
    memory: EditMemory | None = None,
) -> list[Piece]:
    """Edit a file; its transfer syntax stays, and its meta information follows the new data set.

    Parameters
    ----------
    buffer
        A whole file; it must stay as it is while the pieces are used.
    default_encoding
        Character set of a file that names none.
    memory
        Of the same edit.

    Returns
    -------
    list
        The new file in pieces, views of ``buffer`` among them.

    Raises
    ------
    ServerError
        If a value does not fit its tag, or the file is damaged.
    """
    meta = read_file_meta(buffer)
    if memory is None or meta.is_deflated:
        return _edit(buffer, edit, meta, default_encoding)
    pieces = memory.repeat(buffer, meta, edit, default_encoding)
    if pieces is not None:
        return pieces
    return _edit(buffer, edit, meta, default_encoding, memory=memory)


def list_changes(
    buffer: Buffer, edit: Edit, *, default_encoding: str = "Latin1"
) -> tuple[list[Piece], list[Change]]:
    """Edit a file as `edit_file` does, and tell what is changed.

    Raises
    ------
    ServerError
        If a value does not fit its tag, or the file is damaged.
    """
    changes: list[Change] = []

    def observe(element: Element, decision: Decision) -> None:
        if isinstance(decision, AppendedItem):
            kind = ChangeKind.REPLACED
        elif not isinstance(decision, Action):
            is_empty = not (decision.value if isinstance(decision, NewElement) else decision.items)
            kind = ChangeKind.EMPTIED if is_empty else ChangeKind.REPLACED
        elif decision is Action.REMOVE:
            kind = ChangeKind.REMOVED
        else:
            return
        changes.append(Change(tuple(tag for tag, _ in element.path), element.tag, kind))

    pieces = _edit(buffer, edit, read_file_meta(buffer), default_encoding, observe)
    known = {change.tag for change in changes if not change.parents}
    added = {path.tag for path in edit.replace if not path.parents} - known
    changes.extend(Change((), tag, ChangeKind.ADDED) for tag in sorted(added))
    return pieces, changes


def _edit(
    buffer: Buffer,
    edit: Edit,
    meta: FileMeta,
    default_encoding: str,
    observe: Observe | None = None,
    *,
    memory: EditMemory | None = None,
) -> list[Piece]:
    facts = _read_facts(buffer, edit, meta, default_encoding)
    data, start = buffer, meta.data_set_offset
    if meta.is_deflated:
        data, start = inflate_data_set(buffer, start), 0
    rules = EditRules(edit, facts, observe or _ignore)
    if edit.provenance is not None:
        rules.add_original_item(_build_original_item(data, start, edit, facts))
    source = Source(data, start, meta.layout, edit.dictionary)
    if memory is not None and rules.is_repeatable:
        pieces = memory.record(source, rules, meta, default_encoding)
    else:
        pieces = rewrite_data_set(data, start, meta.layout, rules, edit.dictionary)
    if meta.is_deflated:
        pieces = [deflate_data_set(pieces)]
    return [_build_header(rules, meta), *pieces]


def _ignore(_element: Element, _decision: Decision) -> None:
    """Nobody wants to know what is decided."""


def _read_facts(buffer: Buffer, edit: Edit, meta: FileMeta, default_encoding: str) -> FileFacts:
    summary = read_summary(buffer, wanted=edit.wanted, default_encoding=default_encoding)
    named = summary.specific_character_set or ""
    return FileFacts(
        meta.layout,
        named,
        build_character_set(named or None, default_encoding),
        summary.values.get(_PATIENT_ID, ""),
        split_words(summary.values[tag] for tag in IDENTIFYING if tag in summary.values)
        if edit.has_clean_descriptors
        else frozenset(),
    )


def _build_header(rules: EditRules, meta: FileMeta) -> bytes:
    return build_file_meta(
        rules.get_uid(_SOP_CLASS_UID),
        rules.get_uid(_SOP_INSTANCE_UID),
        transfer_syntax_uid=meta.transfer_syntax_uid,
    )


def _build_original_item(data: Buffer, start: int, edit: Edit, facts: FileFacts) -> bytes:
    """Find what an edit will change, and encode how it was."""
    originals: list[Element] = []

    def observe(element: Element, decision: Decision) -> None:
        if not element.path and decision not in {Action.KEEP, Action.DESCEND}:
            originals.append(element)

    rules = EditRules(edit, facts, observe)
    rewrite_data_set(data, start, facts.layout, rules, edit.dictionary)
    assert edit.provenance is not None, "only edits with a provenance keep originals"  # noqa: S101
    return build_original_item(originals, edit.provenance, facts.layout)

"""Changes of a data set, as a client asks for them: one description for all files of a job.

Modification and anonymization are the same work with different rules. An `Edit` says what is to be
done; `edit_file` does it to one file.

References
----------
Orthanc REST: modification and anonymization (behaviour manual §18.5, §19.2)
"""

from dataclasses import replace
from enum import Enum
from typing import NamedTuple

from isocenter.dicom.character_sets import build_character_set
from isocenter.dicom.deflate import deflate_data_set, inflate_data_set
from isocenter.dicom.descriptors import IDENTIFYING, split_words
from isocenter.dicom.edit_rules import Edit, EditRules, FileFacts, Observe
from isocenter.dicom.elements import Buffer
from isocenter.dicom.file_meta import build_file_meta, read_file_meta
from isocenter.dicom.provenance import build_original_item
from isocenter.dicom.reader import read_summary
from isocenter.dicom.rewriting import (
    Action,
    AppendedItem,
    Decision,
    Element,
    NewElement,
    Piece,
    rewrite_data_set,
)

__all__ = ["Change", "ChangeKind", "Edit", "edit_file", "list_changes"]

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


def edit_file(buffer: Buffer, edit: Edit, *, default_encoding: str = "Latin1") -> list[Piece]:
    """Edit a file; its transfer syntax stays, and its meta information follows the new data set.

    Parameters
    ----------
    buffer
        A whole file; it must stay as it is while the pieces are used.
    default_encoding
        Character set of a file that names none.

    Returns
    -------
    list
        The new file in pieces, views of ``buffer`` among them.

    Raises
    ------
    ServerError
        If a value does not fit its tag, or the file is damaged.
    """
    return _edit(buffer, edit, default_encoding, lambda _element, _decision: None)


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

    # What was learned from other files would not be seen in this one.
    pieces = _edit(buffer, replace(edit, lasting={}), default_encoding, observe)
    known = {change.tag for change in changes if not change.parents}
    added = {path.tag for path in edit.replace if not path.parents} - known
    changes.extend(Change((), tag, ChangeKind.ADDED) for tag in sorted(added))
    return pieces, changes


def _edit(buffer: Buffer, edit: Edit, default_encoding: str, observe: Observe) -> list[Piece]:
    summary = read_summary(buffer, wanted=edit.wanted, default_encoding=default_encoding)
    meta = read_file_meta(buffer)
    named = summary.specific_character_set or ""
    facts = FileFacts(
        meta.layout,
        named,
        build_character_set(named or None, default_encoding),
        summary.values.get(_PATIENT_ID, ""),
        split_words(summary.values[tag] for tag in IDENTIFYING if tag in summary.values)
        if edit.has_clean_descriptors
        else frozenset(),
    )
    data, start = buffer, meta.data_set_offset
    if meta.is_deflated:
        data, start = inflate_data_set(buffer, start), 0
    rules = EditRules(edit, facts, observe)
    if edit.provenance is not None:
        rules.add_original_item(_build_original_item(data, start, edit, facts))
    pieces = rewrite_data_set(data, start, meta.layout, rules, edit.dictionary)
    if meta.is_deflated:
        pieces = [deflate_data_set(pieces)]
    header = build_file_meta(
        rules.get_uid(_SOP_CLASS_UID),
        rules.get_uid(_SOP_INSTANCE_UID),
        transfer_syntax_uid=meta.transfer_syntax_uid,
    )
    return [header, *pieces]


def _build_original_item(data: Buffer, start: int, edit: Edit, facts: FileFacts) -> bytes:
    """Find what an edit will change, and encode how it was."""
    originals: list[Element] = []

    def observe(element: Element, decision: Decision) -> None:
        if not element.path and decision not in {Action.KEEP, Action.DESCEND}:
            originals.append(element)

    rules = EditRules(replace(edit, lasting={}), facts, observe)
    rewrite_data_set(data, start, facts.layout, rules, edit.dictionary)
    assert edit.provenance is not None, "only edits with a provenance keep originals"  # noqa: S101
    return build_original_item(originals, edit.provenance, facts.layout)

"""What is to be done to each element of a data set, as a client asks for it.

An `Edit` is the same for all files of a job; `EditRules` are its rules for one file.

References
----------
Orthanc REST: modification and anonymization (behaviour manual §18.5, §19.2)
"""

import re
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self, TypeAlias

from isocenter.dicom.character_sets import CharacterSet
from isocenter.dicom.confidentiality import Profile, ProfileAction
from isocenter.dicom.dates import DATES, TIMES, clean_times, shift_dates
from isocenter.dicom.descriptors import DESCRIPTORS, IDENTIFYING, clean_text
from isocenter.dicom.elements import Layout
from isocenter.dicom.encoding import Encoder, TextCodec, iter_texts
from isocenter.dicom.new_elements import NewElement, NewItems
from isocenter.dicom.portable import LOCALIZED_VRS
from isocenter.dicom.provenance import ORIGINAL_ATTRIBUTES, Provenance
from isocenter.dicom.pseudonyms import Pseudonyms
from isocenter.dicom.rewriting import Action, AppendedItem, Decision, Element, Path
from isocenter.dicom.tag_paths import TagPath
from isocenter.dicom.tags import DEFAULT_DICTIONARY, TagDictionary, is_private, is_private_creator

__all__ = ["IDENTIFIERS", "Edit", "EditRules", "FileFacts", "Observe"]

_SPECIFIC_CHARACTER_SET = 0x00080005
_PATIENT_ID = 0x00100020
_PATIENT_NAME = 0x00100010
_PATIENT = frozenset({_PATIENT_ID, _PATIENT_NAME})
# Birth date and time, which tell who a patient is however they are shifted.
_TIMES_OF_BIRTH = frozenset({0x00100030, 0x00100032})
# Graphic annotations stay, their texts go.
_GRAPHIC_ANNOTATIONS = 0x00700001
_GRAPHICS = {_GRAPHIC_ANNOTATIONS: Action.DESCEND, 0x00700008: Action.REMOVE}
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_SOP_INSTANCE_UID = 0x00080018
_SOP_CLASS_UID = 0x00080016
_REFERENCED_SOP_INSTANCE_UID = 0x00081155
_OBSERVED = frozenset({_SOP_CLASS_UID, _SOP_INSTANCE_UID})
_PARENTS = frozenset({_STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID})
_FIRST_PRIVATE_BLOCK = 0x10
_LAST_PRIVATE_BLOCK = 0xFF
_UTF8 = "ISO_IR 192"
# Groups that a data set has no business with: commands, file meta information, and delimitation
# items. What stands there is no attribute that anybody would miss.
_FOREIGN_GROUPS = frozenset({0x0000, 0x0002, 0xFFFE})
_TRAILING_PADDING = 0xFFFCFFFC
# UIDs that the standard defines; they name no instance (PS3.6 annex A).
_STANDARD_UID = re.compile(r"1\.2\.840\.10008\.[0-9.]+")
_SEQUENCE = "SQ"

IDENTIFIERS = frozenset({_STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID, _SOP_INSTANCE_UID})
"""The UIDs that say where an instance belongs."""


@dataclass(frozen=True)
class Edit:
    """What is to be done.

    Attributes
    ----------
    replace
        New values of JSON by their paths.
    remove, keep
        What goes, and what stays as it is whatever else says.
    regenerate
        UIDs that get new values unless `replace` gives one.
    profile
        Confidentiality profile to apply, at every depth; ``None`` for none.
    references
        UIDs that are replaced wherever they occur, at every depth: what a job renames.
    partings
        UIDs of series and studies that only some of their instances leave. Inside sequences they
        are replaced unless all instances that are named with them stay.
    is_private_removed
        Private elements go, at every depth.
    most_shifted_days
        Dates are shifted back by up to so many days, the same for all of a patient; 0 leaves them
        to the profile.
    is_naming_patients
        The new name of a patient follows from the old Patient ID.
    provenance
        Keep what is changed in the Original Attributes Sequence; ``None`` not to.
    has_clean_descriptors, has_clean_graphics
        Descriptive text, and graphic annotations, are cleaned where the profile would remove them.
    pseudonyms
        Gives new UIDs.
    """

    pseudonyms: Pseudonyms
    replace: Mapping[TagPath, Any] = field(default_factory=dict)
    remove: frozenset[TagPath] = frozenset()
    keep: frozenset[TagPath] = frozenset()
    regenerate: frozenset[int] = frozenset()
    profile: Profile | None = None
    references: frozenset[str] = frozenset()
    partings: frozenset[str] = frozenset()
    is_private_removed: bool = False
    most_shifted_days: int = 0
    is_naming_patients: bool = False
    has_clean_descriptors: bool = False
    has_clean_graphics: bool = False
    provenance: Provenance | None = None
    private_creator: str | None = None
    dictionary: TagDictionary = DEFAULT_DICTIONARY

    @property
    def wanted(self) -> frozenset[int]:
        """What must be known of a file before its first element is decided."""
        return IDENTIFYING if self.has_clean_descriptors else frozenset()


Observe: TypeAlias = Callable[[Element, Decision], None]
"""Is told of each element that is decided."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What must be known of a file before it is edited.

    Attributes
    ----------
    specific_character_set
        Value of (0008,0005); empty if there is none.
    character_set
        How its text is decoded.
    patient_id
        Its Patient ID.
    identifying
        Words that tell who the patient is.
    """

    layout: Layout
    specific_character_set: str
    character_set: CharacterSet
    patient_id: str = ""
    identifying: frozenset[str] = frozenset()


class EditRules:
    """The rules for one file (see `rewriting.Rules`).

    References
    ----------
    Orthanc REST: order of operations on one file (behaviour manual §18.5)
    """

    def __init__(self, edit: Edit, facts: FileFacts, observe: Observe) -> None:
        self._observe = observe
        self._edit = edit
        self._facts = facts
        codec, self._is_recoded = _choose_codec(edit, facts)
        encoder = Encoder(facts.layout, codec, edit.dictionary, edit.private_creator)
        values = {path: encoder.encode(path.tag, value) for path, value in edit.replace.items()}
        if self._is_recoded:
            character_set = NewElement("CS", codec.specific_character_set.encode("ascii"))
            values[TagPath((), _SPECIFIC_CHARACTER_SET)] = character_set
        name = TagPath((), _PATIENT_NAME)
        if edit.is_naming_patients and name not in values.keys() | edit.keep | edit.remove:
            pseudonym = edit.pseudonyms.replace_patient_id(facts.patient_id)
            values[name] = NewElement("PN", f"Anonymized-{pseudonym[:8]}".encode())
        self._shifted_days = (
            edit.pseudonyms.count_shifted_days(facts.patient_id, edit.most_shifted_days)
            if edit.most_shifted_days
            else 0
        )
        self._has_options = bool(
            self._shifted_days or edit.has_clean_descriptors or edit.has_clean_graphics
        )
        self._codec = codec
        self._values = {path.tag: value for path, value in values.items() if not path.parents}
        self._deep_values = {
            path: values[path]
            for path in sorted(values, key=TagPath.count_wildcards)
            if path.parents
        }
        self._removed = {path.tag for path in edit.remove if not path.parents}
        self._deep_removed = [path for path in edit.remove if path.parents]
        self._kept = {path.tag for path in edit.keep if not path.parents}
        self._deep_kept = [path for path in edit.keep if path.parents]
        self._kept_creators = {_get_creator_group(tag) for tag in self._kept if is_private(tag)}
        self._parents = {path.parents[0][0] for path in (*self._deep_values, *self._deep_removed)}
        self._uids: dict[int, bytes] = {}
        # Items in which instances are named: whether one of these is renamed.
        self._namings: dict[Path, bool] = {}
        self._original_item: bytes | None = None
        self._depends_on_creator = not edit.is_private_removed and (
            self._has_options or edit.profile is not None
        )
        self.removes_unreadable = edit.profile is not None
        self._is_deep = bool(
            edit.profile
            or edit.references
            or edit.partings
            or edit.is_private_removed
            or self._is_recoded
        )

    @property
    def is_repeatable(self) -> bool:
        """True if what becomes of an element depends on nothing else in files of the same facts."""
        return not self._is_recoded and self._edit.provenance is None

    @property
    def fixed(self) -> frozenset[int]:
        """Tags of the elements that the facts are made of."""
        known = {_SPECIFIC_CHARACTER_SET, _PATIENT_ID}
        return IDENTIFYING | known if self._edit.has_clean_descriptors else frozenset(known)

    @property
    def observed(self) -> frozenset[int]:
        """Tags of the elements that must be seen in every file."""
        return _OBSERVED

    def renew(self) -> Self:
        """Build the same rules for another file of the same facts."""
        renewed = copy(self)
        renewed._uids, renewed._namings = {}, {}
        return renewed

    def add_original_item(self, item: bytes) -> None:
        """Add an item to the Original Attributes Sequence."""
        self._original_item = item

    def get_additions(self, path: Path) -> Mapping[int, NewElement | NewItems]:
        """Give what a data set gets if it lacks it."""
        if not path:
            item = self._original_item
            originals = {} if item is None else {ORIGINAL_ATTRIBUTES: NewItems((item,))}
            return {**self._list_creators(), **self._values, **originals}
        # The most precise path counts, so it comes last.
        return {p.tag: value for p, value in reversed(self._deep_values.items()) if p.fits(path)}

    def _list_creators(self) -> Mapping[int, NewElement]:
        """List the creators of the blocks of new private elements (PS3.5 §7.8.1)."""
        if self._edit.private_creator is None:
            return {}
        name = NewElement("LO", self._edit.private_creator.encode("ascii", "replace"))
        blocks = {_get_creator_tag(tag) for tag in self._values if is_private(tag)}
        return {tag: name for tag in blocks if tag is not None}

    def get_uid(self, tag: int) -> str:
        """Give a UID of the new data set, which was written before; empty if it has none."""
        value = self._uids.get(tag, b"")
        added = self._values.get(tag)
        if not value and isinstance(added, NewElement):
            value = added.value
        return value.rstrip(b" \0").decode("ascii", "replace")

    def depends_on_value(self, element: Element) -> bool:
        """UIDs may be replaced, or noted; dates may be empty (see `rewriting.Rules`).

        What becomes of a private element that stays depends on its creator.
        """
        tag, profile = element.tag, self._edit.profile
        if element.vr == "UI" or tag in _OBSERVED | IDENTIFIERS | self._edit.regenerate:
            return True
        if is_private(tag):
            return self._depends_on_creator
        if profile is not None and profile.lookup(tag) is ProfileAction.REPLACE_UID:
            return True
        return bool(self._shifted_days) and self._get_kind(element) in {*DATES, TIMES}

    def _get_kind(self, element: Element) -> str:
        """Give the VR by which an element may be shifted, whatever it claims to be.

        The dictionary decides: a name that is sent as a time is still a name. An element that
        nobody knows is what it says.
        """
        definition = self._edit.dictionary.lookup(element.tag, element.private_creator)
        if definition is not None:
            return definition.vr
        profile = self._edit.profile
        return "" if profile is not None and profile.lookup(element.tag) else element.vr

    def decide(self, element: Element) -> Decision:
        """Say what becomes of an element."""
        if element.path:
            decision = self._decide_deep(element)
            self._observe(element, decision)
            return decision
        # Instances are named within one sequence; what another one says is about something else.
        self._namings.clear()
        decision = self._decide_top(element)
        # Text in an older item has the old character set; there is no room for both.
        if element.tag == ORIGINAL_ATTRIBUTES and self._original_item and not self._is_recoded:
            decision = AppendedItem(self._original_item)
        self._observe(element, decision)
        if element.tag in _OBSERVED:
            value = decision.value if isinstance(decision, NewElement) else element.value
            self._uids[element.tag] = b"" if decision is Action.REMOVE else value
        return decision

    def _decide_top(self, element: Element) -> Decision:
        tag = element.tag
        if tag in self._values:
            return self._values[tag]
        if tag in self._kept:
            return self._pass(element)
        if tag in self._edit.regenerate:
            return self._replace_uids(element)
        if tag == _PATIENT_ID and self._edit.profile is not None:
            return self._replace_patient_id(element)
        if tag in self._removed:
            return Action.REMOVE
        return self._decide_by_rules(element)

    def _decide_deep(self, element: Element) -> Decision:
        tag, path = element.tag, element.path
        for wanted, value in self._deep_values.items():
            if wanted.tag == tag and wanted.fits(path):
                return value
        if any(wanted.tag == tag and wanted.fits(path) for wanted in self._deep_removed):
            return Action.REMOVE
        if any(wanted.tag == tag and wanted.fits(path) for wanted in self._deep_kept):
            return self._pass(element)
        return self._decide_by_rules(element)

    def _decide_by_rules(self, element: Element) -> Decision:
        tag = element.tag
        if self._edit.is_private_removed and is_private(tag):
            return Action.KEEP if tag in self._kept_creators else Action.REMOVE
        decision = self._decide_by_options(element) if self._has_options else None
        return self._decide_by_profile(element) if decision is None else decision

    def _decide_by_options(self, element: Element) -> Decision | None:
        """Apply what goes before the profile (PS3.15 §E.3); ``None`` for all other elements."""
        tag, edit = element.tag, self._edit
        if self._shifted_days and tag not in _TIMES_OF_BIRTH:
            kind = self._get_kind(element)
            if kind in DATES:
                return self._shift(element, kind)
            if kind == TIMES:
                return self._clean_times(element)
        if edit.has_clean_descriptors and tag in DESCRIPTORS:
            return self._clean(element)
        # Nobody looks into graphics that are sent as something else; the profile removes them.
        is_hidden = tag == _GRAPHIC_ANNOTATIONS and element.vr != _SEQUENCE
        return _GRAPHICS.get(tag) if edit.has_clean_graphics and not is_hidden else None

    def _decide_by_profile(self, element: Element) -> Decision:
        tag, profile = element.tag, self._edit.profile
        if profile is None:
            return self._pass(element)
        if tag in _PATIENT:
            return self._decide_patient(element)
        action = profile.lookup(tag)
        if action is ProfileAction.REMOVE or self._is_misplaced(element):
            return Action.REMOVE
        if action is ProfileAction.EMPTY:
            return self._empty(element)
        if action is ProfileAction.REPLACE_UID or tag in IDENTIFIERS:
            return self._replace_uids(element)
        is_private_uid = is_private(tag) and element.vr == "UI"
        return self._replace_private_uids(element) if is_private_uid else self._pass(element)

    def _decide_patient(self, element: Element) -> Decision:
        """Empty the name, and replace the Patient ID, of an item as of the data set.

        The table names neither; the profile is about every depth (PS3.15 §E.1.1).
        """
        tag = element.tag
        if tag in self._kept:
            return self._pass(element)
        if tag == _PATIENT_NAME:
            return self._empty(element)
        given = self._values.get(tag)
        return given if isinstance(given, NewElement) else self._replace_patient_id(element)

    def _is_misplaced(self, element: Element) -> bool:
        """Tell whether an element hides what it holds, or belongs into no data set.

        Nobody looks into a sequence that is sent as text or as bytes.
        """
        tag = element.tag
        if tag == _TRAILING_PADDING or tag >> 16 in _FOREIGN_GROUPS:
            return True
        vr = self._edit.dictionary.lookup_vr(tag, element.private_creator)
        return vr == _SEQUENCE != element.vr

    def _replace_private_uids(self, element: Element) -> Decision:
        """Replace UIDs whose meaning nobody knows, but for those of the standard."""
        parts = element.value.strip(b" \0").decode("ascii", "replace").split("\\")
        replace = self._edit.pseudonyms.replace_uid
        text = "\\".join(
            replace(part) if part.strip() and not _STANDARD_UID.fullmatch(part) else part
            for part in parts
        )
        return NewElement("UI", text.encode())

    def _empty(self, element: Element) -> Decision:
        if element.vr == "SQ":
            return Action.REMOVE if element.path else NewItems(())
        is_text = element.vr in LOCALIZED_VRS or element.vr in {"AS", "CS", "DA", "DT", "TM", "IS"}
        if element.path and not is_text and element.vr not in {"AE", "DS", "UI", "UR"}:
            return Action.REMOVE
        return NewElement(element.vr, b"")

    def _shift(self, element: Element, vr: str) -> Decision:
        text = element.value.rstrip(b" \0").decode("ascii", "replace")
        if not text:
            return Action.KEEP
        return NewElement(vr, shift_dates(text, self._shifted_days, vr).encode("ascii"))

    def _clean_times(self, element: Element) -> Decision:
        text = element.value.rstrip(b" \0").decode("ascii", "replace")
        cleaned = clean_times(text)
        return Action.KEEP if cleaned == text else NewElement(TIMES, cleaned.encode("ascii"))

    def _clean(self, element: Element) -> Decision:
        if element.vr not in LOCALIZED_VRS:
            return Action.REMOVE
        text = self._facts.character_set.decode(element.value.rstrip(b" \0"))
        return NewElement(element.vr, self._codec.encode(clean_text(text, self._facts.identifying)))

    def _replace_patient_id(self, element: Element) -> Decision:
        text = self._facts.character_set.decode(element.value.strip(b" \0"))
        return NewElement("LO", self._edit.pseudonyms.replace_patient_id(text).encode())

    def _replace_uids(self, element: Element) -> Decision:
        text = element.value.rstrip(b" \0").decode("ascii", "replace")
        if not text:
            return Action.KEEP
        replaced = "\\".join(map(self._edit.pseudonyms.replace_uid, text.split("\\")))
        return NewElement("UI", replaced.encode())

    def _pass(self, element: Element) -> Decision:
        """Let an element pass, but for references and text that must change everywhere."""
        if element.vr == "UI" and (self._edit.references or self._edit.partings):
            return self._replace_references(element)
        if self._is_recoded and element.vr in LOCALIZED_VRS:
            is_name = element.vr == "PN"
            text = self._facts.character_set.decode(
                element.value.rstrip(b" \0"), is_person_name=is_name
            )
            return NewElement(element.vr, self._codec.encode(text))
        if self._is_deep or (not element.path and element.tag in self._parents) or element.path:
            return Action.DESCEND
        return Action.KEEP

    def _replace_references(self, element: Element) -> Decision:
        parts = element.value.rstrip(b" \0").decode("ascii", "replace").split("\\")
        known = self._edit.references
        is_known = not known.isdisjoint(part.strip() for part in parts)
        if self._edit.partings and element.path:
            if element.tag == _REFERENCED_SOP_INSTANCE_UID:
                self._note_naming(element.path, is_renamed=is_known)
            elif element.tag in _PARENTS and self._follows(element.path, parts[0].strip()):
                return NewElement("UI", self._edit.pseudonyms.replace_uid(parts[0]).encode())
        if not is_known:
            return Action.KEEP
        replace = self._edit.pseudonyms.replace_uid
        text = "\\".join(replace(p) if p.strip() in known else p for p in parts)
        return NewElement("UI", text.encode())

    def _note_naming(self, path: Path, *, is_renamed: bool) -> None:
        for depth in range(1, len(path) + 1):
            item = path[:depth]
            self._namings[item] = is_renamed or self._namings.get(item, False)

    def _follows(self, path: Path, uid: str) -> bool:
        """Tell whether a series or study that is parted means the new one in an item.

        The sequences of instances come before it, since their tags are lower; where there are none,
        the instance's own series or study is meant.
        """
        return uid in self._edit.partings and self._namings.get(path, True)


def _choose_codec(edit: Edit, facts: FileFacts) -> tuple[TextCodec, bool]:
    """Choose how new text is encoded, and tell whether the old text must follow.

    A client may replace the character set; else that of the file is used, or UTF-8 if the file's
    cannot hold the new text.
    """
    wanted = edit.replace.get(TagPath((), _SPECIFIC_CHARACTER_SET))
    if isinstance(wanted, str):
        return _get_codec(wanted), wanted.strip() != facts.specific_character_set.strip()
    codec = _get_codec(facts.specific_character_set)
    if all(map(codec.can_encode, iter_texts(list(edit.replace.values())))):
        return codec, False
    return _get_codec(_UTF8), True


@lru_cache(maxsize=64)
def _get_codec(specific_character_set: str) -> TextCodec:
    """Make a codec; the files of a job mostly have the same character set."""
    return TextCodec(specific_character_set)


def _get_creator_tag(tag: int) -> int | None:
    """Give the tag of the creator of a private element, ``None`` if it has none."""
    block = (tag & 0xFFFF) >> 8
    if is_private_creator(tag) or not _FIRST_PRIVATE_BLOCK <= block <= _LAST_PRIVATE_BLOCK:
        return None
    return tag & 0xFFFF0000 | block


def _get_creator_group(tag: int) -> int:
    creator = _get_creator_tag(tag)
    return tag if creator is None else creator

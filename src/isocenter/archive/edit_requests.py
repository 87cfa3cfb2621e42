"""What clients may ask for when they modify or anonymize, read from JSON and checked.

References
----------
Orthanc REST: bodies of modify and anonymize (behaviour manual §18.2, §18.3, §19.1)
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from isocenter.archive.creation_requests import FORBIDDEN_GROUPS
from isocenter.archive.transcoding import Target, parse_target
from isocenter.clock import format_timestamp, now
from isocenter.dicom.confidentiality import DEFAULT_EDITION, EDITIONS, load_profile
from isocenter.dicom.editing import Edit
from isocenter.dicom.levels import Level
from isocenter.dicom.provenance import Provenance
from isocenter.dicom.pseudonyms import Pseudonyms
from isocenter.dicom.tag_paths import TagPath, parse_tag_path
from isocenter.dicom.tags import DEFAULT_DICTIONARY, TagDictionary, format_tag
from isocenter.errors import BadParameterError, BadRequestError, NotSupportedError
from isocenter.version import __version__

__all__ = [
    "EditRequest",
    "build_anonymous_values",
    "build_edit",
    "derive_pseudonym_key",
    "parse_anonymization",
    "parse_modification",
    "parse_pseudonym_key",
]

_PATIENT_ID = TagPath((), 0x00100020)
_PATIENT_NAME = TagPath((), 0x00100010)
_STUDY_INSTANCE_UID = TagPath((), 0x0020000D)
_SERIES_INSTANCE_UID = TagPath((), 0x0020000E)
_SOP_INSTANCE_UID = TagPath((), 0x00080018)
_PATIENT_IDENTITY_REMOVED = TagPath((), 0x00120062)
_DEIDENTIFICATION_METHOD = TagPath((), 0x00120063)
_IDENTIFIERS = {
    _PATIENT_ID: Level.PATIENT,
    _STUDY_INSTANCE_UID: Level.STUDY,
    _SERIES_INSTANCE_UID: Level.SERIES,
    _SOP_INSTANCE_UID: Level.INSTANCE,
}
# The UIDs that are renewed, for the level of the modification (behaviour manual §18.3).
_REGENERATED = {
    Level.PATIENT: (_STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID, _SOP_INSTANCE_UID),
    Level.STUDY: (_STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID, _SOP_INSTANCE_UID),
    Level.SERIES: (_SERIES_INSTANCE_UID, _SOP_INSTANCE_UID),
    Level.INSTANCE: (_SOP_INSTANCE_UID,),
}
_LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED = TagPath((), 0x00280303)
_DEIDENTIFICATION_METHOD_CODES = TagPath((), 0x00120064)
_BASIC_PROFILE = ("113100", "Basic Application Confidentiality Profile")
_MOST_PATHS = 10_000
_SHORTEST_KEY = 8
_LONGEST_KEY = 1024
# The same secret must give the same key everywhere, so the salt only names the purpose.
_KEY_PURPOSE = b"isocenter pseudonyms"
_KEY_COST = 2**14
_SHIFTED_DAYS = 365
_MOST_SHIFTED_DAYS = 36_500
_UID = re.compile(r"[0-9.]{1,64}")
_FORBIDDEN_GROUPS = FORBIDDEN_GROUPS | {0x0002}
_LATER = ("MaskPixelData",)


@dataclass(frozen=True)
class EditRequest:
    """A modification or an anonymization, checked as far as it can be without files.

    Attributes
    ----------
    level
        What the modification is about; it decides which UIDs are renewed.
    edition
        Of the confidentiality profile; ``None`` for a modification.
    has_key
        The client has given the key from which new identifiers follow, to get the same ones again.
    updates_references
        A modification replaces the UIDs that it renews wherever they occur.
    most_shifted_days
        Dates are shifted back by up to so many days; 0 if they are not.
    has_clean_descriptors, has_clean_graphics
        Options of the profile: text and graphics are cleaned instead of removed.
    keeps_originals
        A modification notes in each file what it has changed there.
    target
        What the results are brought into, where that is possible.
    """

    level: Level
    replace: Mapping[TagPath, Any]
    remove: frozenset[TagPath]
    keep: frozenset[TagPath]
    is_private_removed: bool
    private_creator: str
    edition: str | None
    keep_source: bool
    keep_labels: bool
    has_key: bool = False
    updates_references: bool = True
    most_shifted_days: int = 0
    has_clean_descriptors: bool = False
    has_clean_graphics: bool = False
    keeps_originals: bool = False
    target: Target | None = None

    @property
    def regenerated(self) -> tuple[TagPath, ...]:
        """The UIDs that are renewed unless they are replaced or kept."""
        return _REGENERATED[self.level]

    @property
    def is_customized(self) -> bool:
        """True if more or less is done than the profile says."""
        return bool(
            self.replace
            or self.remove
            or self.keep
            or not self.is_private_removed
            or self.options_of_profile
        )

    @property
    def options_of_profile(self) -> tuple[tuple[str, str], ...]:
        """Code and meaning of the options of the profile that are used (PS3.16 CID 7050)."""
        chosen = (
            (self.has_clean_graphics, "113103", "Clean Graphics Option"),
            (self.has_clean_descriptors, "113105", "Clean Descriptors Option"),
            (
                self.most_shifted_days > 0,
                "113107",
                "Retain Longitudinal Temporal Information Modified Dates Option",
            ),
        )
        return tuple((code, meaning) for is_used, code, meaning in chosen if is_used)

    @property
    def is_anonymization(self) -> bool:
        """True if the confidentiality profile is applied."""
        return self.edition is not None


def parse_modification(
    body: Mapping[str, Any],
    level: Level | None,
    *,
    private_creator: str = "",
    dictionary: TagDictionary = DEFAULT_DICTIONARY,
) -> EditRequest:
    """Read the body of a modification.

    Parameters
    ----------
    level
        Of the route; ``None`` to deduce it from the identifiers that are replaced.
    private_creator
        Who has defined the private tags in it, if it does not say so itself.

    Raises
    ------
    BadRequestError
        If a field is wrong, or an identifier is named without ``Force`` or removed.
    """
    common = _Common(body, dictionary)
    if common.remove & _IDENTIFIERS.keys():
        raise BadRequestError("identifiers cannot be removed")
    if not common.keep <= _IDENTIFIERS.keys() - {_PATIENT_ID}:
        raise BadRequestError(
            "a modification can keep StudyInstanceUID, SeriesInstanceUID and SOPInstanceUID only"
        )
    common.check_force()
    level = _deduce_level(common.replace) if level is None else level
    _check_parents(common.replace, level)
    return EditRequest(
        level=level,
        replace=common.replace,
        remove=common.remove,
        keep=common.keep,
        is_private_removed=_get_boolean(body, "RemovePrivateTags", default=False),
        private_creator=_get_text(body, "PrivateCreator", private_creator),
        edition=None,
        keep_source=_get_boolean(body, "KeepSource", default=True),
        keep_labels=_get_boolean(body, "KeepLabels", default=False),
        updates_references=_get_boolean(body, "UpdateReferences", default=True),
        keeps_originals=_get_boolean(body, "OriginalAttributes", default=False),
        target=parse_target(body),
    )


def parse_anonymization(
    body: Mapping[str, Any],
    *,
    private_creator: str = "",
    dictionary: TagDictionary = DEFAULT_DICTIONARY,
) -> EditRequest:
    """Read the body of an anonymization; its level is always that of the patient.

    Raises
    ------
    BadRequestError
        If a field is wrong, or an identifier is named without ``Force`` or removed.
    BadParameterError
        If the edition of the profile is not known.
    """
    common = _Common(body, dictionary)
    if common.remove & _IDENTIFIERS.keys():
        raise BadRequestError("identifiers cannot be removed")
    common.check_force()
    if _get_boolean(body, "OriginalAttributes", default=False):
        raise BadRequestError("an anonymous file cannot tell what was changed in it")
    edition = _get_text(body, "DicomVersion", DEFAULT_EDITION)
    if edition not in EDITIONS:
        raise BadParameterError(f"the field 'DicomVersion' is one of {', '.join(EDITIONS)}")
    return EditRequest(
        level=Level.PATIENT,
        replace=common.replace,
        remove=common.remove,
        keep=common.keep,
        is_private_removed=not _get_boolean(body, "KeepPrivateTags", default=False),
        private_creator=_get_text(body, "PrivateCreator", private_creator),
        edition=edition,
        keep_source=_get_boolean(body, "KeepSource", default=True),
        keep_labels=_get_boolean(body, "KeepLabels", default=False),
        most_shifted_days=_get_shifted_days(body),
        has_clean_descriptors=_get_boolean(body, "CleanDescriptors", default=False),
        has_clean_graphics=_get_boolean(body, "CleanGraphics", default=False),
        target=parse_target(body),
    )


def parse_pseudonym_key(body: Mapping[str, Any]) -> str | None:
    """Read the key that gives the same new identifiers in all requests which have it.

    Returns
    -------
    str or None
        The client's secret, which must be kept nowhere; ``None`` if there is none.

    Raises
    ------
    BadRequestError
        If it is no text, or too short to be a secret.
    """
    if "PseudonymKey" not in body:
        return None
    text = _get_text(body, "PseudonymKey", "")
    if not _SHORTEST_KEY <= len(text) <= _LONGEST_KEY:
        raise BadRequestError(
            f"the field 'PseudonymKey' must have {_SHORTEST_KEY} to {_LONGEST_KEY} characters"
        )
    return text


def derive_pseudonym_key(text: str) -> bytes:
    """Derive what new identifiers follow from, from a client's secret.

    Slow on purpose, about 50 ms and 16 MB: whoever has a file and its original can try secrets
    until one fits. It does not make a short secret a good one. Not for the event loop.

    References
    ----------
    RFC 7914 (scrypt)
    """
    secret = text.encode("utf-8", "replace")
    return hashlib.scrypt(secret, salt=_KEY_PURPOSE, n=_KEY_COST, r=8, p=1, dklen=32)


def _get_shifted_days(body: Mapping[str, Any]) -> int:
    days = body.get("MaximumShiftDays", _SHIFTED_DAYS)
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= _MOST_SHIFTED_DAYS:
        raise BadRequestError(
            f"the field 'MaximumShiftDays' must be an integer from 1 to {_MOST_SHIFTED_DAYS}"
        )
    return days if _get_boolean(body, "ShiftDates", default=False) else 0


class _Common:
    """The fields that both have."""

    def __init__(self, body: Mapping[str, Any], dictionary: TagDictionary) -> None:
        for name in _LATER:
            if name in body:
                raise NotSupportedError(f"the field '{name}' is not supported by this version")
        self._dictionary = dictionary
        self._is_forced = _get_boolean(body, "Force", default=False)
        self.replace = self._parse_replace(body.get("Replace", {}))
        self.remove = self._parse_paths(body.get("Remove", []), "Remove")
        self.keep = self._parse_paths(body.get("Keep", []), "Keep")

    def _parse_replace(self, value: Any) -> dict[TagPath, Any]:
        if not isinstance(value, dict):
            raise BadRequestError("the field 'Replace' must be an object")
        _check_count(len(value))
        replaced = {parse_tag_path(name, self._dictionary): new for name, new in value.items()}
        for path in replaced:
            _check_place(path)
        for path in _IDENTIFIERS.keys() & replaced.keys():
            _check_identifier(path, replaced[path])
        return replaced

    def _parse_paths(self, value: Any, field: str) -> frozenset[TagPath]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise BadRequestError(f"the field '{field}' must be a list of tags")
        _check_count(len(value))
        return frozenset(parse_tag_path(item, self._dictionary) for item in value)

    def check_force(self) -> None:
        """Refuse to touch identifiers unless the client insists."""
        named = _IDENTIFIERS.keys() & (self.replace.keys() | self.keep)
        if named and not self._is_forced:
            raise BadRequestError("identifiers are replaced or kept only if 'Force' is true")


def _check_place(path: TagPath) -> None:
    """Refuse what stands in no data set, or is written by us: file meta information, lengths."""
    for tag in (*(tag for tag, _ in path.parents), path.tag):
        if tag >> 16 in _FORBIDDEN_GROUPS or not tag & 0xFFFF:
            raise BadParameterError(f"the tag {format_tag(tag)} cannot be replaced in a data set")


def _check_identifier(path: TagPath, value: Any) -> None:
    """Refuse what cannot be the identifier of a resource (PS3.5 §9.1).

    Zeros at the start of a component are against the standard, but real devices write them.
    """
    if not isinstance(value, str):
        raise BadRequestError("identifiers are replaced by text")
    if path != _PATIENT_ID and not _UID.fullmatch(value.strip(" \0")):
        raise BadRequestError("a UID has 1 to 64 digits and dots")


def _check_count(count: int) -> None:
    if count > _MOST_PATHS:
        raise BadRequestError(f"at most {_MOST_PATHS} tags can be named")


def _get_boolean(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise BadRequestError(f"the field '{name}' must be a boolean")
    return value


def _get_text(body: Mapping[str, Any], name: str, default: str) -> str:
    value = body.get(name, default)
    if not isinstance(value, str):
        raise BadRequestError(f"the field '{name}' must be text")
    return value


def _deduce_level(replaced: Mapping[TagPath, Any]) -> Level:
    for path, level in _IDENTIFIERS.items():
        if path in replaced and level is not Level.INSTANCE:
            return level
    return Level.INSTANCE


def _check_parents(replaced: Mapping[TagPath, Any], level: Level) -> None:
    """Refuse to change where a resource belongs, but for the patient of a study."""
    for path, owner in _IDENTIFIERS.items():
        is_patient_of_study = owner is Level.PATIENT and level is Level.STUDY
        if path in replaced and owner < level and not is_patient_of_study:
            raise BadRequestError(
                f"when {level.title} is the level of a modification, it cannot replace the"
                f" identifier of its {owner.title}"
            )


def build_anonymous_values(request: EditRequest, number: int) -> dict[TagPath, Any]:
    """Give the values that an anonymization writes by itself (behaviour manual §19.2).

    Parameters
    ----------
    number
        Of the anonymization, from 1; it makes the names of patients differ.
    """
    method = f"Isocenter {__version__}"
    if not request.is_customized:
        profile = "" if request.edition == EDITIONS[0] else " Basic Profile"
        method += f" - PS 3.15-{request.edition} Table E.1-1{profile}"
    values: dict[TagPath, Any] = {
        _PATIENT_IDENTITY_REMOVED: "YES",
        _DEIDENTIFICATION_METHOD: method,
    }
    if not request.has_key:
        values[_PATIENT_NAME] = f"Anonymized{number}"
    if request.options_of_profile:
        values[_DEIDENTIFICATION_METHOD_CODES] = [
            {"CodeValue": code, "CodingSchemeDesignator": "DCM", "CodeMeaning": meaning}
            for code, meaning in (_BASIC_PROFILE, *request.options_of_profile)
        ]
    if request.most_shifted_days:
        values[_LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED] = "MODIFIED"
    return values


def _build_provenance(made_at: int | None) -> Provenance:
    timestamp = format_timestamp(now() if made_at is None else made_at)
    return Provenance(timestamp.replace("T", "") + "+0000", f"Isocenter {__version__}")


def build_edit(
    request: EditRequest,
    pseudonyms: Pseudonyms,
    *,
    dictionary: TagDictionary = DEFAULT_DICTIONARY,
    defaults: Mapping[TagPath, Any] | None = None,
    references: frozenset[str] = frozenset(),
    made_at: int | None = None,
) -> Edit:
    """Build the description of the work on each file.

    Parameters
    ----------
    pseudonyms
        Gives the new UIDs of the whole job.
    defaults
        Values that are written unless the client replaces, keeps or removes the tag.
    references
        UIDs that are replaced wherever they occur.
    made_at
        What files tell of the time of the change, in seconds since 1970; ``None`` for now.
    """
    values = dict(request.replace)
    named = values.keys() | request.keep | request.remove
    values |= {path: new for path, new in (defaults or {}).items() if path not in named}
    regenerated = [
        path.tag for path in request.regenerated if path not in values and path not in request.keep
    ]
    edit = Edit(
        pseudonyms,
        replace=values,
        remove=request.remove,
        keep=request.keep,
        regenerate=frozenset(regenerated),
        references=references,
        is_private_removed=request.is_private_removed,
        private_creator=request.private_creator or None,
        dictionary=dictionary,
        most_shifted_days=request.most_shifted_days,
        is_naming_patients=request.has_key and request.is_anonymization,
        has_clean_descriptors=request.has_clean_descriptors,
        has_clean_graphics=request.has_clean_graphics,
        provenance=_build_provenance(made_at) if request.keeps_originals else None,
    )
    if request.edition is None:
        return edit
    return replace(edit, profile=load_profile(request.edition))

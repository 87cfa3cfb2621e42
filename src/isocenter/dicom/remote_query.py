"""The identifiers of queries and retrieves that are sent to remote modalities.

References
----------
PS3.4 §C.6.1, §C.6.2; Orthanc REST: query/retrieve handles (behaviour manual §24), manufacturers
(§23.1), compared with a running Orthanc 1.10.1
"""

from collections.abc import Mapping
from typing import Any

from isocenter.dicom.character_sets import DEFAULT_ENCODINGS
from isocenter.dicom.elements import EXPLICIT_LITTLE, IMPLICIT_LITTLE, MAXIMUM_DEPTH
from isocenter.dicom.encoding import Encoder, TextCodec
from isocenter.dicom.levels import Level
from isocenter.dicom.modules import MODULE_TAGS
from isocenter.dicom.new_elements import encode_element
from isocenter.dicom.tags import TagDictionary
from isocenter.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from isocenter.errors import BadParameterError

__all__ = [
    "ACCESSION_NUMBER",
    "PATIENT_ID",
    "QUERY_RETRIEVE_LEVEL",
    "SOP_CLASSES_IN_STUDY",
    "UNIQUE_KEYS",
    "Values",
    "adapt_to_manufacturer",
    "complete_query",
    "encode_identifier",
    "format_level",
    "normalize_query",
    "parse_level_value",
]

SPECIFIC_CHARACTER_SET = 0x00080005
SOP_INSTANCE_UID = 0x00080018
ACCESSION_NUMBER = 0x00080050
QUERY_RETRIEVE_LEVEL = 0x00080052
SOP_CLASSES_IN_STUDY = 0x00080062
PATIENT_ID = 0x00100020
STUDY_INSTANCE_UID = 0x0020000D
SERIES_INSTANCE_UID = 0x0020000E

Values = Mapping[int, Any]
"""Values by tags: text, or a list of objects for a sequence."""

UNIQUE_KEYS: Mapping[Level, tuple[int, ...]] = {
    Level.PATIENT: (PATIENT_ID,),
    Level.STUDY: (STUDY_INSTANCE_UID,),
    Level.SERIES: (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID),
    Level.INSTANCE: (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID),
}
"""The keys that name what is retrieved: patients in the patient root, others in the study root."""

# Attributes that only queries have (PS3.4 §C.3.4).
_COUNTERS: Mapping[Level, frozenset[int]] = {
    Level.PATIENT: frozenset({0x00201200, 0x00201202, 0x00201204}),
    Level.STUDY: frozenset({0x00080061, 0x00080062, 0x00201206, 0x00201208}),
    Level.SERIES: frozenset({0x00201209}),
    Level.INSTANCE: frozenset(),
}
_LEVELS = {
    Level.PATIENT: "PATIENT",
    Level.STUDY: "STUDY",
    Level.SERIES: "SERIES",
    Level.INSTANCE: "IMAGE",
}
_UNIVERSAL = "*"
# Below are command sets and file meta information, above delimiters of items.
_FIRST_GROUP, _LAST_GROUP = 0x0008, 0xFFFE
_LATIN1 = DEFAULT_ENCODINGS["Latin1"]
_UTF8 = DEFAULT_ENCODINGS["Utf8"]


def format_level(level: Level) -> str:
    """Write a level as (0008,0052) wants it (PS3.4 §C.6.2.1)."""
    return _LEVELS[level]


def parse_level_value(text: str) -> Level | None:
    """Read the value of (0008,0052), ``None`` if it is no level."""
    return next((level for level, name in _LEVELS.items() if name == text.strip()), None)


def normalize_query(level: Level, values: Values) -> dict[int, Any]:
    """Keep the keys that belong to the modules of a level and of those above it, and counters.

    References
    ----------
    Orthanc REST: ``Normalize`` (behaviour manual §24)
    """
    known = _COUNTERS[level] | {SPECIFIC_CHARACTER_SET}
    for above in range(level + 1):
        known |= MODULE_TAGS[Level(above)]
    return {tag: value for tag, value in values.items() if tag in known}


def adapt_to_manufacturer(
    values: Values, manufacturer: str, dictionary: TagDictionary
) -> dict[int, Any]:
    """Write the wildcard that matches everything as a manufacturer understands it.

    References
    ----------
    Orthanc: ``Manufacturer`` of a modality (behaviour manual §23.1)
    """

    def is_replaced(tag: int, value: Any) -> bool:
        if value != _UNIVERSAL:
            return False
        if manufacturer == "GenericNoUniversalWildcard":
            return True
        return manufacturer == "GenericNoWildcardInDates" and dictionary.lookup_vr(tag) == "DA"

    return {tag: "" if is_replaced(tag, value) else value for tag, value in values.items()}


def complete_query(level: Level, values: Values, manufacturer: str) -> dict[int, Any]:
    """Add the level, and the unique keys that the caller did not ask for.

    References
    ----------
    Orthanc REST: POST /modalities/{id}/query (behaviour manual §24)
    """
    keys = {PATIENT_ID, *UNIQUE_KEYS[level]}
    if level is not Level.PATIENT:
        keys.add(ACCESSION_NUMBER)
    universal = _UNIVERSAL if manufacturer == "GE" else ""
    missing = dict.fromkeys(keys - values.keys(), universal)
    return {**values, **missing, QUERY_RETRIEVE_LEVEL: format_level(level)}


def encode_identifier(
    values: Values, dictionary: TagDictionary, *, default_encoding: str
) -> dict[str, bytes]:
    """Encode an identifier in each transfer syntax in which it may be asked for.

    Text that the default character set cannot hold is written in UTF-8.

    Raises
    ------
    RequestError
        If a value does not fit its tag.

    References
    ----------
    PS3.4 §C.4.1.1.3
    """
    for tag in values:
        if not _FIRST_GROUP <= tag >> 16 < _LAST_GROUP:
            raise BadParameterError("a query may not hold elements of this group")
    term = str(values.get(SPECIFIC_CHARACTER_SET) or _choose_term(values, default_encoding))
    codec = TextCodec(term)
    complete = {**values, SPECIFIC_CHARACTER_SET: term}
    encoded = {}
    for uid, layout in (
        (IMPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_LITTLE),
        (EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_LITTLE),
    ):
        encoder = Encoder(layout, codec, dictionary)
        encoded[uid] = b"".join(
            encode_element(tag, encoder.encode(tag, complete[tag]), layout)
            for tag in sorted(complete)
        )
    return encoded


def _choose_term(values: Values, default_encoding: str) -> str:
    term = DEFAULT_ENCODINGS.get(default_encoding) or _LATIN1
    codec = TextCodec(term)
    return term if all(map(codec.can_encode, _iter_texts(list(values.values())))) else _UTF8


def _iter_texts(value: Any, depth: int = 0) -> list[str]:
    """List all texts of a value, those in items included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list):
        return []
    if depth > 2 * MAXIMUM_DEPTH:
        raise BadParameterError("the sequences nest too deep")
    return [text for item in value for text in _iter_texts(item, depth + 1)]

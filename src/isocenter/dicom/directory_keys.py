"""The keys of directory records: what a DICOMDIR tells of patients, studies, series, instances.

References
----------
PS3.3 §F.5 (definition of specific directory records), Table F.4-1 (which record for which IOD)
"""

from enum import Enum
from typing import NamedTuple

__all__ = ["LEAVES", "PATIENT", "SERIES", "STUDY", "Key", "RecordType", "Stand", "choose_leaf"]


class Stand(Enum):
    """What stands in the place of a required value that a file does not have."""

    DATE = "date"
    """Another date of the file, else the day on which it was received."""

    TIME = "time"
    """The time that belongs to that date."""

    NUMBER = "number"
    """The place of the resource among its siblings, from 1."""


class Key(NamedTuple):
    """One attribute of a record.

    Attributes
    ----------
    default
        Written if the file lacks the attribute or its value: text, empty for type 2; ``None``
        leaves the attribute out (types 1C and 3).
    """

    tag: int
    vr: str
    default: str | Stand | None = None


class RecordType(NamedTuple):
    """A type of directory record.

    Attributes
    ----------
    extras
        Keys that only the extended form has.
    """

    name: str
    keys: tuple[Key, ...]
    extras: tuple[Key, ...] = ()


_UNKNOWN = "UNKNOWN"

_NUMBER = Key(0x00200013, "IS", Stand.NUMBER)
_CONTENT_DATE = Key(0x00080023, "DA", Stand.DATE)
_CONTENT_TIME = Key(0x00080033, "TM", Stand.TIME)
_CONTENT = (_NUMBER, _CONTENT_DATE, _CONTENT_TIME)
_TITLE = Key(0x0040A043, "SQ", "")
_CONTENT_SEQUENCE = Key(0x0040A730, "SQ")
_DESCRIPTION = Key(0x00700081, "LO", "")
_CREATOR = Key(0x00700084, "PN", "")
# PS3.3 Table 10-12, Content Identification.
_IDENTIFICATION = (_NUMBER, Key(0x00700080, "CS", _UNKNOWN), _DESCRIPTION, _CREATOR)
_IDENTIFIED_CONTENT = (*_IDENTIFICATION, _CONTENT_DATE, _CONTENT_TIME)
_ROWS = Key(0x00280010, "US")
_COLUMNS = Key(0x00280011, "US")
_IMAGE_TYPE = Key(0x00080008, "CS")
_FRAMES = Key(0x00280008, "IS")

PATIENT = RecordType(
    "PATIENT",
    (Key(0x00100010, "PN", ""), Key(0x00100020, "LO", _UNKNOWN)),
    (Key(0x00100030, "DA"), Key(0x00100040, "CS")),
)
"""PS3.3 Table F.5-1."""

STUDY = RecordType(
    "STUDY",
    (
        Key(0x00080020, "DA", Stand.DATE),
        Key(0x00080030, "TM", Stand.TIME),
        Key(0x00080050, "SH", ""),
        Key(0x00081030, "LO", ""),
        Key(0x0020000D, "UI", ""),
        Key(0x00200010, "SH", Stand.NUMBER),
    ),
)
"""PS3.3 Table F.5-2."""

SERIES = RecordType(
    "SERIES",
    (
        Key(0x00080060, "CS", "OT"),
        Key(0x0020000E, "UI", ""),
        Key(0x00200011, "IS", Stand.NUMBER),
    ),
    # With the keys of the profiles for CT and MR (PS3.11 §D.3.3.1).
    (
        Key(0x00080021, "DA"),
        Key(0x00080031, "TM"),
        Key(0x00080080, "LO"),
        Key(0x00080081, "ST"),
        Key(0x0008103E, "LO"),
        Key(0x00081050, "PN"),
        Key(0x00180015, "CS"),
        Key(0x00200060, "CS"),
    ),
)
"""PS3.3 Table F.5-3."""

_IMAGE = RecordType(
    "IMAGE",
    (_NUMBER,),
    (
        _IMAGE_TYPE,
        Key(0x00080023, "DA"),
        Key(0x00080033, "TM"),
        Key(0x00200032, "DS"),
        Key(0x00200037, "DS"),
        Key(0x00200052, "UI"),
        _FRAMES,
        _ROWS,
        _COLUMNS,
        Key(0x00280030, "DS"),
    ),
)

_RADIOTHERAPY = RecordType(
    "RADIOTHERAPY",
    (_NUMBER, Key(0x30100033, "SH"), Key(0x30100034, "LO"), _DESCRIPTION, _CREATOR),
)

LEAVES: tuple[RecordType, ...] = (
    _IMAGE,
    RecordType("RT DOSE", (_NUMBER, Key(0x3004000A, "CS", _UNKNOWN)), (Key(0x30040006, "LO"),)),
    RecordType(
        "RT STRUCTURE SET",
        (
            _NUMBER,
            Key(0x30060002, "SH", _UNKNOWN),
            Key(0x30060008, "DA", ""),
            Key(0x30060009, "TM", ""),
        ),
    ),
    RecordType(
        "RT PLAN",
        (
            _NUMBER,
            Key(0x300A0002, "SH", _UNKNOWN),
            Key(0x300A0006, "DA", ""),
            Key(0x300A0007, "TM", ""),
        ),
    ),
    RecordType("RT TREAT RECORD", (_NUMBER, Key(0x30080250, "DA", ""), Key(0x30080251, "TM", ""))),
    RecordType(
        "PRESENTATION",
        (
            *_IDENTIFICATION,
            Key(0x00700082, "DA", Stand.DATE),
            Key(0x00700083, "TM", Stand.TIME),
            Key(0x00081115, "SQ"),
            Key(0x00700402, "SQ"),
        ),
    ),
    RecordType("WAVEFORM", _CONTENT),
    RecordType(
        "SR DOCUMENT",
        (
            *_CONTENT,
            _TITLE,
            _CONTENT_SEQUENCE,
            Key(0x0040A030, "DT"),
            Key(0x0040A491, "CS", "PARTIAL"),
            Key(0x0040A493, "CS", "UNVERIFIED"),
        ),
    ),
    RecordType("KEY OBJECT DOC", (*_CONTENT, _TITLE, _CONTENT_SEQUENCE)),
    RecordType(
        "SPECTROSCOPY",
        (
            *_CONTENT,
            _IMAGE_TYPE._replace(default="ORIGINAL\\PRIMARY"),
            Key(0x00089092, "SQ"),
            _FRAMES._replace(default="1"),
            _ROWS._replace(default="1"),
            _COLUMNS._replace(default="1"),
            Key(0x00289001, "UL", "1"),
            Key(0x00289002, "UL", "1"),
        ),
    ),
    RecordType("RAW DATA", _CONTENT),
    RecordType("REGISTRATION", _IDENTIFIED_CONTENT),
    RecordType("FIDUCIAL", _IDENTIFIED_CONTENT),
    RecordType(
        "ENCAP DOC",
        (
            _NUMBER,
            Key(0x00080023, "DA", ""),
            Key(0x00080033, "TM", ""),
            _TITLE,
            Key(0x0040E001, "ST"),
            Key(0x00420010, "ST", ""),
            Key(0x00420012, "LO", "application/octet-stream"),
        ),
    ),
    RecordType("VALUE MAP", _IDENTIFIED_CONTENT),
    RecordType("STEREOMETRIC", ()),
    RecordType("MEASUREMENT", _CONTENT),
    RecordType("SURFACE", _IDENTIFIED_CONTENT),
    RecordType("SURFACE SCAN", (_CONTENT_DATE, _CONTENT_TIME)),
    RecordType("TRACT", _IDENTIFIED_CONTENT),
    RecordType(
        "ASSESSMENT",
        (_NUMBER, Key(0x00080012, "DA", Stand.DATE), Key(0x00080013, "TM", "")),
    ),
    _RADIOTHERAPY,
    RecordType("ANNOTATION", _IDENTIFIED_CONTENT),
    RecordType("PLAN", ()),
)
"""The types of records below a series."""

_BY_NAME = {record.name: record for record in LEAVES}

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_PLANS = frozenset(f"1.2.840.10008.5.1.4.34.{number}" for number in (1, 7, 10))
# What follows the common root of a SOP class; with a dot at the end, all classes below.
_TYPES = {
    "4.2": "SPECTROSCOPY",
    "9.": "WAVEFORM",
    "11.": "PRESENTATION",
    "66": "RAW DATA",
    "66.1": "REGISTRATION",
    "66.2": "FIDUCIAL",
    "66.3": "REGISTRATION",
    "66.5": "SURFACE",
    "66.6": "TRACT",
    "67": "VALUE MAP",
    "68.": "SURFACE SCAN",
    "77.1.5.3": "STEREOMETRIC",
    "78.": "MEASUREMENT",
    "78.6": "SR DOCUMENT",
    "79.1": "SR DOCUMENT",
    "80.1": "MEASUREMENT",
    "88.": "SR DOCUMENT",
    "88.59": "KEY OBJECT DOC",
    "90.1": "ASSESSMENT",
    "91.1": "ANNOTATION",
    "104.": "ENCAP DOC",
    "131": "PRESENTATION",
    "481.2": "RT DOSE",
    "481.3": "RT STRUCTURE SET",
    "481.4": "RT TREAT RECORD",
    "481.5": "RT PLAN",
    "481.6": "RT TREAT RECORD",
    "481.7": "RT TREAT RECORD",
    "481.8": "RT PLAN",
    "481.9": "RT TREAT RECORD",
    **{f"481.{number}": "RADIOTHERAPY" for number in (*range(10, 23), 25)},
}


def choose_leaf(sop_class_uid: str) -> RecordType:
    """Choose the type of the record of an instance; an image, if its class is not known.

    References
    ----------
    PS3.3 Table F.4-1
    """
    if sop_class_uid in _PLANS:
        return _BY_NAME["PLAN"]
    if not sop_class_uid.startswith(_STORAGE):
        return _IMAGE
    suffix = sop_class_uid.removeprefix(_STORAGE)
    family = suffix.partition(".")[0] + "."
    is_member = family != suffix + "."
    name = _TYPES.get(suffix) or (_TYPES.get(family) if is_member else None)
    return _IMAGE if name is None else _BY_NAME[name]

"""Main tags: the data elements that the index keeps for each level.

References
----------
Orthanc REST: main DICOM tags (behaviour manual §4), quirks 28 and 46
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TypeVar

from isocenter.dicom.levels import Level
from isocenter.dicom.tags import format_tag

__all__ = [
    "DEFAULT_MAIN_TAGS",
    "MAXIMUM_INDEXED_BYTES",
    "MainTags",
    "build_index_value",
    "build_main_tags",
    "fold_text",
    "normalize_for_search",
]

_Value = TypeVar("_Value")

_PATIENT_NAME = 0x00100010
_PATIENT_ID = 0x00100020
_PATIENT_BIRTH_DATE = 0x00100030

DEFAULT_MAIN_TAGS: Mapping[Level, frozenset[int]] = MappingProxyType(
    {
        Level.PATIENT: frozenset(
            {_PATIENT_NAME, _PATIENT_ID, _PATIENT_BIRTH_DATE, 0x00100040, 0x00101000}
        ),
        Level.STUDY: frozenset(
            {
                0x00080020,  # StudyDate
                0x00080030,  # StudyTime
                0x00080050,  # AccessionNumber
                0x00080080,  # InstitutionName
                0x00080090,  # ReferringPhysicianName
                0x00080201,  # TimezoneOffsetFromUTC
                0x00081030,  # StudyDescription
                0x0020000D,  # StudyInstanceUID
                0x00200010,  # StudyID
                0x00321032,  # RequestingPhysician
                0x00321060,  # RequestedProcedureDescription
            }
        ),
        Level.SERIES: frozenset(
            {
                0x00080021,  # SeriesDate
                0x00080031,  # SeriesTime
                0x00080060,  # Modality
                0x00080070,  # Manufacturer
                0x00080201,  # TimezoneOffsetFromUTC
                0x00081010,  # StationName
                0x0008103E,  # SeriesDescription
                0x00081070,  # OperatorsName
                0x00180010,  # ContrastBolusAgent
                0x00180015,  # BodyPartExamined
                0x00180024,  # SequenceName
                0x00181030,  # ProtocolName
                0x00181090,  # CardiacNumberOfImages
                0x00181400,  # AcquisitionDeviceProcessingDescription
                0x0020000E,  # SeriesInstanceUID
                0x00200011,  # SeriesNumber
                0x00200037,  # ImageOrientationPatient
                0x00200105,  # NumberOfTemporalPositions
                0x00201002,  # ImagesInAcquisition
                0x00400244,  # PerformedProcedureStepStartDate
                0x00400245,  # PerformedProcedureStepStartTime
                0x00400254,  # PerformedProcedureStepDescription
                0x00400275,  # RequestAttributesSequence
                0x00540081,  # NumberOfSlices
                0x00540101,  # NumberOfTimeSlices
                0x00541000,  # SeriesType
            }
        ),
        Level.INSTANCE: frozenset(
            {
                0x00080012,  # InstanceCreationDate
                0x00080013,  # InstanceCreationTime
                0x00080018,  # SOPInstanceUID
                0x00200012,  # AcquisitionNumber
                0x00200013,  # InstanceNumber
                0x00200032,  # ImagePositionPatient
                0x00200037,  # ImageOrientationPatient
                0x00200100,  # TemporalPositionIdentifier
                0x00204000,  # ImageComments
                0x00280008,  # NumberOfFrames
                0x00541330,  # ImageIndex
            }
        ),
    }
)
"""The tags that every server keeps, for each level (behaviour manual §4.1)."""

MAXIMUM_INDEXED_BYTES = 256
"""How much of a normalized value the index compares (behaviour manual §4.1, quirk 46)."""

# The blocks of combining diacritical marks of Latin, Greek and Cyrillic letters. Marks that belong
# to a letter of other scripts (Hebrew, Arabic, Thai vowels, Japanese voicing) are not accents.
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")


@dataclass(frozen=True, slots=True, eq=False)
class MainTags:
    """The main tags in force: the default ones and those of the configuration.

    Each is equal to itself only, so that it can be the key of a cache.

    Parameters
    ----------
    by_level
        Tags of each level, without the copies of the patient's tags at study level.
    """

    by_level: Mapping[Level, frozenset[int]]

    @property
    def wanted(self) -> frozenset[int]:
        """All tags of all levels: what the reader must find in a file."""
        return frozenset().union(*self.by_level.values())

    @property
    def has_extra(self) -> bool:
        """True if there are others than the default ones."""
        return any(self.by_level[level] != DEFAULT_MAIN_TAGS[level] for level in Level)

    def without(self, tags: Collection[int]) -> "MainTags":
        """Leave some tags out at all levels."""
        return MainTags({level: self.by_level[level].difference(tags) for level in Level})

    def get_stored(self, level: Level) -> frozenset[int]:
        """Tags kept with a resource of a level: at study level also those of the patient."""
        if level is Level.STUDY:
            return self.by_level[Level.STUDY] | self.by_level[Level.PATIENT]
        return self.by_level[level]

    def select(self, values: Mapping[int, _Value], level: Level) -> dict[int, _Value]:
        """Take the main tags of one level out of the values of a file."""
        return {tag: values[tag] for tag in self.by_level[level] if tag in values}

    def build_signature(self, level: Level) -> str:
        """Write the tags of a level as ``gggg,eeee`` joined with ``;``, in ascending order.

        References
        ----------
        Orthanc REST: MainDicomTagsSignature (behaviour manual §4.2)
        """
        return _build_signature(self, level)


@lru_cache(maxsize=64)
def _build_signature(main_tags: MainTags, level: Level) -> str:
    """Write the signature of a level once, as it is a part of each row that is stored."""
    return ";".join(format_tag(tag) for tag in sorted(main_tags.by_level[level]))


def build_main_tags(extra: Mapping[Level, Iterable[int]] | None = None) -> MainTags:
    """Add the configured tags to the default ones.

    Parameters
    ----------
    extra
        More tags for each level, or ``None``. A tag that is there already changes nothing.

    References
    ----------
    Orthanc configuration: ``ExtraMainDicomTags`` (behaviour manual §4.2)
    """
    more = extra or {}
    return MainTags(
        {level: DEFAULT_MAIN_TAGS[level] | frozenset(more.get(level, ())) for level in Level}
    )


def normalize_for_search(text: str) -> str:
    """Fold what a search must not distinguish: case, accents, width forms, blanks at both ends.

    Letters of every script are kept, so Greek, Cyrillic or Chinese names are found. Normalizing
    twice gives the same text.

    References
    ----------
    Orthanc REST: search index (behaviour manual §4.3, quirk 28), Unicode Standard Annex #15
    """
    return fold_text(text).strip(" \0")


def fold_text(text: str) -> str:
    """Fold case, accents and width forms, and keep the blanks at both ends."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = _ACCENTS.sub("", folded).casefold()
    return unicodedata.normalize("NFKC", bare)


def build_index_value(text: str) -> str:
    """Normalize a value for the search index and keep its first 256 bytes (whole characters).

    A key of a search goes through the same function, so a long value is found by its beginning.

    References
    ----------
    Orthanc REST: main DICOM tags (behaviour manual §4.1, quirk 46)
    """
    folded = normalize_for_search(text)
    if len(folded) * 4 <= MAXIMUM_INDEXED_BYTES:
        return folded
    data = folded.encode("utf-8", "replace")
    return data[:MAXIMUM_INDEXED_BYTES].decode("utf-8", "ignore").rstrip(" ")

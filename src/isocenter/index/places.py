"""Where the index keeps what a criterion or a key of an order asks for."""

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.index.records import MetadataCode

__all__ = ["COUNTERS", "INSTANCE_AVAILABILITY", "Place", "lookup_place"]

INSTANCE_AVAILABILITY = 0x00080056
_SOP_CLASS_UID = 0x00080016
_MODALITY = 0x00080060
_MODALITIES_IN_STUDY = 0x00080061
_SOP_CLASSES_IN_STUDY = 0x00080062

COUNTERS = MappingProxyType(
    {
        0x00201200: (Level.PATIENT, Level.STUDY),  # NumberOfPatientRelatedStudies
        0x00201202: (Level.PATIENT, Level.SERIES),
        0x00201204: (Level.PATIENT, Level.INSTANCE),
        0x00201206: (Level.STUDY, Level.SERIES),  # NumberOfStudyRelatedSeries
        0x00201208: (Level.STUDY, Level.INSTANCE),
        0x00201209: (Level.SERIES, Level.INSTANCE),  # NumberOfSeriesRelatedInstances
    }
)
"""Computed tags that count: whose descendants, and at which level (behaviour manual §B)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands.

    Attributes
    ----------
    home
        Level of the rows that hold it.
    anchor
        Level of the resource that it belongs to; above ``home`` for what is collected from
        descendants, such as the modalities of a study.
    tag
        Number of the tag in the table ``search``; of instances nothing is there.
    column, key
        Column of ``resources`` and key of the JSON object in it.
    """

    home: Level
    anchor: Level
    tag: int
    column: str
    key: str

    @property
    def is_searchable(self) -> bool:
        """True if the table ``search`` holds the value."""
        return self.home is not Level.INSTANCE


@lru_cache(maxsize=4096)
def lookup_place(tag: int, level: Level, main_tags: MainTags) -> Place | None:
    """Find the place of a tag for resources of a level, or ``None`` if the index lacks it.

    A tag that several levels have is taken from the level itself, else from the nearest one
    above, else from the nearest one below. So a patient's tags are, below the patient, those that
    were stored with the study.

    References
    ----------
    Orthanc REST: POST /tools/find (behaviour manual §15.1), quirk 45
    """
    if tag == _MODALITIES_IN_STUDY:
        return _build_place(_MODALITY, Level.SERIES, main_tags, anchor=Level.STUDY)
    if tag in {_SOP_CLASS_UID, _SOP_CLASSES_IN_STUDY}:
        anchor = Level.INSTANCE if tag == _SOP_CLASS_UID else Level.STUDY
        code = str(int(MetadataCode.SOP_CLASS_UID))
        return Place(Level.INSTANCE, anchor, tag, "metadata", code)
    nearest = [*range(level, -1, -1), *range(level + 1, len(Level))]
    for home in map(Level, nearest):
        if tag in main_tags.get_stored(home):
            return _build_place(tag, home, main_tags, anchor=home)
    return None


def _build_place(tag: int, home: Level, main_tags: MainTags, *, anchor: Level) -> Place:
    column = "main_tags"
    if home is Level.STUDY and tag not in main_tags.by_level[Level.STUDY]:
        column = "patient_tags"
    return Place(home, anchor, tag, column, DEFAULT_DICTIONARY.get_key(tag))

"""Tags that no file holds: they describe what is stored, and are computed when asked for.

References
----------
Orthanc REST: computed tags (behaviour manual §4.4, appendix B); PS3.4 §C.3.4
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from isocenter.dicom.levels import Level
from isocenter.index.port import Transaction
from isocenter.index.relatives import count_below, find_modalities, find_sop_classes

__all__ = ["COMPUTED_TAGS", "find_computed"]

_MODALITIES_IN_STUDY = 0x00080061
_SOP_CLASSES_IN_STUDY = 0x00080062
_INSTANCE_AVAILABILITY = 0x00080056

# Tag to the level whose descendants it counts, and how far these are below.
_COUNTS = {
    0x00201200: (Level.PATIENT, 1),  # NumberOfPatientRelatedStudies
    0x00201202: (Level.PATIENT, 2),  # NumberOfPatientRelatedSeries
    0x00201204: (Level.PATIENT, 3),  # NumberOfPatientRelatedInstances
    0x00201206: (Level.STUDY, 1),  # NumberOfStudyRelatedSeries
    0x00201208: (Level.STUDY, 2),  # NumberOfStudyRelatedInstances
    0x00201209: (Level.SERIES, 1),  # NumberOfSeriesRelatedInstances
}

COMPUTED_TAGS: Mapping[int, Level] = MappingProxyType(
    {
        **{tag: level for tag, (level, _) in _COUNTS.items()},
        _MODALITIES_IN_STUDY: Level.STUDY,
        _SOP_CLASSES_IN_STUDY: Level.STUDY,
        _INSTANCE_AVAILABILITY: Level.INSTANCE,
    }
)
"""The computed tags, each with the level that it describes."""


def find_computed(tx: Transaction, tag: int, internal_ids: Sequence[int]) -> Mapping[int, str]:
    """Compute a tag: one statement, whatever the number of resources.

    Parameters
    ----------
    internal_ids
        Rows of resources of the level that the tag describes.

    Returns
    -------
    Mapping
        Row to value.
    """
    if tag == _INSTANCE_AVAILABILITY:
        return dict.fromkeys(internal_ids, "ONLINE")
    if tag in _COUNTS:
        counts = count_below(tx, internal_ids, _COUNTS[tag][1])
        return {internal_id: str(counts.get(internal_id, 0)) for internal_id in internal_ids}
    find = find_modalities if tag == _MODALITIES_IN_STUDY else find_sop_classes
    found = find(tx, internal_ids)
    return {internal_id: "\\".join(found.get(internal_id, ())) for internal_id in internal_ids}

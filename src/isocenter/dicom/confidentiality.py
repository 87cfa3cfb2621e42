"""The basic confidentiality profile: what of a data set tells who the patient is.

References
----------
PS3.15 table E.1-1 in the editions 2008, 2017c, 2021b and 2023b; Orthanc REST: rules of
anonymization (behaviour manual §19.2 and annex C)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files

from isocenter.errors import BadParameterError

__all__ = ["DEFAULT_EDITION", "EDITIONS", "Profile", "ProfileAction", "load_profile"]

EDITIONS = ("2008", "2017c", "2021b", "2023b")
"""The editions of the standard that can be asked for (option ``DicomVersion`` of a request)."""

DEFAULT_EDITION = "2023b"

_KEEP = "-"
_FIRST_WITH_RANGES = "2017c"
_CURVES = 0x50
_OVERLAYS = 0x60
_OVERLAY_DATA = 0x3000
_OVERLAY_COMMENTS = 0x4000


class ProfileAction(Enum):
    """What the profile does with an element; the values are those of the table."""

    REMOVE = "X"
    EMPTY = "Z"
    REPLACE_UID = "U"


@dataclass(frozen=True, slots=True)
class Profile:
    """One edition.

    Attributes
    ----------
    has_ranges
        Curves, overlay data and overlay comments are removed by their ranges of tags.
    """

    edition: str
    actions: Mapping[int, ProfileAction]
    has_ranges: bool

    def lookup(self, tag: int) -> ProfileAction | None:
        """Say what becomes of an element; ``None`` if it stays."""
        known = self.actions.get(tag)
        if known is not None or not self.has_ranges:
            return known
        group = tag >> 24
        is_overlay = group == _OVERLAYS and tag & 0xFFFF in {_OVERLAY_DATA, _OVERLAY_COMMENTS}
        return ProfileAction.REMOVE if group == _CURVES or is_overlay else None


def load_profile(edition: str) -> Profile:
    """Give an edition of the profile.

    Raises
    ------
    BadParameterError
        If the edition is not known.
    """
    if edition not in EDITIONS:
        raise BadParameterError(f"the editions of the profile are {', '.join(EDITIONS)}")
    return _load(edition)


@cache
def _load(edition: str) -> Profile:
    column = EDITIONS.index(edition)
    text = files("isocenter.dicom").joinpath("confidentiality.tsv").read_text(encoding="ascii")
    actions: dict[int, ProfileAction] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        tag, letters = line.split("\t")
        if letters[column] != _KEEP:
            actions[int(tag, 16)] = ProfileAction(letters[column])
    is_new = EDITIONS.index(_FIRST_WITH_RANGES) <= column
    return Profile(edition, actions, has_ranges=is_new)

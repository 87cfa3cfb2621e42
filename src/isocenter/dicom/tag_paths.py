"""Paths to elements inside sequences, as clients write them.

References
----------
Orthanc REST: tag names and paths (behaviour manual §5.3, §18.5)
"""

import re
from dataclasses import dataclass

from isocenter.dicom.elements import MAXIMUM_DEPTH
from isocenter.dicom.rewriting import Path
from isocenter.dicom.tags import TagDictionary
from isocenter.errors import BadParameterError

__all__ = ["TagPath", "parse_tag_path"]

_STEP = re.compile(r"(?P<name>[^\[\].]+)\[(?P<index>\d{1,9}|\*)\]")


@dataclass(frozen=True, slots=True)
class TagPath:
    """An element, possibly inside of items.

    Attributes
    ----------
    parents
        (tag of a sequence, index of an item from 0 or ``None`` for every item) of each level.
    tag
        The element itself.
    """

    parents: tuple[tuple[int, int | None], ...]
    tag: int

    def fits(self, path: Path) -> bool:
        """Tell whether a data set is one that the element stands in."""
        return len(path) == len(self.parents) and self.leads_through(path)

    def count_wildcards(self) -> int:
        """Count the sequences of which every item is meant; the fewer, the more precise."""
        return sum(index is None for _, index in self.parents)

    def leads_through(self, path: Path) -> bool:
        """Tell whether the way to the element begins with the way to a data set."""
        return len(path) <= len(self.parents) and all(
            tag == wanted and index in {None, item}
            for (tag, item), (wanted, index) in zip(path, self.parents, strict=False)
        )


def parse_tag_path(text: str, dictionary: TagDictionary) -> TagPath:
    """Read ``PatientName``, ``0010,0010`` or ``ReferencedImageSequence[0].0008,1155``.

    Raises
    ------
    BadRequestError
        If a name is not known.
    BadParameterError
        If it is no path, or too deep.
    """
    *steps, last = text.split(".")
    if len(steps) > MAXIMUM_DEPTH:
        raise BadParameterError("a path to a tag is too deep")
    parents: list[tuple[int, int | None]] = []
    for step in steps:
        match = _STEP.fullmatch(step)
        if match is None:
            raise BadParameterError(f"'{text}' is no path to a tag, such as Sequence[0].Tag")
        index = None if match["index"] == "*" else int(match["index"])
        parents.append((dictionary.parse_tag(match["name"]), index))
    return TagPath(tuple(parents), dictionary.parse_tag(last))

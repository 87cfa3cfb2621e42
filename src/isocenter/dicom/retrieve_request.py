"""The identifier of a C-MOVE or C-GET: which resources are wanted.

References
----------
PS3.4 §C.4.2.1.4, §C.4.3.1.3; Orthanc: C-MOVE, C-GET (behaviour manual §25.4, §25.5)
"""

from collections.abc import Mapping

from isocenter.dicom.data_sets import Element, get_text
from isocenter.dicom.find_request import parse_level
from isocenter.dicom.levels import Level
from isocenter.dicom.query import Query, parse_criterion
from isocenter.dicom.tags import DEFAULT_DICTIONARY, format_tag
from isocenter.errors import BadParameterError, BadRequestError

__all__ = ["parse_retrieve_request"]

_ACCESSION_NUMBER = 0x00080050
_MOST_VALUES = 10_000

# What identifies the resources of a level; a study also by its accession number.
_KEYS: Mapping[Level, tuple[int, ...]] = {
    Level.PATIENT: (0x00100020,),
    Level.STUDY: (0x0020000D, _ACCESSION_NUMBER),
    Level.SERIES: (0x0020000E,),
    Level.INSTANCE: (0x00080018,),
}


def parse_retrieve_request(identifier: Mapping[int, Element]) -> Query:
    r"""Read the identifier of a C-MOVE or C-GET.

    Only the unique key of the level counts, which may be a list; without a level, the deepest key
    that is given decides.

    Raises
    ------
    BadRequestError
        If there is no key.
    BadParameterError
        If the level is unknown, or the key has wildcards.
    """
    level = parse_level(identifier)
    levels = [level] if level is not None else list(reversed(Level))
    for candidate in levels:
        for tag in _KEYS[candidate]:
            text = get_text(identifier, tag)
            if text.strip("\\ "):
                return _build_query(candidate, tag, text)
    raise BadRequestError("the identifier names nothing to retrieve")


def _build_query(level: Level, tag: int, text: str) -> Query:
    if "*" in text or "?" in text:
        raise BadParameterError(f"Wildcards are not allowed on tag {format_tag(tag)}")
    if text.count("\\") >= _MOST_VALUES:
        raise BadParameterError(f"a request may name {_MOST_VALUES} resources at most")
    wanted = "\\".join(part for part in text.split("\\") if part.strip())
    vr = DEFAULT_DICTIONARY.lookup_vr(tag)
    return Query(level, (parse_criterion(tag, vr, wanted, is_case_sensitive=True),))

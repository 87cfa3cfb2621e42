"""What differs between two answers, and which differences are accepted."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.orthanc import Answer

__all__ = ["ABSENT", "ANY", "Accepted", "Difference", "compare", "find_unexpected", "find_unmet"]

ABSENT = "(absent)"
"""Stands for a key that only the other server has."""

ANY = object()
"""Fits every value."""

# Values that no two servers share: only their types are compared.
_VOLATILE = frozenset({"DatabaseServerIdentifier", "DicomPort", "FileUuid", "HttpPort", "Uuid"})
_TIMES = frozenset({"Date", "LastUpdate", "ReceptionDate"})
# Sentences of an error, which each server words itself (behaviour manual §2.3).
_WORDING = frozenset({"Details", "Message", "OrthancError"})
_COMPARED_HEADERS = ("content-disposition", "location", "allow", "content-encoding")


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the answers to the same request differ.

    Attributes
    ----------
    case
        The request, for example ``GET /studies?expand``.
    place
        ``status``, ``type``, the name of a header, or the path to a value in the body such as
        ``body/0/MainDicomTags/PatientName``.
    """

    case: str
    place: str
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return f"{self.case} {self.place}: {self.ours!r} against {self.theirs!r}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A difference that stays, and why.

    Attributes
    ----------
    case, place
        Regular expressions that fit from the start of the case, and the whole place.
    reason
        Why it stays.
    ours, theirs
        The values, if only these are accepted.
    needs_samples
        It occurs only in files of the folder of samples.
    """

    case: str
    place: str
    reason: str
    ours: Any = ANY
    theirs: Any = ANY
    needs_samples: bool = False

    def covers(self, difference: Difference) -> bool:
        """Tell whether a difference is this one."""
        return (
            self.ours in (ANY, difference.ours)
            and self.theirs in (ANY, difference.theirs)
            and re.fullmatch(self.place, difference.place) is not None
            and re.match(self.case, difference.case) is not None
        )


def find_unexpected(
    differences: Iterable[Difference], accepted: Iterable[Accepted]
) -> list[Difference]:
    """List the differences that nobody accepted."""
    accepted = tuple(accepted)
    return [
        difference
        for difference in differences
        if not any(entry.covers(difference) for entry in accepted)
    ]


def find_unmet(differences: Iterable[Difference], accepted: Iterable[Accepted]) -> list[Accepted]:
    """List the accepted differences that do not occur."""
    differences = list(differences)
    return [entry for entry in accepted if not any(map(entry.covers, differences))]


def compare(case: str, ours: Answer, theirs: Answer) -> list[Difference]:
    """Compare status, media type, some headers and body of two answers.

    Notes
    -----
    Of an error or an empty answer the media type counts only if Orthanc names one.
    """
    if ours.status != theirs.status:
        return [Difference(case, "status", ours.status, theirs.status)]
    return [*_iter_header_differences(case, ours, theirs), *_compare_bodies(case, ours, theirs)]


def _iter_header_differences(case: str, ours: Answer, theirs: Answer) -> Iterator[Difference]:
    if theirs.content_type and ours.content_type != theirs.content_type:
        yield Difference(case, "type", ours.content_type, theirs.content_type)
    for name in _COMPARED_HEADERS:
        one, other = ours.headers.get(name), theirs.headers.get(name)
        if one != other:
            yield Difference(case, name, one, other)


def _compare_bodies(case: str, ours: Answer, theirs: Answer) -> Iterable[Difference]:
    try:
        pair = json.loads(ours.body), json.loads(theirs.body)
    except ValueError:
        if ours.body == theirs.body:
            return []
        return [Difference(case, "body", ours.body[:100], theirs.body[:100])]
    return _iter_differences(case, "body", *pair)


def _iter_differences(case: str, place: str, ours: Any, theirs: Any) -> Iterator[Difference]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs} - _WORDING):
            values = ours.get(key, ABSENT), theirs.get(key, ABSENT)
            if not _are_volatile(key, *values):
                yield from _iter_differences(case, f"{place}/{key}", *values)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, values in enumerate(zip(ours, _put_in_order(theirs), strict=True)):
            yield from _iter_differences(case, f"{place}/{index}", *values)
    elif ours != theirs or type(ours) is not type(theirs):
        yield Difference(case, place, ours, theirs)


def _are_volatile(key: str, ours: Any, theirs: Any) -> bool:
    if ABSENT in (ours, theirs):
        return False
    if key in _TIMES:
        return all(re.fullmatch(r"\d{8}T\d{6}", str(value)) for value in (ours, theirs))
    return key in _VOLATILE and type(ours) is type(theirs)


def _put_in_order(values: list[Any]) -> list[Any]:
    """Sort identifiers and resources, as Orthanc does since 1.12.5 (behaviour manual §3.1)."""
    if all(isinstance(value, str) for value in values):
        return sorted(values)
    if all(isinstance(value, dict) and "ID" in value and "Seq" not in value for value in values):
        return sorted(values, key=lambda value: str(value["ID"]))
    return values

"""What differs between two answers, and which differences are accepted."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.orthanc import Answer

__all__ = ["Accepted", "Difference", "Judge", "iter_differences"]

# Values that no two servers share: only their types are compared.
_VOLATILE = frozenset(
    {"DatabaseServerIdentifier", "Date", "DicomPort", "FileUuid", "HttpPort", "LastUpdate"}
)
# Sentences of an error, which each server words itself (behaviour manual §2.3).
_WORDING = frozenset({"Details", "Message", "OrthancError"})
_COMPARED_HEADERS = ("content-disposition", "location", "allow", "content-encoding")
_ABSENT = "(absent)"


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
        Regular expressions that fit from the start of the case and the whole place.
    """

    case: str
    place: str
    reason: str

    def covers(self, difference: Difference) -> bool:
        """Tell whether a difference is this one."""
        return bool(
            re.match(self.case, difference.case) and re.fullmatch(self.place, difference.place)
        )


class Judge:
    """Tells unexpected differences from accepted ones, and remembers which of them occurred."""

    def __init__(self, accepted: Iterable[Accepted]) -> None:
        self._accepted = tuple(accepted)
        self._met: set[Accepted] = set()

    def find_unexpected(self, case: str, ours: Answer, theirs: Answer) -> list[str]:
        """Describe the differences that nobody accepted."""
        return [
            str(difference)
            for difference in iter_differences(case, ours, theirs)
            if not self._is_accepted(difference)
        ]

    def _is_accepted(self, difference: Difference) -> bool:
        covering = [entry for entry in self._accepted if entry.covers(difference)]
        self._met.update(covering)
        return bool(covering)

    def list_unmet(self) -> list[Accepted]:
        """List the accepted differences that never occurred."""
        return [entry for entry in self._accepted if entry not in self._met]


def iter_differences(case: str, ours: Answer, theirs: Answer) -> Iterator[Difference]:
    """Compare status, media type, some headers and body of two answers.

    Notes
    -----
    Of an error, the media type counts only if Orthanc names one: it sends most errors without.
    """
    if ours.status != theirs.status:
        yield Difference(case, "status", ours.status, theirs.status)
        return
    if ours.content_type != theirs.content_type and (theirs.content_type or theirs.status < 300):
        yield Difference(case, "type", ours.content_type, theirs.content_type)
    for name in _COMPARED_HEADERS:
        one, other = ours.headers.get(name), theirs.headers.get(name)
        if one != other:
            yield Difference(case, name, one, other)
    yield from _iter_body_differences(case, ours.body, theirs.body)


def _iter_body_differences(case: str, ours: bytes, theirs: bytes) -> Iterator[Difference]:
    try:
        pair = json.loads(ours), json.loads(theirs)
    except ValueError:
        if ours != theirs:
            yield Difference(case, "body", ours[:100], theirs[:100])
        return
    yield from _iter_value_differences(case, "body", *pair)


def _iter_value_differences(case: str, place: str, ours: Any, theirs: Any) -> Iterator[Difference]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs} - _WORDING):
            values = ours.get(key, _ABSENT), theirs.get(key, _ABSENT)
            if key in _VOLATILE and type(values[0]) is type(values[1]) and _ABSENT not in values:
                continue
            yield from _iter_value_differences(case, f"{place}/{key}", *values)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, values in enumerate(zip(ours, _put_in_order(theirs), strict=True)):
            yield from _iter_value_differences(case, f"{place}/{index}", *values)
    elif ours != theirs or type(ours) is not type(theirs):
        yield Difference(case, place, ours, theirs)


def _put_in_order(values: list[Any]) -> list[Any]:
    """Sort identifiers and resources as Orthanc does since 1.12.5 (behaviour manual §3.1)."""
    if all(isinstance(value, str) for value in values):
        return sorted(values)
    if all(isinstance(value, dict) and "ID" in value and "Seq" not in value for value in values):
        return sorted(values, key=lambda value: str(value["ID"]))
    return values

"""Names of folders and files in archives.

References
----------
Orthanc REST: tree of an archive (behaviour manual §22.2)
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from isocenter.dicom.levels import Level

__all__ = ["build_file_names", "build_folder_name", "make_unique"]

_SEPARATOR = " - "
_PARTS = {
    Level.PATIENT: ("PatientID", "PatientName"),
    Level.STUDY: ("AccessionNumber", "StudyDescription"),
    Level.SERIES: ("SeriesNumber", "Modality", "SeriesDescription"),
}
# Characters that a file name may not have on some system, or that end a path.
_ILLEGAL = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_BLANKS = re.compile(r"\s+")
# Names that are no names (`.`, `..`), and blanks and dots that Windows drops at the end.
_ENDS = " ."
_LONGEST_NAME = 120
_LARGEST_NUMBER = 10**6
_SUFFIX = ".dcm"


def build_folder_name(level: Level, tags: Mapping[str, object], *, is_utf8: bool) -> str:
    """Name the folder of a patient, study or series after its tags.

    Parameters
    ----------
    tags
        Main tags by keyword.
    is_utf8
        Keep letters that are not ASCII; they are left out otherwise.
    """
    parts = [_clean(str(tags.get(keyword, "")), is_utf8=is_utf8) for keyword in _PARTS[level]]
    name = _SEPARATOR.join(part for part in parts if part)
    return _shorten(name).strip(_ENDS) or f"Unknown {level.title}"


def _clean(text: str, *, is_utf8: bool) -> str:
    if not is_utf8:
        text = text.encode("ascii", "ignore").decode()
    return _BLANKS.sub(" ", _ILLEGAL.sub(" ", text)).strip(_ENDS)


def _shorten(name: str) -> str:
    """Keep whole characters of at most 120 bytes: most file systems allow 255, paths add up."""
    data = name.encode("utf-8", "ignore")
    return data[:_LONGEST_NAME].decode("utf-8", "ignore")


def make_unique(names: Iterable[str]) -> list[str]:
    """Number siblings that have the same name: the second one ends with ``-2``.

    Names that differ only in the case of letters count as the same, as they do on some systems.
    """
    seen: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while candidate.casefold() in seen:
            number += 1
            candidate = f"{name}-{number}"
        seen.add(candidate.casefold())
        unique.append(candidate)
    return unique


def build_file_names(modality: str, numbers: Sequence[int | None]) -> list[str]:
    """Name the files of a series.

    Parameters
    ----------
    modality
        Of the series, or empty.
    numbers
        Instance number of each file.

    Returns
    -------
    list of str
        With the instance number if it is positive and no other file has it, else with the lowest
        number from 1 that is free.
    """
    prefix = re.sub("[^A-Z]", "", modality.upper())[:2]
    digits = 8 - len(prefix)
    count = Counter(numbers)
    chosen = [
        n if n is not None and 0 < n < _LARGEST_NUMBER and count[n] == 1 else None for n in numbers
    ]
    taken = {number for number in chosen if number is not None}
    free = (number for number in range(1, len(numbers) + len(taken) + 1) if number not in taken)
    return [
        f"{prefix}{next(free) if number is None else number:0{digits}}{_SUFFIX}"
        for number in chosen
    ]

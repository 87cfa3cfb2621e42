"""Dates that are shifted by days, so that the intervals between them stay.

References
----------
PS3.15 §E.3.6 (Retain Longitudinal Temporal Information with Modified Dates Option), PS3.5 §6.2
(DA, DT)
"""

import re
from datetime import date, timedelta

__all__ = ["shift_dates"]

# The date at the start of a DA or a DT; DA of the ACR-NEMA standard has dots.
_DATE = re.compile(r"(\d{4})(\.?)(\d{2})\2(\d{2})")


def shift_dates(text: str, days: int) -> str:
    r"""Shift the dates of a value back.

    Parameters
    ----------
    text
        Of an element of VR DA or DT; multiple values are joined with a backslash.
    days
        How far back.

    Returns
    -------
    str
        The same times on other days. A value that is no date, or has no day, becomes empty.
    """
    return "\\".join(_shift(value.strip(" \0"), days) for value in text.split("\\"))


def _shift(value: str, days: int) -> str:
    match = _DATE.match(value)
    if match is None:
        return ""
    try:
        day = date(int(match[1]), int(match[3]), int(match[4]))
        shifted = day - timedelta(days)
    except (ValueError, OverflowError):
        return ""
    return f"{shifted.year:04}{shifted.month:02}{shifted.day:02}{value[match.end() :]}"

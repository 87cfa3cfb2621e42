"""Dates that are shifted by days, so that the intervals between them stay.

References
----------
PS3.15 §E.3.6 (Retain Longitudinal Temporal Information with Modified Dates Option), PS3.5 §6.2
(DA, DT, TM)
"""

import re
from datetime import date, timedelta

__all__ = ["DATES", "TIMES", "clean_times", "shift_dates"]

DATES = frozenset({"DA", "DT"})
"""Value representations that hold a day."""

TIMES = "TM"
"""Value representation of a time of a day."""

# The date at the start of a DA or a DT; DA of the ACR-NEMA standard has dots.
_DATE = re.compile(r"([0-9]{4})(\.?)([0-9]{2})\2([0-9]{2})")
# What may follow the date in a DT: a time and an offset from UTC.
_TIME_OF_DAY = re.compile(r"[0-9]{0,6}(\.[0-9]{1,6})?([+-][0-9]{4})?")
# TM of the ACR-NEMA standard has colons.
_TIME = re.compile(r"[0-9]{2}(?:(:?)[0-9]{2}(?:\1[0-9]{2}(?:\.[0-9]{1,6})?)?)?")


def shift_dates(text: str, days: int, vr: str) -> str:
    r"""Shift the dates of a value back.

    Parameters
    ----------
    text
        Of an element of VR DA or DT; multiple values are joined with a backslash.
    days
        How far back.
    vr
        Which of both; nothing may follow the date in a DA.

    Returns
    -------
    str
        The same times on other days. A value that is no date, has no day, or holds anything
        besides a date and a time, becomes empty.
    """
    return "\\".join(_shift(value.strip(" \0"), days, vr) for value in text.split("\\"))


def _shift(value: str, days: int, vr: str) -> str:
    match = _DATE.match(value) if vr == "DT" else _DATE.fullmatch(value)
    if match is None or not _TIME_OF_DAY.fullmatch(value, match.end()):
        return ""
    try:
        day = date(int(match[1]), int(match[3]), int(match[4]))
        shifted = day - timedelta(days)
    except (ValueError, OverflowError):
        return ""
    return f"{shifted.year:04}{shifted.month:02}{shifted.day:02}{value[match.end() :]}"


def clean_times(text: str) -> str:
    r"""Keep the times of a value of VR TM, and empty what is none."""
    values = (value.strip(" \0") for value in text.split("\\"))
    return "\\".join(value if _TIME.fullmatch(value) else "" for value in values)

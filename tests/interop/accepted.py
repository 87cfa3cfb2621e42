"""Every difference from Orthanc 1.10.1 that stays, with its reason."""

from tests.interop.comparing import ABSENT, Accepted

__all__ = ["READING"]

_LONG = "longer values are shown, not only up to 256 bytes (quirk 46)"
_NEWER_TAGS = (
    "TimezoneOffsetFromUTC|PerformedProcedureStepStart(Date|Time)|RequestAttributesSequence"
    "|0008,0201|0040,024[45]|0040,0275"
)

READING = (
    Accepted("GET", r"body(/\d+)?/Labels", "newer: labels came with 1.12.0", theirs=ABSENT),
    Accepted("GET", r"body(/\d+)?/IsProtected", "newer: 1.12.8", theirs=ABSENT),
    Accepted(
        "GET",
        rf"body(/\d+)?/MainDicomTags/({_NEWER_TAGS})",
        "newer: main tags since 1.12.5",
        theirs=ABSENT,
    ),
    Accepted(
        "GET",
        r"body(/\d+)?/MainDicomTags/(StudyDescription|0008,1030)",
        _LONG,
        theirs=ABSENT,
    ),
)
"""Of the routes that only read."""

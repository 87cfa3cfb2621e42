"""Codes of metadata and attachments: those of the system, and the room for the user's own.

References
----------
Orthanc REST: metadata and attachments (behaviour manual §11, §12)
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

__all__ = [
    "FIRST_USER_CODE",
    "LAST_USER_CODE",
    "SYSTEM_ATTACHMENTS",
    "SYSTEM_METADATA",
    "is_number",
]

FIRST_USER_CODE = 1024
LAST_USER_CODE = 65535

SYSTEM_METADATA: Mapping[int, str] = MappingProxyType(
    {
        1: "IndexInSeries",
        2: "ReceptionDate",
        3: "RemoteAET",
        4: "ExpectedNumberOfInstances",
        5: "ModifiedFrom",
        6: "AnonymizedFrom",
        7: "LastUpdate",
        8: "Origin",
        9: "TransferSyntax",
        10: "SopClassUid",
        11: "RemoteIP",
        12: "CalledAET",
        13: "HttpUsername",
        14: "PixelDataOffset",
        15: "MainDicomTagsSignature",
        16: "MainDicomSequences",
        17: "PixelDataVR",
        18: "IsProtected",
        19: "PatientRecyclingOrder",
    }
)
SYSTEM_ATTACHMENTS: Mapping[int, str] = MappingProxyType(
    {1: "dicom", 2: "dicom-as-json", 3: "dicom-until-pixel-data"}
)

_NUMBER = re.compile(r"-?[0-9]+")


def is_number(name: str) -> bool:
    """Tell whether a name is a code, written as a number, rather than a name."""
    return _NUMBER.fullmatch(name) is not None

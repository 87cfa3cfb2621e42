"""Public identifiers: SHA-1 sums of the DICOM identifiers of a resource and its ancestors.

References
----------
Orthanc REST: identifier recipe (behaviour manual §1.2)
"""

import hashlib
import re
from typing import NamedTuple

__all__ = ["PublicIds", "build_public_ids", "is_public_id"]

_PUBLIC_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}")


class PublicIds(NamedTuple):
    """Public identifiers of an instance and its ancestors; indexed by ``Level``."""

    patient: str
    study: str
    series: str
    instance: str


def build_public_ids(
    patient_id: str,
    study_instance_uid: str,
    series_instance_uid: str,
    sop_instance_uid: str,
) -> PublicIds:
    """Compute the public identifiers of an instance and of its three ancestors.

    Parameters
    ----------
    patient_id, study_instance_uid, series_instance_uid, sop_instance_uid
        Values as the reader gives them: trailing padding removed, leading blanks kept. An absent
        ``PatientID`` is the empty text.

    Returns
    -------
    PublicIds
        Four identifiers of 44 characters, from the patient down to the instance.

    References
    ----------
    Orthanc REST: identifier recipe (behaviour manual §1.2)
    """
    digest = hashlib.sha1(patient_id.encode("utf-8", "replace"), usedforsecurity=False)
    patient = _format_digest(digest.hexdigest())
    ancestors: list[str] = []
    for part in (study_instance_uid, series_instance_uid, sop_instance_uid):
        digest.update(f"|{part}".encode("utf-8", "replace"))
        ancestors.append(_format_digest(digest.hexdigest()))
    return PublicIds(patient, *ancestors)


def is_public_id(text: str) -> bool:
    """Tell whether a text has the form of a public identifier."""
    return _PUBLIC_ID.fullmatch(text) is not None


def _format_digest(digest: str) -> str:
    return f"{digest[:8]}-{digest[8:16]}-{digest[16:24]}-{digest[24:32]}-{digest[32:]}"

"""New identifiers that follow from the old ones and a key: the same wherever and whenever asked.

Nothing has to be remembered, so a job that goes on after a crash gives the same identifiers, and so
do several workers.

References
----------
PS3.5 §B.2 (UIDs from UUIDs), PS3.15 §E.3.6 (modified dates), RFC 2104 (HMAC)
"""

import hashlib
import hmac
import uuid

__all__ = ["Pseudonyms"]

_UUID_BYTES = 16
_RANDOM = 4
"""Version of a UUID whose bits mean nothing."""


class Pseudonyms:
    """Replaces identifiers.

    Parameters
    ----------
    key
        Whoever has it can link old and new identifiers; without it nobody can.
    """

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.sha256(key).digest()
        self._uids: dict[str, str] = {}

    def set_uid(self, old: str, new: str) -> None:
        """Decide by hand what replaces a UID."""
        self._uids[old] = new

    def replace_uid(self, old: str) -> str:
        """Give the UID that replaces another one; blanks around it do not count."""
        old = old.strip(" \0")
        known = self._uids.get(old)
        if known is None:
            known = self._uids[old] = f"2.25.{self._build_uuid('uid', old).int}"
        return known

    def replace_patient_id(self, old: str) -> str:
        """Give the Patient ID that replaces another one: a UUID; blanks around it do not count."""
        return str(self._build_uuid("patient", old.strip(" \0")))

    def count_shifted_days(self, patient_id: str, most_days: int) -> int:
        """Tell by how many days the dates of a patient are shifted back: 1 to ``most_days``."""
        digest = self._digest("days", patient_id.strip(" \0"))
        return 1 + int.from_bytes(digest[:8], "big") % most_days

    def _build_uuid(self, purpose: str, text: str) -> uuid.UUID:
        return uuid.UUID(bytes=self._digest(purpose, text)[:_UUID_BYTES], version=_RANDOM)

    def _digest(self, purpose: str, text: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}\0{text}".encode("utf-8", "replace"), "sha256")

"""Names of blobs: only random UUIDs, so that no name can leave the storage folder."""

import re

from isocenter.errors import BadParameterError

__all__ = ["check_uuid", "is_uuid"]

# Not `uuid.UUID`, which also accepts braces, `urn:uuid:` and capitals: each blob has one name.
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def is_uuid(name: str) -> bool:
    """Tell whether a text is a UUID in lower case, with its dashes (RFC 9562 §4)."""
    return _UUID.fullmatch(name) is not None


def check_uuid(name: str) -> None:
    """Raise `BadParameterError` unless a text is a UUID in lower case."""
    if _UUID.fullmatch(name) is None:
        raise BadParameterError("The name of an attachment must be a UUID in lower case")

"""Names of blobs: only random UUIDs, so that no name can leave the storage folder."""

import os
import random
import re
import time

from isocenter.errors import BadParameterError

__all__ = ["check_uuid", "is_uuid", "new_uuid"]

# Not `uuid.UUID`, which also accepts braces, `urn:uuid:` and capitals: each blob has one name.
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# Seeded by the system. To ask the system for each name would give away the interpreter each time,
# and whoever wants it back waits as long as reading a header takes.
_random = random.Random()  # noqa: S311 - names are unique, not secret
os.register_at_fork(after_in_child=_random.seed)

_VARIANT_AND_VERSION = 0xF000_C000_0000_0000_0000
_RANDOM_UUID = 0x4000_8000_0000_0000_0000


def new_uuid() -> str:
    """Make up the name of a new blob (RFC 9562 §5.4)."""
    # The clock keeps copies of a virtual machine apart that go on from the same seed.
    number = _random.getrandbits(128) ^ time.time_ns()
    digits = f"{number & ~_VARIANT_AND_VERSION | _RANDOM_UUID:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_uuid(name: str) -> bool:
    """Tell whether a text is a UUID in lower case, with its dashes (RFC 9562 §4)."""
    return _UUID.fullmatch(name) is not None


def check_uuid(name: str) -> None:
    """Raise `BadParameterError` unless a text is a UUID in lower case."""
    if _UUID.fullmatch(name) is None:
        raise BadParameterError("The name of an attachment must be a UUID in lower case")

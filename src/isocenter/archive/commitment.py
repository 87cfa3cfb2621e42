"""Storage commitment: the promise that instances are kept.

References
----------
PS3.4 §J.3; PS3.3 §C.14 (failure reasons); Orthanc: storage commitment (behaviour manual §26)
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from isocenter.archive.workers import Workers
from isocenter.index.commitment import find_kept_sop_classes

__all__ = [
    "CLASS_INSTANCE_CONFLICT",
    "NO_SUCH_OBJECT_INSTANCE",
    "Commitment",
    "FailedReference",
    "Reference",
    "check_references",
]

NO_SUCH_OBJECT_INSTANCE = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119

# So many instances are looked up at once.
_PAGE = 1000


class Reference(NamedTuple):
    """An instance that somebody wants to be kept."""

    sop_class_uid: str
    sop_instance_uid: str


class FailedReference(NamedTuple):
    """An instance that is not kept, and why (PS3.3 Table C.14-1)."""

    reference: Reference
    reason: int


class Commitment(NamedTuple):
    """What is promised, and what is not."""

    kept: Sequence[Reference]
    failed: Sequence[FailedReference]


async def check_references(workers: Workers, references: Sequence[Reference]) -> Commitment:
    """Look up which instances are kept with their files; a statement for each thousand."""
    kept: list[Reference] = []
    failed: list[FailedReference] = []
    for start in range(0, len(references), _PAGE):
        page = references[start : start + _PAGE]
        uids = [reference.sop_instance_uid for reference in page]
        classes = await workers.read_long(partial(find_kept_sop_classes, sop_instance_uids=uids))
        for reference in page:
            known = classes.get(reference.sop_instance_uid)
            if known is None:
                failed.append(FailedReference(reference, NO_SUCH_OBJECT_INSTANCE))
            elif reference.sop_class_uid not in known:
                failed.append(FailedReference(reference, CLASS_INSTANCE_CONFLICT))
            else:
                kept.append(reference)
    return Commitment(kept, failed)

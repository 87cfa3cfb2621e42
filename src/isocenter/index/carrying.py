"""What users have added to resources, moved to those that take their place."""

from collections.abc import Iterable

from isocenter.config.codes import FIRST_USER_CODE
from isocenter.dicom.levels import Level
from isocenter.index.port import Transaction
from isocenter.index.relatives import find_rows

__all__ = ["carry_annotations"]


def carry_annotations(tx: Transaction, pairs: Iterable[tuple[Level, str, str]]) -> None:
    """Move labels, and metadata and attachments of users, from resources that are to be deleted.

    What the other resource has already stays as it is. The blobs of attachments stay where they
    are. The number of statements does not depend on the number of pairs.

    Parameters
    ----------
    pairs
        Level, public identifier of the old resource, that of the new one.
    """
    wanted = sorted(set(pairs))
    found = tx.rows(
        "find_annotated",
        {"public_ids": [old for _, old, _ in wanted], "first_code": FIRST_USER_CODE},
    )
    annotated = {(Level(level), public_id): int(key) for level, public_id, key in found}
    moves = [pair for pair in wanted if pair[:2] in annotated]
    if not moves:
        return
    targets = find_rows(tx, [new for _, _, new in moves])
    keys = [
        {"source": annotated[level, old], "target": targets[new][0], "first_code": FIRST_USER_CODE}
        for level, old, new in moves
        if new in targets
    ]
    for statement in ("carry_labels", "carry_metadata", "carry_attachments"):
        tx.run_many(statement, keys)

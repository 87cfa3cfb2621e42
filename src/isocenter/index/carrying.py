"""What users have added to resources, moved to those that take their place."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from isocenter.config.codes import FIRST_USER_CODE
from isocenter.dicom.levels import Level
from isocenter.errors import AnnotationConflictError
from isocenter.index.port import Transaction
from isocenter.index.relatives import find_rows

__all__ = ["carry_annotations"]


def carry_annotations(tx: Transaction, pairs: Iterable[tuple[Level, str, str]]) -> None:
    """Move labels, and metadata and attachments of users, from resources that are to be deleted.

    What the other resource has already with the same value stays as it is. The blobs of attachments
    stay where they are. The number of statements does not depend on the number of pairs.

    Parameters
    ----------
    pairs
        Level, public identifier of the old resource, that of the new one.

    Raises
    ------
    AnnotationConflictError
        If metadata or attachments would be lost, because the other resource has different ones of
        the same name.
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
    moves = [pair for pair in moves if pair[2] in targets]
    keys = [
        {"source": annotated[level, old], "target": targets[new][0], "first_code": FIRST_USER_CODE}
        for level, old, new in moves
    ]
    _check_conflicts(tx, moves, [(key["source"], key["target"]) for key in keys])
    for statement in ("carry_labels", "carry_metadata", "carry_attachments"):
        tx.run_many(statement, keys)


def _check_conflicts(
    tx: Transaction, moves: Sequence[tuple[Level, str, str]], rows: Sequence[tuple[int, int]]
) -> None:
    """Make sure that of the same name there is only one value."""
    keys = {
        "internal_ids": sorted({row for pair in rows for row in pair}),
        "first_code": FIRST_USER_CODE,
    }
    # Pairs of table and code, with their values, by resource.
    values: defaultdict[int, dict[tuple[str, int], Any]] = defaultdict(dict)
    for row, code, value in tx.rows("list_user_metadata", keys):
        values[row]["metadata", code] = value
    for row, code, size, md5 in tx.rows("list_user_attachments", keys):
        # Without a sum nobody knows whether two attachments are the same.
        values[row]["attachment", code] = (size, md5) if md5 else object()
    for (level, old, new), (source, target) in zip(moves, rows, strict=True):
        for (table, code), value in values[source].items():
            if values[target].setdefault((table, code), value) != value:
                message = (
                    f"{level.title.lower()} {old} and {new}, which would take its place, have"
                    f" different values of the {table} {code}"
                )
                raise AnnotationConflictError(message)

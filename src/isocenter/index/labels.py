"""Labels of resources."""

from isocenter.errors import BadRequestError
from isocenter.index.annotations import Address, find_values, get_row
from isocenter.index.batch import Batch
from isocenter.index.port import Transaction

__all__ = [
    "MOST_LABELS",
    "add_label",
    "delete_label",
    "find_all_labels",
    "find_labels",
    "has_label",
]

MOST_LABELS = 1000
"""Labels of one resource."""


def find_labels(tx: Transaction, address: Address) -> list[str]:
    """List the labels of a resource, sorted: one statement.

    Raises
    ------
    UnknownResourceError
        If there is no such resource.
    """
    return find_values(tx, "list_labels", address)


def has_label(tx: Transaction, address: Address, label: str) -> bool:
    """Tell whether a resource has a label: one statement.

    Raises
    ------
    UnknownResourceError
        If there is no such resource.
    """
    return get_row(tx, "lookup_label", {**address.keys, "label": label})[2] is not None


def find_all_labels(tx: Transaction) -> list[str]:
    """List the labels that any resource has, sorted: one statement."""
    return [row[0] for row in tx.rows("list_all_labels")]


def add_label(batch: Batch, address: Address, label: str) -> None:
    """Give a label to a resource; harmless if it has it.

    Raises
    ------
    UnknownResourceError
        If there is no such resource.
    BadRequestError
        If it has too many.
    """
    row = get_row(batch.tx, "lookup_label", {**address.keys, "label": label})
    if row[2] is not None:
        return
    if row[1] >= MOST_LABELS:
        raise BadRequestError(f"a resource may have {MOST_LABELS} labels at most")
    batch.tx.run("insert_label", {"resource_id": row[0], "label": label})


def delete_label(batch: Batch, address: Address, label: str) -> None:
    """Take a label from a resource; harmless if it has it not.

    Raises
    ------
    UnknownResourceError
        If there is no such resource.
    """
    row = get_row(batch.tx, "lookup_label", {**address.keys, "label": label})
    if row[2] is not None:
        batch.tx.run("delete_label", {"resource_id": row[0], "label": label})

"""Requests for storage commitment that were sent, and the reports that came."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from isocenter.dicom.main_tags import build_index_value
from isocenter.index.port import Transaction
from isocenter.index.sending import get_combination

__all__ = [
    "StoredCommitment",
    "add_commitment",
    "delete_commitment",
    "find_instances_of_uids",
    "lock_commitment",
    "lookup_commitment",
    "update_commitment",
]

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class StoredCommitment:
    """A request as it is kept.

    Attributes
    ----------
    remote_aet
        AE title of who was asked.
    status
        ``Pending``, ``Success`` or ``Failure``.
    document
        What was asked for and what came; JSON.
    """

    remote_aet: str
    status: str
    document: str


def add_commitment(
    tx: Transaction, transaction_uid: str, new: StoredCommitment, *, kept: int, now_us: int
) -> None:
    """Keep a request, unless it is there already, and forget the oldest beyond a number."""
    tx.run(
        "insert_commitment",
        {
            "transaction_uid": transaction_uid,
            "created_at": now_us,
            "remote_aet": new.remote_aet,
            "status": new.status,
            "document": new.document,
        },
    )
    tx.run("forget_old_commitments", {"kept": max(1, kept)})


def lookup_commitment(tx: Transaction, transaction_uid: str) -> StoredCommitment | None:
    """Find a request."""
    if "\0" in transaction_uid:
        return None
    row = tx.row("select_commitment", {"transaction_uid": transaction_uid})
    return None if row is None else StoredCommitment(*row)


def lock_commitment(tx: Transaction, transaction_uid: str) -> StoredCommitment | None:
    """Find a request that will be changed; others wait for the end of the transaction."""
    if "\0" in transaction_uid:
        return None
    row = tx.row("lock_commitment", {"transaction_uid": transaction_uid})
    return None if row is None else StoredCommitment(*row)


def update_commitment(tx: Transaction, transaction_uid: str, changed: StoredCommitment) -> None:
    """Replace status and document of a request."""
    tx.run(
        "update_commitment",
        {
            "transaction_uid": transaction_uid,
            "status": changed.status,
            "document": changed.document,
        },
    )


def delete_commitment(tx: Transaction, transaction_uid: str) -> None:
    """Forget a request; it is no error if there is none."""
    tx.run("delete_commitment", {"transaction_uid": transaction_uid})


def find_instances_of_uids(
    tx: Transaction, sop_instance_uids: Iterable[str]
) -> dict[tuple[str, str], list[str]]:
    """Find instances by their DICOM identifiers: one statement.

    Returns
    -------
    dict
        SOP class and SOP instance UID to public identifiers; several patients may have the same.
    """
    wanted = set(sop_instance_uids)
    identifiers = sorted({build_index_value(uid) for uid in wanted})
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for public_id, main_tags, metadata in tx.rows(
        "list_instances_of_uids", {"identifiers": identifiers}
    ):
        uid = _decode(main_tags).get("SOPInstanceUID", "")
        if uid in wanted:
            sop_class_uid, _ = get_combination(_decode(metadata or "{}"))
            found[sop_class_uid, uid].append(public_id)
    return dict(found)

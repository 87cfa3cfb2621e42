"""Instances that are to be sent: their identifiers and their files.

References
----------
PS3.4 §B.3 (what a C-STORE must know of an instance)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from isocenter.index.port import Transaction
from isocenter.index.records import Attachment, MetadataCode

__all__ = ["OutgoingRow", "find_outgoing", "get_combination"]

_DICOM = 1
_SOP_CLASS = str(int(MetadataCode.SOP_CLASS_UID))
_TRANSFER_SYNTAX = str(int(MetadataCode.TRANSFER_SYNTAX))

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class OutgoingRow(msgspec.Struct, frozen=True):
    """An instance that can be sent.

    Attributes
    ----------
    sop_class_uid, transfer_syntax_uid
        Empty if the index does not know them, so that the file must be asked.
    """

    public_id: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    attachment: Attachment


def find_outgoing(tx: Transaction, public_ids: Sequence[str]) -> dict[str, OutgoingRow]:
    """Find instances with files by their public identifiers: one statement; others are left out."""
    rows = tx.rows("list_outgoing", {"public_ids": list(public_ids)})
    found = {}
    for row in rows:
        sop_class_uid, transfer_syntax_uid = get_combination(_decode(row[2] or "{}"))
        found[row[0]] = OutgoingRow(
            public_id=row[0],
            sop_instance_uid=str(_decode(row[1]).get("SOPInstanceUID", "")),
            sop_class_uid=sop_class_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            attachment=Attachment(_DICOM, *row[3:9]),
        )
    return found


def get_combination(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """Give SOP class and transfer syntax of an instance from the metadata in its row."""
    return str(metadata.get(_SOP_CLASS, "")), str(metadata.get(_TRANSFER_SYNTAX, ""))

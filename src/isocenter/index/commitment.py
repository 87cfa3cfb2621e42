"""Which instances are safely kept, as storage commitment asks.

References
----------
PS3.4 §J.3
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from isocenter.dicom.main_tags import build_index_value
from isocenter.index.port import Transaction
from isocenter.index.records import MetadataCode

__all__ = ["find_kept_sop_classes"]

_SOP_CLASS = str(int(MetadataCode.SOP_CLASS_UID))

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def find_kept_sop_classes(tx: Transaction, sop_instance_uids: Iterable[str]) -> dict[str, set[str]]:
    """Find the SOP classes of instances whose files are kept, by SOP instance UID: one statement.

    Several patients may have an instance of the same UID; those that are not there are left out.
    """
    wanted = set(sop_instance_uids)
    identifiers = sorted({build_index_value(uid) for uid in wanted})
    found: dict[str, set[str]] = defaultdict(set)
    for main_tags, metadata in tx.rows("list_committed", {"identifiers": identifiers}):
        uid = _decode(main_tags).get("SOPInstanceUID", "")
        if uid in wanted:
            found[uid].add(_decode(metadata or "{}").get(_SOP_CLASS, ""))
    return dict(found)

"""Room for what is to be stored: the oldest patients go, unless they are protected."""

from dataclasses import dataclass, field
from typing import Any

from isocenter.errors import FullStorageError
from isocenter.index.batch import Batch, delete_trees, measure_trees
from isocenter.index.port import Transaction
from isocenter.index.records import Quota, ResourceSize, Rules

__all__ = [
    "Victims",
    "find_victims",
    "lookup_protection",
    "make_room",
    "recycle_excess",
    "set_protection",
]

# Patients that are looked at together; most often the oldest one is enough.
_LARGEST_PAGE = 64
# Patients that are deleted in one transaction at the start.
_AT_ONCE = 16


@dataclass(slots=True)
class Victims:
    """Patients to delete, and how much room that must make.

    Attributes
    ----------
    missing_patients, missing_bytes
        What is still too much when they are gone.
    sizes
        By the keys of their rows.
    public_ids
        Their identifiers.
    """

    missing_patients: int
    missing_bytes: int
    sizes: dict[int, ResourceSize] = field(default_factory=dict)
    public_ids: set[str] = field(default_factory=set)

    @property
    def are_enough(self) -> bool:
        """Tell whether there is room when they are gone."""
        return self.missing_patients <= 0 and self.missing_bytes <= 0

    def add(self, internal_id: int, public_id: str, size: ResourceSize) -> None:
        """Take one more."""
        self.sizes[internal_id] = size
        self.public_ids.add(public_id)
        self.missing_patients -= 1
        self.missing_bytes -= size.disk_size


def find_victims(
    batch: Batch, quota: Quota, *, disk_size: int, patients: int, kept: int = 0
) -> Victims | None:
    """Choose the patients that must go before something can be stored.

    Nothing is deleted yet, so that what cannot be stored anyhow costs nobody their data.

    Parameters
    ----------
    batch
        Its rows are written if somebody has to go.
    disk_size, patients
        How much is to be added; what does not grow always has room.
    kept
        The row of the patient that must stay because it receives the data; 0 for none.

    Returns
    -------
    Victims or None
        Most often nobody; ``None`` if there is no room and none can be made.

    References
    ----------
    Orthanc REST: MaximumStorageSize, MaximumPatientCount (behaviour manual §9.2)
    """
    victims = Victims(0, 0)
    if quota.maximum_patients and patients > 0:
        victims.missing_patients = batch.patients + patients - quota.maximum_patients
    if quota.maximum_disk_size and disk_size > 0:
        victims.missing_bytes = batch.disk_size + disk_size - quota.maximum_disk_size
    if victims.are_enough:
        return victims
    is_too_large = 0 < quota.maximum_disk_size < disk_size
    if is_too_large or not quota.is_recycling:
        return None
    batch.flush()
    return victims if _choose(batch.tx, victims, kept) else None


def _choose(tx: Transaction, victims: Victims, kept: int) -> bool:
    """Go along the recycling list; the pages grow, as few patients are mostly enough."""
    after, limit = 0, 1
    while True:
        page, after = _read_page(tx, after, kept, limit)
        for entry in page:
            victims.add(*entry)
            if victims.are_enough:
                return True
        if len(page) < limit:
            return False
        limit = min(2 * limit, _LARGEST_PAGE)


def _read_page(
    tx: Transaction, after: int, kept: int, limit: int
) -> tuple[list[tuple[int, str, ResourceSize]], int]:
    """Read the next patients of the recycling list, with the place of the last one."""
    keys: dict[str, Any] = {"after": after, "kept": kept, "limit": limit}
    rows = tx.rows("list_oldest_patients", keys)
    if not rows:
        return [], after
    sizes = measure_trees(tx, [row[0] for row in rows])
    page = [(internal_id, str(public_id), sizes[internal_id]) for internal_id, public_id, _ in rows]
    return page, rows[-1][2]


def make_room(
    tx: Transaction, rules: Rules, *, disk_size: int, patient_public_id: str, made_at: int
) -> int:
    """Make room for files that the same transaction is about to add below a stored patient.

    Parameters
    ----------
    tx
        A writing transaction; other writers are locked out from here to its end.
    disk_size
        Bytes that the files will take, less those that they replace.
    made_at
        Seconds since 1970, UTC.

    Returns
    -------
    int
        How many patients were deleted; their files are on the list of removals.

    Raises
    ------
    FullStorageError
        If no room can be made; nothing was changed.

    References
    ----------
    Orthanc REST: MaximumStorageSize counts all attachments (behaviour manual §9.2)
    """
    if not rules.quota.maximum_disk_size:
        return 0
    batch = Batch(tx, logs_deletions=rules.logs_deletions)
    row = tx.row("lookup_recycling_order", {"public_id": patient_public_id})
    kept = 0 if row is None else int(row[0])
    victims = find_victims(batch, rules.quota, disk_size=disk_size, patients=0, kept=kept)
    if victims is None:
        raise FullStorageError("no room can be made for the attachment")
    if victims.sizes:
        delete_trees(batch, victims.sizes, deleted_at=made_at)
        batch.finish()
    return len(victims.sizes)


def recycle_excess(tx: Transaction, rules: Rules, *, recycled_at: int) -> int:
    """Delete some of the oldest patients if more is stored than the limits allow.

    For the start with lower limits than before; to be called again until it deletes nobody.

    Returns
    -------
    int
        How many patients were deleted, a few at most.
    """
    quota = rules.quota
    if quota.is_unlimited or not quota.is_recycling:
        return 0
    batch = Batch(tx, logs_deletions=rules.logs_deletions)
    excess = Victims(0, 0)
    if quota.maximum_patients:
        excess.missing_patients = batch.patients - quota.maximum_patients
    if quota.maximum_disk_size:
        excess.missing_bytes = batch.disk_size - quota.maximum_disk_size
    if excess.are_enough:
        return 0
    page, _ = _read_page(tx, 0, 0, _AT_ONCE)
    for entry in page:
        if not excess.are_enough:
            excess.add(*entry)
    delete_trees(batch, excess.sizes, deleted_at=recycled_at)
    batch.finish()
    return len(excess.sizes)


def lookup_protection(tx: Transaction, public_id: str) -> bool | None:
    """Tell whether a patient is protected against recycling; ``None`` if there is no such patient.

    References
    ----------
    Orthanc REST: GET /patients/{id}/protected
    """
    row = tx.row("lookup_recycling_order", {"public_id": public_id})
    return None if row is None else row[1] is None


def set_protection(tx: Transaction, public_id: str, *, is_protected: bool) -> bool:
    """Protect a patient against recycling, or put it at the end of the recycling list.

    A patient that is as it should be keeps its place in the list.

    Returns
    -------
    bool
        False if there is no such patient.

    References
    ----------
    Orthanc REST: PUT /patients/{id}/protected (behaviour manual §9.2)
    """
    batch = Batch(tx)
    row = tx.row("lookup_recycling_order", {"public_id": public_id})
    if row is None:
        return False
    internal_id, order = row
    if (order is None) != is_protected:
        place = None if is_protected else batch.next_recycling()
        tx.run("set_recycling_order", {"internal_id": internal_id, "recycling_order": place})
        batch.finish()
    return True

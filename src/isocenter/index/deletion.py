"""Deleting resources: everything below them, and ancestors that are left without a child."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from isocenter.dicom.levels import Level
from isocenter.index.batch import Batch, delete_trees, measure_trees
from isocenter.index.port import Transaction
from isocenter.index.records import NO_RULES, Deletion, Rules

__all__ = ["Named", "delete_resource", "delete_resources", "find_doomed", "forget_removals"]

Named: TypeAlias = tuple[Level | None, str]
"""A resource by level and identifier; ``None`` means whatever the level."""


@dataclass(frozen=True, slots=True)
class _Node:
    level: Level
    internal_id: int
    public_id: str


# A resource and what lies above it, up to the patient.
_Chain: TypeAlias = tuple[_Node, ...]


def _find_chains(tx: Transaction, named: Sequence[Named]) -> list[_Chain]:
    # PostgreSQL takes no NUL as text, and no resource has one in its name.
    public_ids = list({public_id for _, public_id in named if "\0" not in public_id})
    wanted = set(named)
    chains = []
    for row in tx.rows("list_lineages", {"public_ids": public_ids}):
        level, public_id = Level(row[0]), str(row[2])
        if (level, public_id) in wanted or (None, public_id) in wanted:
            chains.append(_read_chain(row, level))
    return chains


def _read_chain(row: tuple[Any, ...], level: Level) -> _Chain:
    return tuple(
        _Node(Level(row[i]), int(row[i + 1]), str(row[i + 2])) for i in range(0, 3 * (level + 1), 3)
    )


def _drop_nested(chains: Sequence[_Chain]) -> list[_Chain]:
    """Leave out what lies below another one of the resources."""
    named = {chain[0].internal_id for chain in chains}
    return [chain for chain in chains if not any(node.internal_id in named for node in chain[1:])]


def _find_topmost(tx: Transaction, chains: Sequence[_Chain]) -> dict[int, _Chain]:
    """Go from each resource up to the ancestor that is left without a child."""
    doomed: dict[int, _Chain] = {chain[0].internal_id: chain for chain in chains}
    for level in (Level.INSTANCE, Level.SERIES, Level.STUDY):
        children = [chain for chain in doomed.values() if chain[0].level is level]
        if not children:
            continue
        parents = {chain[1].internal_id: chain[1:] for chain in children}
        keys = {
            "parent_ids": sorted(parents),
            "doomed": [chain[0].internal_id for chain in children],
        }
        survivors = {row[0] for row in tx.rows("list_survivors", keys)}
        for chain in children:
            parent = chain[1].internal_id
            if parent not in survivors:
                del doomed[chain[0].internal_id]
                doomed[parent] = parents[parent]
    return doomed


def delete_resources(
    tx: Transaction, named: Sequence[Named], *, deleted_at: int, rules: Rules = NO_RULES
) -> list[Deletion]:
    """Delete some resources, all below them, and the ancestors that are left without a child.

    Parameters
    ----------
    named
        Unknown ones are skipped; they may lie below each other and occur several times.
    deleted_at
        Seconds since 1970, UTC; what remains above was last updated then.

    Returns
    -------
    list of Deletion
        One for each topmost resource that was deleted.

    References
    ----------
    Orthanc REST: POST /tools/bulk-delete (behaviour manual §9.1)
    """
    batch = Batch(tx, rules)
    chains = _drop_nested(_find_chains(tx, named))
    if not chains:
        return []
    topmost = _find_topmost(tx, chains)
    delete_trees(batch, measure_trees(tx, topmost), deleted_at=deleted_at)
    touched = {node.internal_id for chain in topmost.values() for node in chain[1:]}
    if touched:
        # A fixed order of rows keeps concurrent servers free of deadlocks.
        tx.run_many(
            "set_last_update",
            [{"internal_id": key, "last_update": deleted_at} for key in sorted(touched)],
        )
    batch.finish()
    return [_describe(chain) for chain in topmost.values()]


def find_doomed(tx: Transaction, named: Sequence[Named]) -> set[tuple[Level, str]]:
    """Find what a deletion of some resources would take away: these and ancestors left childless.

    What lies below the resources is not listed.
    """
    chains = _drop_nested(_find_chains(tx, named))
    if not chains:
        return set()
    topmost = _find_topmost(tx, chains)
    doomed: set[tuple[Level, str]] = set()
    for chain in chains:
        for node in chain:
            doomed.add((node.level, node.public_id))
            if node.internal_id in topmost:
                break
    return doomed


def _describe(chain: _Chain) -> Deletion:
    if len(chain) == 1:
        return Deletion(None, None)
    return Deletion(chain[1].level, chain[1].public_id)


def delete_resource(
    tx: Transaction,
    level: Level,
    public_id: str,
    *,
    deleted_at: int,
    rules: Rules = NO_RULES,
) -> Deletion | None:
    """Delete a resource, all below it, and the ancestors that are left without a child.

    Returns
    -------
    Deletion or None
        ``None`` if there is no such resource.

    References
    ----------
    Orthanc REST: DELETE /{level}/{id} (behaviour manual §9.1)
    """
    deletions = delete_resources(tx, [(level, public_id)], deleted_at=deleted_at, rules=rules)
    return deletions[0] if deletions else None


def forget_removals(tx: Transaction, attachment_uuids: Sequence[str]) -> None:
    """Forget blobs that are gone from the storage area."""
    tx.run("delete_removals", {"attachment_uuids": list(attachment_uuids)})

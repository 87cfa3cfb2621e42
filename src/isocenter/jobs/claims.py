"""Which of the waiting jobs may run next."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Candidate", "Limits", "choose"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many jobs may run at once, of all servers together.

    Attributes
    ----------
    by_kind
        Most jobs of a kind; a kind that is not named has no limit.
    per_destination
        Most jobs that send to the same destination; 0 for no limit.
    """

    by_kind: Mapping[str, int] = field(default_factory=dict)
    per_destination: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A waiting job, as far as the choice needs it."""

    job_id: str
    kind: str
    destination: str
    locks: frozenset[str] = frozenset()


def choose(
    candidates: Iterable[Candidate],
    running: Sequence[tuple[str, str, int]],
    count: int,
    limits: Limits,
    *,
    held: Iterable[str] = (),
) -> list[str]:
    """Choose jobs to run.

    Parameters
    ----------
    candidates
        In the order in which they should run.
    running
        (kind, destination, number) of the jobs that run.
    count
        The most to choose.
    held
        Locks of the jobs that run.

    Returns
    -------
    list of str
        Identifiers; a job whose kind, destination or lock is busy lets those behind it pass,
        unless they want one of its locks: these are taken in the order of the queue.
    """
    kinds: Counter[str] = Counter()
    destinations: Counter[str] = Counter()
    for kind, destination, number in running:
        kinds[kind] += number
        destinations[destination] += number
    taken = set(held)
    chosen: list[str] = []
    for candidate in candidates:
        if len(chosen) == count:
            break
        is_locked = not taken.isdisjoint(candidate.locks)
        taken |= candidate.locks
        if is_locked or kinds[candidate.kind] >= limits.by_kind.get(candidate.kind, 1 << 30):
            continue
        is_bound = bool(candidate.destination) and limits.per_destination > 0
        if is_bound and destinations[candidate.destination] >= limits.per_destination:
            continue
        chosen.append(candidate.job_id)
        kinds[candidate.kind] += 1
        destinations[candidate.destination] += 1
    return chosen

"""Reading what the index knows: lists, single resources, relatives, sizes, identifiers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from isocenter.archive.workers import Workers
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_index_value
from isocenter.index.port import Transaction
from isocenter.index.reading import (
    find_descendants,
    find_identifier,
    find_lineage,
    get_statistics,
    list_public_ids,
    lookup_resource,
    lookup_resources,
    measure_resource,
    read_page,
)
from isocenter.index.records import ResourceRow, ResourceSize, Statistics

__all__ = ["Browse", "Page"]

T = TypeVar("T")


# Lists up to these sizes are read on the event loop, in less than 5 ms (Decision 0009).
_SHORT_LIST_OF_IDS = 1000
_SHORT_LIST = 50
_FEW_CHILDREN = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: ``since`` entries are skipped; ``limit=None`` means all."""

    since: int = 0
    limit: int | None = None


class Browse:
    """Reads resources from the index; every method uses a constant number of statements."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def list_public_ids(self, level: Level, page: Page) -> list[str]:
        """List the identifiers of a level in alphabetical order."""
        return await self._read(
            lambda tx: list_public_ids(tx, level, since=page.since, limit=page.limit),
            is_short=await self._is_short(level, page, _SHORT_LIST_OF_IDS),
        )

    async def list_resources(self, level: Level, page: Page) -> list[ResourceRow]:
        """Read the resources of a level in the order of their identifiers."""
        is_short = await self._is_short(level, page, _SHORT_LIST)
        if is_short and level is not Level.INSTANCE:
            # Each resource names all its children, and nothing else bounds how many these are.
            is_short = await self._is_short(Level(level + 1), Page(), _FEW_CHILDREN)
        return await self._read(
            lambda tx: read_page(tx, level, since=page.since, limit=page.limit),
            is_short=is_short,
        )

    async def _is_short(self, level: Level, page: Page, most: int) -> bool:
        """Tell whether the index can walk along a page on the event loop."""
        if not self._workers.reads_inline:
            return False
        statistics = await self.get_statistics()
        counts = (statistics.patients, statistics.studies, statistics.series, statistics.instances)
        stop = counts[level] if page.limit is None else page.since + page.limit
        return min(counts[level], stop) <= most

    async def _read(self, query: Callable[[Transaction], T], *, is_short: bool) -> T:
        if is_short:
            return await self._workers.read(query)
        return await self._workers.read_long(query)

    async def lookup(self, level: Level, public_id: str) -> ResourceRow | None:
        """Read one resource, or ``None``."""
        return await self._workers.read(lambda tx: lookup_resource(tx, level, public_id))

    async def find_descendant_ids(self, ancestor: tuple[Level, str], level: Level) -> list[str]:
        """List the identifiers below a resource at a deeper level, in alphabetical order."""
        found = await self._workers.read_long(lambda tx: find_descendants(tx, ancestor, level))
        return [public_id for _, public_id in found]

    async def find_descendants(
        self, ancestor: tuple[Level, str], level: Level
    ) -> list[ResourceRow]:
        """Read the resources below a resource at a deeper level."""

        def query(tx: Transaction) -> list[ResourceRow]:
            found = find_descendants(tx, ancestor, level)
            return lookup_resources(tx, [internal_id for internal_id, _ in found])

        return await self._workers.read_long(query)

    async def lookup_ancestor(
        self, descendant: tuple[Level, str], level: Level
    ) -> ResourceRow | None:
        """Read the ancestor of a resource at a higher level, or ``None``."""

        def query(tx: Transaction) -> ResourceRow | None:
            public_id = find_lineage(tx, *descendant).get(level)
            return None if public_id is None else lookup_resource(tx, level, public_id)

        return await self._workers.read(query)

    async def measure(self, level: Level, public_id: str) -> ResourceSize | None:
        """Add up the files at and below a resource, or ``None`` if it does not exist."""
        return await self._workers.read_long(lambda tx: measure_resource(tx, level, public_id))

    async def get_statistics(self) -> Statistics:
        """Read the counters of the whole archive."""
        return await self._workers.read(get_statistics)

    async def find_identifier(self, text: str) -> list[tuple[Level, str]]:
        """List the resources with a PatientID or UID, whatever the case of its letters.

        References
        ----------
        Orthanc REST: POST /tools/lookup
        """
        identifier = build_index_value(text)
        if not identifier:
            return []
        return await self._workers.read(lambda tx: find_identifier(tx, identifier))

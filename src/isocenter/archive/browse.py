"""Reading what the index knows: lists, single resources, relatives, sizes, identifiers."""

from dataclasses import dataclass

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
        return await self._workers.read_long(
            lambda tx: list_public_ids(tx, level, since=page.since, limit=page.limit)
        )

    async def list_resources(self, level: Level, page: Page) -> list[ResourceRow]:
        """Read the resources of a level in the order of their identifiers."""
        return await self._workers.read_long(
            lambda tx: read_page(tx, level, since=page.since, limit=page.limit)
        )

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

"""Reading what the index knows: lists, single resources, relatives, sizes, identifiers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from isocenter.archive.requested_tags import Findings, RequestedTagReader
from isocenter.archive.workers import Workers
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_index_value
from isocenter.index.port import Transaction
from isocenter.index.reading import (
    find_descendants,
    find_identifier,
    find_lineage,
    get_statistics,
    list_internal_ids,
    list_public_ids,
    lookup_resource,
    lookup_resources,
    lookup_row,
    measure_resource,
)
from isocenter.index.records import Part, ResourceRow, ResourceSize, Statistics
from isocenter.index.relatives import find_relatives, find_rows, order_by_public_id

__all__ = ["Browse", "Described", "Page"]

T = TypeVar("T")


# Lists up to these sizes are read on the event loop, in less than 5 ms (Decision 0009).
_SHORT_LIST_OF_IDS = 1000
_SHORT_LIST = 50
_FEW_CHILDREN = 1000
# So many requested tags of all resources together are looked up on the event loop.
_FEW_VALUES = 1000
# The parts that grow with the number of children.
_CHILDREN = Part.CHILDREN | Part.STATUS


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: ``since`` entries are skipped; ``limit=None`` means all."""

    since: int = 0
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """A resource with what was asked of it.

    Attributes
    ----------
    requested
        Tag to value of the requested tags, ``None`` for a tag that the file lacks; ``None`` if no
        tags were requested.
    """

    row: ResourceRow
    requested: Mapping[int, Any] | None = None


class Browse:
    """Reads resources from the index; every method uses a constant number of statements."""

    def __init__(self, workers: Workers, requested: RequestedTagReader) -> None:
        self._workers = workers
        self._requested = requested

    async def list_public_ids(self, level: Level, page: Page) -> list[str]:
        """List the identifiers of a level in alphabetical order."""
        return await self._read(
            lambda tx: list_public_ids(tx, level, since=page.since, limit=page.limit),
            is_short=await self._is_short(level, page, _SHORT_LIST_OF_IDS),
        )

    async def list_rows(self, level: Level, page: Page) -> list[int]:
        """List the rows of a level in the order of their identifiers, for `describe`."""
        return await self._read(
            lambda tx: list_internal_ids(tx, level, since=page.since, limit=page.limit),
            is_short=await self._is_short(level, page, _SHORT_LIST_OF_IDS),
        )

    async def describe(
        self,
        level: Level | None,
        internal_ids: Sequence[int],
        parts: Part = Part.CLASSIC,
        tags: Sequence[int] = (),
    ) -> list[Described]:
        """Read resources of a level, in the order of their rows; those that are gone are left out.

        Parameters
        ----------
        level
            ``None`` for resources of several levels, of which no tags can be requested.
        parts
            What to read of them.
        tags
            Requested tags.
        """
        if level is not None and tags:
            return await self._describe_with_tags(level, internal_ids, parts, tags)
        is_short = level is not None and len(internal_ids) <= _SHORT_LIST
        if is_short and level is not None and level.child is not None and parts & _CHILDREN:
            # Each resource names all its children, and nothing else bounds how many these are.
            is_short = await self._is_short(level.child, Page(), _FEW_CHILDREN)
        rows = await self._read(
            lambda tx: lookup_resources(tx, internal_ids, parts), is_short=is_short
        )
        return [Described(row) for row in rows]

    async def _describe_with_tags(
        self, level: Level, internal_ids: Sequence[int], parts: Part, tags: Sequence[int]
    ) -> list[Described]:
        def query(tx: Transaction) -> tuple[list[ResourceRow], Findings]:
            rows = lookup_resources(tx, internal_ids, parts | RequestedTagReader.parts)
            return rows, self._requested.find(tx, level, rows, tags)

        count = len(internal_ids)
        is_short = count <= _SHORT_LIST and count * len(tags) <= _FEW_VALUES
        read = self._workers.read_soon if is_short else self._workers.read_long
        rows, findings = await read(query)
        values = await self._requested.complete(findings) if findings.samples else findings.values
        return [Described(row, values[row.internal_id]) for row in rows]

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

    async def lookup(
        self,
        level: Level,
        public_id: str,
        parts: Part = Part.CLASSIC,
        tags: Sequence[int] = (),
    ) -> Described | None:
        """Read one resource, or ``None``; arguments as for `describe`."""
        if tags:
            internal_id = await self._workers.read(lambda tx: lookup_row(tx, level, public_id))
            if internal_id is None:
                return None
            found = await self.describe(level, [internal_id], parts, tags)
            return found[0] if found else None
        if self._workers.reads_inline:
            row = await self._workers.read(
                lambda tx: lookup_resource(tx, level, public_id, parts, most_children=_FEW_CHILDREN)
            )
            if row is None or not row.has_more_children:
                return None if row is None else Described(row)
        row = await self._workers.read_long(lambda tx: lookup_resource(tx, level, public_id, parts))
        return None if row is None else Described(row)

    async def find_descendant_ids(self, ancestor: tuple[Level, str], level: Level) -> list[str]:
        """List the identifiers below a resource at a deeper level, in alphabetical order."""
        found = await self._workers.read_long(lambda tx: find_descendants(tx, ancestor, level))
        return [public_id for _, public_id in found]

    async def find_descendants(self, ancestor: tuple[Level, str], level: Level) -> list[int]:
        """List the rows below a resource at a deeper level, in the order of their identifiers."""
        found = await self._workers.read_long(lambda tx: find_descendants(tx, ancestor, level))
        return [internal_id for internal_id, _ in found]

    async def lookup_ancestor(self, descendant: tuple[Level, str], level: Level) -> str | None:
        """Find the identifier of the ancestor of a resource at a higher level, or ``None``."""
        lineage = await self._workers.read(lambda tx: find_lineage(tx, *descendant))
        return lineage.get(level)

    async def find_rows(self, public_ids: Sequence[str]) -> list[tuple[int, Level]]:
        """Find row and level of resources of any level; unknown ones are left out."""

        def query(tx: Transaction) -> list[tuple[int, Level]]:
            # PostgreSQL has no text with NUL, nor we an identifier with it.
            rows = find_rows(tx, {public_id for public_id in public_ids if "\0" not in public_id})
            return [rows[public_id] for public_id in public_ids if public_id in rows]

        return await self._workers.read_long(query)

    async def find_relatives(self, rows: Sequence[tuple[int, Level]], level: Level) -> list[int]:
        """List the rows above and below others at a level, in the order of their identifiers."""
        return await self._workers.read_long(
            lambda tx: order_by_public_id(tx, find_relatives(tx, rows, level))
        )

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

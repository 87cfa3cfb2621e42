"""The instances of a series in the order of their places in space, read from the index alone."""

import msgspec

from isocenter.archive.workers import Workers
from isocenter.dicom.levels import Level
from isocenter.dicom.slice_order import SliceOrder, order_slices, parse_slice
from isocenter.errors import UnknownResourceError, UnorderedSlicesError
from isocenter.index.port import Transaction
from isocenter.index.reading import find_descendants, lookup_resources
from isocenter.index.records import Part, ResourceRow

__all__ = ["SliceReader"]

# Each frame is a line of the answer, and a file may claim billions of them.
_MOST_FRAMES = 100_000

_decode = msgspec.json.Decoder(dict[str, object]).decode


class SliceReader:
    """Orders the slices of series."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def order(self, public_id: str) -> SliceOrder:
        """Order the slices of a series.

        Raises
        ------
        UnknownResourceError
            If there is no such series.
        UnorderedSlicesError
            If nothing tells their order, or there are more than 100,000 frames.

        References
        ----------
        Orthanc REST: GET /series/{id}/ordered-slices (behaviour manual §7)
        """
        return await self._workers.read_long(lambda tx: _order(_read(tx, public_id)))


def _read(tx: Transaction, public_id: str) -> list[ResourceRow]:
    found = find_descendants(tx, (Level.SERIES, public_id), Level.INSTANCE)
    return lookup_resources(tx, [internal_id for internal_id, _ in found], Part.MAIN_TAGS)


def _order(rows: list[ResourceRow]) -> SliceOrder:
    if not rows:
        raise UnknownResourceError
    slices = [
        parse_slice(row.public_id, _decode(row.main_tags), row.index_in_series) for row in rows
    ]
    if sum(one.frames for one in slices) > _MOST_FRAMES:
        raise UnorderedSlicesError(f"the series has more than {_MOST_FRAMES} frames")
    ordered = order_slices(slices)
    if ordered is None:
        raise UnorderedSlicesError("neither positions nor numbers tell the order of the instances")
    return ordered

"""A DICOMDIR as its links tell it, read with pydicom."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import pydicom
from pydicom.dataset import Dataset

__all__ = ["Node", "read_directory", "walk"]

_LINKS = (0x00041400, 0x00041410, 0x00041420)


@dataclass(slots=True)
class Node:
    """A record and those below it."""

    record: Dataset
    children: list["Node"] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The type of the record."""
        return str(self.record.DirectoryRecordType)


def read_directory(content: bytes) -> tuple[Dataset, list[Node]]:
    """Follow the offsets of a DICOMDIR; each record must be reached exactly once.

    Returns
    -------
    tuple
        The data set, and the records without parent.
    """
    ds = pydicom.dcmread(io.BytesIO(content))
    by_offset = {item.seq_item_tell: item for item in ds.DirectoryRecordSequence}
    reached: list[int] = []

    def follow(offset: int) -> list[Node]:
        nodes = []
        while offset:
            reached.append(offset)
            item = by_offset[offset]
            lower = item.OffsetOfReferencedLowerLevelDirectoryEntity
            nodes.append(Node(item, follow(lower)))
            last, offset = offset, item.OffsetOfTheNextDirectoryRecord
        if nodes and nodes[0].kind == "PATIENT":
            assert last == ds.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity
        return nodes

    roots = follow(ds.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity)
    assert sorted(reached) == sorted(by_offset)
    for item in ds.DirectoryRecordSequence:
        assert item.RecordInUseFlag == 0xFFFF
        for tag in _LINKS:
            del item[tag]
    return ds, roots


def walk(nodes: list[Node], depth: int = 0) -> Iterator[tuple[int, Node]]:
    """Iterate over records and their depths, parents first."""
    for node in nodes:
        yield depth, node
        yield from walk(node.children, depth + 1)

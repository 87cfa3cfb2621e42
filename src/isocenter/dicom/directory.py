"""The DICOMDIR of a file-set: its records, and how they are linked by their offsets.

References
----------
PS3.3 §F.2 (basic directory object definition), §F.3.2.2; PS3.10 §8.6 (DICOMDIR file)
"""

import struct
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from isocenter.dicom.directory_records import FileRecords
from isocenter.dicom.elements import EXPLICIT_LITTLE, ITEM, SEQUENCE_DELIMITATION
from isocenter.dicom.file_meta import build_file_meta
from isocenter.dicom.new_elements import NewElement, encode_element
from isocenter.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from isocenter.errors import BodyTooLargeError

__all__ = ["FILE_SET_ID", "MEDIA_STORAGE_DIRECTORY", "Directory", "DirectoryRecord"]

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
FILE_SET_ID = "ORTHANC_MEDIA"
"""What all file-sets are called (measured, Orthanc 1.10.1); at most 16 characters."""

_IN_USE = 0xFFFF
# Item, then the three elements that are the same in all records (PS3.3 Table F.3-3): offset of the
# next record, in-use flag, offset of the lower level.
_HEAD = struct.Struct("<HHI HH2sHI HH2sHH HH2sHI")
_LARGEST_OFFSET = 0xFFFFFFFF
_CHUNK_BYTES = 1 << 20
_DEPTHS = 4


class DirectoryRecord(NamedTuple):
    """A record, not yet linked.

    Attributes
    ----------
    depth
        0 for a patient, 3 for what is below a series.
    name
        Of the patient, study or series, to tell whether the next file belongs to it, too.
    payload
        Its elements behind the links, encoded.
    """

    depth: int
    name: str
    payload: bytes


class Directory:
    """The records of a file-set, in the order of a walk over the tree. Not thread-safe.

    Parameters
    ----------
    records
        What was there already, in that order.
    """

    def __init__(self, records: Iterable[DirectoryRecord] = ()) -> None:
        self._records: list[DirectoryRecord] = []
        # The names of the patient, the study and the series that are open.
        self._open: list[str] = []
        for record in records:
            self._append(record)

    def __len__(self) -> int:
        return len(self._records)

    def list_from(self, start: int) -> list[DirectoryRecord]:
        """List the records behind the first ``start`` ones."""
        return self._records[start:]

    def add(self, lineage: tuple[str, str, str], records: FileRecords) -> None:
        """Add a file; files of one series come one after the other, and so do its series.

        Parameters
        ----------
        lineage
            Names of its patient, its study and its series.
        """
        shared = 0
        while shared < len(self._open) and self._open[shared] == lineage[shared]:
            shared += 1
        names = (*lineage, "")
        for depth in range(shared, _DEPTHS):
            self._append(DirectoryRecord(depth, names[depth], records[depth]))

    def _append(self, record: DirectoryRecord) -> None:
        self._records.append(record)
        if record.depth < _DEPTHS - 1:
            self._open[record.depth :] = [record.name]

    def write(self, sop_instance_uid: str) -> Iterator[bytes]:
        """Write the DICOMDIR in chunks of about 1 MB.

        Raises
        ------
        BodyTooLargeError
            If it has more than 4 GB, which its offsets cannot say.
        """
        meta = build_file_meta(
            MEDIA_STORAGE_DIRECTORY,
            sop_instance_uid,
            transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        )
        links = self._link(len(meta) + len(_build_head(0, 0)))
        chunk = [meta, _build_head(links.first, links.last)]
        size = 0
        for record, following, lower in zip(
            self._records, links.following, links.lower, strict=True
        ):
            chunk.append(_build_record_head(record, following, lower))
            chunk.append(record.payload)
            size += len(record.payload)
            if size >= _CHUNK_BYTES:
                yield b"".join(chunk)
                chunk, size = [], 0
        chunk.append(_encode_delimitation())
        yield b"".join(chunk)

    def _link(self, start: int) -> "_Links":
        """Compute the offsets, from the last record to the first (PS3.3 §F.2.2.2)."""
        records = self._records
        end = start + sum(_HEAD.size + len(record.payload) for record in records)
        if end > _LARGEST_OFFSET:
            raise BodyTooLargeError("the DICOMDIR would have more than 4 GB")
        following = array("I", bytes(4 * len(records)))
        lower = array("I", bytes(4 * len(records)))
        # For each depth the nearest record behind, under the same parent; 0 if there is none.
        nearest = [0] * (_DEPTHS + 1)
        last = 0
        offset = end
        for index in range(len(records) - 1, -1, -1):
            depth, payload = records[index].depth, records[index].payload
            offset -= _HEAD.size + len(payload)
            following[index] = nearest[depth]
            lower[index] = nearest[depth + 1]
            nearest[depth] = offset
            nearest[depth + 1 :] = [0] * (_DEPTHS - depth)
            if depth == 0 and last == 0:
                last = offset
        return _Links(nearest[0], last, following, lower)


class _Links(NamedTuple):
    """Offsets: of the first and the last patient; for each record, of its next and its lower."""

    first: int
    last: int
    following: "array[int]"
    lower: "array[int]"


def _build_head(first: int, last: int) -> bytes:
    """Write the elements in front of the records (PS3.3 Tables F.3-2 and F.3-3)."""
    elements = (
        (0x00041130, NewElement("CS", FILE_SET_ID.encode())),
        (0x00041200, NewElement("UL", struct.pack("<I", first))),
        (0x00041202, NewElement("UL", struct.pack("<I", last))),
        (0x00041212, NewElement("US", b"\0\0")),
    )
    encoded = b"".join(encode_element(tag, new, EXPLICIT_LITTLE) for tag, new in elements)
    sequence = struct.pack("<HH2s2sI", 0x0004, 0x1220, b"SQ", b"\0\0", 0xFFFFFFFF)
    return encoded + sequence


def _build_record_head(record: DirectoryRecord, following: int, lower: int) -> bytes:
    size = _HEAD.size - 8 + len(record.payload)
    return _HEAD.pack(
        *(ITEM >> 16, ITEM & 0xFFFF, size),
        *(0x0004, 0x1400, b"UL", 4, following),
        *(0x0004, 0x1410, b"US", 2, _IN_USE),
        *(0x0004, 0x1420, b"UL", 4, lower),
    )


def _encode_delimitation() -> bytes:
    return struct.pack("<HHI", SEQUENCE_DELIMITATION >> 16, SEQUENCE_DELIMITATION & 0xFFFF, 0)

"""Fill an index with synthetic instances through Isocenter's own code, without HTTP and files.

This is the only module of the benchmarks that knows Isocenter from the inside.
"""

import dataclasses
import time
import uuid
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks.failures import BenchmarkError
from benchmarks.studies import InstanceKey, Template
from isocenter.archive.description import FileDescription
from isocenter.archive.received import Origin, OriginKind
from isocenter.dicom.identifiers import build_public_ids
from isocenter.dicom.main_tags import build_main_tags
from isocenter.dicom.reader import FileSummary, read_summary
from isocenter.index.port import Database
from isocenter.index.records import Attachment, NewInstance, Overwrite
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.index.writing import settle, store_instances

_GROUP = 50
_SETTLED_AT_ONCE = 1000
_SQLITE_MAGIC = b"SQLite format 3\0"
_DICOM = 1
_AS_IS = 0
# Any MD5 will do: there is no file to compare it with.
_MD5 = "0" * 32
_ORIGIN = Origin(OriginKind.REST_API, remote_ip="127.0.0.1", http_username="")


class _Synthesizer:
    """Derives instances from the header of one template, read once."""

    def __init__(self, template: Template) -> None:
        self._size_bytes = len(template.content)
        self._main_tags = build_main_tags()
        self._summary = read_summary(template.content, wanted=self._main_tags.wanted)
        self._stored_at = int(time.time())

    def build(self, key: InstanceKey) -> NewInstance:
        """Build the rows of one instance as the ingest pipeline would."""
        description = FileDescription(
            self._build_summary(key), self._main_tags, _ORIGIN, self._stored_at
        )
        public_ids = build_public_ids(
            key.patient_id, key.study_instance_uid, key.series_instance_uid, key.sop_instance_uid
        )
        size = self._size_bytes
        attachment = Attachment(_DICOM, str(uuid.uuid4()), _AS_IS, size, size, _MD5, _MD5)
        return NewInstance(
            public_ids=public_ids,
            describe=description.build,
            attachments=(attachment,),
            overwrite=Overwrite.NEVER,
            stored_at=self._stored_at,
        )

    def _build_summary(self, key: InstanceKey) -> FileSummary:
        """The template's header with the identifiers of ``key``."""
        values = {
            **self._summary.values,
            0x00100010: key.patient_name,
            0x00100020: key.patient_id,
            0x0020000D: key.study_instance_uid,
            0x0020000E: key.series_instance_uid,
            0x00080018: key.sop_instance_uid,
            0x00200013: key.instance_number.strip(),
        }
        return dataclasses.replace(self._summary, values=values)


def fill(index: Database, template: Template, keys: Iterable[InstanceKey]) -> None:
    """Write the rows of many instances into an index.

    Parameters
    ----------
    index
        The index of a server that is not running.
    template
        The instance whose header all of them share.
    keys
        Which instances, in the order in which they arrive.
    """
    synthesizer = _Synthesizer(template)
    for group in _iter_groups(map(synthesizer.build, keys)):
        index.write(partial(store_instances, instances=group))
        index.maintain()
    _settle_all(index)


def _settle_all(index: Database) -> None:
    """Make everything stable, as an archive that has grown over years is.

    Otherwise the server would do it a minute after its start, in the midst of a measurement.
    """
    now = int(time.time())
    change = partial(settle, before=now, now=now, limit=_SETTLED_AT_ONCE)
    while len(index.write(change)) == _SETTLED_AT_ONCE:
        index.maintain()


def _iter_groups(instances: Iterator[NewInstance]) -> Iterator[list[NewInstance]]:
    """Split into the groups that share a transaction."""
    while group := list(islice(instances, _GROUP)):
        yield group


def fill_folder(folder: Path, template: Template, keys: Iterable[InstanceKey]) -> None:
    """Fill the SQLite index that a server has created below a folder and left.

    Raises
    ------
    BenchmarkError
        If there is no such index, or more than one.
    """
    found = [path for path in folder.rglob("*") if path.is_file() and _is_sqlite(path)]
    if len(found) != 1:
        raise BenchmarkError(f"{folder} holds {len(found)} SQLite databases instead of one")
    # Nothing is lost if the machine fails here: the fill would be repeated.
    database = SQLiteDatabase(found[0], is_durable=False)
    try:
        fill(database, template, keys)
    finally:
        database.close()


def _is_sqlite(path: Path) -> bool:
    """Tell whether a file is a SQLite database."""
    with path.open("rb") as file:
        return file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC

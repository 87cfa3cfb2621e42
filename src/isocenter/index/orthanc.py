"""The SQLite index of an Orthanc, opened for reading only and never changed.

The form is known from databases that running servers made: schema version 6, which later versions
extended by columns for revisions, by a table of labels, and by a column for storage plugins. What
is there is looked up, not derived from a version. Nothing in the database is believed: numbers and
identifiers are checked, text may be of any encoding.

SQLite itself would make files of its own in the folder to read a database with a write-ahead log.
The file is therefore opened without locks: as unchangeable if there is no log, else with the index
of the log in memory. Whether another program uses it is asked of the operating system, and at each
step the times of the files tell whether one has begun to write.

References
----------
SQLite: URI filenames, locking_mode, file format §4; Orthanc REST: storage folder (manual §8.5)
"""

import fcntl
import os
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import apsw

from isocenter.clock import parse_timestamp
from isocenter.dicom.levels import Level
from isocenter.errors import (
    BackendError,
    DatabaseUnavailableError,
    DatabaseVersionError,
    MissingFileError,
)
from isocenter.index.foreign import (
    ForeignAttachment,
    ForeignChange,
    ForeignExport,
    ForeignInstance,
    ForeignResource,
    LastNumbers,
)
from isocenter.index.records import Attachment
from isocenter.index.statements import load_foreign_statements

__all__ = ["OrthancIndex"]

_FILE = "index"
_VERSION = "6"
# SQLite locks these bytes of a database that it uses (SQLite file format, "The Lock-Byte Page").
_LOCK_BYTES = (0x40000000, 512)
_FLOCK = "hhqqi4x"
_PUBLIC_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
_LARGEST = 2**63 - 1
_COMPRESSIONS = {1: 0, 2: 1}
_TABLES = frozenset(
    {
        "AttachedFiles",
        "Changes",
        "ExportedResources",
        "GlobalProperties",
        "MainDicomTags",
        "Metadata",
        "PatientRecyclingOrder",
        "Resources",
    }
)


class OrthancIndex:
    """Reads the index of an Orthanc that is stopped. Not thread-safe; a context manager.

    Parameters
    ----------
    folder
        The folder with the file ``index`` (option ``IndexDirectory`` of Orthanc).

    Raises
    ------
    MissingFileError
        If there is no index.
    DatabaseUnavailableError
        If another program uses it.
    DatabaseVersionError
        If it has another schema than version 6.
    BackendError
        If it is damaged, or not an Orthanc's.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        if not self._path.is_file():
            raise MissingFileError(f"there is no index of Orthanc at {self._path}")
        _check_unused(self._path)
        self._state = _read_state(self._path)
        with _translated():
            self._connection = _connect(self._path)
            try:
                self._texts = load_foreign_statements("orthanc", self._find_words())
                self._check_version()
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @property
    def path(self) -> Path:
        """The file of the index."""
        return self._path

    def _find_words(self) -> dict[str, str]:
        tables = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_master")}
        if missing := sorted(_TABLES - tables):
            raise BackendError(f"{self._path} is no index of Orthanc: it lacks {missing[0]}")
        self._has_labels = "Labels" in tables
        metadata, attachments = self._list_columns("Metadata"), self._list_columns("AttachedFiles")
        has_custom_data = "customData" in attachments
        return {
            "metadata_revision": "revision" if "revision" in metadata else "0",
            "attachment_revision": "revision" if "revision" in attachments else "0",
            "is_elsewhere": "COALESCE(LENGTH(customData), 0) > 0" if has_custom_data else "0",
        }

    def _list_columns(self, table: str) -> set[str]:
        return {row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")}

    def _check_version(self) -> None:
        rows = list(self._connection.execute(self._texts["version"]))
        version = rows[0][0] if rows else None
        if version != _VERSION:
            message = f"the index has version {version}, and only version {_VERSION} can be read"
            raise DatabaseVersionError(f"{message}: start a current Orthanc on it once")

    def check_unchanged(self) -> None:
        """Make sure that nobody has written to the index since it was opened.

        Raises
        ------
        DatabaseUnavailableError
            If somebody has.
        """
        if _read_state(self._path) != self._state:
            message = "was changed while it was read; stop Orthanc and run this again"
            raise DatabaseUnavailableError(f"{self._path} {message}")

    def check_sound(self) -> None:
        """Let SQLite look for damage; reads all of the index.

        Raises
        ------
        BackendError
            If there is any.
        """
        with _translated():
            found = [row[0] for row in self._connection.execute("PRAGMA quick_check(1)")]
        if found != ["ok"]:
            raise BackendError(f"{self._path} is damaged: {_one_line(str(found[0]))}")
        if self._rows("shared_file"):
            # Deleting one of them would delete the file of the other.
            raise BackendError(f"{self._path} is damaged: two attachments have the same file")

    def count_resources(self) -> dict[Level, int]:
        """Count the resources of each level."""
        rows = self._rows("counts")
        return {Level(number - 1): count for number, count in rows if number in {1, 2, 3, 4}}

    def measure_attachments(self) -> tuple[int, int]:
        """Count the attachments, and the bytes that their files have."""
        count, size = self._rows("attachment_sizes")[0]
        return count, size

    def get_last_numbers(self) -> LastNumbers:
        """Tell the last numbers that Orthanc gave to changes, exports, and patients to recycle."""
        found = dict(self._rows("last_numbers"))
        return LastNumbers(
            change=found.get("Changes") or 0,
            export=found.get("ExportedResources") or 0,
            recycling=found.get("PatientRecyclingOrder") or 0,
        )

    def read_instances(self, after: int, limit: int) -> tuple[list[ForeignInstance], int]:
        """Read instances with their ancestors, in the order in which they were stored.

        Parameters
        ----------
        after
            The number of the last instance that was read; -1 at first.

        Returns
        -------
        tuple
            The instances, and the number to give next; it is unchanged if no more follow.
        """
        instances = []
        for row in self._rows("instances", after=after, limit=limit):
            after = row[6]
            ids = tuple(_text(value) or "" for value in row[1::2])
            is_sound = None not in row and all(map(_PUBLIC_ID.fullmatch, ids))
            instances.append(ForeignInstance(tuple(row[::2]), ids, is_sound=is_sound))
        return instances, after

    def read_resources(self, internal_ids: Iterable[int]) -> dict[int, ForeignResource]:
        """Read what is known of some resources; four or five statements for all of them."""
        ids = list(internal_ids)
        found = {internal_id: ForeignResource() for internal_id in ids}
        for internal_id, group, element, value in self._rows("tags", ids=ids):
            if 0 <= group <= 0xFFFF and 0 <= element <= 0xFFFF:
                found[internal_id].tags[group << 16 | element] = _text(value) or ""
        for internal_id, code, value, revision in self._rows("metadata", ids=ids):
            found[internal_id].metadata[code] = (_text(value) or "", revision or 0)
        for internal_id, *columns in self._rows("attachments", ids=ids):
            found[internal_id].attachments.append(_build_attachment(columns))
        for internal_id, label in self._rows("labels", ids=ids) if self._has_labels else ():
            found[internal_id].labels.append(_text(label) or "")
        for internal_id, order in self._rows("recycling", ids=ids):
            found[internal_id].recycling_order = order
        return found

    def iter_attachments(self, limit: int) -> Iterator[list[tuple[str, ForeignAttachment]]]:
        """Iterate over all attachments, with the address of their resource, so many at once."""
        internal_id, content_type = -1, -1
        while rows := self._rows(
            "all_attachments", id=internal_id, content_type=content_type, limit=limit
        ):
            internal_id, content_type = rows[-1][:2]
            yield [
                (_format_address(level, _text(public_id)), _build_brief_attachment(columns))
                for _, *columns, level, public_id in rows
            ]

    def read_changes(self, after: int, limit: int) -> list[ForeignChange]:
        """Read entries of the change log, in their order."""
        return [
            ForeignChange(seq, change_type, _text(public_id) or "", _time(date))
            for seq, change_type, _, public_id, date in self._rows(
                "changes", after=after, limit=limit
            )
        ]

    def read_exports(self, after: int, limit: int) -> list[ForeignExport]:
        """Read entries of the log of exports, in their order; unreadable ones are left out."""
        rows = self._rows("exports", after=after, limit=limit)
        return [_build_export(row) for row in rows if row[1] in {1, 2, 3, 4}]

    def _rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        bound = {
            name: "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else value
            for name, value in parameters.items()
        }
        with _translated():
            return self._connection.execute(self._texts[statement], bound).fetchall()


def _connect(path: Path) -> apsw.Connection:
    """Open a database that nobody uses, so that no byte and no file of its folder changes."""
    quoted = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    # Without a log to read, SQLite would make an empty one unless it is told that nothing changes.
    log = _read_state(path)[1]
    way = "vfs=unix-none" if log is not None and log[1] else "immutable=1"
    connection = apsw.Connection(f"file:{quoted}?mode=ro&{way}", flags=flags)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    # Triggers and views of the file could call functions; statements of ours need none of them.
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    # Keeps the index of the write-ahead log in memory instead of in a file.
    connection.pragma("locking_mode", "exclusive")
    connection.pragma("query_only", value=True)
    connection.pragma("temp_store", "MEMORY")
    return connection


def _check_unused(path: Path) -> None:
    """Ask the system whether a program on this machine holds SQLite's locks on a file."""
    if not hasattr(fcntl, "F_OFD_GETLK"):
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, *_LOCK_BYTES, 0)
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, question)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DatabaseUnavailableError(f"cannot read {path}: {error.strerror}") from error
    kind, *_, process = struct.unpack(_FLOCK, answer)
    if kind != fcntl.F_UNLCK:
        owner = f"process {process}" if process > 0 else "another program"
        raise DatabaseUnavailableError(f"{path} is in use by {owner}; stop Orthanc first")


def _read_state(path: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """Tell what changes when somebody writes to a database or to its write-ahead log."""
    states: list[tuple[int, int, int] | None] = []
    for name in (str(path), f"{path}-wal"):
        try:
            status = os.stat(name)
        except FileNotFoundError:
            states.append(None)
        except OSError as error:
            raise DatabaseUnavailableError(f"cannot read {name}: {error.strerror}") from error
        else:
            states.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(states)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (apsw.CantOpenError, apsw.ReadOnlyError) as error:
        message = (
            "the index of Orthanc cannot be read; if Orthanc was killed, start and stop it once"
        )
        raise DatabaseUnavailableError(message) from error
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise BackendError("the index of Orthanc is damaged, or no SQLite database") from error
    except (apsw.Error, UnicodeDecodeError) as error:
        message = f"the index of Orthanc cannot be read: {_one_line(str(error))}"
        raise BackendError(message) from error


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _text(value: object) -> str | None:
    """Decode free text; databases without NUL characters have to take it."""
    if value is None:
        return None
    data = value if isinstance(value, bytes) else str(value).encode()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\0", "")


def _time(value: object) -> int:
    return parse_timestamp(_text(value) or "") or 0


def _format_address(level: object, public_id: str | None) -> str:
    is_known = level in {1, 2, 3, 4} and public_id and _PUBLIC_ID.fullmatch(public_id)
    return (
        f"/{Level(int(str(level)) - 1).plural}/{public_id}" if is_known else "an unknown resource"
    )


def _build_export(row: Sequence[Any]) -> ForeignExport:
    public_id, modality, patient, study, series, instance = (_text(v) or "" for v in row[2:8])
    return ForeignExport(
        seq=row[0],
        level=Level(row[1] - 1),
        public_id=public_id,
        remote_modality=modality,
        patient_id=patient,
        study_instance_uid=study,
        series_instance_uid=series,
        sop_instance_uid=instance,
        exported_at=_time(row[8]),
    )


def _build_attachment(columns: Sequence[Any]) -> ForeignAttachment:
    content_type, name, compression, compressed, uncompressed, *sums, revision, elsewhere = columns
    code = _COMPRESSIONS.get(compression)
    sizes = (compressed, uncompressed)
    is_sound = code is not None and all(
        isinstance(size, int) and 0 <= size <= _LARGEST for size in sizes
    )
    md5 = [_text(value) or "" for value in sums]
    attachment = Attachment(
        content_type or 0, _text(name) or "", code or 0, compressed or 0, uncompressed or 0, *md5
    )
    return ForeignAttachment(
        attachment, revision or 0, is_elsewhere=bool(elsewhere), is_sound=is_sound
    )


def _build_brief_attachment(columns: Sequence[Any]) -> ForeignAttachment:
    """Build an attachment of which only name and size are to be looked at."""
    content_type, name, size, elsewhere = columns
    attachment = Attachment(content_type or 0, _text(name) or "", 0, size or 0, 0, "", "")
    is_sound = isinstance(size, int) and size >= 0
    return ForeignAttachment(attachment, 0, is_elsewhere=bool(elsewhere), is_sound=is_sound)

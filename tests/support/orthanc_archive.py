"""A synthetic archive in the form of an Orthanc's: an index in SQLite and a storage folder.

The tables are those that a running Orthanc 1.10.1 made; ``is_newer`` adds what later versions have.
"""

import hashlib
import sqlite3
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.server import SyntheticFile

__all__ = ["DATE", "OrthancArchive", "snapshot"]

DATE = "20240102T030405"

_TABLES = """
CREATE TABLE GlobalProperties(property INTEGER PRIMARY KEY, value TEXT);
CREATE TABLE Resources(internalId INTEGER PRIMARY KEY AUTOINCREMENT, resourceType INTEGER,
    publicId TEXT, parentId INTEGER REFERENCES Resources(internalId) ON DELETE CASCADE);
CREATE TABLE MainDicomTags(id INTEGER, tagGroup INTEGER, tagElement INTEGER, value TEXT,
    PRIMARY KEY(id, tagGroup, tagElement));
CREATE TABLE Metadata(id INTEGER, type INTEGER, value TEXT, PRIMARY KEY(id, type));
CREATE TABLE AttachedFiles(id INTEGER, fileType INTEGER, uuid TEXT, compressedSize INTEGER,
    uncompressedSize INTEGER, compressionType INTEGER, uncompressedMD5 TEXT, compressedMD5 TEXT,
    PRIMARY KEY(id, fileType));
CREATE TABLE Changes(seq INTEGER PRIMARY KEY AUTOINCREMENT, changeType INTEGER,
    internalId INTEGER REFERENCES Resources(internalId) ON DELETE CASCADE, resourceType INTEGER,
    date TEXT);
CREATE TABLE ExportedResources(seq INTEGER PRIMARY KEY AUTOINCREMENT, resourceType INTEGER,
    publicId TEXT, remoteModality TEXT, patientId TEXT, studyInstanceUid TEXT,
    seriesInstanceUid TEXT, sopInstanceUid TEXT, date TEXT);
CREATE TABLE PatientRecyclingOrder(seq INTEGER PRIMARY KEY AUTOINCREMENT, patientId INTEGER);
CREATE INDEX ResourceTypeIndex ON Resources(resourceType);
INSERT INTO GlobalProperties VALUES (1, '6');
"""
_NEWER = """
ALTER TABLE Metadata ADD COLUMN revision INTEGER;
ALTER TABLE AttachedFiles ADD COLUMN revision INTEGER;
ALTER TABLE AttachedFiles ADD COLUMN customData BLOB;
CREATE TABLE Labels(id INTEGER, label TEXT NOT NULL, PRIMARY KEY(id, label));
"""
_NEW_CHANGES = {1: 3, 2: 5, 3: 4, 4: 2}
_UIDS = {2: (0x0020, 0x000D), 3: (0x0020, 0x000E), 4: (0x0008, 0x0018)}


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Note the names, times and contents of all files below a folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass
class OrthancArchive:
    """Builds the archive; each method writes at once.

    Attributes
    ----------
    folder
        Of the index and of the files.
    ids
        Internal number of a resource, by its public identifier.
    """

    folder: Path
    is_newer: bool = False
    ids: dict[str, int] = field(default_factory=dict)
    _shared: sqlite3.Connection | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.execute(_TABLES + (_NEWER if self.is_newer else ""))

    @property
    def index(self) -> Path:
        """The file of the index."""
        return self.folder / "index"

    def path_of(self, name: str) -> Path:
        """Where the file of an attachment is."""
        return self.folder / name[:2] / name[2:4] / name

    def execute(self, script: str) -> None:
        """Change the index by hand."""
        with self._connected() as connection:
            connection.executescript(script)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Write all that the context adds as one transaction."""
        self._shared = sqlite3.connect(self.index)
        try:
            with self._shared:
                yield
        finally:
            self._shared.close()
            self._shared = None

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        if self._shared is not None:
            yield self._shared
            return
        connection = sqlite3.connect(self.index)
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            yield connection
        connection.close()

    def insert(self, statement: str, *rows: Sequence[object]) -> int:
        """Insert rows; the number of the last one is given."""
        last = 0
        with self._connected() as connection:
            for row in rows:
                last = connection.execute(statement, row).lastrowid or 0
        return last

    def add(self, *files: SyntheticFile, is_compressed: bool = False) -> None:
        """Store instances as Orthanc would."""
        for file in files:
            parent: int | None = None
            names = (file.patient, file.study, file.series, file.instance)
            for kind, public_id in enumerate(names, 1):
                if public_id not in self.ids:
                    self._create(kind, public_id, parent, file)
                parent = self.ids[public_id]
            self.attach(file.instance, 1, file.content, is_compressed=is_compressed)
            self.set_metadata(
                file.instance,
                {2: DATE, 3: "SENDER", 8: "DicomProtocol", 9: "1.2.840.10008.1.2.1", 11: "::1"},
            )

    def _create(self, kind: int, public_id: str, parent: int | None, file: SyntheticFile) -> None:
        internal_id = self.insert(
            "INSERT INTO Resources VALUES (NULL, ?, ?, ?)", (kind, public_id, parent)
        )
        self.ids[public_id] = internal_id
        tags = [(0x0010, 0x0020, file.patient_id)] if kind <= 2 else []
        if kind > 1:
            tags.append((*_UIDS[kind], file.uids[kind - 2]))
        self.insert(
            "INSERT INTO MainDicomTags VALUES (?, ?, ?, ?)", *((internal_id, *tag) for tag in tags)
        )
        self.log(public_id, _NEW_CHANGES[kind], kind)
        if kind < 4:
            self.set_metadata(public_id, {7: DATE})
        if kind == 1:
            self.insert("INSERT INTO PatientRecyclingOrder VALUES (NULL, ?)", (internal_id,))

    def log(self, public_id: str, change_type: int, kind: int) -> None:
        """Append a change."""
        row = (change_type, self.ids[public_id], kind, DATE)
        self.insert("INSERT INTO Changes VALUES (NULL, ?, ?, ?, ?)", row)

    def attach(
        self,
        public_id: str,
        content_type: int,
        content: bytes,
        *,
        is_compressed: bool = False,
        revision: int = 0,
    ) -> Path:
        """Attach a file to a resource."""
        name = str(uuid.uuid4())
        stored = content
        if is_compressed:
            stored = len(content).to_bytes(8, "little") + zlib.compress(content)
        path = self.path_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stored)
        md5 = [hashlib.md5(data, usedforsecurity=False).hexdigest() for data in (content, stored)]
        row = [self.ids[public_id], content_type, name, len(stored), len(content)]
        row += [2 if is_compressed else 1, *md5]
        if self.is_newer:
            row += [revision, None]
        self.insert(f"INSERT INTO AttachedFiles VALUES ({','.join('?' * len(row))})", row)  # noqa: S608
        return path

    def set_metadata(
        self, public_id: str, values: Mapping[int, str | bytes], revision: int = 0
    ) -> None:
        """Set metadata by their codes."""
        end = [revision] if self.is_newer else []
        rows = [[self.ids[public_id], code, value, *end] for code, value in values.items()]
        marks = ",".join("?" * (3 + len(end)))
        self.insert(f"INSERT OR REPLACE INTO Metadata VALUES ({marks})", *rows)  # noqa: S608

    def add_label(self, public_id: str, label: str) -> None:
        """Label a resource (newer versions)."""
        self.insert("INSERT INTO Labels VALUES (?, ?)", (self.ids[public_id], label))

    def protect(self, patient: str) -> None:
        """Protect a patient from being recycled."""
        statement = "DELETE FROM PatientRecyclingOrder WHERE patientId = ?"
        self.insert(statement, (self.ids[patient],))

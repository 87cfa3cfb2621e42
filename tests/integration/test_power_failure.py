"""Power failures: what was not synced is lost, and nothing that was acknowledged.

The archive works on a real folder. At random moments a second folder is made of what a disk would
hold after a power failure: the index without the part of its log that was not synced, the journal,
whose writes are durable when they return, and of the files that were not synced some, some halves
and some not at all. The archive that starts there must show what the first one showed.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.dicom_files import EXPLICIT_LITTLE, build_instance, encode_element

from isocenter.archive import redo
from isocenter.archive.deletion import Deleter
from isocenter.archive.ingest import Ingest, IngestOptions
from isocenter.archive.received import Origin, OriginKind, StoreStatus
from isocenter.archive.reconciliation import reconcile
from isocenter.archive.redo import redo_rows
from isocenter.archive.workers import Workers
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_main_tags
from isocenter.index.deletion import delete_resource
from isocenter.index.reading import lookup_dicom_attachment
from isocenter.index.records import Overwrite, Quota, Rules
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.index.writing import settle
from isocenter.storage.journaled import JournaledStorage
from isocenter.storage.syncing import FileSystemSync

ORIGIN = Origin(OriginKind.DICOM_PROTOCOL, "192.0.2.1", remote_aet="MODALITY", called_aet="STORE")
# Small enough to be filled and freed several times.
JOURNAL_BYTES = 1 << 20
STEPS = 60
ROWS = "SELECT level, public_id, main_tags, metadata FROM resources ORDER BY 1, 2"
CHANGES = "SELECT seq, change_type, resource_id FROM changes"


class Disk:
    """Knows which part of a folder would survive a power failure."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = b""
        self.durable_files: set[Path] = set()

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    def iter_files(self) -> Iterator[Path]:
        yield from (path for path in self.storage.glob("??/??/*") if path.is_file())

    def read_log(self) -> bytes:
        return (self.folder / "index-wal").read_bytes()

    def note_file_sync(self) -> None:
        self.durable_files = set(self.iter_files())

    def fail(self, target: Path, generator: random.Random, *, is_worst: bool = False) -> None:
        """Make a folder of what survives: by chance, or as little as can be."""
        target.mkdir()
        # First: a segment may be freed meanwhile, for which the rows are synced before.
        shutil.copytree(self.storage / "journal", target / "storage" / "journal")
        shutil.copy(self.folder / "index", target / "index")
        log = (self.folder / "index-wal").read_bytes()
        # Whole pages reach the disk in any order, but frames behind a gap do not count.
        synced, written = (len(data.rstrip(b"\0")) for data in (self.log, log))
        middle = generator.randint(synced, max(synced, written))
        kept = synced if is_worst else generator.choice((synced, middle, written))
        (target / "index-wal").write_bytes(log[:kept] if kept > synced else self.log)
        for path in self.iter_files():
            copy = target / "storage" / path.relative_to(self.storage)
            data = path.read_bytes()
            if path not in self.durable_files:
                data = data[: generator.choice((0, len(data) // 2, len(data)))]
                if is_worst or not data:
                    continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(data)


@dataclass
class Site:
    """An archive in a folder, and what its clients believe."""

    disk: Disk
    database: SQLiteDatabase
    storage: JournaledStorage
    ingest: Ingest
    deleter: Deleter
    contents: dict[str, bytes] = field(default_factory=dict)

    def store(self, content: bytes) -> None:
        outcome = self.ingest.store_blocking(content, ORIGIN)
        public_id = outcome.public_ids.instance
        assert outcome.status is StoreStatus.SUCCESS or public_id in self.contents
        if outcome.status is StoreStatus.SUCCESS:
            self.contents[public_id] = content

    def read(self, public_id: str) -> bytes:
        found = self.database.read(lambda tx: lookup_dicom_attachment(tx, public_id))
        assert found is not None, public_id
        return self.storage.read(found.attachment.attachment_uuid)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.database._inline.execute(sql).fetchall()

    def list_changes(self) -> dict[int, tuple[int, str]]:
        names = dict(self.query("SELECT internal_id, public_id FROM resources"))
        return {seq: (kind, names[resource]) for seq, kind, resource in self.query(CHANGES)}


@contextmanager
def open_site(
    folder: Path, overwrite: Overwrite, patch: pytest.MonkeyPatch, *, most_patients: int = 0
) -> Iterator[Site]:
    disk = Disk(folder)
    patch.setattr(FileSystemSync, "run", lambda _: disk.note_file_sync())
    database = SQLiteDatabase(folder / "index")
    sync_data = os.fdatasync

    def note(descriptor: int) -> None:
        # Others write while the disk works; only what was there before is durable.
        log = disk.read_log() if descriptor == database._log else disk.log
        sync_data(descriptor)
        disk.log = log

    patch.setattr(os, "fdatasync", note)
    storage = JournaledStorage(
        folder / "storage", journal_bytes=JOURNAL_BYTES, sync_rows=database.sync
    )
    sync_entry = storage._sync_entry

    def note_entry(folder: str, target: str) -> None:
        sync_entry(folder, target)
        disk.durable_files.add(Path(target))

    patch.setattr(storage, "_sync_entry", note_entry)
    workers = Workers(database, 2)
    rules = Rules(Quota(maximum_patients=most_patients))
    options = IngestOptions(main_tags=build_main_tags(), overwrite=overwrite, rules=rules)
    ingest = Ingest(workers, database, storage, options)
    try:
        yield Site(disk, database, storage, ingest, Deleter(workers, database, storage))
    finally:
        workers.close()
        ingest.close()
        storage.close()
        database.close()


def build(generator: random.Random, *, too_long: float = 0.05) -> bytes:
    """Build one of few instances with a content of its own, sometimes too long for the journal."""
    number = generator.randrange(30)
    size = 600_000 if generator.random() < too_long else generator.randrange(50, 30_000) * 2
    pixels = encode_element(0x7FE00010, "OW", generator.randbytes(size), syntax=EXPLICIT_LITTLE)
    study = f"1.2.3.{number % 3}"
    return build_instance(
        study=study, series=f"{study}.1", instance=f"{study}.1.{number}", tail=pixels
    )


def delete(site: Site, generator: random.Random) -> None:
    if not site.contents:
        return
    public_id = generator.choice(sorted(site.contents))
    level = generator.choice((Level.INSTANCE, Level.INSTANCE, Level.SERIES))
    if level is Level.SERIES:
        sql = "SELECT s.public_id FROM resources i JOIN resources s ON s.internal_id = i.parent_id "
        public_id = site.query(f"{sql} WHERE i.level = 3 AND i.public_id = '{public_id}'")[0][0]
    site.database.write(lambda tx: delete_resource(tx, level, public_id, deleted_at=1))
    left = {row[0] for row in site.query("SELECT public_id FROM resources WHERE level = 3")}
    site.contents = {name: data for name, data in site.contents.items() if name in left}


def step(site: Site, generator: random.Random) -> None:
    choice = generator.random()
    if choice < 0.7:
        site.store(build(generator))
    elif choice < 0.85:
        delete(site, generator)
    elif choice < 0.92:
        site.deleter.remove_files()
    elif choice < 0.96:
        site.storage._backlog.finish_all()
    else:
        site.database.write(lambda tx: settle(tx, before=2**40, now=1, limit=100))


def assert_same(recovered: Site, rows: list[tuple[Any, ...]], contents: dict[str, bytes]) -> None:
    assert recovered.query(ROWS) == rows
    for public_id, content in contents.items():
        assert recovered.read(public_id) == content
    counted = recovered.query("SELECT COUNT(*) FROM resources WHERE level = 3")[0][0]
    assert counted == len(contents) == recovered.query("SELECT instances FROM archive")[0][0]
    report = reconcile(recovered.database, recovered.storage, has_content=True)
    assert report.damaged_count == 0


def recover(
    site: Site,
    folder: Path,
    overwrite: Overwrite,
    generator: random.Random,
    *,
    is_worst: bool = False,
) -> None:
    """Let the power fail, start again, and compare."""
    rows, changes = site.query(ROWS), site.list_changes()
    last = site.query("SELECT last_change FROM archive")[0][0]
    site.disk.fail(folder, generator, is_worst=is_worst)
    with pytest.MonkeyPatch.context() as patch, open_site(folder, overwrite, patch) as recovered:
        redo_rows(recovered.database, recovered.storage, recovered.ingest)
        assert_same(recovered, rows, site.contents)
        for seq, change in recovered.list_changes().items():
            # A client that follows the log sees each change at least once.
            assert changes.get(seq) == change or seq > last
        assert redo_rows(recovered.database, recovered.storage, recovered.ingest) == 0
        recovered.contents = dict(site.contents)
        recovered.store(build(generator))


@pytest.mark.parametrize("overwrite", list(Overwrite))
@pytest.mark.parametrize("seed", range(3))
def test_power_failure_loses_nothing_that_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: Overwrite, seed: int
) -> None:
    generator = random.Random(f"{overwrite} {seed}")
    with open_site(tmp_path / "site", overwrite, monkeypatch) as site:
        for number in range(STEPS):
            step(site, generator)
            if generator.random() < 0.15:
                recover(site, tmp_path / str(number), overwrite, generator)


def fail_after(calls: int, original: Callable[..., Any]) -> Callable[..., Any]:
    """Let some calls pass, and end the next one as a power failure would."""

    def call(*arguments: Any) -> Any:
        nonlocal calls
        calls -= 1
        if calls < 0:
            raise KeyboardInterrupt
        return original(*arguments)

    return call


def test_power_failure_while_rows_are_written_again_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redo, "_AT_ONCE", 1)
    generator = random.Random(1)
    with open_site(tmp_path / "site", Overwrite.NEVER, monkeypatch) as site:
        for _ in range(12):
            site.store(build(generator, too_long=0))
        rows, contents = site.query(ROWS), dict(site.contents)
        site.disk.fail(tmp_path / "0", generator, is_worst=True)

    for number in range(20):
        with (
            pytest.MonkeyPatch.context() as patch,
            open_site(tmp_path / str(number), Overwrite.NEVER, patch) as site,
        ):
            patch.setattr(site.ingest, "store_again", fail_after(number, site.ingest.store_again))
            try:
                redo_rows(site.database, site.storage, site.ingest)
            except KeyboardInterrupt:
                site.disk.fail(tmp_path / str(number + 1), generator, is_worst=True)
            else:
                assert number > 3
                assert_same(site, rows, contents)
                return
    pytest.fail("the rows were never complete")


def test_power_failure_keeps_what_was_recycled_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = random.Random(3)
    folder = tmp_path / "site"
    with open_site(folder, Overwrite.NEVER, monkeypatch, most_patients=2) as site:
        for number in range(40):
            site.store(build(generator, too_long=0))
            left = {row[0] for row in site.query("SELECT public_id FROM resources WHERE level = 3")}
            site.contents = {name: data for name, data in site.contents.items() if name in left}
            if number % 8 == 7:
                site.deleter.remove_files()
                recover(site, tmp_path / str(number), Overwrite.NEVER, generator, is_worst=True)
        assert len(site.contents) < 30


def test_rows_of_freed_segments_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = random.Random(2)
    with open_site(tmp_path / "site", Overwrite.ALWAYS, monkeypatch) as site:
        for number in range(60):
            site.store(build(generator, too_long=0))
            if number % 10 == 9:
                # Segments are freed by another thread.
                retiring = site.storage._journal._retiring
                if retiring is not None:
                    retiring.join()
                recover(site, tmp_path / str(number), Overwrite.ALWAYS, generator, is_worst=True)
        assert site.disk.log

import uuid

import pytest
from tests.unit.archive.parts import REST, Parts, build_numbered

from isocenter.archive import reconciliation
from isocenter.archive.deletion import Deleter
from isocenter.archive.reconciliation import Damage, Report, reconcile
from isocenter.dicom.levels import Level
from isocenter.index.reading import get_statistics, lookup_dicom_attachment
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.storage.memory import MemoryStorage


class Ages(MemoryStorage):
    """Remembers how old temporary files had to be."""

    def __init__(self) -> None:
        super().__init__()
        self.ages: list[float] = []

    def remove_temporary(self, older_than_s: float) -> int:
        self.ages.append(older_than_s)
        return 0


@pytest.fixture
def stored(parts: Parts) -> list[str]:
    """Store four instances; give the identifiers."""
    ingest = parts.new_ingest()
    return [ingest.store_blocking(build_numbered(n), REST).public_ids.instance for n in range(4)]


def get_uuid(parts: Parts, public_id: str) -> str:
    found = parts.database.read(lambda tx: lookup_dicom_attachment(tx, public_id))
    assert found is not None
    return found.attachment.attachment_uuid


def count_instances(parts: Parts) -> int:
    return parts.database.read(get_statistics).instances


@pytest.mark.parametrize("has_content", [True, False])
@pytest.mark.parametrize("has_repair", [True, False])
def test_reconcile_sound_archive_finds_nothing(
    parts: Parts, stored: list[str], has_content: bool, has_repair: bool
) -> None:
    report = reconcile(
        parts.database, parts.storage, has_content=has_content, has_repair=has_repair
    )

    assert report == Report(checked_attachments=4, is_repaired=has_repair)
    assert report.is_clean
    assert count_instances(parts) == len(parts.list_blobs()) == 4


def test_reconcile_empty_archive_is_clean(parts: Parts) -> None:
    assert reconcile(parts.database, parts.storage) == Report()


def test_reconcile_missing_file_is_damage(parts: Parts, stored: list[str]) -> None:
    parts.storage.remove(get_uuid(parts, stored[1]))

    report = reconcile(parts.database, parts.storage)

    assert report.damaged == [Damage(Level.INSTANCE, stored[1], "the file is missing")]
    assert (report.damaged_count, report.is_clean) == (1, False)
    assert count_instances(parts) == 4


def test_reconcile_wrong_size_is_damage(parts: Parts, stored: list[str]) -> None:
    name = get_uuid(parts, stored[2])
    size = len(parts.storage.read(name))
    parts.storage.write(name, b"short")

    report = reconcile(parts.database, parts.storage)

    reason = f"the file has 5 bytes instead of {size}"
    assert report.damaged == [Damage(Level.INSTANCE, stored[2], reason)]


def test_reconcile_changed_content_needs_the_content(parts: Parts, stored: list[str]) -> None:
    name = get_uuid(parts, stored[0])
    parts.storage.write(name, parts.storage.read(name)[:-1] + b"\xff")

    assert reconcile(parts.database, parts.storage).is_clean
    report = reconcile(parts.database, parts.storage, has_content=True)

    reason = "the content of the file has changed"
    assert report.damaged == [Damage(Level.INSTANCE, stored[0], reason)]


def test_reconcile_large_content_is_read_in_pieces(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "_PIECE", 100)
    parts.new_ingest(is_compressed=True).store_blocking(build_numbered(1, pixels=5000), REST)
    parts.new_ingest().store_blocking(build_numbered(2, pixels=5000), REST)

    assert reconcile(parts.database, parts.storage, has_content=True).is_clean


def test_reconcile_without_sums_trusts_the_size(parts: Parts) -> None:
    parts.new_ingest(has_md5=False).store_blocking(build_numbered(1), REST)

    assert reconcile(parts.database, parts.storage, has_content=True).is_clean


def test_reconcile_unreferenced_file_is_counted(parts: Parts, stored: list[str]) -> None:
    parts.storage.write(str(uuid.uuid4()), b"nobody's")

    report = reconcile(parts.database, parts.storage)

    assert (report.unreferenced_count, report.damaged_count) == (1, 0)
    assert not report.is_clean
    assert len(parts.list_blobs()) == 5


def test_reconcile_repair_mends_all(parts: Parts, stored: list[str]) -> None:
    parts.storage.remove(get_uuid(parts, stored[0]))
    parts.storage.write(get_uuid(parts, stored[1]), b"short")
    parts.storage.write(str(uuid.uuid4()), b"nobody's")

    report = reconcile(parts.database, parts.storage, has_repair=True)

    assert (report.damaged_count, report.unreferenced_count) == (2, 1)
    assert report.is_clean
    assert count_instances(parts) == 2
    assert {len(blob) for blob in parts.list_blobs()} == {len(build_numbered(0))}
    again = reconcile(parts.database, parts.storage, has_content=True)
    assert again == Report(checked_attachments=2)


def test_reconcile_repair_of_all_leaves_nothing(parts: Parts, stored: list[str]) -> None:
    for name in list(parts.storage.iter_uuids()):
        parts.storage.remove(name)

    reconcile(parts.database, parts.storage, has_repair=True)

    statistics = parts.database.read(get_statistics)
    assert (statistics.patients, statistics.series, statistics.instances) == (0, 0, 0)


async def test_reconcile_finishes_interrupted_deletions(parts: Parts, stored: list[str]) -> None:
    await Deleter(parts.workers, parts.database, parts.storage).delete(Level.INSTANCE, stored[0])

    report = reconcile(parts.database, parts.storage)

    assert report == Report(checked_attachments=3)
    assert len(parts.list_blobs()) == 3
    assert parts.list_removals() == []


def test_reconcile_many_lists_the_first(
    parts: Parts, stored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "_MOST_LISTED", 2)
    monkeypatch.setattr(reconciliation, "_AT_ONCE", 2)
    for name in list(parts.storage.iter_uuids()):
        parts.storage.remove(name)
    for _ in range(5):
        parts.storage.write(str(uuid.uuid4()), b"")

    report = reconcile(parts.database, parts.storage)

    assert (len(report.damaged), report.damaged_count) == (2, 4)
    assert report.unreferenced_count == 5


def test_reconcile_progress_is_told(parts: Parts, stored: list[str]) -> None:
    told: list[int] = []

    reconcile(
        parts.database,
        parts.storage,
        on_progress=lambda report: told.append(report.checked_attachments),
    )

    assert told[0] == told[-1] == 4


@pytest.mark.parametrize("is_exclusive", [True, False])
def test_reconcile_shared_database_spares_running_uploads(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, is_exclusive: bool
) -> None:
    monkeypatch.setattr(SQLiteDatabase, "is_exclusive", is_exclusive)
    storage = Ages()

    reconcile(parts.database, storage)

    assert [age == 0 for age in storage.ages] == [is_exclusive]
    assert is_exclusive or storage.ages[0] >= 3600

from tests.support.instances import NOON, IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.index.deletion import delete_resource
from isocenter.index.exports import add_exports, find_exports, find_last_export, forget_exports
from isocenter.index.port import Database
from isocenter.index.records import ExportEntry, NewResource

ROWS = {
    level: NewResource(keyword, f'{{"{keyword}":"{value}"}}', "{}")
    for level, keyword, value in (
        (Level.PATIENT, "PatientID", "P 1"),
        (Level.STUDY, "StudyInstanceUID", "1.2"),
        (Level.SERIES, "SeriesInstanceUID", "1.2.3"),
        (Level.INSTANCE, "SOPInstanceUID", "1.2.3.4"),
    )
}


def add(database: Database, *resources: tuple[Level, str], remote_modality: str = "PACS") -> None:
    database.write(
        lambda tx: add_exports(tx, resources, remote_modality=remote_modality, exported_at=NOON)
    )


def list_seqs(database: Database, since: int = 0, limit: int = 100) -> list[int]:
    return [
        entry.seq for entry in database.read(lambda tx: find_exports(tx, since=since, limit=limit))
    ]


def test_exports_name_the_identifiers_down_to_the_level(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i", rows=ROWS))

    add(database, *((level, name) for level, name in zip(Level, "ptri", strict=True)))

    assert database.read(lambda tx: find_exports(tx, since=0, limit=10)) == [
        ExportEntry(1, Level.PATIENT, "p", "PACS", "P 1", "", "", "", NOON),
        ExportEntry(2, Level.STUDY, "t", "PACS", "P 1", "1.2", "", "", NOON),
        ExportEntry(3, Level.SERIES, "r", "PACS", "P 1", "1.2", "1.2.3", "", NOON),
        ExportEntry(4, Level.INSTANCE, "i", "PACS", "P 1", "1.2", "1.2.3", "1.2.3.4", NOON),
    ]


def test_exports_of_unknown_resources_are_skipped(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i", rows=ROWS))

    add(database, (Level.STUDY, "nobody"), (Level.PATIENT, "t"))
    assert database.read(find_last_export) is None
    add(database, (Level.STUDY, "nobody"), (Level.STUDY, "t"), (Level.STUDY, "t"))

    assert list_seqs(database) == [1, 2]


def test_exports_are_read_in_pages(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i", rows=ROWS))
    for _ in range(5):
        add(database, (Level.STUDY, "t"))

    assert list_seqs(database, since=1, limit=2) == [2, 3]
    assert list_seqs(database, since=5) == []
    last = database.read(find_last_export)
    assert last is not None
    assert last.seq == 5


def test_exports_outlive_their_resource_and_number_on_when_forgotten(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i", rows=ROWS))
    add(index.database, (Level.STUDY, "t"))
    index.database.write(lambda tx: delete_resource(tx, Level.PATIENT, "p", deleted_at=NOON))
    assert list_seqs(index.database) == [1]

    index.database.write(forget_exports)
    assert list_seqs(index.database) == []
    store(index.database, build_new_instance("p/t/r/i", rows=ROWS))
    add(index.database, (Level.STUDY, "t"))

    assert list_seqs(index.database) == [2]
    index.assert_consistent()

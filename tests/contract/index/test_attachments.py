import uuid

import pytest
from tests.support.instances import NOON, IndexCase, build_new_instance, change, store

from isocenter.dicom.levels import Level
from isocenter.errors import RevisionConflictError, UnknownResourceError
from isocenter.index.annotations import Address, Condition
from isocenter.index.attachments import (
    delete_attachment,
    find_content_types,
    lookup_attachment,
    replace_attachment,
    write_attachment,
)
from isocenter.index.change_log import find_changes
from isocenter.index.deletion import delete_resource
from isocenter.index.port import Database
from isocenter.index.reading import find_removals, get_statistics
from isocenter.index.records import Attachment, ChangeType, Deletion, StoredAttachment

STUDY = Address(Level.STUDY, "t")
INSTANCE = Address(Level.INSTANCE, "i")
CHECKED = Condition(is_required=True)


@pytest.fixture
def stored(index: IndexCase) -> Database:
    store(index.database, build_new_instance("p/t/r/i", size=1000, md5="dicom"))
    return index.database


def build(content_type: int = 1024, *, size: int = 100, md5: str = "m") -> Attachment:
    return Attachment(content_type, str(uuid.uuid4()), 1, size // 2, size, "packed", md5)


def write(
    database: Database,
    address: Address,
    attachment: Attachment,
    condition: Condition = Condition(),  # noqa: B008 - frozen
) -> StoredAttachment:
    return change(
        database,
        lambda batch: write_attachment(batch, address, attachment, condition=condition, now=NOON),
    )


def replace(
    database: Database, address: Address, attachment: Attachment, replaced: str
) -> StoredAttachment:
    return change(
        database,
        lambda batch: replace_attachment(batch, address, attachment, replaced=replaced, now=NOON),
    )


def delete(
    database: Database,
    address: Address,
    content_type: int,
    condition: Condition = Condition(),  # noqa: B008 - frozen
) -> None:
    change(
        database,
        lambda batch: delete_attachment(
            batch, address, content_type, condition=condition, now=NOON
        ),
    )


def lookup(database: Database, address: Address, content_type: int) -> StoredAttachment | None:
    return database.read(lambda tx: lookup_attachment(tx, address, content_type))


def list_removals(database: Database) -> list[str]:
    return database.read(lambda tx: find_removals(tx, 100))


def list_updates(database: Database) -> list[tuple[ChangeType, str]]:
    found = database.read(lambda tx: find_changes(tx, since=4, until=None, limit=100))
    return [(entry.change_type, entry.public_id) for entry in found]


def test_write_attachment_can_be_found(index: IndexCase, stored: Database) -> None:
    attachment = build()

    result = write(stored, STUDY, attachment)

    assert result == StoredAttachment(attachment, 0) == lookup(stored, STUDY, 1024)
    assert result.tag == "0-m"
    assert list_updates(stored) == [(ChangeType.UPDATED_ATTACHMENT, "t")]
    statistics = stored.read(get_statistics)
    assert (statistics.disk_size, statistics.uncompressed_size) == (550, 1100)
    index.assert_consistent()


def test_attachment_without_md5_is_tagged_by_its_name(stored: Database) -> None:
    attachment = build(md5="")

    assert write(stored, STUDY, attachment).tag == f"0-{attachment.attachment_uuid}"


def test_find_content_types_is_sorted(stored: Database) -> None:
    for code in (65535, 1024, 2000):
        write(stored, INSTANCE, build(code))

    assert stored.read(lambda tx: find_content_types(tx, INSTANCE)) == [1, 1024, 2000, 65535]
    assert stored.read(lambda tx: find_content_types(tx, STUDY)) == []


def test_write_attachment_again_drops_the_older_blob(index: IndexCase, stored: Database) -> None:
    older, newer = build(size=300), build(size=20, md5="n")
    write(stored, STUDY, older)

    result = write(stored, STUDY, newer)

    assert result == StoredAttachment(newer, 1)
    assert list_removals(stored) == [older.attachment_uuid]
    statistics = stored.read(get_statistics)
    assert (statistics.disk_size, statistics.uncompressed_size) == (510, 1020)
    index.assert_consistent()


def test_replace_attachment_keeps_counters_right(index: IndexCase, stored: Database) -> None:
    older, newer = build(size=300), build(size=900)
    write(stored, STUDY, older)

    result = replace(stored, STUDY, newer, older.attachment_uuid)

    assert result == StoredAttachment(newer, 1)
    assert list_removals(stored) == [older.attachment_uuid]
    assert len(list_updates(stored)) == 2
    index.assert_consistent()


def test_replace_attachment_that_changed_meanwhile_conflicts(
    index: IndexCase, stored: Database
) -> None:
    older, newer = build(), build()
    write(stored, STUDY, older)
    write(stored, STUDY, newer)

    with pytest.raises(RevisionConflictError):
        replace(stored, STUDY, build(), older.attachment_uuid)
    with pytest.raises(RevisionConflictError):
        replace(stored, STUDY, build(2000), older.attachment_uuid)

    assert lookup(stored, STUDY, 1024) == StoredAttachment(newer, 1)
    index.assert_consistent()


def test_delete_attachment_drops_its_blob(index: IndexCase, stored: Database) -> None:
    attachment = build()
    write(stored, STUDY, attachment)
    write(stored, STUDY, build(2000))

    delete(stored, STUDY, 1024)

    assert lookup(stored, STUDY, 1024) is None
    assert stored.read(lambda tx: find_content_types(tx, STUDY)) == [2000]
    assert list_removals(stored) == [attachment.attachment_uuid]
    assert len(list_updates(stored)) == 3
    assert write(stored, STUDY, build()).revision == 0
    index.assert_consistent()


@pytest.mark.parametrize("condition", [CHECKED, Condition("1-m"), Condition("0-x")])
def test_change_of_attachment_with_other_tag_conflicts(
    index: IndexCase, stored: Database, condition: Condition
) -> None:
    attachment = build()
    write(stored, STUDY, attachment, CHECKED)

    with pytest.raises(RevisionConflictError):
        write(stored, STUDY, build(), condition)
    with pytest.raises(RevisionConflictError):
        delete(stored, STUDY, 1024, condition)

    assert lookup(stored, STUDY, 1024) == StoredAttachment(attachment, 0)
    assert list_removals(stored) == []
    index.assert_consistent()


def test_change_of_attachment_with_present_tag_succeeds(stored: Database) -> None:
    first = write(stored, STUDY, build())

    second = write(stored, STUDY, build(md5="n"), Condition(first.tag, is_required=True))
    delete(stored, STUDY, 1024, Condition(second.tag, is_required=True))

    assert lookup(stored, STUDY, 1024) is None


@pytest.mark.parametrize("address", [Address(Level.STUDY, "x"), Address(Level.SERIES, "t")])
def test_attachments_of_unknown_resource_are_unknown(
    index: IndexCase, stored: Database, address: Address
) -> None:
    with pytest.raises(UnknownResourceError):
        stored.read(lambda tx: find_content_types(tx, address))
    with pytest.raises(UnknownResourceError):
        lookup(stored, address, 1)
    with pytest.raises(UnknownResourceError):
        write(stored, address, build())
    with pytest.raises(UnknownResourceError):
        delete(stored, address, 1024)
    index.assert_consistent()


def test_delete_attachment_that_is_not_there_is_unknown(stored: Database) -> None:
    with pytest.raises(UnknownResourceError):
        delete(stored, STUDY, 1024)


def test_delete_resource_drops_the_blobs_of_all_attachments(
    index: IndexCase, stored: Database
) -> None:
    levels = zip(Level, "ptri", strict=True)
    blobs = {
        write(stored, Address(level, public_id), build()).attachment.attachment_uuid
        for level, public_id in levels
    }
    dicom = lookup(stored, INSTANCE, 1)
    assert dicom is not None

    result = stored.write(lambda tx: delete_resource(tx, Level.INSTANCE, "i", deleted_at=NOON))

    assert result == Deletion(None, None)
    assert set(list_removals(stored)) == blobs | {dicom.attachment.attachment_uuid}
    assert stored.read(get_statistics).disk_size == 0
    index.assert_consistent()

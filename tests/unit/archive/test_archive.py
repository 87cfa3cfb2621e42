from typing import Any

import pytest
from tests.unit.archive.parts import REST, Parts, build_numbered, wait_until

from isocenter.archive.archive import Archive, build_archive
from isocenter.archive.received import StoreStatus
from isocenter.config.configuration import Configuration
from isocenter.dicom.levels import Level
from isocenter.errors import StorageUnavailableError
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Storage


class ReadOnlyStorage(MemoryStorage):
    """Stands for a folder without the right to write."""

    def check_writable(self) -> None:
        raise StorageUnavailableError


def new_archive(parts: Parts, storage: Storage | None = None, **options: Any) -> Archive:
    configuration = Configuration.defaults().with_values(options)
    return build_archive(configuration, parts.database, storage or parts.storage)


async def test_archive_stores_reads_and_deletes(parts: Parts) -> None:
    storage = FileSystemStorage(parts.folder / "storage", sync=False)
    archive = new_archive(parts, storage)
    await archive.start()
    data = build_numbered(1)

    outcome = await archive.ingest.store(data, REST)
    file = await archive.content.lookup_file(outcome.public_ids.instance)
    assert file is not None
    assert await file.read_small(0, file.size_bytes) == data
    await archive.deleter.delete(Level.PATIENT, outcome.public_ids.patient)
    await wait_until(lambda: not list(storage.iter_uuids()) and not parts.list_removals())
    await archive.stop()


@pytest.mark.parametrize(
    ("option", "again"),
    [
        ("Never", StoreStatus.ALREADY_STORED),
        ("Always", StoreStatus.SUCCESS),
        ("IfChanged", StoreStatus.ALREADY_STORED),
    ],
)
async def test_archive_follows_overwrite_option(
    parts: Parts, option: str, again: StoreStatus
) -> None:
    archive = new_archive(parts, OverwriteInstances=option)
    await archive.start()

    await archive.ingest.store(build_numbered(1), REST)
    outcome = await archive.ingest.store(build_numbered(1), REST)
    await archive.stop()

    assert outcome.status is again


async def test_archive_unwritable_storage_does_not_start(parts: Parts) -> None:
    archive = new_archive(parts, ReadOnlyStorage())

    with pytest.raises(StorageUnavailableError):
        await archive.start()
    await archive.stop()


def test_server_identifier_configured_is_taken(parts: Parts) -> None:
    archive = new_archive(parts, DatabaseServerIdentifier="node-1")

    assert archive.server_identifier == "node-1"


def test_server_identifier_default_is_stable_and_own(parts: Parts) -> None:
    first, again = new_archive(parts), new_archive(parts)
    other = new_archive(parts, DicomPort=11112)

    assert first.server_identifier == again.server_identifier != other.server_identifier
    assert len(first.server_identifier) == 40

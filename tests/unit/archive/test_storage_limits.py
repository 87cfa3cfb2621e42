"""Limits of storage, files that are not kept, and read-only mode, as the use cases see them."""

import io
import zipfile

import pytest
from tests.support.dicom_files import build_instance
from tests.unit.archive.parts import REST, Parts, build_numbered, wait_until
from tests.unit.archive.test_archive import new_archive

from isocenter.archive.archive import Archive
from isocenter.archive.content import TagsRequest
from isocenter.archive.periodic import Periodic
from isocenter.archive.received import StoreStatus
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.levels import Level
from isocenter.errors import FullStorageError, MissingFileError, ReadOnlyError
from isocenter.index.reading import get_statistics, list_public_ids
from isocenter.index.records import Overwrite, Quota, Rules

# One goes through a batch, the other has a thread to itself.
SIZES = pytest.mark.parametrize("pixels", [64, 200_000])
ONE_PATIENT = Rules(Quota(maximum_patients=1))
REJECTING = Rules(Quota(maximum_patients=1, is_recycling=False))


def build_patient(patient: str, number: int = 1, pixels: int = 64) -> bytes:
    """Build an instance of a patient, at least as long as its pixels."""
    return build_instance(
        patient_id=patient,
        study=f"1.2.{patient}",
        series=f"1.2.{patient}.1",
        instance=f"1.2.{patient}.1.{number}",
        tail=build_numbered(number, pixels=pixels)[-pixels - 12 :],
    )


def list_patients(parts: Parts) -> list[str]:
    return parts.database.read(lambda tx: list_public_ids(tx, Level.PATIENT))


@SIZES
async def test_full_storage_refuses_and_leaves_no_file(parts: Parts, pixels: int) -> None:
    ingest = parts.new_ingest(rules=REJECTING)
    first = await ingest.store(build_patient("1", pixels=pixels), REST)

    with pytest.raises(FullStorageError) as caught:
        await ingest.store(build_patient("2", pixels=pixels), REST)

    assert caught.value.public_ids is not None
    assert len(parts.list_blobs()) == 1
    assert list_patients(parts) == [first.public_ids.patient]
    assert parts.list_temporary() == []


@SIZES
async def test_recycling_calls_for_the_removal_of_files(parts: Parts, pixels: int) -> None:
    calls: list[int] = []
    ingest = parts.new_ingest(rules=ONE_PATIENT, on_removals=lambda: calls.append(1))
    await ingest.store(build_patient("1", pixels=pixels), REST)
    assert calls == []

    second = await ingest.store(build_patient("2", pixels=pixels), REST)

    assert calls == [1]
    assert list_patients(parts) == [second.public_ids.patient]
    assert len(parts.list_removals()) == 1


async def test_replacement_calls_for_the_removal_of_files(parts: Parts) -> None:
    calls: list[int] = []
    ingest = parts.new_ingest(overwrite=Overwrite.ALWAYS, on_removals=lambda: calls.append(1))
    for _ in range(2):
        await ingest.store(build_patient("1"), REST)

    assert calls == [1]


def pack(*files: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for number, data in enumerate(files):
            packed.writestr(str(number), data)
    return archive.getvalue()


async def test_full_storage_is_told_for_each_file_of_an_archive(parts: Parts) -> None:
    ingest = parts.new_ingest(rules=REJECTING)
    await ingest.store(build_patient("1"), REST)
    uploads = parts.new_uploads(ingest)
    packed = pack(build_patient("1", 2), build_patient("2"), build_patient("1"))

    outcomes = await uploads.store(packed, REST)

    assert isinstance(outcomes, list)
    assert [outcome.status for outcome in outcomes] == [
        StoreStatus.SUCCESS,
        StoreStatus.STORAGE_FULL,
        StoreStatus.ALREADY_STORED,
    ]
    assert outcomes[1].public_ids.patient not in list_patients(parts)


async def fill(parts: Parts) -> list[str]:
    """Store three patients without limits."""
    ingest = parts.new_ingest()
    outcomes = [await ingest.store(build_patient(str(number)), REST) for number in range(3)]
    return [outcome.public_ids.patient for outcome in outcomes]


async def test_start_with_a_lower_limit_recycles(parts: Parts) -> None:
    patients = await fill(parts)
    archive = new_archive(parts, MaximumPatientCount=1)

    await archive.start()
    await wait_until(lambda: not parts.list_removals() and len(parts.list_blobs()) == 1)
    await archive.stop()

    assert list_patients(parts) == [patients[-1]]


async def test_start_that_rejects_keeps_everything(parts: Parts) -> None:
    patients = await fill(parts)
    archive = new_archive(parts, MaximumPatientCount=1, MaximumStorageMode="Reject")

    await archive.start()
    await archive.stop()

    assert list_patients(parts) == sorted(patients)


async def test_megabytes_are_counted_in_1024(parts: Parts) -> None:
    archive = new_archive(parts, MaximumStorageSize=1, MaximumStorageMode="Reject")
    await archive.start()

    await archive.ingest.store(build_patient("1", pixels=1_040_000), REST)
    with pytest.raises(FullStorageError):
        await archive.ingest.store(build_patient("1", 2, pixels=10_000), REST)
    await archive.stop()


# Files that are not kept.


@SIZES
async def test_files_that_are_not_kept_leave_the_index(parts: Parts, pixels: int) -> None:
    archive = new_archive(parts, StoreDicom=False)
    await archive.start()

    outcome = await archive.ingest.store(build_patient("1", pixels=pixels), REST)
    again = await archive.ingest.store(build_patient("1", pixels=pixels), REST)
    await archive.stop()

    assert (outcome.status, again.status) == (StoreStatus.SUCCESS, StoreStatus.ALREADY_STORED)
    assert parts.list_blobs() == []
    row = parts.get(Level.INSTANCE, outcome.public_ids.instance)
    assert (row.attachment_uuid, row.file_size) == (None, None)
    statistics = parts.database.read(get_statistics)
    assert (statistics.instances, statistics.disk_size) == (1, 0)


@pytest.mark.parametrize("mode", ["Always", "IfChanged"])
async def test_files_that_are_not_kept_can_be_overwritten(parts: Parts, mode: str) -> None:
    archive = new_archive(parts, StoreDicom=False, OverwriteInstances=mode)
    await archive.start()

    outcomes = [await archive.ingest.store(build_patient("1"), REST) for _ in range(2)]
    await archive.deleter.delete(Level.PATIENT, outcomes[0].public_ids.patient)
    await archive.stop()

    assert [outcome.status for outcome in outcomes] == [StoreStatus.SUCCESS] * 2
    assert parts.database.read(get_statistics).patients == 0
    assert parts.list_removals() == []


async def test_content_of_a_file_that_is_not_kept_is_an_error(parts: Parts) -> None:
    archive = new_archive(parts, StoreDicom=False)
    await archive.start()
    instance = (await archive.ingest.store(build_patient("1"), REST)).public_ids.instance

    with pytest.raises(MissingFileError, match="StoreDicom"):
        await archive.content.lookup_file(instance)
    with pytest.raises(MissingFileError, match="StoreDicom"):
        await archive.content.lookup_tags(instance, TagsRequest(Shape.HUMAN))
    assert await archive.content.lookup_file("nobody") is None
    await archive.stop()


# Read-only.


async def open_read_only(parts: Parts) -> Archive:
    archive = new_archive(parts, ReadOnly=True, MaximumPatientCount=1, StableAge=0)
    await archive.start()
    return archive


async def test_read_only_archive_reads(parts: Parts) -> None:
    patients = await fill(parts)

    archive = await open_read_only(parts)
    row = await archive.browse.lookup(Level.PATIENT, patients[0])
    is_protected = await archive.protection.get(patients[0])
    await archive.stop()

    assert row is not None
    assert not is_protected
    assert list_patients(parts) == sorted(patients)


async def test_read_only_archive_starts_no_work_of_its_own(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Periodic] = []
    monkeypatch.setattr(Periodic, "start", started.append)

    archive = await open_read_only(parts)
    await archive.stop()

    assert started == []


@SIZES
async def test_read_only_archive_refuses_instances(parts: Parts, pixels: int) -> None:
    archive = await open_read_only(parts)

    with pytest.raises(ReadOnlyError):
        await archive.ingest.store(build_patient("9", pixels=pixels), REST)
    with pytest.raises(ReadOnlyError):
        archive.ingest.store_blocking(build_patient("9", pixels=pixels), REST)
    await archive.stop()

    assert parts.list_blobs() == []


async def test_read_only_archive_refuses_every_other_change(parts: Parts) -> None:
    patients = await fill(parts)
    archive = await open_read_only(parts)

    for change in (
        archive.deleter.delete(Level.PATIENT, patients[0]),
        archive.deleter.delete_many([(None, patients[0])]),
        archive.protection.set(patients[0], is_protected=True),
        archive.changes.clear(),
        archive.exports.clear(),
    ):
        with pytest.raises(ReadOnlyError):
            await change
    await archive.stop()

    assert list_patients(parts) == sorted(patients)

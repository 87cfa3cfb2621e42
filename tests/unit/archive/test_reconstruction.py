"""What goes wrong, or changes, while resources are rebuilt."""

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import pydicom
import pytest
from tests.support.dicom_files import build_instance
from tests.support.pixels import InlineCoder, build_image, build_samples
from tests.unit.archive.parts import REST, Parts, build_numbered

from isocenter.archive import reconstruction
from isocenter.archive.blobs import Blobs
from isocenter.archive.conversion import Converter, StoredConverter
from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.received import StoreOutcome
from isocenter.archive.reconstruction import Reconstruction, ReconstructionOptions
from isocenter.archive.settings import Settings
from isocenter.archive.transcoding import Target, Transcoder
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_main_tags
from isocenter.errors import DatabaseUnavailableError, FullStorageError, ServerError
from isocenter.index.port import Transaction
from isocenter.index.reading import get_statistics, lookup_dicom_attachment
from isocenter.index.rebuilding import (
    RebuiltResource,
    find_stored_instances,
    rebuild_resources,
)
from isocenter.index.records import DicomAttachment, MetadataCode, NewResource, Overwrite

ROWS = 0x00280010
EXTRA = build_main_tags({Level.INSTANCE: [ROWS]})


IMAGE = build_image(build_samples(240, bits=8, size=1), allocated=8)
JPEG, JPEG_LS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80"


class Case:
    """A reconstruction, with what it told of its removals."""

    def __init__(
        self,
        parts: Parts,
        *,
        is_compressed: bool = False,
        converter: StoredConverter | None = None,
    ) -> None:
        self.removals = 0
        self._blobs = Blobs(parts.storage, has_md5=True, is_compressed=is_compressed)
        self.subject = Reconstruction(
            parts.workers,
            parts.database,
            parts.storage,
            blobs=self._blobs,
            options=ReconstructionOptions(
                EXTRA, Settings(), is_compressed, parts.folder, converter
            ),
            on_removal=self._count,
        )

    def _count(self) -> None:
        self.removals += 1

    def close(self) -> None:
        self._blobs.close()


@pytest.fixture
def case(parts: Parts) -> Any:
    made = Case(parts, is_compressed=True)
    yield made
    made.close()


async def store(parts: Parts, count: int = 3, **options: Any) -> list[StoreOutcome]:
    files = [build_file(number) for number in range(count)]
    ingest = parts.new_ingest(**options)
    return [await ingest.store(data, REST) for data in files]


def build_file(number: int, rows: bytes = b"\1\0") -> bytes:
    return build_instance(
        {ROWS: ("US", rows), 0x00200013: ("IS", str(number))}, instance=f"1.2.3.{number}"
    )


def has_rows(parts: Parts, outcome: StoreOutcome) -> bool:
    return '"Rows"' in parts.get(Level.INSTANCE, outcome.public_ids.instance).main_tags


@pytest.mark.parametrize("files", [1, 2, 100])
@pytest.mark.parametrize("rows", [1, 2, 100])
async def test_rebuilding_works_in_parts_of_any_size(
    parts: Parts, case: Case, monkeypatch: pytest.MonkeyPatch, *, files: int, rows: int
) -> None:
    monkeypatch.setattr(reconstruction, "_FILES_OF_A_HOP", files)
    monkeypatch.setattr(reconstruction, "_ROWS_OF_A_TRANSACTION", rows)
    outcomes = await store(parts)

    assert await case.subject.rebuild(Level.STUDY, outcomes[0].public_ids.study, has_files=True)

    assert all(has_rows(parts, outcome) for outcome in outcomes)
    assert case.removals == 1
    assert len(parts.list_removals()) == 3
    assert [path for path in parts.folder.iterdir() if path.name.startswith("tmp")] == []


def build_stored_converter(parts: Parts, target: str) -> StoredConverter:
    buffers = FileBuffers(parts.storage, cache_bytes=1 << 20, temporary_folder=parts.folder)
    converter = Converter(Transcoder(InlineCoder(), parts.folder), Target(target), Settings())
    return StoredConverter(converter, buffers)


def lookup_file(parts: Parts, public_id: str) -> DicomAttachment:
    found = parts.database.read(lambda tx: lookup_dicom_attachment(tx, public_id))
    assert found is not None
    return found


@pytest.mark.parametrize("is_compressed", [False, True])
async def test_files_are_brought_into_the_transfer_syntax_of_what_arrives(
    parts: Parts, *, is_compressed: bool
) -> None:
    names = (await parts.store(IMAGE)).public_ids
    old = lookup_file(parts, names.instance)
    converter = build_stored_converter(parts, JPEG_LS)
    case = Case(parts, is_compressed=is_compressed, converter=converter)

    for _ in range(2):
        assert await case.subject.rebuild(Level.STUDY, names.study, has_files=True)

    new = lookup_file(parts, names.instance)
    assert parts.list_removals() == [old.attachment.attachment_uuid]
    assert (bool(new.attachment.compression), new.revision) == (is_compressed, 1)
    with FileBuffers(parts.storage, cache_bytes=1 << 20, temporary_folder=parts.folder).open_whole(
        new.attachment
    ) as buffer:
        content = bytes(buffer)
    assert pydicom.dcmread(io.BytesIO(content)).file_meta.TransferSyntaxUID == JPEG_LS
    assert new.pixel_data_offset == content.index(b"\xe0\x7f\x10\x00OB")
    assert len(content) == new.attachment.uncompressed_size != len(IMAGE)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert new.attachment.uncompressed_md5 == md5
    assert f'"{JPEG_LS}"' in parts.get(Level.INSTANCE, names.instance).metadata
    sizes = parts.database.read(get_statistics)
    assert sizes.uncompressed_size == len(content)
    assert sizes.disk_size == new.attachment.compressed_size
    assert parts.list_temporary() == []
    case.close()


async def test_files_keep_what_they_would_lose(parts: Parts) -> None:
    names = (await parts.store(IMAGE)).public_ids
    old = lookup_file(parts, names.instance)
    case = Case(parts, converter=build_stored_converter(parts, JPEG))

    assert await case.subject.rebuild(Level.STUDY, names.study, has_files=True)

    assert lookup_file(parts, names.instance) == old
    assert (parts.list_removals(), len(parts.list_blobs()), parts.list_temporary()) == ([], 1, [])
    case.close()


async def test_instance_that_is_replaced_meanwhile_is_read_again(
    parts: Parts, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = await store(parts)
    names = parts.get(Level.INSTANCE, outcomes[1].public_ids.instance)
    calls: list[int] = []

    def write(tx: Transaction, rows: Sequence[RebuiltResource]) -> list[int]:
        calls.append(len(rows))
        if len(calls) == 1:
            # As if its file had got another name since it was read.
            stale = [
                RebuiltResource(row.internal_id, row.row, "other")
                if row.internal_id == names.internal_id
                else row
                for row in rows
            ]
            return rebuild_resources(tx, stale)
        return rebuild_resources(tx, rows)

    monkeypatch.setattr(reconstruction, "rebuild_resources", write)
    assert await case.subject.rebuild(Level.SERIES, outcomes[0].public_ids.series)

    # Six rows, then the one again.
    assert calls == [6, 1]
    assert all(has_rows(parts, outcome) for outcome in outcomes)


async def test_instance_that_is_replaced_for_ever_ends_the_rounds(
    parts: Parts, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = await store(parts, 1)
    row = parts.get(Level.INSTANCE, outcomes[0].public_ids.instance)
    rounds = 0

    def write(_: Transaction, __: Sequence[RebuiltResource]) -> list[int]:
        nonlocal rounds
        rounds += 1
        return [row.internal_id]

    monkeypatch.setattr(reconstruction, "rebuild_resources", write)
    assert await case.subject.rebuild(Level.INSTANCE, outcomes[0].public_ids.instance)
    assert rounds == reconstruction._ROUNDS


async def test_instance_that_is_deleted_meanwhile_is_passed_over(
    parts: Parts, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = await store(parts)
    gone = parts.get(Level.INSTANCE, outcomes[0].public_ids.instance).internal_id

    def find_others(tx: Transaction, internal_ids: Sequence[int]) -> Any:
        return find_stored_instances(
            tx, [internal_id for internal_id in internal_ids if internal_id != gone]
        )

    monkeypatch.setattr(reconstruction, "find_stored_instances", find_others)
    assert await case.subject.rebuild(Level.STUDY, outcomes[0].public_ids.study)
    assert [has_rows(parts, outcome) for outcome in outcomes] == [False, True, True]


async def test_patient_keeps_the_tags_of_the_instance_that_came_first(
    parts: Parts, case: Case
) -> None:
    ingest = parts.new_ingest()
    first = await ingest.store(build_instance({0x00100010: ("PN", "FIRST")}), REST)
    second = await ingest.store(
        build_instance(
            {0x00100010: ("PN", "SECOND")}, study="1.2.0", series="1.2.0.1", instance="1.2.0.1.1"
        ),
        REST,
    )

    assert await case.subject.rebuild(Level.INSTANCE, second.public_ids.instance)

    assert '"FIRST"' in parts.get(Level.PATIENT, first.public_ids.patient).main_tags
    study = parts.get(Level.STUDY, second.public_ids.study)
    assert study.patient_tags is not None
    assert '"SECOND"' in study.patient_tags


@pytest.mark.parametrize(
    ("error", "left"), [(FullStorageError(), 0), (DatabaseUnavailableError(), 3)]
)
async def test_new_files_stay_only_if_they_may_be_in_use(
    parts: Parts, case: Case, monkeypatch: pytest.MonkeyPatch, *, error: ServerError, left: int
) -> None:
    outcomes = await store(parts)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(reconstruction, "replace_files", fail)
    with pytest.raises(type(error)):
        await case.subject.rebuild(Level.STUDY, outcomes[0].public_ids.study, has_files=True)
    assert len(parts.list_blobs()) == 3 + left
    # The rows are rebuilt before the files are touched.
    assert all(has_rows(parts, outcome) for outcome in outcomes)


async def test_database_that_is_gone_ends_the_rebuilding_of_all(
    parts: Parts, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    for number in range(3):
        await parts.store(build_instance(patient_id=f"P{number}"))

    def fail(*_: object) -> None:
        nonlocal calls
        calls += 1
        raise DatabaseUnavailableError

    monkeypatch.setattr(reconstruction, "rebuild_resources", fail)
    with pytest.raises(DatabaseUnavailableError):
        await case.subject.rebuild_all()
    assert calls == 1


async def test_overwritten_file_is_described_by_what_it_is_now(parts: Parts, case: Case) -> None:
    await store(parts, 1)
    outcome = await parts.store(build_file(0, b"\7\0"), overwrite=Overwrite.ALWAYS)
    assert await case.subject.rebuild(Level.INSTANCE, outcome.public_ids.instance)
    assert '"Rows":"7"' in parts.get(Level.INSTANCE, outcome.public_ids.instance).main_tags


@pytest.mark.parametrize("offset", [0, 200, 400, 10**9])
async def test_wrong_offset_of_the_pixel_data_is_mended(
    parts: Parts, case: Case, offset: int
) -> None:
    outcome = await parts.store(build_numbered(1))
    public_id = outcome.public_ids.instance
    [found] = parts.database.read(
        lambda tx: find_stored_instances(tx, [parts.get(Level.INSTANCE, public_id).internal_id])
    )
    before = parts.get_metadata(Level.INSTANCE, public_id)[MetadataCode.PIXEL_DATA_OFFSET]
    description = NewResource("I", "{}", f'{{"14":"{offset}"}}')
    parts.database.write(
        lambda tx: rebuild_resources(tx, [RebuiltResource(found.internal_id, description)])
    )
    assert await case.subject.rebuild(Level.INSTANCE, public_id)
    assert parts.get_metadata(Level.INSTANCE, public_id)[MetadataCode.PIXEL_DATA_OFFSET] == before

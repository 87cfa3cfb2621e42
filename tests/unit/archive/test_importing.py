"""Importing files: what is stored, skipped, refused and left alone."""

import io
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.dicom_files import EXPLICIT_LITTLE, encode_element
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.archive.parts import Parts

from isocenter.archive.import_target import LocalTarget
from isocenter.archive.importing import Importer, ImportReport, Refusal
from isocenter.archive.inspection import InspectionOptions, Inspector
from isocenter.archive.received import Content, StoreStatus
from isocenter.errors import FullStorageError, ServerError
from isocenter.index.reading import get_statistics
from isocenter.index.records import Overwrite
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Buffer


class CountingStorage(MemoryStorage):
    """Counts what is written."""

    written = 0

    def write_many(
        self, blobs: Sequence[tuple[str, Buffer]], memos: Sequence[bytes] = ()
    ) -> Callable[[], None] | None:
        self.written += len(blobs)
        return super().write_many(blobs, memos)


def build_options(folder: Path) -> InspectionOptions:
    return InspectionOptions(folder, 200_000, 10_000_000, "Latin1")


def build_large(size: int = 400_000) -> SyntheticFile:
    pixels = encode_element(0x7FE00010, "OW", bytes(size), syntax=EXPLICIT_LITTLE)
    return build_synthetic(tail=pixels)


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


async def run_import(
    parts: Parts, *paths: Path, storage: MemoryStorage | None = None, **options: Any
) -> tuple[ImportReport, list[Refusal]]:
    ingest = parts.new_ingest(storage=storage, **options)
    refusals: list[Refusal] = []
    spool = parts.folder / "spool"
    spool.mkdir(exist_ok=True)
    try:
        target = LocalTarget(
            ingest, parts.database, has_overwriting=options.get("overwrite") is not None
        )
        importer = Importer(target, build_options(spool), on_refusal=refusals.append)
        report = await importer.run(map(str, paths))
    finally:
        ingest.close()
    assert list(spool.iterdir()) == []
    return report, sorted(refusals, key=lambda r: (r.path, r.entry))


def zip_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


async def test_folder_is_imported_and_again_without_writing_anything(parts: Parts) -> None:
    small, large = [build_synthetic() for _ in range(70)], [build_large(), build_large(120_000)]
    for number, file in enumerate([*small, *large]):
        write(parts.folder, f"{number % 7}/{number}", file.content)
    storage = CountingStorage()
    report, refusals = await run_import(parts, parts.folder / "in", storage=storage)
    assert (report.seen, report.stored, report.present, refusals) == (72, 72, 0, [])
    assert report.bytes == sum(len(file.content) for file in [*small, *large])
    assert parts.database.read(get_statistics).instances == 72
    written = storage.written
    assert written

    again, refusals = await run_import(parts, parts.folder / "in", storage=storage)
    assert (again.seen, again.stored, again.present, refusals) == (72, 0, 72, [])
    assert again.bytes == report.bytes
    assert storage.written == written


async def test_instances_that_may_be_replaced_are_handed_over(parts: Parts) -> None:
    path = write(parts.folder, "file", build_synthetic().content)
    await run_import(parts, path)
    report, _ = await run_import(parts, path, overwrite=Overwrite.ALWAYS)
    assert (report.stored, report.present) == (1, 0)


async def test_zip_is_unpacked_and_its_damaged_entry_told(parts: Parts) -> None:
    files = [build_synthetic() for _ in range(20)]
    packed = {f"a/{n}": file.content for n, file in enumerate(files)}
    packed |= {"README": b"hello", "DICOMDIR": b"x", "../../evil": build_large().content}
    data = bytearray(zip_of(packed))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        entry = archive.getinfo("a/3")
        data[entry.header_offset + 30 + len("a/3") + 20] ^= 0xFF
    path = write(parts.folder, "medium.zip", bytes(data))
    report, refusals = await run_import(parts, path)
    assert (report.seen, report.stored, report.refused, report.ignored) == (1, 20, 1, 1)
    assert [(r.path, r.entry, r.code, r.is_dicom) for r in refusals] == [
        (str(path), "README", 15, False),
        (str(path), "a/3", 15, True),
    ]
    again, _ = await run_import(parts, path)
    assert (again.stored, again.present) == (0, 20)
    assert not (parts.folder / "evil").exists()


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04" + b"x" * 100, b"PK\x05\x06", zip_of({"a": b"b"})[:-10]],
    ids=["garbage", "end-only", "cut-off"],
)
async def test_damaged_zip_is_refused(parts: Parts, content: bytes) -> None:
    path = write(parts.folder, "medium.zip", content)
    report, [refusal] = await run_import(parts, path)
    assert (report.seen, report.refused) == (1, 1)
    assert (refusal.path, refusal.entry, refusal.code) == (str(path), "", 15)


async def test_other_files_are_left_alone_and_damaged_ones_refused(parts: Parts) -> None:
    whole = build_large().content
    write(parts.folder, "cut", whole[:-5])
    write(parts.folder, "empty", b"")
    write(parts.folder, "text", b"Dear Sirs")
    write(parts.folder, "magic", bytes(128) + b"DICM" + b"nonsense")
    write(parts.folder, "no-uid", build_synthetic({0x0020000D: ("UI", "")}).content)
    write(parts.folder, "good", whole)
    report, refusals = await run_import(parts, parts.folder / "in")
    assert (report.stored, report.refused, report.ignored) == (1, 3, 2)
    told = {Path(r.path).name: r.is_dicom for r in refusals}
    assert told == {"cut": True, "empty": False, "text": False, "magic": True, "no-uid": True}
    assert all(r.code == 15 and r.reason for r in refusals)


async def test_what_is_no_file_is_refused_without_waiting(parts: Parts) -> None:
    folder = write(parts.folder, "good", build_synthetic().content).parent
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to("nowhere")
    (folder / "linked").symlink_to("good")
    report, refusals = await run_import(parts, folder, parts.folder / "nothing")
    assert (report.stored + report.present, report.refused) == (2, 4)
    assert {Path(r.path).name: (r.reason, r.code) for r in refusals} == {
        "pipe": ("not a regular file", 14),
        "loop": ("a link to a folder is not followed", 14),
        "dangling": ("no such file or directory", 14),
        "nothing": ("no such file or directory", 14),
    }


class FullTarget:
    """Refuses everything after some files."""

    def __init__(self, room: int) -> None:
        self.room = room

    async def find_stored(self, public_ids: Sequence[str]) -> set[str]:
        return set()

    async def store(self, content: Content) -> StoreStatus | ServerError:
        if not isinstance(content, bytes):
            content.close()
        if self.room == 0:
            raise FullStorageError
        self.room -= 1
        return StoreStatus.SUCCESS


@pytest.mark.parametrize("is_zip", [False, True])
async def test_full_disk_ends_the_import(tmp_path: Path, is_zip: bool) -> None:
    contents = {str(n): build_large().content for n in range(5)}
    contents |= {f"s{n}": build_synthetic().content for n in range(80)}
    if is_zip:
        write(tmp_path, "medium.zip", zip_of(contents))
    else:
        for name, content in contents.items():
            write(tmp_path, name, content)
    (tmp_path / "spool").mkdir()
    importer = Importer(FullTarget(3), build_options(tmp_path / "spool"), on_refusal=print)
    with pytest.raises(FullStorageError):
        await importer.run([str(tmp_path / "in")])
    assert list((tmp_path / "spool").iterdir()) == []


async def test_import_that_is_stopped_ends_soon_and_goes_on_next_time(parts: Parts) -> None:
    for number in range(400):
        write(parts.folder, str(number), build_synthetic().content)
    ingest = parts.new_ingest()
    target = LocalTarget(ingest, parts.database, has_overwriting=False)
    importer = Importer(
        target,
        build_options(parts.folder),
        on_refusal=print,
        on_progress=lambda _: importer.stop(),
    )
    report = await importer.run([str(parts.folder / "in")])
    ingest.close()
    assert 0 < report.stored < 400
    rest, _ = await run_import(parts, parts.folder / "in")
    assert (rest.stored, rest.present) == (400 - report.stored, report.stored)


async def test_many_lanes_share_what_is_to_do(parts: Parts) -> None:
    for number in range(300):
        write(parts.folder, str(number), build_synthetic(patient_id="same").content)
    report, _ = await run_import(parts, parts.folder / "in")
    assert (report.seen, report.stored) == (300, 300)
    assert parts.database.read(get_statistics).patients == 1


def test_file_that_changes_between_two_looks_is_read_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path, "file", build_large().content)
    inspector = Inspector(build_options(tmp_path))
    found = inspector.look_at(str(path))
    assert found.content is None
    other = build_large(600_000).content
    path.write_bytes(other)
    content = inspector.read(found)
    assert not isinstance(content, bytes)
    with content, content.buffer() as buffer:
        assert bytes(buffer) == other

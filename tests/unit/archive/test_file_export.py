"""Files written to folders of the host."""

import os
from pathlib import Path

import pytest
from tests.unit.archive.parts import Parts, build_numbered

from isocenter.archive.content import ContentReader
from isocenter.archive.file_export import FileExporter
from isocenter.errors import CorruptedBlobError, UnwritableFileError


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "exports"
    folder.mkdir()
    return folder


def new_exporter(parts: Parts, own: Path) -> FileExporter:
    content = ContentReader(parts.workers, parts.storage, parts.new_buffers())
    return FileExporter(parts.workers, content, own_folders=[own])


@pytest.mark.parametrize("is_compressed", [True, False])
async def test_export_writes_the_file_in_place_of_an_older_one(
    parts: Parts, target: Path, tmp_path: Path, is_compressed: bool
) -> None:
    data = build_numbered(1, pixels=600_000)
    public_id = (await parts.store(data, is_compressed=is_compressed)).public_ids.instance
    path = target / "é.dcm"
    path.write_bytes(b"older")

    assert await new_exporter(parts, tmp_path / "own").export(public_id, str(path))

    assert path.read_bytes() == data
    assert os.listdir(target) == ["é.dcm"]


async def test_export_of_an_unknown_instance_writes_nothing(
    parts: Parts, target: Path, tmp_path: Path
) -> None:
    exporter = new_exporter(parts, tmp_path / "own")

    assert not await exporter.export("unknown", str(target / "file"))
    assert os.listdir(target) == []


async def test_export_to_what_is_no_file_is_refused(
    parts: Parts, target: Path, tmp_path: Path
) -> None:
    public_id = (await parts.store(build_numbered(1))).public_ids.instance
    own = tmp_path / "own"
    own.mkdir()
    os.mkfifo(target / "pipe")
    (target / "link").symlink_to(own)
    exporter = new_exporter(parts, own)

    for path in (
        *("", str(target), f"{target}/nowhere/file", f"{target}/pipe", f"{target}/a\0b"),
        *(str(own / "index"), f"{target}/../own/index", f"{target}/link/index", "/proc/x", "/"),
        *("/dev/null", f"{target}/{'x' * 300}", str(own)),
    ):
        with pytest.raises(UnwritableFileError):
            await exporter.export(public_id, path)

    assert sorted(os.listdir(target)) == ["link", "pipe"]
    assert os.listdir(own) == []


async def test_export_of_a_damaged_file_leaves_nothing(
    parts: Parts, target: Path, tmp_path: Path
) -> None:
    data = build_numbered(1, pixels=600_000)
    public_id = (await parts.store(data, is_compressed=True)).public_ids.instance
    [name] = parts.storage.iter_uuids()
    parts.storage.write(name, parts.storage.read(name)[:-6])

    with pytest.raises(CorruptedBlobError):
        await new_exporter(parts, tmp_path / "own").export(public_id, str(target / "file"))
    assert os.listdir(target) == []

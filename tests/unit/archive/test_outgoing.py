"""Stored instances as they go over the wire."""

from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any

import pytest
from tests.support.dicom_files import encode_element
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api, open_api

from isocenter.dicom.file_meta import read_file_meta
from isocenter.dicom.levels import Level
from isocenter.errors import CorruptedBlobError, MissingFileError, UnknownResourceError

SMALL, LARGE = 1_000, 5_000_000


def build(size: int, number: int = 1, *, series: str = "1.3") -> SyntheticFile:
    return build_synthetic(
        {0x00200013: ("IS", str(number))},
        patient_id="P",
        study="1.2",
        series=series,
        instance=f"{series}.{number}",
        tail=encode_element(0x7FE00010, "OW", bytes(range(250)) * (size // 250)),
    )


async def read(source: Any) -> bytes:
    if isinstance(source, AsyncIterable):
        return b"".join([bytes(piece) async for piece in source])
    return bytes(source)


async def open_one(api: Api, file: SyntheticFile) -> bytes:
    outgoing = api.archive.remotes.outgoing
    found = await outgoing.find([file.instance])
    opened = await outgoing.open(found[file.instance])
    assert opened.sop_instance_uid == file.uids[2]
    return await read(opened.data_set)


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("is_compressed", [True, False])
async def test_data_set_is_what_follows_the_meta_information(
    tmp_path: Path, size: int, is_compressed: bool
) -> None:
    async with open_api(tmp_path, {"StorageCompression": is_compressed}) as api:
        file = await api.store(build(size))
        start = read_file_meta(file.content).data_set_offset
        assert start > 128
        assert await open_one(api, file) == file.content[start:]


async def test_bare_data_set_is_sent_whole(tmp_path: Path) -> None:
    file = build(SMALL)
    bare = file.content[read_file_meta(file.content).data_set_offset :]
    async with open_api(tmp_path, {}) as api:
        result = await api.request("POST", "/instances", body=bare)
        assert result.status_code == 200
        assert await open_one(api, file) == bare


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_vanished_or_cut_file_is_an_error(tmp_path: Path, size: int) -> None:
    async with open_api(tmp_path, {}) as api:
        file = await api.store(build(size))
        found = await api.archive.remotes.outgoing.find([file.instance])
        uuid = found[file.instance].attachment.attachment_uuid
        storage = api.archive.storage
        content = storage.read(uuid)
        storage.remove(uuid)
        with pytest.raises(MissingFileError):
            await open_one(api, file)
        storage.write(uuid, content[:-1])
        with pytest.raises(CorruptedBlobError):
            await open_one(api, file)


async def test_plan_goes_series_by_series_in_the_order_of_numbers(tmp_path: Path) -> None:
    async with open_api(tmp_path, {}) as api:
        files = [
            await api.store(build(SMALL, number, series=series))
            for number, series in ((10, "1.3"), (9, "1.4"), (2, "1.3"))
        ]
        outgoing = api.archive.remotes.outgoing
        plan = await outgoing.plan([files[0].study, files[0].series])
        names = [file.instance for file in files]
        assert sorted(plan.instances) == sorted(names)
        assert plan.instances.index(names[0]) == plan.instances.index(names[2]) + 1
        assert plan.resources == (
            (Level.STUDY, files[0].study),
            (Level.SERIES, files[0].series),
        )
        assert plan.combinations == (("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"),)
        assert (await outgoing.plan([])).instances == ()
        with pytest.raises(UnknownResourceError):
            await outgoing.plan(["nope"])

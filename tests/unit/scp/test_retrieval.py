"""What a retrieval sends while others change it."""

from pathlib import Path
from typing import Any

from tests.support.server import build_synthetic
from tests.unit.rest.api import open_api

from isocenter.scp.retrieval import RetrievePlanner
from isocenter.scu.store import InstanceToStore


async def test_file_that_an_instance_got_meanwhile_is_opened(tmp_path: Path) -> None:
    unused: Any = None
    async with open_api(tmp_path, {}) as api:
        files = [
            await api.store(
                build_synthetic(patient_id="P", study="1.2", series="1.3", instance=f"1.4.{number}")
            )
            for number in range(4)
        ]
        outgoing = api.archive.remotes.outgoing
        planner = RetrievePlanner(unused, outgoing, unused, unused, unused)
        opened = planner.iter_opened([file.instance for file in files], outgoing.open)
        results = [await anext(opened)]
        for file in files[1:3]:
            before = (await outgoing.find([file.instance]))[file.instance].attachment
            path = f"/instances/{file.instance}/attachments/dicom/compress"
            assert (await api.request("POST", path)).status_code == 200
            api.archive.storage.remove(before.attachment_uuid)
        results += [result async for result in opened]
    assert [uid for uid, _ in results] == [file.uids[2] for file in files]
    assert all(isinstance(result, InstanceToStore) for _, result in results)

"""Handles of queries and requests for storage commitment outlive the server."""

import json
from pathlib import Path
from typing import Any

from tests.support.asked import Asked, encode_answer, run_asked
from tests.support.dicom_files import CT_IMAGE_STORAGE
from tests.unit.rest.api import Api, open_api

from isocenter.dicom.commitment_reports import CommitmentReport

OPTIONS = {"DicomModalitiesInDatabase": True}


async def post(api: Api, target: str, value: Any) -> Any:
    result = await api.request("POST", target, body=json.dumps(value).encode())
    assert result.status_code == 200, result.text
    return result.json


async def test_query_and_commitment_go_on_after_a_restart(tmp_path: Path) -> None:
    remote = Asked(answers=[encode_answer({0x00100020: ("LO", "P1"), 0x0020000D: ("UI", "1.2")})])
    async with run_asked(remote) as port:
        async with open_api(tmp_path, OPTIONS) as api:
            body = json.dumps(["REMOTE", "127.0.0.1", port]).encode()
            await api.request("PUT", "/modalities/remote", body=body)
            query = (await post(api, "/modalities/remote/query", {"Level": "Study"}))["Path"]
            named = {"DicomInstances": [[CT_IMAGE_STORAGE, "1.4"]]}
            asked = await post(api, "/modalities/remote/storage-commitment", named)
        async with open_api(tmp_path, OPTIONS) as api:
            (answer,) = await api.get_json(f"{query}/answers?expand&simplify")
            assert answer["StudyInstanceUID"] == "1.2"
            await post(api, f"{query}/answers/0/retrieve", "")
            assert remote.identifiers[-1]["0020,000d"] == "1.2"
            assert (await api.get_json(asked["Path"]))["Status"] == "Pending"
            report = CommitmentReport(asked["ID"], ((CT_IMAGE_STORAGE, "1.4"),), ())
            reports = api.archive.remotes.commitment_reports
            assert await reports.receive(report, remote_aet="REMOTE")
        async with open_api(tmp_path, OPTIONS) as api:
            assert (await api.get_json(asked["Path"]))["Status"] == "Success"

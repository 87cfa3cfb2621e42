"""Calls of remote modalities that misbehave, whatever is asked of them."""

import asyncio
import json
import logging
from typing import Any

import pytest
from tests.support.scripted_peer import ScriptedPeer, misbehave, scripted_acceptor
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")

STUDY: dict[str, Any] = {"Level": "Study", "Resources": [{"StudyInstanceUID": "1.2"}]}

OPERATIONS = {
    "echo": {},
    "query": {"Level": "Study"},
    "find-worklist": {"PatientID": ""},
    "find-study": {"PatientID": ""},
    "move": STUDY,
    "get": STUDY,
}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("speaks another protocol", 9),
        ("closes at once", 9),
        ("rejects", 9),
        ("accepts nothing", 2015),
        ("sends garbage", 9),
        ("aborts", 9),
        ("closes in the middle", 9),
        ("hangs", 16),
    ],
)
async def test_call_of_a_peer_at_fault_is_500_and_logged_once(
    api: Api, fault: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "isocenter")
    file = await api.store()
    caplog.clear()
    operations: dict[str, Any] = {
        **OPERATIONS,
        "store": [file.study],
        "storage-commitment": {"Resources": [file.study]},
    }

    async def play(peer: ScriptedPeer) -> None:
        await misbehave(peer, fault)

    async def call(port: int, name: str, body: Any) -> Any:
        modality = {"AET": "FAULTY", "Host": "127.0.0.1", "Port": port, "Timeout": 1}
        target = f"/modalities/faulty-{name}"
        await api.request("PUT", target, body=json.dumps(modality).encode())
        return await api.request("POST", f"{target}/{name}", body=json.dumps(body).encode())

    async with scripted_acceptor(play) as port:
        results = await asyncio.gather(*(call(port, *item) for item in operations.items()))
    for name, result in zip(operations, results, strict=True):
        assert (result.status_code, result.json["OrthancStatus"]) == (500, code), name
    records = [(record.message, vars(record)) for record in caplog.records]
    reasons = [extra.get("reason", "") for _, extra in records]
    # One for each call, which tells of whom.
    assert len(records) == len(operations), records
    assert all("FAULTY" in reason for reason in reasons), reasons
    kinds = {extra["kind"] for message, extra in records if message == "a job failed"}
    assert kinds == {"DicomMoveScu", "DicomGetScu", "DicomModalityStore"}

"""C-MOVE to destinations that misbehave, and requestors that do not wait for them."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.support.dicom_files import build_data_set
from tests.support.dimse_client import STUDY_ROOT, connect
from tests.support.scripted_peer import (
    ScriptedPeer,
    accept_association,
    misbehave,
    scripted_acceptor,
)
from tests.support.server import TestServer, build_synthetic, run_server

from isocenter.dimse.pdu import Abort

MOVE, FIND = f"{STUDY_ROOT}.2", f"{STUDY_ROOT}.1"
COUNT = 3
DEADLINE_S = 15
IDENTIFIER = build_data_set({0x00080052: ("CS", "STUDY"), 0x0020000D: ("UI", "1.2.3")})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    options = {"DicomAlwaysAllowMove": True, "DicomAlwaysAllowFind": True, "DicomScuTimeout": 0}
    with run_server(tmp_path_factory.mktemp("faults"), options) as server:
        for number in range(COUNT):
            server.store(build_synthetic(study="1.2.3", patient_id="P", instance=f"1.2.3.{number}"))
        yield server


async def know(server: TestServer, port: int, timeout_s: int) -> None:
    modality = {"AET": "FAULTY", "Host": "127.0.0.1", "Port": port, "Timeout": timeout_s}
    body = json.dumps(modality).encode()
    answer = await asyncio.to_thread(server.request, "PUT", "/modalities/faulty", body)
    assert answer.status == 200


@pytest.mark.parametrize(
    "fault",
    [
        *("rejects", "speaks another protocol", "accepts nothing", "sends garbage"),
        *("closes in the middle", "hangs"),
    ],
)
async def test_move_to_a_destination_at_fault_fails_and_is_logged_once(
    server: TestServer, fault: str
) -> None:
    logged = len(server.log)
    calls: list[ScriptedPeer] = []

    async def answer(peer: ScriptedPeer) -> None:
        calls.append(peer)
        await misbehave(peer, fault)

    async with scripted_acceptor(answer) as port:
        await know(server, port, 1)
        async with asyncio.timeout(DEADLINE_S), connect(server.dicom_port, [MOVE, FIND]) as client:
            retrieval = await client.retrieve(IDENTIFIER, MOVE, destination="FAULTY")
            assert retrieval.status == 0xA702
            assert retrieval.counters[-1] == (None, 0, COUNT, 0)
            # The association goes on.
            assert (await client.find(IDENTIFIER, sop_class=FIND))[0] == 0
    lines = [
        line
        for line in server.log[logged:].splitlines()
        if "association accepted" not in line and "FAULTY" in line
    ]
    assert len(lines) == 1, lines
    assert f"failed={COUNT} total={COUNT}" in lines[0]
    # Nobody waits for each instance.
    assert fault != "hangs" or len(calls) == 2


@dataclass
class Silent:
    """A destination that takes an instance and never answers."""

    is_asked: asyncio.Event = field(default_factory=asyncio.Event)
    is_aborted: asyncio.Event = field(default_factory=asyncio.Event)

    async def play(self, peer: ScriptedPeer) -> None:
        await accept_association(peer)
        await peer.read_command()
        await peer.read_data_set()
        self.is_asked.set()
        assert isinstance(await peer.read_pdu(), Abort)
        self.is_aborted.set()


async def test_cancelled_move_does_not_wait_for_a_silent_destination(server: TestServer) -> None:
    silent = Silent()
    async with scripted_acceptor(silent.play) as port, asyncio.timeout(DEADLINE_S):
        await know(server, port, 0)
        async with connect(server.dicom_port, [MOVE, FIND]) as client:
            moving = asyncio.ensure_future(client.retrieve(IDENTIFIER, MOVE, destination="FAULTY"))
            await silent.is_asked.wait()
            context_id = client.association.get_context(MOVE).context_id
            await client.association.send_cancel(context_id, 1)
            retrieval = await moving
            assert (retrieval.status, retrieval.counters[-1]) == (0xFE00, (COUNT, 0, 0, 0))
            await silent.is_aborted.wait()
            assert (await client.find(IDENTIFIER, sop_class=FIND))[0] == 0


async def test_move_of_a_requestor_that_has_gone_leaves_nothing(server: TestServer) -> None:
    silent = Silent()
    async with scripted_acceptor(silent.play) as port, asyncio.timeout(DEADLINE_S):
        await know(server, port, 0)
        async with connect(server.dicom_port, [MOVE]) as client:
            moving = asyncio.ensure_future(client.retrieve(IDENTIFIER, MOVE, destination="FAULTY"))
            await silent.is_asked.wait()
            client.association.kill()
            await asyncio.wait([moving])
            assert moving.exception() is not None
        await silent.is_aborted.wait()
    assert "Traceback" not in server.log

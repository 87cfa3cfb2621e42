"""Jobs that wait for a silent remote modality end when somebody cancels, pauses or stops them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from tests.support.dicom_files import CT_IMAGE_STORAGE
from tests.support.scripted_peer import (
    ScriptedPeer,
    accept_association,
    encode_message,
    scripted_acceptor,
)
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api, open_api

from isocenter.config.remote_modalities import RemoteModality
from isocenter.dicom.levels import Level
from isocenter.dimse.commands import CommandField, decode_command
from isocenter.dimse.pdu import PDU, Abort, DataTransfer, ReleaseReply, ReleaseRequest
from isocenter.dimse.status import Status
from isocenter.jobs import runner
from isocenter.jobs.records import CANCELED, Job, NewJob
from isocenter.jobs.states import Action, JobState
from isocenter.scu import retrieve
from isocenter.tasks import retrieving
from isocenter.tasks.modality_store import StoreOrder, build_store_job
from isocenter.tasks.retrieving import RetrieveOrder, build_retrieve_job
from isocenter.tasks.storage_commitment import build_commitment_job

STUDY = "1.2"
RETRIEVES = ["DicomMoveScu", "DicomGetScu"]
KINDS = ["DicomModalityStore", "StorageCommitmentScp", *RETRIEVES]
DEADLINE_S = 10


@pytest_asyncio.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setattr(runner, "_GRACE_S", 0.01)
    # No step ends by itself, and no time limit helps.
    monkeypatch.setattr(retrieving, "_STEP_S", 1000.0)
    async with open_api(tmp_path, {"DicomScuTimeout": 0}) as api:
        yield api


async def build_job(api: Api, kind: str, port: int) -> NewJob:
    """Build a job of a kind that calls a port."""
    remotes = api.archive.remotes
    modality = RemoteModality("SILENT", "127.0.0.1", port)
    await remotes.modalities.put("silent", modality)
    target = remotes.calling.build_target(modality)
    if kind == "DicomModalityStore":
        file = await api.store(build_synthetic(study=STUDY))
        plan = await remotes.outgoing.plan([file.study])
        return build_store_job(plan, StoreOrder("silent"), target)
    if kind == "StorageCommitmentScp":
        references = [(CT_IMAGE_STORAGE, "1.2.3")]
        return build_commitment_job(
            "silent",
            "1.9",
            references,
            remote_ae_title="SILENT",
            remote_ip="192.0.2.1",
            called_ae_title="US",
        )
    destination = "US" if kind == "DicomMoveScu" else None
    items = [(Level.STUDY, {0x0020000D: STUDY}, dict[int, str]())]
    return build_retrieve_job(RetrieveOrder("silent", items, destination=destination), target)


class SilentPeer:
    """Takes a request and says nothing, or only that it has stopped."""

    def __init__(self, *, confirms: bool = False) -> None:
        self.is_asked = asyncio.Event()
        self.has_ended = asyncio.Event()
        self.cancelled: list[int | None] = []
        self.end: PDU | None = None
        self._confirms = confirms

    async def play(self, peer: ScriptedPeer) -> None:
        """Be it, over one association."""
        await accept_association(peer)
        request = await peer.read_command()
        await peer.read_data_set()
        self.is_asked.set()
        while isinstance(pdu := await peer.read_pdu(), DataTransfer):
            cancel = decode_command(bytes(pdu.values[0].fragment))
            assert cancel.command_field == CommandField.C_CANCEL_RQ
            assert cancel.message_id_being_responded_to == request.message_id
            self.cancelled.append(request.command_field)
            if self._confirms:
                await peer.send(encode_message(1, request.build_response(Status.CANCEL)))
        self.end = pdu
        self.has_ended.set()
        if isinstance(pdu, ReleaseRequest):
            await peer.send_pdu(ReleaseReply())


async def end(api: Api, kind: str, silent: SilentPeer, action: Action | None) -> Job:
    """Run a job, and do something to it, or stop the engine, when the peer was asked."""
    async with scripted_acceptor(silent.play) as port, asyncio.timeout(DEADLINE_S):
        job = await api.jobs.submit(await build_job(api, kind, port))
        await silent.is_asked.wait()
        if action is None:
            await api.jobs.stop(2 * DEADLINE_S)
        else:
            await api.jobs.act(job.job_id, action)
        await silent.has_ended.wait()
        while True:
            ended = await api.jobs.lookup(job.job_id)
            assert ended is not None
            if ended.state is not JobState.RUNNING:
                return ended


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", [Action.CANCEL, Action.PAUSE, None])
async def test_job_that_waits_for_a_silent_modality_is_cut_off(
    api: Api, kind: str, action: Action | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieve, "_CANCEL_S", 0.01)
    silent = SilentPeer()
    job = await end(api, kind, silent, action)
    expected = {Action.CANCEL: JobState.FAILURE, Action.PAUSE: JobState.PAUSED}
    assert job.state is expected.get(cast(Action, action), JobState.PENDING)
    assert job.failure == (CANCELED if action is Action.CANCEL else None)
    assert isinstance(silent.end, Abort)
    assert len(silent.cancelled) == (kind in RETRIEVES)


@pytest.mark.parametrize("kind", RETRIEVES)
async def test_cancelled_retrieve_that_the_modality_ends_is_released(api: Api, kind: str) -> None:
    silent = SilentPeer(confirms=True)
    job = await end(api, kind, silent, Action.CANCEL)
    assert job.failure == CANCELED
    assert len(silent.cancelled) == 1
    assert isinstance(silent.end, ReleaseRequest)

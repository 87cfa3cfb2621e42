"""Who may associate with a running server, for what, and how many at once."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE
from tests.support.dicom_files import (
    CT_IMAGE_STORAGE,
    EXPLICIT_LITTLE,
    build_data_set,
    identifiers,
)
from tests.support.scripted_peer import (
    VERIFICATION,
    ScriptedPeer,
    build_command,
    build_request,
    encode_message,
)
from tests.support.server import TestServer, connect_dicom, run_server

from isocenter.dimse.commands import CommandField
from isocenter.dimse.negotiation import build_proposals
from isocenter.dimse.pdu import Abort, AssociateAccept, AssociateReject, ReleaseReply

PRIVATE_CLASS = "1.2.826.0.1.3680043.10.999.77"
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
# Not offered unless worklists are switched on.
WORKLIST_FIND = "1.2.840.10008.5.1.4.31"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """Give a server that only knows some modalities."""
    nowhere = {"Host": "192.0.2.1", "Port": 104}
    here = {"Host": "127.0.0.1", "Port": 104}
    options = {
        "DicomAet": "ARCHIVE",
        "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": True,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomModalities": {
            "sender": {"AET": "SENDER", **here, "AllowEcho": False},
            "echoer": {"AET": "ECHOER", **here, "AllowStore": False},
            "away": {"AET": "AWAY", **nowhere},
            "twin-here": {"AET": "TWIN", **here, "AllowStore": False},
            "twin-away": {"AET": "TWIN", **nowhere},
        },
        "UnknownSopClassAccepted": True,
        "RejectedSopClasses": [MR_IMAGE_STORAGE],
        "AcceptedTransferSyntaxes": [EXPLICIT_LITTLE],
        "DicomThreadsCount": 3,
    }
    with run_server(tmp_path_factory.mktemp("closed"), options) as server:
        yield server


def build_call(calling: str, *, called: str = "ARCHIVE") -> Any:
    contexts = build_proposals(
        [(VERIFICATION, (EXPLICIT_LITTLE,)), (CT_IMAGE_STORAGE, (EXPLICIT_LITTLE,))]
    )
    return build_request(contexts=contexts, calling_ae_title=calling, called_ae_title=called)


@asynccontextmanager
async def call(server: TestServer, request: Any) -> AsyncIterator[tuple[ScriptedPeer, Any]]:
    """Ask for an association; gives the peer and the answer."""
    async with connect_dicom(server.dicom_port) as peer:
        await peer.send_pdu(request)
        yield peer, await peer.read_pdu()


@pytest.mark.parametrize(
    ("calling", "called", "reason"),
    [
        # PS3.8 Table 9-21: 7 = called, 3 = calling AE title not recognized.
        ("SENDER", "OTHER", 7),
        ("SENDER", "ARCHIVE2", 7),
        ("STRANGER", "ARCHIVE", 3),
        ("AWAY", "ARCHIVE", 3),
        ("SENDER2", "ARCHIVE", 3),
    ],
)
async def test_wrong_titles_and_hosts_are_rejected(
    closed: TestServer, calling: str, called: str, reason: int
) -> None:
    async with call(closed, build_call(calling, called=called)) as (_peer, answer):
        assert isinstance(answer, AssociateReject)
        assert (answer.result, answer.source, answer.reason) == (1, 1, reason)


@pytest.mark.parametrize(("calling", "called"), [("sender", "ARCHIVE"), ("SENDER", "archive")])
async def test_titles_are_compared_without_case_by_default(
    closed: TestServer, calling: str, called: str
) -> None:
    async with call(closed, build_call(calling, called=called)) as (_, answer):
        assert isinstance(answer, AssociateAccept)


@pytest.mark.parametrize(
    ("calling", "is_echo"), [("SENDER", True), ("ECHOER", False), ("TWIN", False)]
)
async def test_operation_that_is_not_allowed_aborts(
    closed: TestServer, calling: str, is_echo: bool
) -> None:
    store = replace(
        build_command(CommandField.C_STORE_RQ),
        affected_sop_class_uid=CT_IMAGE_STORAGE,
        affected_sop_instance_uid="1.2.3.1.1.1",
        priority=0,
    )
    async with call(closed, build_call(calling)) as (peer, answer):
        assert isinstance(answer, AssociateAccept)
        if is_echo:
            await peer.send(encode_message(1, build_command(CommandField.C_ECHO_RQ)))
        else:
            await peer.send(encode_message(3, store, build_data_set(identifiers())))
        assert isinstance(await peer.read_pdu(), Abort)
    assert closed.get("/instances").json() == []
    assert closed.list_temporary_files() == []


@pytest.mark.parametrize("calling", ["ECHOER", "TWIN"])
async def test_operation_that_is_allowed_is_served(closed: TestServer, calling: str) -> None:
    async with call(closed, build_call(calling)) as (peer, answer):
        assert isinstance(answer, AssociateAccept)
        await peer.send(encode_message(1, build_command(CommandField.C_ECHO_RQ)))
        assert (await peer.read_command()).status == 0


def test_classes_and_transfer_syntaxes_are_accepted_as_configured(closed: TestServer) -> None:
    ae = AE("SENDER")
    ae.add_requested_context(PRIVATE_CLASS, EXPLICIT_LITTLE)
    ae.add_requested_context(MR_IMAGE_STORAGE, EXPLICIT_LITTLE)
    ae.add_requested_context(CT_IMAGE_STORAGE, "1.2.840.10008.1.2.4.50")
    ae.add_requested_context(WORKLIST_FIND, EXPLICIT_LITTLE)
    association = ae.associate("127.0.0.1", closed.dicom_port, ae_title="ARCHIVE")
    accepted = [str(context.abstract_syntax) for context in association.accepted_contexts]
    results = {str(c.abstract_syntax): c.result for c in association.rejected_contexts}
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = UID(PRIVATE_CLASS), UID("1.2.909.1")
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.PatientID = "1.2.909", "1.2.909.2", "PRIVATE"
    ds.ensure_file_meta()
    ds.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    status = association.send_c_store(ds).Status
    association.release()
    (public_id,) = closed.get("/instances").json()
    closed.request("DELETE", f"/instances/{public_id}")
    assert status == 0
    assert accepted == [PRIVATE_CLASS]
    assert results == {
        MR_IMAGE_STORAGE: 3,
        CT_IMAGE_STORAGE: 4,
        WORKLIST_FIND: 3,
    }


async def test_association_over_the_limit_is_rejected_for_now(closed: TestServer) -> None:
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(3):
            peer, answer = await stack.enter_async_context(call(closed, build_call("ECHOER")))
            assert isinstance(answer, AssociateAccept)
            opened.append(peer)
        async with call(closed, build_call("ECHOER")) as (_, answer):
            assert isinstance(answer, AssociateReject)
            # PS3.8 Table 9-21: rejected transient, presentation layer, local limit exceeded.
            assert (answer.result, answer.source, answer.reason) == (2, 3, 2)
        # Those that are open are not harmed.
        await opened[0].send(encode_message(1, build_command(CommandField.C_ECHO_RQ)))
        assert (await opened[0].read_command()).status == 0
        for peer in opened:
            # A-RELEASE-RQ PDU, answered by A-RELEASE-RP (PS3.8 §9.3.6, §9.3.7).
            await peer.send(b"\x05\0\0\0\0\x04\0\0\0\0")
            assert isinstance(await peer.read_pdu(), ReleaseReply)

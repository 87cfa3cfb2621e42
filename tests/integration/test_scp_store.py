"""The DICOM door of a running server: what it stores, what it refuses and how it says so."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from tests.support.dicom_files import (
    CT_IMAGE_STORAGE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    build_data_set,
    encode_element,
    identifiers,
)
from tests.support.scripted_peer import (
    VERIFICATION,
    ScriptedPeer,
    build_command,
    build_request,
    encode_message,
)
from tests.support.server import TestServer, build_synthetic, connect_dicom, run_server, wait_until

from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.negotiation import build_proposals

# Not offered unless worklists are switched on.
WORKLIST_FIND = "1.2.840.10008.5.1.4.31"
PRIVATE_CLASS = "1.2.826.0.1.3680043.10.999.77"
MIB = 1024 * 1024
SYNTAXES = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG)
# Identifiers of the contexts of `build_ct_request`.
ECHO_CONTEXT, STORE_CONTEXT = 1, 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """Give the server that the tests of this module share; each brings instances of its own."""
    with run_server(tmp_path_factory.mktemp("server"), {"SyncStorageArea": False}) as opened:
        yield opened


def build_ct_request(**changes: object) -> Any:
    contexts = build_proposals([(VERIFICATION, SYNTAXES), (CT_IMAGE_STORAGE, (EXPLICIT_LITTLE,))])
    return build_request(contexts=contexts, **changes)


def build_store(
    sop_instance_uid: str, *, sop_class_uid: str = CT_IMAGE_STORAGE, message_id: int = 1
) -> Command:
    command = build_command(CommandField.C_STORE_RQ, message_id=message_id)
    return replace(
        command,
        affected_sop_class_uid=sop_class_uid,
        affected_sop_instance_uid=sop_instance_uid,
        priority=0,
    )


@asynccontextmanager
async def associate(server: TestServer) -> AsyncIterator[ScriptedPeer]:
    """Open an association for CT images."""
    async with connect_dicom(server.dicom_port) as peer:
        await peer.associate(build_ct_request())
        yield peer


async def send(server: TestServer, command: Command, data: bytes | None) -> Command:
    """Send a request over an association of its own and read the answer."""
    async with associate(server) as peer:
        await peer.send(encode_message(STORE_CONTEXT, command, data))
        return await peer.read_command()


def build_pydicom(patient_id: str) -> Dataset:
    """Build an instance that pynetdicom can send."""
    ds = Dataset()
    ds.SOPClassUID = CT_IMAGE_STORAGE
    ds.SOPInstanceUID = generate_uid()
    ds.PatientID = patient_id
    ds.PatientName = "Test^Synthetic"
    ds.StudyInstanceUID = generate_uid()
    ds.SeriesInstanceUID = generate_uid()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def lookup(server: TestServer, sop_instance_uid: str) -> str | None:
    """Find the public identifier of an instance."""
    found = server.request("POST", "/tools/lookup", sop_instance_uid.encode()).json()
    return found[0]["ID"] if found else None


def test_pynetdicom_stores_and_reads_back_over_http(server: TestServer) -> None:
    ae = AE("CT1")
    ae.add_requested_context(CT_IMAGE_STORAGE, ExplicitVRLittleEndian)
    ae.add_requested_context(VERIFICATION)
    association = ae.associate("127.0.0.1", server.dicom_port, ae_title="ANY")
    assert association.is_established
    assert association.send_c_echo().Status == 0x0000
    instances = [build_pydicom("SCP-1") for _ in range(3)]
    for ds in instances:
        assert association.send_c_store(ds).Status == 0x0000
        # Orthanc says success to what is there already.
        assert association.send_c_store(ds).Status == 0x0000
    association.release()
    for ds in instances:
        public_id = lookup(server, ds.SOPInstanceUID)
        tags = server.get(f"/instances/{public_id}/simplified-tags").json()
        assert tags["PatientID"] == "SCP-1"
        content = server.get(f"/instances/{public_id}/file").body
        assert content[128:132] == b"DICM"
        assert b"1.2.840.10008.1.2.1\0" in content[132:400]


async def test_data_set_is_kept_byte_for_byte_behind_a_new_header(server: TestServer) -> None:
    data = build_data_set(identifiers(instance="1.2.900.1", patient_id="SCP-2"))
    answer = await send(server, build_store("1.2.900.1"), data)
    assert (answer.status, answer.message_id_being_responded_to) == (0x0000, 1)
    assert answer.affected_sop_instance_uid == "1.2.900.1"
    stored = server.get(f"/instances/{lookup(server, '1.2.900.1')}/file").body
    assert stored.endswith(data)
    assert stored[128:132] == b"DICM"


@pytest.mark.parametrize(
    ("announced_class", "announced_instance"),
    [
        (CT_IMAGE_STORAGE, "1.2.901.9"),
        (CT_IMAGE_STORAGE, ""),
        ("1.2.840.10008.5.1.4.1.1.4", "1.2.901.1"),
        ("", "1.2.901.1"),
    ],
)
async def test_data_set_that_is_not_what_was_announced_is_a900_and_is_not_stored(
    server: TestServer, announced_class: str, announced_instance: str
) -> None:
    data = build_data_set(identifiers(instance="1.2.901.1"))
    command = build_store(announced_instance, sop_class_uid=announced_class)
    answer = await send(server, command, data)
    assert answer.status == 0xA900
    assert lookup(server, "1.2.901.1") is None


@pytest.mark.parametrize("tag", [0x00080016, 0x00080018])
@pytest.mark.parametrize("is_empty", [False, True])
async def test_data_set_without_its_own_name_is_c000(
    server: TestServer, tag: int, is_empty: bool
) -> None:
    elements = identifiers(instance="1.2.902.1")
    if is_empty:
        elements[tag] = ("UI", "")
    else:
        del elements[tag]
    answer = await send(server, build_store("1.2.902.1"), build_data_set(elements))
    assert answer.status == 0xC000
    assert lookup(server, "1.2.902.1") is None


@pytest.mark.parametrize("tag", [0x0020000D, 0x0020000E])
async def test_data_set_without_its_parents_is_c000(server: TestServer, tag: int) -> None:
    elements = identifiers(instance="1.2.903.1")
    del elements[tag]
    answer = await send(server, build_store("1.2.903.1"), build_data_set(elements))
    assert answer.status == 0xC000
    assert answer.error_comment


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"\xff" * 1000,
        build_data_set(identifiers(instance="1.2.904.1"))[:-3],
        encode_element(0x00080018, "UI", "1.2.904.1", length=0xFFFE),
    ],
    ids=["empty", "garbage", "ones", "truncated", "false length"],
)
async def test_damaged_data_set_is_refused_and_the_association_goes_on(
    server: TestServer, data: bytes
) -> None:
    async with associate(server) as peer:
        await peer.send(encode_message(STORE_CONTEXT, build_store("1.2.904.1"), data))
        answer = await peer.read_command()
        assert answer.status in {0xC000, 0xA900}
        assert lookup(server, "1.2.904.1") is None
        await peer.send(encode_message(ECHO_CONTEXT, build_command(CommandField.C_ECHO_RQ)))
        assert (await peer.read_command()).status == 0x0000


async def test_store_without_data_set_is_c000(server: TestServer) -> None:
    assert (await send(server, build_store("1.2.905.1"), None)).status == 0xC000


@pytest.mark.parametrize(
    "field",
    [
        CommandField.C_FIND_RQ,
        CommandField.C_MOVE_RQ,
        CommandField.C_GET_RQ,
        CommandField.N_CREATE_RQ,
        CommandField.C_ECHO_RQ,
    ],
)
async def test_other_request_in_a_storage_context_is_unrecognized(
    server: TestServer, field: CommandField
) -> None:
    command = replace(
        build_command(field),
        affected_sop_class_uid=CT_IMAGE_STORAGE,
        priority=0,
        move_destination="X" if field == CommandField.C_MOVE_RQ else None,
    )
    data = None if field == CommandField.C_ECHO_RQ else build_data_set(identifiers())
    answer = await send(server, command, data)
    assert answer.status == 0x0211


async def test_refused_class_in_the_context_of_an_accepted_one_is_0122(server: TestServer) -> None:
    named: dict[int, Any] = {0x00080016: ("UI", PRIVATE_CLASS)}
    data = build_data_set(dict(sorted((identifiers(instance="1.2.909.1") | named).items())))
    command = build_store("1.2.909.1", sop_class_uid=PRIVATE_CLASS)
    async with associate(server) as peer:
        for content in (data, None):
            await peer.send(encode_message(STORE_CONTEXT, command, content))
            assert (await peer.read_command()).status == 0x0122
    assert lookup(server, "1.2.909.1") is None


async def test_data_set_that_is_too_long_is_a700_and_the_association_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    options = {"MaximumRequestBodySizeMB": 9, "SyncStorageArea": False}
    with run_server(tmp_path_factory.mktemp("limited"), options) as server:
        short = build_data_set(identifiers(instance="1.2.910.1"))
        async with associate(server) as peer:
            long = short + encode_element(0x7FE00010, "OW", bytes(20 * MIB))
            await peer.send(encode_message(STORE_CONTEXT, build_store("1.2.910.1"), long))
            assert (await peer.read_command()).status == 0xA700
            wait_until(lambda: not server.list_temporary_files(), "no temporary file")
            await peer.send(encode_message(STORE_CONTEXT, build_store("1.2.910.1"), short))
            assert (await peer.read_command()).status == 0x0000


async def test_store_in_the_context_of_verification_is_unrecognized(server: TestServer) -> None:
    data = build_data_set(identifiers(instance="1.2.906.1"), syntax=IMPLICIT_LITTLE)
    async with associate(server) as peer:
        await peer.send(encode_message(ECHO_CONTEXT, build_store("1.2.906.1"), data))
        assert (await peer.read_command()).status == 0x0211
    assert lookup(server, "1.2.906.1") is None


def test_every_context_is_answered_by_itself(server: TestServer) -> None:
    ae = AE("CT1")
    for abstract_syntax in (CT_IMAGE_STORAGE, WORKLIST_FIND, PRIVATE_CLASS):
        ae.add_requested_context(abstract_syntax)
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.4", "1.2.3.4.5")
    association = ae.associate("127.0.0.1", server.dicom_port)
    accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
    results = {str(c.abstract_syntax): c.result for c in association.rejected_contexts}
    association.release()
    assert accepted == {CT_IMAGE_STORAGE}
    # PS3.8 Table 9-18: 3 = abstract syntax, 4 = transfer syntaxes not supported.
    assert results == {WORKLIST_FIND: 3, PRIVATE_CLASS: 3, "1.2.840.10008.5.1.4.1.1.4": 4}


@pytest.mark.parametrize("size", [1000, 9 * MIB], ids=["small", "large"])
@pytest.mark.parametrize("end", ["close", "break", "abort"])
async def test_association_that_breaks_in_a_data_set_leaves_nothing(
    server: TestServer, size: int, end: str
) -> None:
    pixels = encode_element(0x7FE00010, "OW", bytes(size))
    data = build_data_set(identifiers(instance="1.2.907.1")) + pixels
    before = server.list_stored_files()
    message = encode_message(STORE_CONTEXT, build_store("1.2.907.1"), data)
    async with associate(server) as peer:
        await peer.send(message[:-500])
        if size > MIB:
            wait_until(server.list_temporary_files, "a temporary file")
        if end == "break":
            peer.drop()
        elif end == "abort":
            # A-ABORT PDU, PS3.8 §9.3.8.
            await peer.send(b"\x07\0\0\0\0\x04\0\0\0\0")
    wait_until(lambda: not server.list_temporary_files(), "no temporary files")
    assert lookup(server, "1.2.907.1") is None
    assert server.list_stored_files() == before


def test_metadata_of_the_origin_tell_the_caller(server: TestServer) -> None:
    ds = build_pydicom("SCP-ORIGIN")
    ae = AE("ORIGIN")
    ae.add_requested_context(CT_IMAGE_STORAGE, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", server.dicom_port, ae_title="CALLED")
    association.send_c_store(ds)
    association.release()
    assert "ORIGIN" in server.log
    assert "SCP-ORIGIN" not in server.log


def test_same_instance_over_both_doors_is_stored_once(server: TestServer) -> None:
    file = build_synthetic()
    ds = build_pydicom(file.patient_id)
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = file.uids

    def send_by_dicom(_: int) -> int:
        ae = AE("BOTH")
        ae.add_requested_context(CT_IMAGE_STORAGE, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", server.dicom_port)
        status: int = association.send_c_store(ds).Status
        association.release()
        return status

    with ThreadPoolExecutor(12) as pool:
        by_dicom = [pool.submit(send_by_dicom, n) for n in range(4)]
        by_http = [pool.submit(server.upload, file.content) for _ in range(8)]
    assert [future.result() for future in by_dicom] == [0] * 4
    statuses = [future.result().json()["Status"] for future in by_http]
    assert statuses.count("Success") <= 1
    assert set(statuses) <= {"Success", "AlreadyStored"}
    assert server.get(f"/studies/{file.study}/statistics").json()["CountInstances"] == 1


async def test_storage_that_fails_is_a700_and_the_server_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("failing")
    with run_server(folder, {"SyncStorageArea": False}) as server:
        # Something that is no folder stands where files are written first.
        temporary = server.storage / "tmp"
        temporary.rmdir()
        temporary.write_text("in the way")
        data = build_data_set(identifiers(instance="1.2.908.1"))
        answer = await send(server, build_store("1.2.908.1"), data)
        assert answer.status == 0xA700
        refused = server.upload(build_synthetic().content)
        assert (refused.status, refused.json()["OrthancStatus"]) == (500, 14)
        assert server.get("/statistics").json()["CountInstances"] == 0
        temporary.unlink()
        temporary.mkdir()
        assert (await send(server, build_store("1.2.908.1"), data)).status == 0x0000

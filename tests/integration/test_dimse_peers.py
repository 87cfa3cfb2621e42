"""The DICOM protocol against other implementations: pynetdicom and DCMTK, in both directions."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    UserIdentityNegotiation,
)
from tests.support.ports import find_free_port
from tests.support.requirements import is_required
from tests.support.scripted_peer import (
    DEADLINE_S,
    EXPLICIT_VR,
    MR_IMAGE_STORAGE,
    PATIENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    VERIFICATION,
    RecordingHandler,
    answer_success,
    wait_until,
)

from isocenter.dimse.acceptor import AcceptorOptions, AssociationAcceptor
from isocenter.dimse.commands import Command, CommandField, Priority
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import build_proposals
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget, open_association
from isocenter.dimse.user_information import RoleSelection, UserIdentity
from isocenter.errors import AssociationRejectedError, RemoteError
from isocenter.scu.echo import send_echo
from isocenter.scu.store import InstanceToStore, build_storage_contexts, open_storage_association

needs_dcmtk = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("echoscu", "storescu", "storescp"))
    and not is_required("dcmtk"),
    reason="DCMTK is not installed",
)
LENGTHS = (2, 1000, 54_000, 600_000)
STORAGE_CONTEXTS = build_storage_contexts([(MR_IMAGE_STORAGE, EXPLICIT_VR)])


def build_data_set(length: int) -> Dataset:
    """Build a synthetic instance with ``length`` bytes of pixel data."""
    data_set = Dataset()
    data_set.SOPClassUID = MR_IMAGE_STORAGE
    data_set.SOPInstanceUID = generate_uid()
    data_set.PatientName = "Test^Synthetic"
    data_set.PatientID = "T1"
    data_set.StudyInstanceUID = "1.2.3"
    data_set.SeriesInstanceUID = "1.2.3.4"
    data_set.add_new(0x7FE00010, "OW", bytes(range(256)) * (length // 256) + bytes(length % 256))
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    return data_set


def encode_data_set(data_set: Dataset) -> bytes:
    """Encode without file meta information, in explicit VR little endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, data_set)
    return buffer.getvalue()


def decode_data_set(content: bytes | None) -> Dataset:
    """Decode a data set in explicit VR little endian."""
    return read_dataset(BytesIO(content or b""), is_implicit_VR=False, is_little_endian=True)


def build_instance(data_set: Dataset) -> InstanceToStore:
    """Prepare an instance for sending."""
    return InstanceToStore(
        MR_IMAGE_STORAGE, str(data_set.SOPInstanceUID), EXPLICIT_VR, encode_data_set(data_set)
    )


@dataclass(frozen=True)
class Certificates:
    """Files of a self-signed certificate for this machine."""

    key: Path
    certificate: Path

    def build_context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        """Build a context that presents the certificate and trusts nothing else."""
        context = ssl.create_default_context(purpose, cafile=str(self.certificate))
        context.load_cert_chain(self.certificate, self.key)
        return context


async def run(*command: str) -> str:
    """Run a program that must succeed; return what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(3 * DEADLINE_S):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode(errors="replace")
    return output.decode(errors="replace")


@pytest.fixture
async def certificates(tmp_path: Path) -> Certificates:
    """Make a certificate with the ``openssl`` program."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program is not installed")
    made = Certificates(tmp_path / "key.pem", tmp_path / "certificate.pem")
    await run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-keyout", str(made.key), "-out", str(made.certificate), "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=IP:127.0.0.1"),
    )
    return made


@asynccontextmanager
async def serving(
    handler: RecordingHandler,
    *,
    maximum_length: int = 16384,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Run our acceptor; yields its port."""
    acceptor = AssociationAcceptor(handler, AcceptorOptions(10, maximum_length, PATIENT))
    await acceptor.start("127.0.0.1", 0, ssl_context=ssl_context)
    try:
        yield acceptor.port
    finally:
        await acceptor.stop(deadline_s=1)


def target(port: int, *, ssl_context: ssl.SSLContext | None = None) -> AssociationTarget:
    """Call a server on this machine."""
    return AssociationTarget(
        "127.0.0.1", port, "REMOTE", "LOCAL", DEADLINE_S, ssl_context=ssl_context
    )


# pynetdicom calls us.


def build_ae(*abstract_syntaxes: str, maximum_length: int = 16382) -> AE:
    """Build a pynetdicom requestor."""
    ae = AE("PYNETDICOM")
    ae.maximum_pdu_size = maximum_length
    for abstract_syntax in abstract_syntaxes:
        ae.add_requested_context(abstract_syntax, EXPLICIT_VR)
    return ae


@pytest.mark.parametrize("maximum_length", [4096, 131072])
async def test_pynetdicom_echoes_and_stores(maximum_length: int) -> None:
    data_sets = [build_data_set(length) for length in LENGTHS]

    def call(port: int) -> list[int]:
        ae = build_ae(VERIFICATION, MR_IMAGE_STORAGE)
        association = ae.associate("127.0.0.1", port, ae_title="ISOCENTER")
        assert association.is_established
        statuses = [association.send_c_echo().Status]
        statuses += [association.send_c_store(data_set).Status for data_set in data_sets]
        association.release()
        assert association.is_released
        return statuses

    handler = RecordingHandler()
    async with serving(handler, maximum_length=maximum_length) as port:
        statuses = await asyncio.to_thread(call, port)
    assert statuses == [0] * 5
    assert handler.contents == [None, *map(encode_data_set, data_sets)]
    assert handler.associations[0].calling_ae_title == "PYNETDICOM"


async def test_pynetdicom_finds_with_small_pdus_and_cancels() -> None:
    async def behavior(association: DimseAssociation, message: Message) -> None:
        match = Dataset()
        match.PatientID = "X" * 60
        for _ in range(10):
            pending = message.command.build_response(0xFF00)
            await association.send_response(
                message.context.context_id, pending, encode_data_set(match)
            )
        await wait_until(lambda: message.is_cancelled)
        cancelled = message.command.build_response(0xFE00)
        await association.send_response(message.context.context_id, cancelled)

    def call(port: int) -> list[int]:
        association = build_ae(STUDY_ROOT_FIND, maximum_length=4096).associate("127.0.0.1", port)
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "STUDY"
        statuses = []
        for status, match in association.send_c_find(identifier, STUDY_ROOT_FIND, msg_id=5):
            statuses.append(status.Status)
            if len(statuses) == 10:
                assert match is not None
                assert match.PatientID == "X" * 60
                association.send_c_cancel(5, query_model=STUDY_ROOT_FIND)
        association.release()
        return statuses

    async with serving(RecordingHandler(behavior)) as port:
        statuses = await asyncio.to_thread(call, port)
    assert statuses == [0xFF00] * 10 + [0xFE00]


async def test_pynetdicom_gets_over_the_same_association() -> None:
    data_sets = [build_data_set(length) for length in LENGTHS]

    async def behavior(association: DimseAssociation, message: Message) -> None:
        context = association.get_context(MR_IMAGE_STORAGE)
        assert context.requestor_is_scp
        for data_set in data_sets:
            store = Command(
                command_field=CommandField.C_STORE_RQ,
                message_id=association.next_message_id(),
                affected_sop_class_uid=MR_IMAGE_STORAGE,
                affected_sop_instance_uid=str(data_set.SOPInstanceUID),
                priority=Priority.MEDIUM,
            )
            response = await association.send_request(
                context.context_id, store, encode_data_set(data_set)
            )
            assert response.status == 0
        await answer_success(association, message)

    received: list[bytes] = []

    def store(event: evt.Event) -> int:
        received.append(encode_data_set(event.dataset))
        return 0

    def call(port: int) -> list[int]:
        ae = build_ae(STUDY_ROOT_GET, MR_IMAGE_STORAGE)
        handlers: Any = [(evt.EVT_C_STORE, store)]
        association = ae.associate(
            "127.0.0.1",
            port,
            ext_neg=[build_role(MR_IMAGE_STORAGE, scp_role=True)],
            evt_handlers=handlers,
        )
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "STUDY"
        statuses = [
            status.Status for status, _ in association.send_c_get(identifier, STUDY_ROOT_GET)
        ]
        association.release()
        return statuses

    roles = (RoleSelection(MR_IMAGE_STORAGE, is_scu=True, is_scp=True),)
    async with serving(RecordingHandler(behavior, roles=roles)) as port:
        assert await asyncio.to_thread(call, port) == [0]
    assert received == list(map(encode_data_set, data_sets))


async def test_pynetdicom_negotiates_window_and_identity() -> None:
    def call(port: int) -> tuple[tuple[int, int], bytes | None]:
        window = AsynchronousOperationsWindowNegotiation()
        window.maximum_number_operations_invoked = 5
        window.maximum_number_operations_performed = 5
        identity = UserIdentityNegotiation()
        identity.user_identity_type = 2
        identity.primary_field = b"name"
        identity.secondary_field = b"passcode"
        identity.positive_response_requested = True
        ae = build_ae(VERIFICATION)
        association = ae.associate("127.0.0.1", port, ext_neg=[window, identity])
        answered = association.acceptor
        association.abort()
        assert answered.user_identity is not None
        return answered.asynchronous_operations, answered.user_identity.server_response

    handler = RecordingHandler(user_identity_response=b"granted")
    async with serving(handler) as port:
        assert await asyncio.to_thread(call, port) == ((1, 1), b"granted")


# We call pynetdicom.


@contextmanager
def pynetdicom_server(
    handlers: list[Any], *abstract_syntaxes: str, **options: Any
) -> Iterator[int]:
    """Run a pynetdicom acceptor; yields its port."""
    ae = AE("REMOTE")
    ae.maximum_pdu_size = options.pop("maximum_pdu_size", 16382)
    ae.require_called_aet = options.pop("require_called_aet", False)
    for abstract_syntax in abstract_syntaxes:
        ae.add_supported_context(abstract_syntax, EXPLICIT_VR, scu_role=True, scp_role=True)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, **options)
    assert server is not None
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()


@pytest.mark.parametrize("maximum_length", [4096, 0])
async def test_we_echo_and_store_at_pynetdicom(maximum_length: int) -> None:
    received: list[bytes] = []

    def store(event: evt.Event) -> int:
        received.append(encode_data_set(event.dataset))
        return 0xB000

    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_C_ECHO, lambda _: 0)]
    data_sets = [build_data_set(length) for length in LENGTHS]
    with pynetdicom_server(
        handlers, VERIFICATION, MR_IMAGE_STORAGE, maximum_pdu_size=maximum_length
    ) as port:
        with pytest.raises(RemoteError):
            # The server of this test knows explicit VR only.
            await send_echo(target(port))
        async with open_storage_association(target(port), STORAGE_CONTEXTS) as scu:
            results = [await scu.store(build_instance(data_set)) for data_set in data_sets]
    assert [result.status for result in results] == [0xB000] * len(data_sets)
    assert received == list(map(encode_data_set, data_sets))


async def test_we_are_rejected_by_pynetdicom() -> None:
    with pynetdicom_server([], VERIFICATION, require_called_aet=True) as port:
        other = AssociationTarget("127.0.0.1", port, "OTHER", "LOCAL", DEADLINE_S)
        with pytest.raises(AssociationRejectedError, match="called AE title not recognized"):
            await send_echo(other)


async def test_we_find_and_get_from_pynetdicom() -> None:
    data_set = build_data_set(54_000)

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        for number in range(100):
            match = Dataset()
            match.PatientID = str(number)
            yield 0xFF00, match

    def get(event: evt.Event) -> Iterator[Any]:
        yield 2
        yield 0xFF00, data_set
        yield 0xFF00, data_set

    proposal = AssociationProposal(
        build_proposals(
            (uid, [EXPLICIT_VR]) for uid in (STUDY_ROOT_FIND, STUDY_ROOT_GET, MR_IMAGE_STORAGE)
        ),
        roles=[RoleSelection(MR_IMAGE_STORAGE, is_scu=False, is_scp=True)],
        user_identity=UserIdentity(1, b"name"),
    )
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    handler = RecordingHandler()
    handlers = [(evt.EVT_C_FIND, find), (evt.EVT_C_GET, get)]
    with pynetdicom_server(handlers, STUDY_ROOT_FIND, STUDY_ROOT_GET, MR_IMAGE_STORAGE) as port:
        async with open_association(target(port), proposal, handler=handler) as association:
            statuses = {}
            matches = []
            for command_field, uid in (
                (CommandField.C_FIND_RQ, STUDY_ROOT_FIND),
                (CommandField.C_GET_RQ, STUDY_ROOT_GET),
            ):
                command = Command(
                    command_field=command_field,
                    message_id=association.next_message_id(),
                    affected_sop_class_uid=uid,
                    priority=Priority.MEDIUM,
                )
                context_id = association.get_context(uid).context_id
                async for response in association.iter_responses(
                    context_id, command, encode_data_set(identifier)
                ):
                    statuses[uid] = response.command
                    if response.data and uid == STUDY_ROOT_FIND:
                        matches.append(str(decode_data_set(response.data).PatientID))
    assert matches == [str(number) for number in range(100)]
    assert statuses[STUDY_ROOT_FIND].status == 0
    assert statuses[STUDY_ROOT_GET].status == 0
    assert statuses[STUDY_ROOT_GET].completed_suboperations == 2
    assert handler.contents == [encode_data_set(data_set)] * 2


# DCMTK calls us.


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Write synthetic instances."""
    paths = []
    for length in LENGTHS:
        path = tmp_path / f"{length}.dcm"
        build_data_set(length).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


@needs_dcmtk
async def test_echoscu_echoes() -> None:
    handler = RecordingHandler()
    async with serving(handler) as port:
        output = await run("echoscu", "-v", "--repeat", "5", "127.0.0.1", str(port))
    assert output.count("Received Echo Response (Success)") == 5
    assert len(handler.messages) == 5


@needs_dcmtk
async def test_echoscu_proposing_128_contexts_echoes() -> None:
    async with serving(RecordingHandler()) as port:
        await run(
            "echoscu",
            *("--propose-pc", "128", "--propose-ts", "38"),
            *("127.0.0.1", str(port)),
        )


@needs_dcmtk
@pytest.mark.parametrize("length", [4096, 16384, 131072])
async def test_storescu_stores(files: list[Path], length: int) -> None:
    handler = RecordingHandler()
    async with serving(handler, maximum_length=length) as port:
        await run(
            "storescu",
            *("--max-pdu", str(length), "--max-send-pdu", str(length)),
            *("127.0.0.1", str(port), *map(str, files)),
        )
    stored = [decode_data_set(content) for content in handler.contents]
    for data_set, path in zip(stored, files, strict=True):
        assert data_set.PixelData == dcmread(path).PixelData


@needs_dcmtk
@pytest.mark.parametrize("is_anonymous", [True, False])
async def test_dcmtk_calls_over_tls(
    files: list[Path], certificates: Certificates, is_anonymous: bool
) -> None:
    handler = RecordingHandler()
    context = certificates.build_context(ssl.Purpose.CLIENT_AUTH)
    if is_anonymous:
        options = ["+tla"]
    else:
        context.verify_mode = ssl.CERT_REQUIRED
        options = ["+tls", str(certificates.key), str(certificates.certificate)]
    options += ["+cf", str(certificates.certificate)]
    async with serving(handler, ssl_context=context) as port:
        await run("echoscu", *options, "127.0.0.1", str(port))
        await run("storescu", *options, "127.0.0.1", str(port), *map(str, files))
    assert len(handler.messages) == 1 + len(files)


# We call DCMTK.


@asynccontextmanager
async def storescp(folder: Path, *options: str) -> AsyncIterator[int]:
    """Run DCMTK's server until it is reachable; yields its port."""
    port = find_free_port()
    process = await asyncio.create_subprocess_exec(
        *("storescp", "-od", str(folder), *options, str(port)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await _is_reachable(port):
                assert process.returncode is None
        yield port
    finally:
        process.terminate()
        await process.wait()


async def _is_reachable(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def check_stored(folder: Path, data_sets: list[Dataset]) -> None:
    """Compare what DCMTK wrote with what was sent."""
    stored = {item.SOPInstanceUID: item for item in map(dcmread, folder.iterdir())}
    assert len(stored) == len(data_sets)
    for data_set in data_sets:
        assert stored[data_set.SOPInstanceUID].PixelData == data_set.PixelData


@needs_dcmtk
@pytest.mark.parametrize("length", ["4096", "131072"])
async def test_we_store_at_storescp(tmp_path: Path, length: str) -> None:
    data_sets = [build_data_set(size) for size in LENGTHS]
    async with storescp(tmp_path, "--max-pdu", length) as port:
        assert await send_echo(target(port)) == 0
        async with open_storage_association(target(port), STORAGE_CONTEXTS) as scu:
            for data_set in data_sets:
                assert (await scu.store(build_instance(data_set))).status == 0
    check_stored(tmp_path, data_sets)


@needs_dcmtk
async def test_we_are_refused_by_storescp(tmp_path: Path) -> None:
    async with storescp(tmp_path, "--refuse") as port:
        with pytest.raises(AssociationRejectedError, match="no reason given"):
            await send_echo(target(port))


@needs_dcmtk
async def test_we_are_aborted_by_storescp(tmp_path: Path) -> None:
    async with storescp(tmp_path, "--abort-after") as port:
        with pytest.raises(RemoteError):
            async with open_storage_association(target(port), STORAGE_CONTEXTS) as scu:
                await scu.store(build_instance(build_data_set(1000)))


@needs_dcmtk
async def test_we_store_at_storescp_over_tls(tmp_path: Path, certificates: Certificates) -> None:
    folder = tmp_path / "stored"
    folder.mkdir()
    data_sets = [build_data_set(size) for size in LENGTHS]
    options = ("+tls", str(certificates.key), str(certificates.certificate))
    async with storescp(folder, *options, "+cf", str(certificates.certificate)) as port:
        secure = target(port, ssl_context=certificates.build_context(ssl.Purpose.SERVER_AUTH))
        assert await send_echo(secure) == 0
        async with open_storage_association(secure, STORAGE_CONTEXTS) as scu:
            for data_set in data_sets:
                assert (await scu.store(build_instance(data_set))).status == 0
    check_stored(folder, data_sets)


async def test_we_call_tls_port_of_ours_both_ways(certificates: Certificates) -> None:
    server_context = certificates.build_context(ssl.Purpose.CLIENT_AUTH)
    client_context = certificates.build_context(ssl.Purpose.SERVER_AUTH)
    handler = RecordingHandler()
    async with serving(handler, ssl_context=server_context) as port:
        secure = target(port, ssl_context=client_context)
        assert await send_echo(secure) == 0
        async with open_storage_association(secure, STORAGE_CONTEXTS) as scu:
            assert (await scu.store(build_instance(build_data_set(5_000_000)))).status == 0
        with pytest.raises(RemoteError):
            await send_echo(target(port))
    assert len(handler.messages) == 2

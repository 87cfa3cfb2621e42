"""C-FIND of a running server: pages, cancelling, bad identifiers, DCMTK, and the log."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.dicom_files import build_data_set, encode_element, encode_sequence
from tests.support.dimse_client import EXPLICIT_LITTLE, STUDY_ROOT, connect
from tests.support.requirements import require_program
from tests.support.scripted_peer import build_request, encode_message
from tests.support.server import TestServer, build_synthetic, connect_dicom, run_server

from isocenter.dicom.data_sets import get_text
from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.negotiation import build_proposals
from isocenter.dimse.pdu import AssociateAccept
from isocenter.errors import AssociationAbortedError

FIND = f"{STUDY_ROOT}.1"
LEVEL, STUDY_UID, NAME = 0x00080052, 0x0020000D, 0x00100010
# More than the first page and the one after it.
STUDIES = 260


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """Give a server with many studies of one patient, which only one modality may query."""
    here = {"Host": "127.0.0.1", "Port": 104}
    options = {
        "DicomModalities": {
            "asker": {"AET": "ASKER", **here},
            "other": {"AET": "OTHER", **here, "AllowFind": False},
        },
        "LimitFindInstances": 3,
        "SyncStorageArea": False,
        "StableAge": 3600,
    }
    with run_server(
        tmp_path_factory.mktemp("find"), options, arguments=("--trace-dicom",)
    ) as server:
        for number in range(STUDIES):
            extra = {0x00081030: ("LO", "Chest" if number % 2 else "Head")}
            server.store(build_synthetic(extra, patient_id="MANY", study=f"1.2.3.{number + 1}"))
        for _ in range(5):
            server.store(build_synthetic(study="1.2.4", series="1.2.4.1", patient_id="FEW"))
        yield server


def ask(level: str = "STUDY", tail: bytes = b"", **extra: Any) -> bytes:
    keys = {int(name[1:], 16): value for name, value in extra.items()}
    return build_data_set({LEVEL: ("CS", level), **keys}) + tail


async def test_answers_of_many_pages_come_once_each(server: TestServer) -> None:
    identifier = ask(t0020000D=("UI", ""), t00100020=("LO", "MANY"))
    async with connect(server.dicom_port, [FIND]) as client:
        status, answers = await client.find(identifier)
        assert status == 0
        uids = [get_text(answer, STUDY_UID) for answer in answers]
        assert len(uids) == STUDIES
        assert set(uids) == {f"1.2.3.{number + 1}" for number in range(STUDIES)}
        # The same association serves the next question.
        status, answers = await client.find(ask(t00081030=("LO", "Che*")))
        assert (status, len(answers)) == (0, STUDIES // 2)


async def test_cancelled_question_ends_with_its_status(server: TestServer) -> None:
    contexts = build_proposals([(FIND, (EXPLICIT_LITTLE,))])
    ask_all = Command(
        command_field=CommandField.C_FIND_RQ, message_id=7, affected_sop_class_uid=FIND, priority=0
    )
    cancel = Command(command_field=CommandField.C_CANCEL_RQ, message_id_being_responded_to=7)
    async with connect_dicom(server.dicom_port) as peer:
        await peer.send_pdu(build_request(contexts=contexts, calling_ae_title="ASKER"))
        assert isinstance(await peer.read_pdu(), AssociateAccept)
        # Both in one write, so that the question is cancelled before it can be answered.
        question = encode_message(1, ask_all, ask(t0020000D=("UI", "")))
        await peer.send(question + encode_message(1, cancel))
        count = 0
        while (response := await peer.read_command()).status == 0xFF00:
            await peer.read_data_set()
            count += 1
        assert response.status == 0xFE00
        assert count < STUDIES
        # The association serves the next question.
        await peer.send(encode_message(1, ask_all, ask(t0020000D=("UI", "1.2.3.1"))))
        assert (await peer.read_command()).status == 0xFF00


async def test_instances_are_limited_by_the_configuration(server: TestServer) -> None:
    async with connect(server.dicom_port, [FIND]) as client:
        status, answers = await client.find(ask("IMAGE", t00100020=("LO", "FEW")))
        assert (status, len(answers)) == (0, 3)


@pytest.mark.parametrize(
    "identifier",
    [
        None,
        b"",
        b"\x08",
        b"garbage that is no data set",
        encode_element(LEVEL, "CS", "STUDY ", length=4000),
        build_data_set({STUDY_UID: ("UI", "")}),
        ask("FRAME"),
        ask(t00080020=("DA", "2024*")),
        ask(tail=encode_sequence(0x00400100, [b"\1\2\3"])),
        ask(t00100020=("LO", "\\".join(f"a{number}*" for number in range(200)))),
        b"".join(encode_element(0x00110000 + 2 * i, "LO", "x ") for i in range(1, 2000)),
    ],
    ids=range(11),
)
async def test_bad_identifier_is_refused_and_the_association_goes_on(
    server: TestServer, identifier: bytes | None
) -> None:
    async with connect(server.dicom_port, [FIND]) as client:
        assert await client.find(identifier) == (0xC000, [])
        status, answers = await client.find(ask(t0020000D=("UI", "1.2.4")))
        assert (status, len(answers)) == (0, 1)


@pytest.mark.parametrize("calling", ["OTHER", "STRANGER"])
async def test_question_that_is_not_allowed_aborts(server: TestServer, calling: str) -> None:
    with pytest.raises(AssociationAbortedError):
        async with connect(server.dicom_port, [FIND], calling=calling) as client:
            await client.find(ask())


def test_findscu_reads_the_answers(server: TestServer) -> None:
    command = [
        *(require_program("findscu", "dcmtk"), "-S", "-aet", "ASKER", "127.0.0.1"),
        *(str(server.dicom_port), "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.4"),
        *("-k", "NumberOfStudyRelatedInstances", "-k", "PatientID"),
    ]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)
    output = ended.stdout + ended.stderr
    assert ended.returncode == 0, output
    assert "[FEW" in output
    assert "[5 ]" in output


async def test_identifiers_are_logged_without_personal_data(server: TestServer) -> None:
    async with connect(server.dicom_port, [FIND]) as client:
        await client.find(ask(t00100010=("PN", "Secret^Name "), t00080060=("CS", "MR")))
    assert "Secret" not in server.log
    assert "PatientName=(hidden)" in server.log
    assert "Modality=MR" in server.log

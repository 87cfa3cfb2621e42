"""Storage commitment between whole servers, and promises that a crash does not break."""

import json
import signal
from functools import partial
from pathlib import Path

from tests.support.dicom_files import CT_IMAGE_STORAGE
from tests.support.ports import find_free_port
from tests.support.receiving import run_receiver
from tests.support.scripted_peer import wait_until as wait_until_async
from tests.support.server import TestServer, build_synthetic, run_server, wait_until
from tests.unit.tasks.test_storage_commitment import Listener

from isocenter.dicom.commitment_reports import build_commitment_request
from isocenter.dicom.data_sets import get_text
from isocenter.dimse.requestor import AssociationTarget
from isocenter.scu.commitment import request_commitment

TRANSACTION = "1.2.3.99"


def test_servers_commit_to_each_other(tmp_path: Path) -> None:
    port = find_free_port()
    here = {"Host": "127.0.0.1"}
    to_asker = {"AET": "ASKER", **here, "Port": port}
    keeper = {"DicomAet": "KEEPER", "DicomModalities": {"asker": to_asker}}
    with run_server(tmp_path / "keeper", keeper) as kept:
        to_keeper = {"AET": "KEEPER", **here, "Port": kept.dicom_port}
        asker = {"DicomAet": "ASKER", "DicomPort": port, "DicomModalities": {"keeper": to_keeper}}
        with run_server(tmp_path / "asker", asker) as asking:
            file = build_synthetic()
            kept.store(file)
            asking.store(file)
            only_here = asking.store(build_synthetic())
            for study, status in ((file.study, "Success"), (only_here.study, "Failure")):
                body = json.dumps({"Resources": [study]}).encode()
                answer = asking.request("POST", "/modalities/keeper/storage-commitment", body)
                assert answer.status == 200, answer
                path = answer.json()["Path"]
                wait_until(partial(_is_reported, asking, path), "report")
                assert asking.get(path).json()["Status"] == status


def _is_reported(server: TestServer, path: str) -> bool:
    return bool(server.get(path).json()["Status"] != "Pending")


async def test_promised_report_comes_after_a_crash(tmp_path: Path) -> None:
    port = find_free_port()
    options = {
        "DicomModalities": {"asker": {"AET": "ASKER", "Host": "127.0.0.1", "Port": port}},
        "Isocenter": {"TransferRetryDelay": 1, "TransferRetryLongestDelay": 1},
    }

    def build(transfer_syntax_uid: str) -> bytes:
        references = [(CT_IMAGE_STORAGE, "1.2.1.1")]
        return build_commitment_request(
            TRANSACTION, references, transfer_syntax_uid=transfer_syntax_uid
        )

    with run_server(tmp_path, options) as server:
        server.store(build_synthetic(study="1.2", series="1.2.1", instance="1.2.1.1"))
        target = AssociationTarget("127.0.0.1", server.dicom_port, "ISOCENTER", "ASKER")
        await request_commitment(target, build)
        # Nobody listens for the report yet.
        server.send_signal(signal.SIGKILL)
        server.wait_for_end()
    listener = Listener()
    async with run_receiver(listener, port=port):
        with run_server(tmp_path, options):
            await wait_until_async(lambda: bool(listener.reports))
    event_type, report = listener.reports[0]
    assert event_type == 1
    assert get_text(report, 0x00081195) == TRANSACTION

"""Many associations, many contexts, and peers that leave in the middle."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.dicom_files import CT_IMAGE_STORAGE, build_data_set
from tests.support.dimse_client import STUDY_ROOT, connect
from tests.support.receiving import Receiver
from tests.support.server import TestServer, build_synthetic, run_server

from isocenter.dicom.sop_classes import STORAGE_SOP_CLASSES
from isocenter.errors import AssociationAbortedError

FIND, GET = f"{STUDY_ROOT}.1", f"{STUDY_ROOT}.3"
VERIFICATION = "1.2.840.10008.1.1"
STUDIES = 60
PARALLEL = 100
SEQUENTIAL = 1000
ASK = build_data_set({0x00080052: ("CS", "STUDY"), 0x0020000D: ("UI", "")})
PATIENT = build_data_set({0x00080052: ("CS", "PATIENT"), 0x00100020: ("LO", "CROWD")})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    options = {
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "SyncStorageArea": False,
        "DicomThreadsCount": PARALLEL,
    }
    with run_server(tmp_path_factory.mktemp("crowds"), options) as server:
        for number in range(STUDIES):
            server.store(build_synthetic(patient_id="CROWD", study=f"1.2.{number + 1}"))
        yield server


async def test_hundred_associations_are_served_at_once(server: TestServer) -> None:
    everybody = asyncio.Barrier(PARALLEL)

    async def ask() -> int:
        async with connect(server.dicom_port, [FIND]) as client:
            # Nobody asks before everybody is associated.
            await everybody.wait()
            status, answers = await client.find(ASK)
            assert status == 0
            return len(answers)

    counts = await asyncio.gather(*(ask() for _ in range(PARALLEL)))
    assert counts == [STUDIES] * PARALLEL


async def test_thousand_associations_one_after_another_leave_nothing(server: TestServer) -> None:
    before = _count_open_files(server)
    for number in range(SEQUENTIAL):
        async with connect(server.dicom_port, [VERIFICATION, FIND]) as client:
            if number % 100 == 0:
                assert len((await client.find(ASK))[1]) == STUDIES
    assert _count_open_files(server) <= before + 5


def _count_open_files(server: TestServer) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


async def test_contexts_by_the_hundred_are_all_answered(server: TestServer) -> None:
    classes = list(STORAGE_SOP_CLASSES)[:124]
    receiver = Receiver()
    sop_classes = [VERIFICATION, FIND, GET, "1.2.3.4"]
    async with connect(
        server.dicom_port,
        sop_classes,
        provided=sorted({*classes[:123], CT_IMAGE_STORAGE}),
        handler=receiver,
    ) as client:
        assert len(client.association.contexts) >= len(classes) + 2
        assert (await client.find(ASK))[0] == 0
        retrieval = await client.retrieve(PATIENT, GET)
        assert (retrieval.status, len(receiver.confirmed)) == (0, STUDIES)


@pytest.mark.parametrize("at", [0, 1, 30])
async def test_requestor_that_leaves_in_the_middle_harms_nobody(
    server: TestServer, at: int
) -> None:
    receiver = Receiver()
    left = iter(range(at))

    def answer(_: str) -> int | None:
        return 0 if next(left, None) is not None else None

    receiver.answer = answer

    async def leave() -> None:
        async with connect(
            server.dicom_port, [GET], provided=[CT_IMAGE_STORAGE], handler=receiver
        ) as client:
            await client.retrieve(PATIENT, GET)

    with pytest.raises(AssociationAbortedError):
        await leave()
    async with connect(server.dicom_port, [FIND]) as client:
        assert len((await client.find(ASK))[1]) == STUDIES
    assert not re.search("Traceback", server.log)

"""C-GET and C-MOVE of a running server, with peers of ours and of DCMTK."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from tests.support.dicom_files import (
    CT_IMAGE_STORAGE,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    JPEG_BASELINE,
    build_data_set,
    build_file,
    encode_element,
    encode_fragments,
    identifiers,
)
from tests.support.dimse_client import STUDY_ROOT, connect
from tests.support.ports import find_free_port
from tests.support.receiving import Receiver, run_receiver
from tests.support.requirements import require_program
from tests.support.server import TestServer, run_server, wait_until

from isocenter.dicom.data_sets import get_layout, get_text, read_data_set
from isocenter.dimse.pdu import AssociateReject
from isocenter.errors import AssociationAbortedError

MOVE, GET = f"{STUDY_ROOT}.2", f"{STUDY_ROOT}.3"
LEVEL, STUDY_UID, SERIES_UID, SOP_UID = 0x00080052, 0x0020000D, 0x0020000E, 0x00080018
PATIENT_ID, ACCESSION = 0x00100020, 0x00080050
FAILED_UIDS = 0x00080058
MR = "1.2.840.10008.5.1.4.1.1.4"
COUNT = 5
LARGE_BYTES = 6_000_000


def build(number: int, syntax: str = EXPLICIT_LITTLE, *, series: str = "1.2.1.1") -> bytes:
    elements: dict[int, Any] = {
        **identifiers(patient_id="P1", study="1.2.1", series=series, instance=f"1.2.1.1.{number}"),
        ACCESSION: ("SH", "ACC1"),
        0x00200013: ("IS", str(number)),
        0x00280010: ("US", b"\x10\0"),
    }
    data_set = build_data_set(dict(sorted(elements.items())), syntax=syntax)
    if syntax == JPEG_BASELINE:
        return build_file(data_set + encode_fragments([b"abcd"]), syntax=syntax)
    pixels = bytes(LARGE_BYTES if number == COUNT else 512)
    return build_file(
        data_set + encode_element(0x7FE00010, "OW", pixels, syntax=syntax), syntax=syntax
    )


@pytest.fixture(scope="module")
def sink_port() -> int:
    return find_free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sink_port: int) -> Iterator[TestServer]:
    """Give a server with a study of some instances, and one that cannot be recoded."""
    here = {"Host": "127.0.0.1", "Port": sink_port}
    options = {
        "DicomModalities": {
            "asker": {"AET": "ASKER", **here},
            "sink": {"AET": "SINK", **here, "AllowGet": False, "AllowMove": False},
            "dead": {"AET": "DEAD", "Host": "127.0.0.1", "Port": find_free_port()},
        },
        "LimitFindInstances": 1,
        "SyncStorageArea": False,
        "StableAge": 3600,
        "DicomScpTimeout": 20,
    }
    with run_server(tmp_path_factory.mktemp("retrieve"), options) as server:
        for number in range(1, COUNT + 1):
            assert server.upload(build(number)).status == 200
        jpeg = build(99, JPEG_BASELINE, series="1.2.1.2")
        assert server.upload(jpeg).status == 200
        yield server


@pytest.fixture
async def sink(sink_port: int) -> AsyncIterator[Receiver]:
    """Give the modality to move to."""
    receiver = Receiver()
    async with run_receiver(receiver, port=sink_port):
        yield receiver


def ask(level: str | None, **keys: str) -> bytes:
    tags = {
        "patient": (PATIENT_ID, "LO"),
        "study": (STUDY_UID, "UI"),
        "series": (SERIES_UID, "UI"),
        "instance": (SOP_UID, "UI"),
        "accession": (ACCESSION, "SH"),
    }
    named: dict[int, Any] = {tags[name][0]: (tags[name][1], text) for name, text in keys.items()}
    if level is not None:
        named[LEVEL] = ("CS", level)
    return build_data_set(dict(sorted(named.items())))


SERIES = [f"1.2.1.1.{number}" for number in range(1, COUNT + 1)]


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (ask("SERIES", series="1.2.1.1"), SERIES),
        (ask("IMAGE", instance="1.2.1.1.2\\1.2.1.1.1\\9.9"), ["1.2.1.1.1", "1.2.1.1.2"]),
        (ask(None, study="1.2.1", series="1.2.1.1", instance="1.2.1.1.3"), ["1.2.1.1.3"]),
        (ask("SERIES", series="1.2.1.1", study="9.9"), SERIES),
    ],
    ids=("series", "instances", "deepest", "level alone counts"),
)
async def test_get_sends_what_is_named(
    server: TestServer, identifier: bytes, expected: list[str]
) -> None:
    receiver = Receiver()
    async with connect(
        server.dicom_port, [GET], provided=[CT_IMAGE_STORAGE], handler=receiver
    ) as client:
        retrieval = await client.retrieve(identifier, GET)
    assert receiver.confirmed == expected
    assert retrieval.status == 0
    total = len(expected)
    pending = [(total - done, done, 0, 0) for done in range(1, total + 1)]
    assert retrieval.counters == [*pending, (None, total, 0, 0)]


@pytest.mark.parametrize("level", ["STUDY", "PATIENT"])
async def test_get_counts_what_the_requestor_cannot_take(server: TestServer, level: str) -> None:
    receiver = Receiver()
    keys = {"study": "1.2.1"} if level == "STUDY" else {"patient": "P1"}
    async with connect(
        server.dicom_port, [GET], provided=[CT_IMAGE_STORAGE], handler=receiver
    ) as client:
        retrieval = await client.retrieve(ask(level, **keys), GET)
    # The instance in JPEG fits no context.
    assert retrieval.status == 0xB000
    assert retrieval.counters[-1] == (None, COUNT, 1, 0)
    failed = read_data_set(retrieval.responses[-1].data or b"", get_layout(EXPLICIT_LITTLE))
    assert get_text(failed, FAILED_UIDS) == "1.2.1.1.99"
    assert sorted(receiver.confirmed) == SERIES


async def test_get_recodes_what_comes_in_another_plain_syntax(server: TestServer) -> None:
    receiver = Receiver()
    async with connect(
        server.dicom_port,
        [GET],
        syntaxes=[IMPLICIT_LITTLE],
        provided=[CT_IMAGE_STORAGE],
        handler=receiver,
    ) as client:
        identifier = b"".join(
            encode_element(tag, vr, text, syntax=IMPLICIT_LITTLE)
            for tag, vr, text in ((LEVEL, "CS", "SERIES"), (SERIES_UID, "UI", "1.2.1.1"))
        )
        retrieval = await client.retrieve(identifier, GET)
    assert retrieval.status == 0
    for number, content in enumerate(receiver.contents, 1):
        expected = build(number, IMPLICIT_LITTLE)
        assert expected.endswith(content)
        assert len(content) > len(expected) - 500


@pytest.mark.parametrize(
    ("statuses", "final", "counters"),
    [
        ([0xA700] * COUNT, 0xA702, (None, 0, COUNT, 0)),
        ([0xA700, 0, 0, 0, 0], 0xB000, (None, COUNT - 1, 1, 0)),
        ([0xB000] * COUNT, 0xB000, (None, 0, 0, COUNT)),
    ],
    ids=("all fail", "one fails", "warnings"),
)
async def test_get_tells_what_the_requestor_refused(
    server: TestServer, statuses: list[int], final: int, counters: tuple[int, ...]
) -> None:
    left = iter(statuses)
    receiver = Receiver(answer=lambda _: next(left))
    async with connect(
        server.dicom_port, [GET], provided=[CT_IMAGE_STORAGE], handler=receiver
    ) as client:
        retrieval = await client.retrieve(ask("SERIES", series="1.2.1.1"), GET)
    assert (retrieval.status, retrieval.counters[-1]) == (final, counters)


async def test_get_without_the_role_fails(server: TestServer) -> None:
    async with connect(server.dicom_port, [GET, CT_IMAGE_STORAGE]) as client:
        retrieval = await client.retrieve(ask("SERIES", series="1.2.1.1"), GET)
    assert retrieval.status == 0xA702


@pytest.mark.parametrize(
    "identifier",
    [
        None,
        b"\x08",
        ask("SERIES", series="9.9"),
        ask("SERIES", study="1.2.1"),
        ask("FRAME", study="1.2.1"),
        ask("STUDY", study="1.2*"),
        ask("STUDY", study="\\"),
        ask("STUDY"),
        ask(None),
    ],
    ids=range(9),
)
@pytest.mark.parametrize("sop_class", [GET, MOVE])
async def test_nothing_to_retrieve_is_refused(
    server: TestServer, identifier: bytes | None, sop_class: str
) -> None:
    async with connect(server.dicom_port, [GET, MOVE]) as client:
        destination = "SINK" if sop_class == MOVE else None
        retrieval = await client.retrieve(identifier, sop_class, destination=destination)
        assert (retrieval.status, retrieval.counters) == (0xC000, [(None, 0, 0, 0)])


async def test_move_sends_to_a_known_modality(server: TestServer, sink: Receiver) -> None:
    async with connect(server.dicom_port, [MOVE]) as client:
        retrieval = await client.retrieve(ask("STUDY", accession="ACC1"), MOVE, destination="sink ")
        total = COUNT + 1
        assert retrieval.status == 0
        assert sorted(sink.confirmed) == sorted([*SERIES, "1.2.1.1.99"])
        pending = [(total - done, done, 0, 0) for done in range(1, total)]
        assert retrieval.counters == [*pending, (None, total, 0, 0)]
        command = sink.commands[0]
        assert command.move_originator_ae_title == "ASKER"
        assert command.move_originator_message_id == 1
        # Each combination has a context of its own, all of one association.
        assert len(sink.proposals) == 1


async def test_move_to_an_unknown_title_is_refused(server: TestServer) -> None:
    async with connect(server.dicom_port, [MOVE]) as client:
        for destination in ("NOBODY", "ISOCENTER"):
            retrieval = await client.retrieve(
                ask("STUDY", study="1.2.1"), MOVE, destination=destination
            )
            assert retrieval.status == 0xA801


async def test_move_to_a_dead_modality_fails_at_once(server: TestServer) -> None:
    async with connect(server.dicom_port, [MOVE]) as client:
        retrieval = await client.retrieve(ask("SERIES", series="1.2.1.1"), MOVE, destination="DEAD")
    assert retrieval.status == 0xA702
    assert retrieval.counters == [(None, 0, COUNT, 0)]
    failed = read_data_set(retrieval.responses[-1].data or b"", get_layout(EXPLICIT_LITTLE))
    assert get_text(failed, FAILED_UIDS).split("\\") == SERIES


@pytest.mark.parametrize(
    ("change", "final", "counters"),
    [
        ({"answer": lambda _: 0xA700}, 0xA702, (None, 0, COUNT, 0)),
        (
            {"answer": lambda uid: 0xC001 if uid == SERIES[2] else 0},
            0xB000,
            (None, COUNT - 1, 1, 0),
        ),
        ({"answer": lambda uid: None if uid == SERIES[2] else 0}, 0xB000, (None, COUNT - 1, 1, 0)),
        ({"answer": lambda _: 0xB007}, 0xB000, (None, 0, 0, COUNT)),
        ({"accepts": lambda _: []}, 0xA702, (None, 0, COUNT, 0)),
        ({"rejection": AssociateReject(1, 1, 1)}, 0xA702, (None, 0, COUNT, 0)),
    ],
    ids=("refuses", "refuses one", "aborts once", "warns", "accepts nothing", "rejects"),
)
async def test_move_tells_what_the_destination_refused(
    server: TestServer, sink: Receiver, change: dict[str, Any], final: int, counters: Any
) -> None:
    for name, value in change.items():
        setattr(sink, name, value)
    async with connect(server.dicom_port, [MOVE]) as client:
        retrieval = await client.retrieve(ask("SERIES", series="1.2.1.1"), MOVE, destination="SINK")
        assert (retrieval.status, retrieval.counters[-1]) == (final, counters)
        assert (await client.retrieve(ask("STUDY", study="9"), MOVE, destination="SINK")).status


async def test_move_goes_on_after_a_damaged_file(tmp_path: Path, sink_port: int) -> None:
    here = {"Host": "127.0.0.1", "Port": sink_port}
    options = {
        "DicomModalities": {"sink": {"AET": "SINK", **here}, "asker": {"AET": "ASKER"} | here}
    }
    receiver = Receiver()
    async with AsyncExitStack() as stack:
        server = stack.enter_context(run_server(tmp_path, options))
        for number in (COUNT, COUNT + 1):
            await asyncio.to_thread(server.upload, build(number))
        for path in server.storage.rglob("*"):
            if path.is_file() and path.stat().st_size > LARGE_BYTES:
                os.truncate(path, LARGE_BYTES // 2)
        await stack.enter_async_context(run_receiver(receiver, port=sink_port))
        client = await stack.enter_async_context(connect(server.dicom_port, [MOVE]))
        retrieval = await client.retrieve(ask("STUDY", study="1.2.1"), MOVE, destination="SINK")
    assert receiver.confirmed == [f"1.2.1.1.{COUNT + 1}"]
    assert (retrieval.status, retrieval.counters[-1]) == (0xB000, (None, 1, 1, 0))


async def test_move_is_cancelled_between_instances(server: TestServer, sink: Receiver) -> None:
    async with connect(server.dicom_port, [MOVE]) as client:
        identifier = ask("SERIES", series="1.2.1.1")
        loop = asyncio.get_running_loop()
        context = client.association.get_context(MOVE).context_id

        def cancel(_: str) -> int:
            loop.create_task(client.association.send_cancel(context, 1))  # noqa: RUF006
            sink.answer = lambda _: 0
            return 0

        sink.answer = cancel
        retrieval = await client.retrieve(identifier, MOVE, destination="SINK")
        remaining, completed, _, _ = retrieval.counters[-1]
        if retrieval.status == 0xFE00:
            assert remaining == COUNT - (completed or 0) > 0
        else:
            # The request to cancel came behind the last instance.
            assert (retrieval.status, completed) == (0, COUNT)


async def test_move_recodes_what_comes_in_another_plain_syntax(
    server: TestServer, sink: Receiver
) -> None:
    sink.accepts = lambda proposed: [c for c in proposed if c[1] == IMPLICIT_LITTLE]
    async with connect(server.dicom_port, [MOVE]) as client:
        retrieval = await client.retrieve(ask("STUDY", study="1.2.1"), MOVE, destination="SINK")
    # The instance in JPEG cannot be recoded.
    assert (retrieval.status, retrieval.counters[-1]) == (0xB000, (None, COUNT, 1, 0))
    assert sorted(sink.confirmed) == SERIES
    for number, content in enumerate(sink.contents, 1):
        expected = build(number, IMPLICIT_LITTLE)
        assert expected.endswith(content)
        assert len(content) > len(expected) - 500


@pytest.mark.parametrize("sop_class", [GET, MOVE])
async def test_modality_that_may_not_retrieve_is_cut_off(
    server: TestServer, sop_class: str
) -> None:
    destination = "SINK" if sop_class == MOVE else None

    async def retrieve() -> None:
        async with connect(server.dicom_port, [sop_class], calling="SINK") as client:
            await client.retrieve(ask("STUDY", study="1.2.1"), sop_class, destination=destination)

    with pytest.raises(AssociationAbortedError):
        await retrieve()


def _list_content(server: TestServer, key: str) -> list[Any]:
    jobs = json.loads(server.get("/jobs?expand").body)
    return [job["Content"][key] for job in jobs if key in job["Content"]]


async def test_move_by_a_job_answers_at_once(tmp_path: Path, sink_port: int) -> None:
    here = {"Host": "127.0.0.1", "Port": sink_port}
    options = {
        "DicomModalities": {"sink": {"AET": "SINK", **here}, "asker": {"AET": "ASKER", **here}},
        "SynchronousCMove": False,
        "Isocenter.TransferRetryDelay": 1,
    }
    receiver = Receiver()
    async with AsyncExitStack() as stack:
        server = stack.enter_context(run_server(tmp_path, options))
        for number in (1, 2, 3):
            await asyncio.to_thread(server.upload, build(number))
        client = await stack.enter_async_context(connect(server.dicom_port, [MOVE]))
        retrieval = await client.retrieve(ask("STUDY", study="1.2.1"), MOVE, destination="SINK")
        assert retrieval.counters == [(2, 1, 0, 0), (1, 2, 0, 0), (None, 3, 0, 0)]
        # Nobody listens at first; the job does not give up.
        await asyncio.to_thread(wait_until, lambda: _list_content(server, "LastError"), "a retry")
        await stack.enter_async_context(run_receiver(receiver, port=sink_port))
        await asyncio.to_thread(wait_until, lambda: len(receiver.confirmed) == 3, "the transfer")
        jobs = json.loads((await asyncio.to_thread(server.get, "/jobs?expand")).body)
        assert [job["Type"] for job in jobs] == ["DicomModalityStore"]
        assert jobs[0]["Content"]["Description"] == "C-MOVE"
        assert jobs[0]["Content"]["MoveOriginatorAET"] == "ASKER"


def test_getscu_stores_all_of_a_study(server: TestServer, tmp_path: Path) -> None:
    command = [
        *(require_program("getscu", "dcmtk"), "-S", "-aet", "ASKER", "-od", str(tmp_path)),
        *("127.0.0.1", str(server.dicom_port), "-k", "QueryRetrieveLevel=SERIES"),
        *("-k", "SeriesInstanceUID=1.2.1.1"),
    ]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)
    assert ended.returncode == 0, ended.stderr
    stored = [dcmread(path) for path in tmp_path.iterdir()]
    assert sorted(str(one.SOPInstanceUID) for one in stored) == SERIES
    assert {len(one.PixelData) for one in stored} == {512, LARGE_BYTES}


def test_movescu_moves_to_its_own_door(server: TestServer, sink_port: int, tmp_path: Path) -> None:
    command = [
        *(require_program("movescu", "dcmtk"), "-S", "-aet", "ASKER", "-aem", "ASKER"),
        *("+P", str(sink_port), "-od", str(tmp_path), "127.0.0.1", str(server.dicom_port)),
        *("-k", "QueryRetrieveLevel=IMAGE", "-k", "SOPInstanceUID=1.2.1.1.1\\1.2.1.1.2"),
    ]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)
    assert ended.returncode == 0, ended.stderr
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2, "two files")

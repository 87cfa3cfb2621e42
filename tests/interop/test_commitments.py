"""Storage commitment is answered and reported as by Orthanc 1.10.1."""

import queue
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from tests.support.dicom_files import CT_IMAGE_STORAGE, build_instance
from tests.support.orthanc import AE_TITLE, Pair, Server, run_pair
from tests.support.ports import find_free_port
from tests.support.query_identifiers import ask

COMMITMENT, INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
MR = "1.2.840.10008.5.1.4.1.1.4"
_TIMEOUT_S = 20


@pytest.fixture(scope="module")
def reports() -> "queue.Queue[tuple[Any, ...]]":
    return queue.Queue()


@pytest.fixture(scope="module")
def port(reports: Any) -> Iterator[int]:
    """Receive reports on a port."""

    def take(event: evt.Event) -> tuple[int, None]:
        request: Any = event.request
        roles = event.assoc.requestor.role_selection
        reports.put(
            (
                event.event_type,
                str(event.event_information),
                str(request.AffectedSOPInstanceUID),
                event.assoc.requestor.ae_title,
                [(role.scu_role, role.scp_role) for role in roles.values()],
            )
        )
        return 0, None

    port = find_free_port()
    ae = AE("ASKER")
    ae.add_supported_context(COMMITMENT, scu_role=True, scp_role=True)
    server = ae.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)]
    )
    assert server is not None
    yield port
    server.shutdown()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Pair]:
    options = {"DicomModalities": {"asker": ["ASKER", "127.0.0.1", port]}}
    with run_pair(tmp_path_factory.mktemp("commitments") / "pair", options) as pair:
        pair.load([build_instance(study="1.2.1", series="1.2.1.1", instance="1.2.1.1.1")])
        yield pair


def request(server: Server, data_set: Dataset, *, action: int = 1, instance: str = INSTANCE) -> int:
    """Send an N-ACTION; give the status."""
    ae = AE("ASKER")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = _TIMEOUT_S
    ae.add_requested_context(COMMITMENT)
    association = ae.associate("127.0.0.1", server.dicom_port, ae_title=AE_TITLE)
    assert association.is_established
    status, _ = association.send_n_action(data_set, action, COMMITMENT, instance)
    association.release()
    return int(status.Status) if "Status" in status else -1


def build(*references: tuple[str, str], transaction: str = "1.2.3.4") -> Dataset:
    items = [
        ask(None, ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid)
        for sop_class, uid in references
    ]
    return ask(None, TransactionUID=transaction, ReferencedSOPSequence=items)


KEPT = (CT_IMAGE_STORAGE, "1.2.1.1.1")


@pytest.mark.parametrize(
    "references",
    [
        (KEPT,),
        (KEPT, KEPT),
        (KEPT, (CT_IMAGE_STORAGE, "9.9.9"), (MR, "1.2.1.1.1")),
        ((MR, "1.2.1.1.1"),),
        (),
    ],
    ids=("kept", "kept twice", "some", "none", "nothing"),
)
def test_report_is_that_of_orthanc(
    pair: Pair, reports: Any, references: tuple[tuple[str, str], ...]
) -> None:
    answers = []
    for server in (pair.isocenter, pair.orthanc):
        status = request(server, build(*references))
        answers.append((status, *reports.get(timeout=_TIMEOUT_S)))
    assert answers[0] == answers[1]


def test_job_is_shown_as_by_orthanc(pair: Pair, reports: Any) -> None:
    shown = []
    for server in (pair.isocenter, pair.orthanc):
        request(server, build(KEPT, transaction="1.2.3.5"))
        reports.get(timeout=_TIMEOUT_S)
        jobs = server.request("GET", "/jobs?expand").json()
        job = next(one for one in jobs if one["Content"].get("TransactionUid") == "1.2.3.5")
        shown.append((job["Type"], job["Content"]))
    # Orthanc tells it since 1.12.
    assert shown[0][1].pop("RemoteIp") == "127.0.0.1"
    assert shown[0] == shown[1]
    assert shown[0][0] == "StorageCommitmentScp"


@pytest.mark.parametrize(
    ("data_set", "arguments", "expected"),
    [
        # Orthanc ends the association; PS3.7 Annex C has statuses for these.
        (build(KEPT), {"action": 2}, 0x0123),
        (build(KEPT), {"instance": "1.2.3"}, 0x0112),
        (ask(None, TransactionUID="1.2.3.4"), {}, 0x0115),
        (build(KEPT, transaction=""), {}, 0x0115),
        (build((CT_IMAGE_STORAGE, "")), {}, 0x0115),
    ],
    ids=range(5),
)
def test_impossible_request_is_refused(
    pair: Pair, data_set: Dataset, arguments: dict[str, Any], expected: int
) -> None:
    assert request(pair.isocenter, data_set, **arguments) == expected

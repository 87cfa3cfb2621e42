"""C-MOVE and C-GET end as with Orthanc 1.10.1, but for what `accepted.RETRIEVALS` lists."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from tests.interop.accepted import RETRIEVALS
from tests.support.dicom_files import CT_IMAGE_STORAGE, build_instance
from tests.support.orthanc import AE_TITLE, Pair, Server, run_pair
from tests.support.ports import find_free_port
from tests.support.query_identifiers import ask

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

MOVE, GET = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"
MR = "1.2.840.10008.5.1.4.1.1.4"
_TIMEOUT_S = 20
_COUNTERS = ("Remaining", "Completed", "Failed", "Warning")


@dataclass
class Sink:
    """A modality that receives.

    Attributes
    ----------
    status
        Its answer to each C-STORE.
    """

    port: int = field(default_factory=find_free_port)
    status: int = 0
    received: list[tuple[str, str, str | None, int | None]] = field(default_factory=list)

    def take(self, event: evt.Event) -> int:
        """Note and answer a C-STORE."""
        request: Any = event.request
        self.received.append(
            (
                str(request.AffectedSOPInstanceUID),
                str(event.context.transfer_syntax),
                request.MoveOriginatorApplicationEntityTitle,
                request.MoveOriginatorMessageID,
            )
        )
        return self.status


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    sink = Sink()
    ae = AE("SINK")
    ae.add_supported_context(CT_IMAGE_STORAGE)
    server = ae.start_server(
        ("127.0.0.1", sink.port), block=False, evt_handlers=[(evt.EVT_C_STORE, sink.take)]
    )
    assert server is not None
    yield sink
    server.shutdown()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Pair]:
    options = {
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {
            "sink": ["SINK", "127.0.0.1", sink.port],
            "dead": ["DEAD", "127.0.0.1", find_free_port()],
        },
    }
    files = [
        build_instance(
            {0x00080050: ("SH", "ACC1"), 0x00200013: ("IS", str(number))},
            patient_id="P1",
            study="1.2.1",
            series="1.2.1.1",
            instance=f"1.2.1.1.{number}",
        )
        for number in (1, 2, 3)
    ]
    files.append(
        build_instance(patient_id="P2", study="1.2.2", series="1.2.2.1", instance="1.2.2.1.1")
    )
    with run_pair(tmp_path_factory.mktemp("retrievals") / "pair", options) as pair:
        pair.load(files)
        yield pair


@dataclass(frozen=True)
class Case:
    """One request.

    Attributes
    ----------
    destination
        Of a C-MOVE; ``None`` for a C-GET.
    status
        What the receiver answers.
    """

    identifier: Dataset
    destination: str | None = "SINK"
    status: int = 0
    sop_class: str = CT_IMAGE_STORAGE
    syntax: str = "1.2.840.10008.1.2.1"


_STUDY = ask("STUDY", StudyInstanceUID="1.2.1")
CASES = {
    "move a study": Case(_STUDY),
    "move without a level": Case(ask(None, StudyInstanceUID="1.2.1", SeriesInstanceUID="1.2.1.1")),
    "move an instance": Case(ask("IMAGE", SOPInstanceUID="1.2.1.1.2")),
    "move two studies": Case(ask("STUDY", StudyInstanceUID=["1.2.1", "1.2.2", "9.9"])),
    "move a patient": Case(ask("PATIENT", PatientID="P1")),
    "move by accession number": Case(ask("STUDY", AccessionNumber="ACC1")),
    "move a series of another study": Case(
        ask("SERIES", StudyInstanceUID="1.2.2", SeriesInstanceUID="1.2.1.1")
    ),
    "move nothing": Case(ask("STUDY", StudyInstanceUID="9.9")),
    "move without a key": Case(ask("STUDY")),
    "move a series by its study": Case(ask("SERIES", StudyInstanceUID="1.2.1")),
    "move at a wrong level": Case(ask("FRAME", StudyInstanceUID="1.2.1")),
    "move by a wildcard": Case(ask("STUDY", StudyInstanceUID="1.2*")),
    "move to an unknown title": Case(_STUDY, "NOBODY"),
    "move to a dead modality": Case(_STUDY, "DEAD"),
    "move that is refused": Case(_STUDY, status=0xA700),
    "move with warnings": Case(_STUDY, status=0xB000),
    "get a study": Case(_STUDY, None),
    "get a patient": Case(ask("PATIENT", PatientID="P1"), None),
    "get two instances": Case(ask("IMAGE", SOPInstanceUID=["1.2.1.1.1", "1.2.1.1.2"]), None),
    "get in implicit encoding": Case(_STUDY, None, syntax="1.2.840.10008.1.2"),
    "get in big endian": Case(_STUDY, None, syntax="1.2.840.10008.1.2.2"),
    "get nothing": Case(ask("STUDY", StudyInstanceUID="9.9"), None),
    "get that is refused": Case(_STUDY, None, status=0xA700),
    "get with warnings": Case(_STUDY, None, status=0xB000),
    "get without a context": Case(_STUDY, None, sop_class=MR),
}


@contextmanager
def associate(server: Server, sink: Sink, case: Case) -> Iterator[Any]:
    ae = AE("ASKER")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = _TIMEOUT_S
    ae.add_requested_context(MOVE)
    ae.add_requested_context(GET)
    ae.add_requested_context(case.sop_class, [case.syntax])
    association = ae.associate(
        "127.0.0.1",
        server.dicom_port,
        ae_title=AE_TITLE,
        ext_neg=[build_role(case.sop_class, scu_role=True, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, sink.take)],
    )
    assert association.is_established
    yield association
    association.release()


def run(server: Server, sink: Sink, case: Case) -> tuple[Any, ...]:
    """Send the request; give statuses with counters, and what arrived."""
    sink.received.clear()
    sink.status = case.status
    with associate(server, sink, case) as association:
        if case.destination is None:
            responses = association.send_c_get(case.identifier, GET, msg_id=77)
        else:
            responses = association.send_c_move(case.identifier, case.destination, MOVE, msg_id=77)
        answers = [
            (
                status.Status,
                *(status.get(f"NumberOf{name}Suboperations") for name in _COUNTERS),
            )
            for status, _ in responses
        ]
    return answers, sorted(sink.received)


@pytest.mark.parametrize("name", CASES)
def test_retrieval_ends_as_with_orthanc(pair: Pair, sink: Sink, name: str) -> None:
    ours, theirs = (run(server, sink, CASES[name]) for server in (pair.isocenter, pair.orthanc))
    assert (ours != theirs) == (name in RETRIEVALS), (ours, theirs)


def test_accepted_differences_are_those_of_cases() -> None:
    assert not set(RETRIEVALS) - set(CASES)

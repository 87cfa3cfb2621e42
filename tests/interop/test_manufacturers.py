"""Modalities of each manufacturer are asked and answered as by Orthanc 1.10.1."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from tests.support.orthanc import Pair, Server, run_pair
from tests.support.ports import find_free_port

pytestmark = [
    # A wildcard is no UID.
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

FIND = ("1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.31")
MANUFACTURERS = [
    *("Generic", "GenericNoWildcardInDates", "GenericNoUniversalWildcard", "Vitrea", "GE"),
    *("ClearCanvas", "Dcm4Chee", "SyngoVia", "AgfaImpax", "EFilm2", "MedInria"),
]
_WILD = dict.fromkeys(("StudyDate", "PatientName", "PatientBirthDate", "StudyTime"), "*")
_STEP = {"Modality": "*", "ScheduledProcedureStepStartDate": "*"}
QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("query", {"Level": level, "Query": _WILD})
        for level in ("Patient", "Study", "Series", "Instance")
    ),
    ("query", {"Level": "Study", "Query": {"StudyDate": "20200101-*", "PatientID": "**"}}),
    ("query", {"Level": "Study", "Query": _WILD, "Normalize": False}),
    ("find-worklist", {"PatientBirthDate": "*", "ScheduledProcedureStepSequence": [_STEP]}),
]


@dataclass
class Recorder:
    """A modality that notes what it is asked, and has one answer."""

    port: int = field(default_factory=find_free_port)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        """Answer a C-FIND."""
        self.asked.append(_describe(event.identifier))
        answer = Dataset()
        answer.QueryRetrieveLevel = "STUDY"
        answer.PatientID = "P1"
        yield 0xFF00, answer


def _describe(identifier: Dataset) -> dict[str, Any]:
    return {
        str(element.tag): [_describe(item) for item in element.value]
        if element.VR == "SQ"
        else str(element.value)
        for element in identifier
    }


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    ae = AE("PEER")
    for sop_class in FIND:
        ae.add_supported_context(sop_class)
    server = ae.start_server(
        ("127.0.0.1", recorder.port),
        block=False,
        evt_handlers=[(evt.EVT_C_FIND, recorder.find)],
    )
    assert server is not None
    yield recorder
    server.shutdown()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder: Path = tmp_path_factory.mktemp("manufacturers") / "pair"
    with run_pair(folder) as pair:
        yield pair


def _post(server: Server, target: str, body: Any) -> Any:
    answer = server.request("POST", target, json.dumps(body).encode())
    assert answer.status == 200, answer.body
    return answer.json()


@pytest.mark.parametrize("manufacturer", MANUFACTURERS)
def test_modality_is_asked_as_by_orthanc(pair: Pair, recorder: Recorder, manufacturer: str) -> None:
    modality = ["PEER", "127.0.0.1", recorder.port, manufacturer]
    pair.both("PUT", "/modalities/peer", json.dumps(modality).encode())
    for operation, body in QUESTIONS:
        results = []
        for server in (pair.isocenter, pair.orthanc):
            recorder.asked.clear()
            answers = _post(server, f"/modalities/peer/{operation}", body)
            if operation == "query":
                path = f"{answers['Path']}/answers?expand&short"
                answers = server.request("GET", path).json()
            results.append((list(recorder.asked), answers))
        assert results[0] == results[1], body

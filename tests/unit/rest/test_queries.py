"""Queries and retrieves over REST, with a remote modality that answers as the test says."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.asked import Asked, encode_answer, run_asked
from tests.support.dicom_files import build_instance
from tests.support.scripted_peer import (
    ScriptedPeer,
    accept_association,
    scripted_acceptor,
    wait_until,
)
from tests.unit.rest.api import Api

from isocenter.dimse.commands import CommandField
from isocenter.dimse.pdu import Abort
from isocenter.errors import FullStorageError

pytestmark = pytest.mark.asyncio(loop_scope="module")

STUDY = {
    0x00080050: ("SH", "ACC"),
    0x00080052: ("CS", "STUDY"),
    0x00100020: ("LO", "P1"),
    0x0020000D: ("UI", "1.2"),
}


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {"DicomScuTimeout": 20, "QueryRetrieveSize": 5}


@pytest_asyncio.fixture(loop_scope="module")
async def asked(api: Api) -> AsyncIterator[Asked]:
    remote = Asked(answers=[encode_answer(STUDY)])
    async with run_asked(remote) as port:
        for name, manufacturer in (("remote", "Generic"), ("ge", "GE")):
            await put(api, name, ["REMOTE", "127.0.0.1", port, manufacturer])
        yield remote


async def put(api: Api, name: str, value: Any) -> None:
    result = await api.request("PUT", f"/modalities/{name}", body=json.dumps(value).encode())
    assert result.status_code == 200


async def post(api: Api, target: str, value: Any = None) -> Any:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return await api.request("POST", target, body=b"" if value is None else body)


async def ask(api: Api, body: Any, *, name: str = "remote") -> str:
    result = await post(api, f"/modalities/{name}/query", body)
    assert result.status_code == 200, result.text
    path: str = result.json["Path"]
    assert path == f"/queries/{result.json['ID']}"
    return path


async def test_query_sends_normalized_and_completed_keys(api: Api, asked: Asked) -> None:
    query = {"PatientName": "A*", "Modality": "CT", "NumberOfStudyRelatedSeries": ""}
    await ask(api, {"Level": "Study", "Query": query})
    assert asked.identifiers[-1] == {
        "0008,0005": "ISO_IR 100",
        "0008,0050": "",
        "0008,0052": "STUDY",
        "0010,0010": "A*",
        "0010,0020": "",
        "0020,000d": "",
        "0020,1206": "",
    }


async def test_query_without_normalization_sends_every_key(api: Api, asked: Asked) -> None:
    await ask(api, {"Level": "Study", "Query": {"Modality": "CT"}, "Normalize": False})
    assert asked.identifiers[-1]["0008,0060"] == "CT"


async def test_query_writes_what_latin_cannot_hold_in_unicode(api: Api, asked: Asked) -> None:
    path = await ask(api, {"Level": "Patient", "Query": {"PatientName": "山田*"}})
    assert asked.identifiers[-1]["0008,0005"] == "ISO_IR 192"
    assert asked.identifiers[-1]["0010,0010"] == "山田*"
    assert (await api.get_json(f"{path}/query?simplify")) == {"PatientName": "山田*"}


@pytest.mark.parametrize(
    ("manufacturer", "expected"),
    [
        ("Generic", ("*", "*", "")),
        ("GenericNoWildcardInDates", ("", "*", "")),
        ("GenericNoUniversalWildcard", ("", "", "")),
        ("GE", ("*", "*", "*")),
    ],
)
async def test_query_speaks_as_the_manufacturer_understands(
    api: Api, asked: Asked, manufacturer: str, expected: tuple[str, str, str]
) -> None:
    form = await api.get_json("/modalities/remote/configuration")
    await put(api, "other", form | {"Manufacturer": manufacturer})
    body = {"Level": "Study", "Query": {"StudyDate": "*", "PatientName": "*"}}
    await ask(api, body, name="other")
    sent = asked.identifiers[-1]
    assert (sent["0008,0020"], sent["0010,0010"], sent["0020,000d"]) == expected
    await api.request("DELETE", "/modalities/other")


async def test_only_the_last_queries_are_kept(api: Api, asked: Asked) -> None:
    paths = [await ask(api, {"Level": "Study"}) for _ in range(7)]
    assert sorted(await api.get_json("/queries")) == sorted(path[9:] for path in paths[-5:])
    assert (await api.get(paths[0])).status_code == 404


async def test_forgotten_query_is_404_and_forgotten_again(api: Api, asked: Asked) -> None:
    path = await ask(api, {"Level": "Study"})
    for _ in range(2):
        result = await api.request("DELETE", path)
        assert (result.status_code, result.content) == (200, b"")
    result = await api.get(f"{path}/answers")
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)


async def test_answers_of_thousands_are_all_kept(api: Api, asked: Asked) -> None:
    asked.answers = [
        encode_answer(STUDY | {0x0020000D: ("UI", f"1.2.{number}")}) for number in range(2500)
    ]
    path = await ask(api, {"Level": "Study"})
    answers = await api.get_json(f"{path}/answers?expand&simplify")
    uids = [answer["StudyInstanceUID"] for answer in answers]
    assert uids == [f"1.2.{number}" for number in range(2500)]


async def test_query_with_too_many_answers_is_canceled(
    api: Api, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.scu.find.MOST_ANSWERS", 2)
    asked.answers = [encode_answer(STUDY)] * 3
    result = await post(api, "/modalities/remote/query", {"Level": "Study"})
    assert (result.status_code, result.json["OrthancStatus"]) == (500, 4)


async def test_query_counts_answers_without_data_set(
    api: Api, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.scu.find.MOST_ANSWERS", 2)
    asked.answers = [None] * 3
    result = await post(api, "/modalities/remote/query", {"Level": "Study"})
    assert (result.status_code, result.json["OrthancStatus"]) == (500, 4)


async def test_query_with_answer_that_is_no_data_set_is_500(api: Api, asked: Asked) -> None:
    asked.answers = [encode_answer(STUDY)[:-2]]
    result = await post(api, "/modalities/remote/query", {"Level": "Study"})
    assert (result.status_code, result.json["OrthancStatus"]) == (500, 9)
    assert await api.get_json("/queries") is not None


async def test_query_that_fails_tells_the_status(api: Api, asked: Asked) -> None:
    asked.status = 0xA900
    result = await post(api, "/modalities/remote/query", {"Level": "Study"})
    assert result.status_code == 500
    assert result.json["ErrorPayload"]["Content"] == {"DimseErrorStatus": 0xA900}


@pytest.mark.parametrize("fault", ["hang", "close", "garbage", "abort"])
async def test_query_of_peer_at_fault_is_500(api: Api, fault: str) -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        command = await peer.read_command()
        assert command.command_field == CommandField.C_FIND_RQ
        if fault == "garbage":
            await peer.send(b"\x04\x00\x00\x00\x00\x02??")
        if fault == "abort":
            await peer.send(b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00")
        while fault != "close" and await peer.read_pdu() is not None:
            pass

    async with scripted_acceptor(script) as port:
        await put(api, "faulty", ["FAULTY", "127.0.0.1", port])
        body = {"Level": "Study", "Timeout": 1}
        result = await post(api, "/modalities/faulty/query", body)
    assert result.status_code == 500
    assert result.json["OrthancStatus"] == (16 if fault == "hang" else 9)
    await api.request("DELETE", "/modalities/faulty")


async def test_query_below_needs_the_identifier_of_the_answer(api: Api, asked: Asked) -> None:
    asked.answers = [encode_answer({0x00100020: ("LO", "P1")})]
    path = await ask(api, {"Level": "Study"})
    result = await post(api, f"{path}/answers/0/query-series", {})
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 21)


async def test_query_below_asks_with_the_identifier(api: Api, asked: Asked) -> None:
    path = await ask(api, {"Level": "Study"})
    result = await post(api, f"{path}/answers/0/query-series", {"Query": {"Modality": ""}})
    assert result.status_code == 200
    sent = asked.identifiers[-1]
    assert (sent["0008,0052"], sent["0020,000d"], sent["0008,0060"]) == ("SERIES", "1.2", "")


async def test_retrieve_falls_back_on_what_was_asked(api: Api, asked: Asked) -> None:
    answer = {0x00080052: ("CS", "SERIES"), 0x0020000E: ("UI", "1.3")}
    asked.answers = [encode_answer(answer)]
    path = await ask(api, {"Level": "Series", "Query": {"StudyInstanceUID": "1.2.7"}})
    assert (await post(api, f"{path}/answers/0/retrieve", b"TARGET")).status_code == 200
    assert asked.identifiers[-1] == {
        "0008,0005": "ISO_IR 100",
        "0008,0052": "SERIES",
        "0020,000d": "1.2.7",
        "0020,000e": "1.3",
    }
    assert asked.destinations == ["TARGET"]


async def test_retrieve_of_nothing_succeeds(api: Api, asked: Asked) -> None:
    asked.answers = []
    path = await ask(api, {"Level": "Study"})
    result = await post(api, f"{path}/retrieve")
    assert (result.status_code, result.json["Details"]) == (200, [])


async def test_retrieve_that_fails_tells_all_details(api: Api, asked: Asked) -> None:
    path = await ask(api, {"Level": "Study"})
    asked.status = 0xC000
    result = await post(api, f"{path}/retrieve")
    assert (result.status_code, result.json["OrthancStatus"]) == (500, 9)
    payload = result.json["ErrorPayload"]
    assert payload["Type"] == "RetrieveJob"
    query = {"0008,0050": "ACC", "0008,0052": "STUDY", "0010,0020": "P1", "0020,000d": "1.2"}
    assert payload["Content"] == [
        {"DimseErrorStatus": 0xC000, "Query": query, "ReceivedInstancesIds": []}
    ]


async def test_permissive_retrieve_goes_on(api: Api, asked: Asked) -> None:
    asked.answers = [encode_answer(STUDY)] * 2
    path = await ask(api, {"Level": "Study"})
    asked.status = 0xC000
    result = await post(api, f"{path}/retrieve", {"Permissive": True})
    statuses = [detail["DimseErrorStatus"] for detail in result.json["Details"]]
    assert (result.status_code, statuses) == (200, [0xC000, 0xC000])


@pytest.mark.parametrize("name", ["move", "get"])
async def test_retrieve_with_instances_that_failed_is_no_success(
    api: Api, asked: Asked, name: str
) -> None:
    asked.status, asked.failed = 0xB000, 1
    body = {"Level": "Study", "Resources": [{"StudyInstanceUID": "1.2"}]}
    result = await post(api, f"/modalities/remote/{name}", body)
    assert result.status_code == 500
    assert result.json["ErrorPayload"]["Content"][0]["DimseErrorStatus"] == 0xB000


@pytest.mark.parametrize(("failed", "status"), [(0, 200), (None, 500)])
async def test_retrieve_with_warnings_only_is_a_success_if_the_peer_counts(
    api: Api, asked: Asked, failed: int | None, status: int
) -> None:
    asked.status, asked.failed = 0xB000, failed
    body = {"Level": "Study", "Resources": [{"StudyInstanceUID": "1.2"}]}
    assert (await post(api, "/modalities/remote/move", body)).status_code == status


async def test_get_with_instance_that_is_refused_here_is_no_success(
    api: Api, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.files = [build_instance(patient_id="P1", study="1.2", series="1.3", instance="1.4.1")]

    async def fail(*_: Any, **__: Any) -> None:
        raise FullStorageError

    body = {"Level": "Study", "Resources": [{"StudyInstanceUID": "1.2"}]}
    with monkeypatch.context() as patch:
        patch.setattr(api.archive.ingest, "store", fail)
        result = await post(api, "/modalities/remote/get", body)
    assert result.status_code == 500
    assert 0xA700 in asked.store_statuses
    assert "1 instances failed" in result.json["Details"]
    assert (await post(api, "/modalities/remote/get", body)).status_code == 200


@pytest.mark.parametrize("name", ["move", "get"])
@pytest.mark.parametrize(("action", "state"), [("cancel", "Failure"), ("pause", "Paused")])
async def test_retrieve_under_way_can_be_ended(
    api: Api, name: str, action: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.tasks.retrieving._STEP_S", 0.01)
    monkeypatch.setattr("isocenter.scu.retrieve._CANCEL_S", 0.05)
    is_asked, fields = asyncio.Event(), []

    async def play(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        request = await peer.read_command()
        await peer.read_data_set()
        is_asked.set()
        cancel = await peer.read_command()
        assert cancel.message_id_being_responded_to == request.message_id
        fields.append(cancel.command_field)
        assert isinstance(await peer.read_pdu(), Abort)

    async with scripted_acceptor(play) as port:
        await put(api, "busy", ["BUSY", "127.0.0.1", port])
        body = {"Level": "Study", "Resources": [{"StudyInstanceUID": "1.2"}], "Asynchronous": True}
        job = (await post(api, f"/modalities/busy/{name}", body)).json["Path"]
        await is_asked.wait()
        await post(api, f"{job}/{action}")
        await wait_until(lambda: bool(fields))
    assert fields == [CommandField.C_CANCEL_RQ]
    # The association is ended before anybody is told that the job is.
    async with asyncio.timeout(10):
        while (await api.get_json(job))["State"] == "Running":
            pass
    assert (await api.get_json(job))["State"] == state
    await post(api, f"{job}/cancel")


async def test_get_stores_what_comes_over_its_association(api: Api, asked: Asked) -> None:
    files = [
        build_instance(patient_id="P1", study="1.2", series="1.3", instance=f"1.4.{number}")
        for number in range(3)
    ]
    asked.files = files
    body = {"Level": "Study", "Resources": [{"StudyInstanceUID": "1.2"}]}
    result = await post(api, "/modalities/remote/get", body)
    assert result.status_code == 200, result.text
    (detail,) = result.json["Details"]
    assert sorted(detail["ReceivedInstancesIds"]) == await api.get_json("/instances")
    assert len(detail["ReceivedInstancesIds"]) == 3
    assert "TargetAet" not in result.json
    metadata = f"/instances/{detail['ReceivedInstancesIds'][0]}/metadata"
    assert (await api.get(f"{metadata}/RemoteAET")).text == "REMOTE"
    assert asked.identifiers[-1]["0020,000d"] == "1.2"


@pytest.mark.parametrize("body", [{"RetrieveMethod": "FTP"}, {"TargetAet": "MORE THAN SIXTEEN"}])
async def test_retrieve_with_wrong_field_is_refused(
    api: Api, asked: Asked, body: dict[str, Any]
) -> None:
    path = await ask(api, {"Level": "Study"})
    result = await post(api, f"{path}/retrieve", body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 3)


async def test_worklist_sends_sequences_and_answers_names(api: Api, asked: Asked) -> None:
    body: dict[str, Any] = {
        "PatientID": "",
        "ScheduledProcedureStepSequence": [{"Modality": "CT"}],
    }
    result = await post(api, "/modalities/remote/find-worklist", body)
    assert result.json[0]["PatientID"] == "P1"
    assert asked.identifiers[-1]["0040,0100"] == [{"0008,0060": "CT"}]
    short = await post(api, "/modalities/remote/find-worklist", {"Query": body, "Short": True})
    assert short.json[0]["0010,0020"] == "P1"


@pytest.mark.parametrize(
    "body", [[], b"", {"Query": 5}, {"nope": ""}, {"PatientID": 5}, {"0000,0100": "x"}]
)
async def test_worklist_with_wrong_body_is_refused(api: Api, asked: Asked, body: Any) -> None:
    assert (await post(api, "/modalities/remote/find-worklist", body)).status_code == 400


async def test_deeply_nested_worklist_is_refused(api: Api, asked: Asked) -> None:
    body = b'{"0040,0100": ' + b'[{"0040,0100": ' * 400 + b'""' + b"}]" * 400 + b"}"
    assert (await post(api, "/modalities/remote/find-worklist", body)).status_code == 400


@pytest.mark.parametrize("level", ["patient", "study", "series", "instance"])
async def test_older_find_asks_at_its_level(api: Api, asked: Asked, level: str) -> None:
    result = await post(api, f"/modalities/remote/find-{level}", {"PatientID": "P*"})
    assert result.json[0]["PatientID"] == "P1"
    expected = {"instance": "IMAGE"}.get(level, level.upper())
    assert asked.identifiers[-1]["0008,0052"] == expected
    assert asked.identifiers[-1]["0010,0020"] == "P*"


async def test_older_find_builds_a_tree(api: Api, asked: Asked) -> None:
    result = await post(api, "/modalities/remote/find", {"PatientID": "P*"})
    (patient,) = result.json
    assert patient["Studies"][0]["Series"][0]["StudyInstanceUID"] == "1.2"
    levels = [identifier["0008,0052"] for identifier in asked.identifiers]
    assert levels == ["PATIENT", "STUDY", "SERIES"]

"""Remote modalities over REST: their configuration, tests of them, and sending."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.dicom_files import encode_element
from tests.support.receiving import Receiver, run_receiver
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEAD = ["DEAD", "127.0.0.1", 1]


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {
        "LogExportedResources": True,
        "DicomModalities": {"fixed": ["FIXED", "10.0.0.5", 104, "EFilm2"], "dead": DEAD},
        "DicomScuTimeout": 20,
    }


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest_asyncio.fixture(loop_scope="module")
async def remote(api: Api, receiver: Receiver) -> AsyncIterator[str]:
    async with run_receiver(receiver) as port:
        await put(api, "remote", ["REMOTE", "127.0.0.1", port])
        yield "remote"
        await api.request("DELETE", "/modalities/remote")


async def put(api: Api, name: str, value: Any) -> int:
    result = await api.request("PUT", f"/modalities/{name}", body=json.dumps(value).encode())
    return result.status_code


async def post(api: Api, target: str, value: Any = None) -> Any:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return await api.request("POST", target, body=b"" if value is None else body)


async def test_modalities_are_listed_created_changed_and_forgotten(api: Api) -> None:
    assert await api.get_json("/modalities") == ["dead", "fixed"]
    assert await put(api, "new-1", {"AET": "NEW", "Host": "h", "Port": "4242"}) == 200
    assert await api.get_json("/modalities") == ["dead", "fixed", "new-1"]
    form = await api.get_json("/modalities/new-1/configuration")
    assert (form["AET"], form["Port"], form["Manufacturer"]) == ("NEW", 4242, "Generic")
    assert await put(api, "new-1", form | {"Manufacturer": "GE"}) == 200
    expanded = await api.get_json("/modalities?expand")
    assert expanded["new-1"] == form | {"Manufacturer": "GE"}
    assert (await api.request("DELETE", "/modalities/new-1")).content == b""
    assert (await api.get("/modalities/new-1")).status_code == 404


async def test_modality_lists_its_operations(api: Api) -> None:
    operations = await api.get_json("/modalities/fixed")
    assert operations == sorted(operations)
    assert {"configuration", "echo", "get", "store-straight"} <= set(operations)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("x.y", b'["A", "h", 1]'),
        ("x%20y", b'["A", "h", 1]'),
        ("y" * 200, b'["A", "h", 1]'),
        ("z", b"garbage"),
        ("z", b""),
        ("z", b'{"AET": "A"}'),
        ("z", b'["A", "h", 99999]'),
        ("z", b'["A", "h", 1, "Nobody"]'),
        ("z", b'["MORE THAN SIXTEEN", "h", 1]'),
        ("z", b"5"),
    ],
)
async def test_wrong_modality_is_refused(api: Api, name: str, body: bytes) -> None:
    result = await api.request("PUT", f"/modalities/{name}", body=body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)
    assert await api.get_json("/modalities") == ["dead", "fixed"]


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("DELETE", "/modalities/nope"),
        ("GET", "/modalities/nope/configuration"),
        ("POST", "/modalities/nope/echo"),
        ("POST", "/modalities/nope/store"),
        ("POST", "/modalities/nope/store-straight"),
    ],
)
async def test_unknown_modality_is_404(api: Api, method: str, target: str) -> None:
    result = await api.request(method, target, body=b"{}")
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 7)
    assert "nope" in result.json["Details"]


async def test_store_waits_and_answers_the_content(
    api: Api, remote: str, receiver: Receiver
) -> None:
    file = await api.store()
    result = await post(api, "/modalities/remote/store", [file.study])
    assert result.json == {
        "Description": "REST API",
        "FailedInstancesCount": 0,
        "InstancesCount": 1,
        "LocalAet": "ISOCENTER",
        "RemoteAet": "REMOTE",
        "ParentResources": [file.study],
        "Resources": [{"ID": file.study, "Type": "Study"}],
    }
    assert receiver.confirmed == [file.uids[2]]
    (entry,) = (await api.get_json("/exports?last"))["Exports"]
    assert (entry["ID"], entry["RemoteModality"]) == (file.study, "remote")


@pytest.mark.parametrize("form", ["{0}", '"{0}"', '["{0}"]', '{{"Resources": ["{0}", "{0}"]}}'])
async def test_store_understands_each_form_of_body(
    api: Api, remote: str, receiver: Receiver, form: str
) -> None:
    file = await api.store()
    body = form.format(file.instance).encode()
    assert (await post(api, "/modalities/remote/store", body)).json["InstancesCount"] == 1
    assert receiver.confirmed == [file.uids[2]]


async def test_store_with_commitment_of_too_many_instances_is_refused(
    api: Api, remote: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.rest.modality_calls.MOST_REFERENCES", 0)
    file = await api.store()
    body = {"Resources": [file.study], "StorageCommitment": True}
    result = await post(api, "/modalities/remote/store", body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)
    assert receiver.confirmed == []


async def test_store_is_logged_once_and_only_if_it_is_understood(
    api: Api, remote: str, receiver: Receiver
) -> None:
    file = await api.store()
    last = (await api.get_json("/exports?last"))["Last"]
    resources: dict[str, Any] = {"Resources": [file.study]}
    for wrong in ({"Retries": -1}, {"MoveOriginatorAet": 5}, {"StorageCommitment": "x"}):
        result = await post(api, "/modalities/remote/store", resources | wrong)
        assert result.status_code == 400
    assert (await api.get_json("/exports?last"))["Last"] == last
    body = json.dumps(resources | {"StorageCommitment": True, "Permissive": True}).encode()
    for _ in range(2):
        result = await api.request(
            "POST", "/modalities/remote/store", body=body, headers={"Idempotency-Key": file.study}
        )
        assert result.json["InstancesCount"] == 1, result.text
    assert (await api.get_json("/exports?last"))["Last"] == last + 1
    assert receiver.confirmed == [file.uids[2]]


async def test_store_of_nothing_succeeds(api: Api, remote: str) -> None:
    result = await post(api, "/modalities/remote/store", [])
    assert (result.status_code, result.json["InstancesCount"]) == (200, 0)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, 15),
        (b"nope", 400, 15),
        (b"{}", 400, 15),
        (b"[1]", 400, 15),
        (b'["nope"]', 400, 15),
        (b'{"Resources": "x"}', 400, 15),
        (b'["11111111-11111111-11111111-11111111-11111111"]', 404, 17),
        (b'{"Resources": [], "Timeout": "x"}', 400, 15),
        (b'{"Resources": [], "Timeout": -1}', 400, 3),
        (b'{"Resources": [], "Port": 0}', 400, 3),
        (b'{"Resources": [], "LocalAet": 5}', 400, 5),
        (b'{"Resources": [], "LocalAet": "MORE THAN SIXTEEN"}', 400, 3),
        (b'{"Resources": [], "Permissive": "x"}', 400, 8),
        (b'{"Resources": [], "Retries": -1}', 400, 3),
        (b'{"Resources": [], "MoveOriginatorAet": "M", "MoveOriginatorID": 65536}', 400, 3),
    ],
)
async def test_store_with_wrong_body_is_refused(
    api: Api, remote: str, body: bytes, status: int, code: int
) -> None:
    result = await post(api, "/modalities/remote/store", body)
    assert (result.status_code, result.json["OrthancStatus"]) == (status, code)


async def test_store_that_fails_tells_the_status(api: Api, remote: str, receiver: Receiver) -> None:
    receiver.answer = lambda _: 0xA700
    file = await api.store()
    result = await post(api, "/modalities/remote/store", [file.study])
    assert (result.status_code, result.json["OrthancStatus"]) == (500, 9)
    assert result.json["ErrorPayload"] == {
        "Type": "Dimse",
        "Content": {"DimseErrorStatus": 0xA700},
    }


async def test_store_in_the_background_tries_again(api: Api) -> None:
    file = await api.store()
    body = {"Resources": [file.study], "Asynchronous": True}
    job_id = (await post(api, "/modalities/dead/store", body)).json["ID"]
    job = await wait_for_state(api, job_id, {"Retry", "Failure"})
    assert job["State"] == "Retry"
    assert job["Content"]["RetriesCount"] == 1
    assert (await post(api, f"/jobs/{job_id}/cancel")).status_code == 200


async def wait_for_state(api: Api, job_id: str, states: set[str]) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = await api.get_json(f"/jobs/{job_id}")
        if job["State"] in states:
            return job


async def test_store_without_retries_fails(api: Api) -> None:
    file = await api.store()
    body = {"Resources": [file.study], "Asynchronous": True, "Retries": 0}
    job_id = (await post(api, "/modalities/dead/store", body)).json["ID"]
    job = await wait_for_state(api, job_id, {"Retry", "Failure"})
    assert (job["State"], job["ErrorCode"]) == ("Failure", 9)


async def test_store_straight_sends_without_storing(
    api: Api, remote: str, receiver: Receiver
) -> None:
    file = build_synthetic()
    result = await post(api, "/modalities/remote/store-straight", file.content)
    assert result.json["SOPInstanceUID"] == file.uids[2]
    assert receiver.confirmed == [file.uids[2]]
    assert file.content.endswith(receiver.contents[0])
    assert await api.get_json("/instances") == []


async def test_store_straight_of_a_large_file_is_streamed(
    api: Api, remote: str, receiver: Receiver
) -> None:
    file = build_synthetic(tail=encode_element(0x7FE00010, "OW", bytes(range(256)) * 20_000))
    result = await post(api, "/modalities/remote/store-straight", file.content)
    assert result.status_code == 200
    assert file.content.endswith(receiver.contents[0])
    assert len(receiver.contents[0]) > 5_000_000


@pytest.mark.parametrize("body", [b"garbage", b""])
async def test_store_straight_of_garbage_is_refused(api: Api, remote: str, body: bytes) -> None:
    result = await post(api, "/modalities/remote/store-straight", body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)


async def test_store_straight_refused_by_the_receiver_is_500(
    api: Api, remote: str, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 0xA900
    result = await post(api, "/modalities/remote/store-straight", build_synthetic().content)
    assert result.status_code == 500
    assert result.json["ErrorPayload"]["Content"] == {"DimseErrorStatus": 0xA900}


@pytest.mark.parametrize("body", [None, {}, [], 5, {"Timeout": 2}, {"CheckFind": False}])
async def test_echo_answers_an_empty_object(api: Api, remote: str, body: Any) -> None:
    result = await post(api, "/modalities/remote/echo", body)
    assert (result.status_code, result.content) == (200, b"{}")


@pytest.mark.parametrize("body", [b"garbage", b'{"CheckFind": "x"}', b'{"Timeout": "x"}'])
async def test_echo_with_wrong_body_is_refused(api: Api, remote: str, body: bytes) -> None:
    result = await post(api, "/modalities/remote/echo", body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)


async def test_echo_of_dead_modality_is_500(api: Api) -> None:
    result = await post(api, "/modalities/dead/echo", {})
    assert (result.status_code, result.json["OrthancStatus"]) == (500, 9)
    assert "DEAD" in result.json["Details"]


async def test_echo_that_checks_find_asks(api: Api, remote: str, receiver: Receiver) -> None:
    result = await post(api, "/modalities/remote/echo", {"CheckFind": True})
    assert result.status_code == 200, result.text
    assert [command.command_field for command in receiver.commands] == [0x30, 0x20]


async def test_dicom_echo_calls_the_address_of_the_body(api: Api) -> None:
    async with run_receiver(Receiver()) as port:
        for body in ({"AET": "A", "Host": "127.0.0.1", "Port": port}, ["A", "127.0.0.1", port]):
            assert (await post(api, "/tools/dicom-echo", body)).content == b"{}"
    assert (await post(api, "/tools/dicom-echo", {})).status_code == 400
    assert (await post(api, "/tools/dicom-echo", DEAD)).status_code == 500

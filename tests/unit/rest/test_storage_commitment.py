"""Storage commitment over REST: what is asked, what is reported, what may be deleted then."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.asked import Asked, run_asked
from tests.unit.rest.api import Api

from isocenter.archive.commitment_reports import CommitmentReports
from isocenter.dicom.commitment_reports import CommitmentReport
from isocenter.dimse.commands import CommandField

pytestmark = pytest.mark.asyncio(loop_scope="module")

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {
        "StorageCommitmentReportsSize": 3,
        "DicomModalities": {"dead": ["DEAD", "127.0.0.1", 1]},
    }


@pytest_asyncio.fixture(loop_scope="module")
async def asked(api: Api) -> AsyncIterator[Asked]:
    remote = Asked()
    async with run_asked(remote) as port:
        body = json.dumps(["REMOTE", "127.0.0.1", port]).encode()
        await api.request("PUT", "/modalities/remote", body=body)
        yield remote


async def post(api: Api, target: str, value: Any = None) -> Any:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return await api.request("POST", target, body=b"" if value is None else body)


async def ask(api: Api, body: Any) -> str:
    result = await post(api, "/modalities/remote/storage-commitment", body)
    assert result.status_code == 200, result.text
    uid: str = result.json["ID"]
    assert result.json["Path"] == f"/storage-commitment/{uid}"
    return uid


def get_reports(api: Api) -> CommitmentReports:
    return api.archive.remotes.commitment_reports


async def report(
    api: Api, uid: str, kept: list[str], failed: dict[str, int] | None = None, aet: str = "REMOTE"
) -> bool:
    failures = tuple(((CT, name), reason) for name, reason in (failed or {}).items())
    said = CommitmentReport(uid, tuple((CT, name) for name in kept), failures)
    return await get_reports(api).receive(said, remote_aet=aet)


async def test_commitment_is_pending_then_kept_then_removed(api: Api, asked: Asked) -> None:
    file, other = await api.store(), await api.store()
    uid = await ask(api, {"Resources": [file.study]})
    (command,) = asked.actions
    assert command.command_field == CommandField.N_ACTION_RQ
    assert (command.action_type_id, command.requested_sop_instance_uid) == (
        1,
        "1.2.840.10008.1.20.1.1",
    )
    assert asked.identifiers[-1] == {
        "0008,1195": uid,
        "0008,1199": [{"0008,1150": CT, "0008,1155": file.uids[2]}],
    }
    assert await api.get_json(f"/storage-commitment/{uid}") == {
        "RemoteAET": "REMOTE",
        "Status": "Pending",
    }
    assert (await post(api, f"/storage-commitment/{uid}/remove")).status_code == 500
    assert await report(api, uid, [file.uids[2]])
    assert await api.get_json(f"/storage-commitment/{uid}") == {
        "RemoteAET": "REMOTE",
        "Status": "Success",
        "Success": [{"SOPClassUID": CT, "SOPInstanceUID": file.uids[2]}],
        "Failures": [],
    }
    assert (await post(api, f"/storage-commitment/{uid}/remove")).content == b"{}"
    assert await api.get_json("/instances") == [other.instance]


async def test_commitment_with_failure_removes_nothing(api: Api, asked: Asked) -> None:
    file = await api.store()
    uid = await ask(api, {"Resources": [file.study], "DicomInstances": [[CT, "1.9"]]})
    await report(api, uid, [file.uids[2]], {"1.9": 0x0112})
    answer = await api.get_json(f"/storage-commitment/{uid}")
    assert answer["Status"] == "Failure"
    (failure,) = answer["Failures"]
    assert (failure["FailureReason"], failure["SOPInstanceUID"]) == (274, "1.9")
    assert "not available" in failure["Description"]
    result = await post(api, f"/storage-commitment/{uid}/remove")
    assert (result.status_code, result.json["OrthancStatus"]) == (500, 6)
    assert await api.get_json("/instances") == [file.instance]


async def test_instance_that_is_not_mentioned_is_not_kept(api: Api, asked: Asked) -> None:
    uid = await ask(api, {"DicomInstances": [[CT, "1.1"], [CT, "1.2"]]})
    await report(api, uid, ["1.1", "1.3"])
    answer = await api.get_json(f"/storage-commitment/{uid}")
    assert answer["Status"] == "Failure"
    assert [one["SOPInstanceUID"] for one in answer["Success"]] == ["1.1"]
    assert [one["FailureReason"] for one in answer["Failures"]] == [0x0110]


async def test_only_the_first_report_of_the_one_that_was_asked_counts(
    api: Api, asked: Asked
) -> None:
    file = await api.store()
    uid = await ask(api, {"Resources": [file.study]})
    await report(api, uid, [file.uids[2]], aet="STRANGER")
    assert (await api.get_json(f"/storage-commitment/{uid}"))["Status"] == "Pending"
    await report(api, uid, [], {file.uids[2]: 0x0110})
    await report(api, uid, [file.uids[2]])
    assert (await api.get_json(f"/storage-commitment/{uid}"))["Status"] == "Failure"


async def test_report_of_a_stranger_is_refused_and_a_repeated_one_accepted(
    api: Api, asked: Asked
) -> None:
    uid = await ask(api, {"DicomInstances": [[CT, "1.1"]]})
    assert not await report(api, uid, ["1.1"], aet="STRANGER")
    assert await report(api, uid, ["1.1"], aet="remote ")
    assert await report(api, uid, ["1.1"])
    assert not await report(api, uid, ["1.1"], aet="STRANGER")


@pytest.mark.parametrize("answers_action", [True, False])
async def test_report_over_the_association_of_the_request_counts(
    api: Api, asked: Asked, answers_action: bool
) -> None:
    asked.is_reporting, asked.answers_action = True, answers_action
    uid = await ask(api, {"DicomInstances": [[CT, "1.1"]]})
    assert asked.report_statuses == [0]
    assert (await api.get_json(f"/storage-commitment/{uid}"))["Status"] == "Success"


async def test_request_that_is_cut_off_without_report_leaves_nothing(
    api: Api, asked: Asked
) -> None:
    asked.answers_action = False
    result = await post(api, "/modalities/remote/storage-commitment", {"DicomInstances": []})
    assert result.status_code == 500
    uid = asked.identifiers[-1]["0008,1195"]
    assert (await api.get(f"/storage-commitment/{uid}")).status_code == 404


async def test_report_for_which_nobody_asked_is_not_known(api: Api) -> None:
    assert not await report(api, "2.25.1", ["1.1"])
    assert not await report(api, "\0", ["1.1"])


async def test_instance_named_by_its_uids_is_removed_if_there_is_one(
    api: Api, asked: Asked
) -> None:
    file = await api.store()
    uid = await ask(api, {"DicomInstances": [{"SOPClassUID": CT, "SOPInstanceUID": file.uids[2]}]})
    await report(api, uid, [file.uids[2]])
    await post(api, f"/storage-commitment/{uid}/remove")
    assert await api.get_json("/instances") == []


async def test_only_the_last_reports_are_remembered(api: Api, asked: Asked) -> None:
    uids = [await ask(api, {"DicomInstances": []}) for _ in range(4)]
    statuses = [(await api.get(f"/storage-commitment/{uid}")).status_code for uid in uids]
    assert statuses == [404, 200, 200, 200]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, 15),
        ([], 400, 15),
        (b"", 400, 15),
        ({"Resources": 5}, 400, 15),
        ({"Resources": ["nope"]}, 400, 15),
        ({"Resources": ["11111111-11111111-11111111-11111111-11111111"]}, 404, 17),
        ({"DicomInstances": 5}, 400, 15),
        ({"DicomInstances": [5]}, 400, 15),
        ({"DicomInstances": [["1"]]}, 400, 15),
        ({"DicomInstances": [["1", "x y"]]}, 400, 15),
        ({"DicomInstances": [{"SOPClassUID": "1"}]}, 400, 15),
    ],
)
async def test_wrong_request_is_refused(
    api: Api, asked: Asked, body: Any, status: int, code: int
) -> None:
    result = await post(api, "/modalities/remote/storage-commitment", body)
    assert (result.status_code, result.json["OrthancStatus"]) == (status, code)


async def test_request_that_is_not_accepted_leaves_nothing(api: Api, asked: Asked) -> None:
    asked.status = 0x0110
    result = await post(api, "/modalities/remote/storage-commitment", {"DicomInstances": []})
    assert result.status_code == 500
    assert result.json["ErrorPayload"]["Content"] == {"DimseErrorStatus": 0x0110}
    uid = asked.identifiers[-1]["0008,1195"]
    assert (await api.get(f"/storage-commitment/{uid}")).status_code == 404


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/storage-commitment/nope"),
        ("POST", "/storage-commitment/nope/remove"),
        ("POST", "/modalities/nope/storage-commitment"),
    ],
)
async def test_unknown_transaction_or_modality_is_404(api: Api, method: str, target: str) -> None:
    result = await api.request(method, target, body=b"{}")
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 7)


async def test_dead_modality_is_500(api: Api) -> None:
    result = await post(api, "/modalities/dead/storage-commitment", {"DicomInstances": []})
    assert (result.status_code, result.json["OrthancStatus"]) == (500, 9)

"""The routes of jobs, with a kind of job that counts."""

import json
import re
import threading
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.rest.api import Api

from isocenter.http.answers import format_json
from isocenter.jobs.records import Job, NewJob
from isocenter.jobs.states import JobState
from isocenter.rest import jobs as rest_jobs
from isocenter.rest.jobs import describe_job

_DEADLINE_S = 20.0
_TIME = re.compile(r"\d{8}T\d{6}\.\d{6}")
_UNKNOWN = "6b8a1f6e-0000-4000-8000-000000000000"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _run(api: Api, to: int = 2, **values: Any) -> Job:
    arguments = {"to": to, **values.pop("arguments", {})}
    return await api.jobs.run(NewJob("Counting", arguments, **values), _DEADLINE_S)


async def test_job_is_described_as_by_orthanc(api: Api) -> None:
    job = await _run(api, content={"Description": "REST API"}, priority=3)
    described = await api.get_json(f"/jobs/{job.job_id}")
    times = {key: described.pop(key) for key in ("CreationTime", "CompletionTime", "Timestamp")}
    assert all(_TIME.fullmatch(time) for time in times.values())
    assert times["CreationTime"] <= times["CompletionTime"] <= times["Timestamp"]
    assert described.pop("EffectiveRuntime") > 0
    assert described == {
        "ID": job.job_id,
        "Type": "Counting",
        "State": "Success",
        "Priority": 3,
        "Progress": 100,
        "ErrorCode": 0,
        "ErrorDescription": "Success",
        "ErrorDetails": "",
        "Content": {"Count": 2},
    }


async def test_job_that_lists_many_is_described_in_a_thread(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"Resources": [], "Asynchronous": True, "UserData": "x" * 65534})
    name = (await api.request("POST", "/tools/create-archive", body=body)).json["ID"]
    job = await api.jobs.wait(name, _DEADLINE_S)
    short = await api.get_json(f"/jobs/{name}")
    assert short["UserData"] == "x" * 65534
    many = [str(number) for number in range(300)]
    long = replace(job, content={**job.content, "ParentResources": many})
    threads: list[int] = []

    async def lookup(_: str) -> Job:
        return long

    def describe(job: Job) -> dict[str, Any]:
        threads.append(threading.get_ident())
        return describe_job(job)

    monkeypatch.setattr(api.jobs, "lookup", lookup)
    monkeypatch.setattr(rest_jobs, "describe_job", describe)
    described = await api.get_json(f"/jobs/{name}")
    assert described == {
        **short,
        "Content": {**short["Content"], "ParentResources": many},
        "Timestamp": described["Timestamp"],
    }
    assert threads != [threading.get_ident()]


async def test_failed_job_tells_why(api: Api) -> None:
    job = await _run(api, arguments={"fail_at": 1}, user_data={"mine": [1]})
    described = await api.get_json(f"/jobs/{job.job_id}")
    assert described["State"] == "Failure"
    assert described["ErrorCode"] == 13
    assert described["ErrorDescription"] == "Inexistent file"
    assert described["ErrorDetails"] == "gone"
    assert described["ErrorPayload"] == {"Type": "T", "Content": [1]}
    assert described["UserData"] == {"mine": [1]}


async def test_unknown_job_is_404_without_body(api: Api) -> None:
    result = await api.get(f"/jobs/{_UNKNOWN}")
    assert (result.status_code, result.content) == (404, b"")


async def test_jobs_are_listed_filtered_and_paged(api: Api) -> None:
    first, second = await _run(api), await _run(api, arguments={"fail_at": 0})
    ids = [first.job_id, second.job_id]
    listed = await api.get_json("/jobs")
    assert listed == sorted(listed)
    assert set(ids) <= set(listed)
    expanded = await api.get_json("/jobs?expand")
    assert [job["ID"] for job in expanded if job["ID"] in ids] == ids
    failures = await api.get_json("/jobs?state=Failure;Paused&type=Counting")
    assert second.job_id in failures
    assert first.job_id not in failures
    assert await api.get_json("/jobs?type=Other") == []
    count = len(expanded)
    assert await api.get_json(f"/jobs?since={count - 1}&limit=5") == [second.job_id]


@pytest.mark.parametrize("query", ["state=Done", "since=x", "limit=-1", "expand=maybe"])
async def test_wrong_filter_is_400(api: Api, query: str) -> None:
    assert (await api.get(f"/jobs?{query}")).status_code == 400


@pytest.mark.parametrize(
    ("action", "status"), [("pause", 200), ("cancel", 200), ("resume", 400), ("resubmit", 400)]
)
async def test_action_in_a_wrong_state(api: Api, action: str, status: int) -> None:
    job = await _run(api)
    result = await api.request("POST", f"/jobs/{job.job_id}/{action}")
    assert result.status_code == status
    if status == 200:
        assert result.json == {}
    else:
        assert result.json["OrthancStatus"] == 6
        assert "Success" in result.json["Details"]


@pytest.mark.parametrize("action", ["pause", "cancel", "resume", "resubmit"])
async def test_action_on_an_unknown_job_is_400_with_a_reason(api: Api, action: str) -> None:
    result = await api.request("POST", f"/jobs/{_UNKNOWN}/{action}")
    assert result.status_code == 400
    assert "no job" in result.json["Details"]


async def test_failed_job_is_resubmitted(api: Api) -> None:
    job = await _run(api, arguments={"fail_at": 0})
    assert (await api.request("POST", f"/jobs/{job.job_id}/resubmit")).json == {}
    ended = await api.jobs.wait(job.job_id, _DEADLINE_S)
    assert ended.state is JobState.FAILURE


async def test_finished_job_is_deleted(api: Api) -> None:
    job = await _run(api)
    result = await api.request("DELETE", f"/jobs/{job.job_id}")
    assert (result.status_code, result.content) == (200, b"")
    again = await api.request("DELETE", f"/jobs/{job.job_id}")
    assert (again.status_code, again.json["OrthancStatus"]) == (404, 7)


@pytest.mark.parametrize("few", [1, 200])
async def test_failed_items_are_listed_and_retried(
    api: Api, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(rest_jobs, "_FEW_ITEMS", few)
    job = await _run(api, to=3, arguments={"bad": [0, 2]})
    items = await api.get_json(f"/jobs/{job.job_id}/failed-items")
    assert items == [
        {
            "ID": name,
            "ErrorCode": 15,
            "ErrorDescription": "Bad file format",
            "ErrorDetails": "bad",
        }
        for name in ("0", "2")
    ]
    retried = (await api.request("POST", f"/jobs/{job.job_id}/retry-failed")).json
    assert retried["Path"] == f"/jobs/{retried['ID']}"
    ended = await api.jobs.wait(retried["ID"], _DEADLINE_S)
    assert ended.content == {"Count": 2}
    assert (await api.get(f"/jobs/{_UNKNOWN}/failed-items")).status_code == 404
    assert (await api.request("POST", f"/jobs/{_UNKNOWN}/retry-failed")).status_code == 404
    nothing = await api.request("POST", f"/jobs/{retried['ID']}/retry-failed")
    assert nothing.status_code == 400


async def test_failed_items_are_retried_once_for_each_key(api: Api) -> None:
    jobs = [await _run(api, to=3, arguments={"bad": bad}) for bad in ([0, 2], [1])]
    first, other = (f"/jobs/{job.job_id}/retry-failed" for job in jobs)
    headers = {"Idempotency-Key": "once"}
    answers = [await api.request("POST", first, headers=headers) for _ in range(2)]
    assert answers[0].json["ID"] == answers[1].json["ID"]
    assert (await api.request("POST", first)).json["ID"] != answers[0].json["ID"]
    assert (await api.request("POST", other, headers=headers)).status_code == 409
    long = {"Idempotency-Key": "x" * 256}
    assert (await api.request("POST", first, headers=long)).status_code == 400


@pytest.mark.parametrize("page", [1, 2, 500])
async def test_long_lists_are_written_page_by_page(
    api: Api, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(rest_jobs, "_PAGE", page)
    monkeypatch.setattr(rest_jobs, "_SHORT_LIST", 1)
    for _ in range(4):
        job = await api.jobs.submit(NewJob("Counting", {"to": 1}))
        await api.jobs.wait(job.job_id, _DEADLINE_S)
    names = await api.get_json("/jobs")
    described = await api.get("/jobs?expand")
    assert described.headers["content-type"] == "application/json; charset=utf-8"
    assert sorted(entry["ID"] for entry in described.json) == names
    # To the byte as if it had been written at once.
    assert described.content == format_json(described.json)
    assert (await api.get("/jobs?expand&type=None")).content == b"[]\n"

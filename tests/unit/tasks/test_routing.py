"""Routing: each event makes each job once, whatever happens in between."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api, open_api

from isocenter.archive.received import Origin, OriginKind
from isocenter.clock import now
from isocenter.config.peers import Peer
from isocenter.config.remote_modalities import RemoteModality
from isocenter.config.routing_rules import RoutingRule
from isocenter.errors import DatabaseUnavailableError
from isocenter.index.job_rows import insert_job
from isocenter.index.jobs import DatabaseJobs
from isocenter.index.routing import Fingerprint, list_rules_with_fingerprints, set_fingerprints
from isocenter.index.writing import settle
from isocenter.jobs.claims import Limits
from isocenter.jobs.port import Recovery
from isocenter.jobs.records import Failure, JobFilter, NewJob
from isocenter.jobs.states import Action
from isocenter.tasks import routing
from isocenter.tasks.peer_store import PeerStoreKind
from isocenter.tasks.retries import RetryPolicy
from isocenter.tasks.routing import Router


@dataclass
class Case:
    """A router that the test lets run, on an engine that does not."""

    api: Api
    router: Router

    async def follow(self) -> None:
        while await self.router.follow():
            pass

    async def put(self, name: str = "rule", **rule: Any) -> None:
        await self.api.archive.remotes.routing.put(name, RoutingRule("pacs", **rule))
        await self.follow()

    async def store(self, number: int, *, modality: str = "CT", series: str = "1") -> SyntheticFile:
        return await self.api.store(
            build_synthetic(
                {0x00080060: ("CS", modality), 0x00081030: ("LO", "Head and neck")},
                patient_id="P",
                study="1.2",
                series=f"1.3.{series}",
                instance=f"1.4.{series}.{number}",
            )
        )

    async def stabilize(self) -> None:
        await self.api.archive.workers.write(
            lambda tx: settle(tx, before=2**40, now=now(), limit=1000)
        )

    async def list_resources(self) -> list[list[str]]:
        jobs = await self.api.jobs.find(JobFilter())
        return [job.content["ParentResources"] for job in jobs]


@pytest_asyncio.fixture
async def case(tmp_path: Path) -> AsyncIterator[Case]:
    async with open_api(tmp_path, {"StableAge": 100_000}) as api:
        await api.jobs.stop(1.0)
        await api.archive.remotes.modalities.put("pacs", RemoteModality("PACS", "127.0.0.1", 1))
        yield Case(api, Router(api.archive, api.jobs, retries=7))


async def test_stable_study_is_sent_once(case: Case) -> None:
    await case.put()
    file = await case.store(1)
    await case.follow()
    assert await case.list_resources() == []
    await case.stabilize()
    await case.follow()
    await case.follow()
    assert await case.list_resources() == [[file.study]]
    (job,) = await case.api.jobs.find(JobFilter())
    assert (job.kind, job.destination) == ("DicomModalityStore", "pacs")
    assert job.content["Description"] == "Routing: rule"
    assert job.arguments["Retries"] == 7


async def test_what_was_there_before_the_first_rule_is_not_sent(case: Case) -> None:
    await case.store(1)
    await case.stabilize()
    await case.follow()
    await case.put()
    assert await case.list_resources() == []


async def test_router_that_stopped_in_between_loses_nothing(case: Case) -> None:
    await case.put()
    file = await case.store(1)
    await case.stabilize()
    case.router = Router(case.api.archive, case.api.jobs, retries=7)
    await case.follow()
    assert await case.list_resources() == [[file.study]]


async def test_second_router_sends_nothing_again(case: Case, monkeypatch: Any) -> None:
    await case.put()
    await case.store(1)
    await case.stabilize()
    other = Router(case.api.archive, case.api.jobs, retries=7)
    build_jobs = case.router._build_jobs

    async def build_late(*arguments: Any) -> Any:
        built = await build_jobs(*arguments)
        await other.follow()
        return built

    monkeypatch.setattr(case.router, "_build_jobs", build_late)
    await case.follow()
    assert len(await case.list_resources()) == 1


async def test_client_with_a_key_like_ours_stops_nothing(case: Case) -> None:
    await case.put()
    keys = [f"routing:rule:{seq}" for seq in range(20)]
    others = [NewJob("Other", {}, {}, idempotency_key=key) for key in keys]
    await case.api.archive.workers.write(
        lambda tx: [insert_job(tx, str(number), new) for number, new in enumerate(others)]
    )
    await case.store(1)
    await case.stabilize()
    await case.follow()
    assert len(await case.api.jobs.find(JobFilter())) == 21


async def test_what_is_deleted_while_jobs_are_built_keeps_nothing_else_back(
    case: Case, monkeypatch: Any
) -> None:
    await case.put(trigger="NewInstance")
    files = [await case.store(number) for number in range(3)]
    outgoing = case.api.archive.remotes.outgoing
    plan = outgoing.plan
    paths = iter([f"/instances/{files[1].instance}"])

    async def plan_late(public_ids: Any) -> Any:
        for path in paths:
            await case.api.request("DELETE", path)
        return await plan(public_ids)

    monkeypatch.setattr(outgoing, "plan", plan_late)
    await case.follow()
    await case.follow()
    (job,) = await case.list_resources()
    assert sorted(job) == sorted([files[0].instance, files[2].instance])


async def test_database_that_fails_while_jobs_are_built_loses_no_event(
    case: Case, monkeypatch: Any
) -> None:
    await case.put()
    await case.store(1)
    await case.stabilize()

    async def fail(name: str) -> None:
        raise DatabaseUnavailableError("the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(case.api.archive.remotes.modalities, "get_known", fail)
        with pytest.raises(DatabaseUnavailableError):
            await case.follow()
    await case.follow()
    assert len(await case.list_resources()) == 1


async def test_what_came_from_the_destination_does_not_go_back(case: Case) -> None:
    await case.put("study")
    await case.put("instance", trigger="NewInstance")
    content = build_synthetic(patient_id="P", study="1.2", series="1.3").content
    origin = Origin(OriginKind.DICOM_PROTOCOL, remote_aet="pacs")
    await case.api.archive.ingest.store(content, origin)
    other = await case.store(1, series="2")
    await case.stabilize()
    await case.follow()
    sent = await case.list_resources()
    assert sorted(sent) == sorted([[other.instance], [other.series]])


async def test_only_matching_series_of_a_study_are_sent(case: Case) -> None:
    await case.put(modalities=("ct",))
    one = await case.store(1, series="1")
    await case.store(1, series="2", modality="SR")
    await case.stabilize()
    await case.follow()
    assert await case.list_resources() == [[one.series]]


async def test_rules_that_do_not_match_or_are_disabled_send_nothing(case: Case) -> None:
    await case.put("a", modalities=("MR",))
    await case.put("b", tags={"StudyDescription": "foot*"})
    await case.put("c", origin_aets=("SCANNER",))
    await case.put("d", is_enabled=False)
    await case.store(1)
    await case.stabilize()
    await case.follow()
    assert await case.list_resources() == []


async def test_tags_match_as_in_searches(case: Case) -> None:
    await case.put(tags={"StudyDescription": "HEAD*\\foot", "PatientID": "P"})
    await case.store(1)
    await case.stabilize()
    await case.follow()
    assert len(await case.list_resources()) == 1


async def test_stable_series_are_sent_one_by_one(case: Case) -> None:
    await case.put(trigger="StableSeries")
    files = [await case.store(1, series=str(number)) for number in range(3)]
    await case.stabilize()
    await case.follow()
    sent = sorted(await case.list_resources())
    assert sent == sorted([file.series] for file in files)


async def test_new_instances_are_sent_together(case: Case, monkeypatch: Any) -> None:
    monkeypatch.setattr(routing, "_BATCH", 4)
    await case.put(trigger="NewInstance")
    files = [await case.store(number) for number in range(6)]
    await case.follow()
    jobs = await case.list_resources()
    assert [len(job) for job in jobs] == [4, 2]
    assert sorted(name for job in jobs for name in job) == sorted(f.instance for f in files)


async def test_deleted_study_is_passed_over(case: Case) -> None:
    await case.put()
    file = await case.store(1)
    await case.stabilize()
    await case.api.request("DELETE", f"/studies/{file.study}")
    await case.follow()
    assert await case.list_resources() == []


async def test_rule_with_forgotten_destination_makes_a_job_that_shows_it(case: Case) -> None:
    await case.put()
    await case.api.archive.remotes.modalities.delete("pacs")
    await case.store(1)
    await case.stabilize()
    await case.follow()
    assert len(await case.list_resources()) == 1


async def test_delay_quiet_hours_and_priority_go_into_the_job(case: Case) -> None:
    await case.put(delay_s=60, quiet_hours=((1, 2),), priority=5, retries=1)
    await case.store(1)
    await case.stabilize()
    await case.follow()
    (job,) = await case.api.jobs.find(JobFilter())
    assert (job.priority, job.arguments["Retries"]) == (5, 1)
    assert job.arguments["QuietHours"] == [[1, 2]]
    assert job.arguments["NotBefore"] > 0


async def test_rules_that_come_again_do_not_send_what_came_meanwhile(case: Case) -> None:
    await case.put()
    await case.api.archive.remotes.routing.delete("rule")
    await case.follow()
    await case.store(1)
    await case.stabilize()
    await case.follow()
    await case.put()
    assert await case.list_resources() == []


async def test_study_goes_to_a_peer(case: Case) -> None:
    await case.api.archive.remotes.peers.put("far", Peer("http://127.0.0.1:1/", "user", "secret"))
    await case.api.archive.remotes.routing.put("http", RoutingRule("far", is_to_peer=True))
    await case.follow()
    file = await case.store(1)
    await case.stabilize()
    await case.follow()
    (job,) = await case.api.jobs.find(JobFilter())
    assert (job.kind, job.destination) == ("OrthancPeerStore", "far")
    assert job.content["ParentResources"] == [file.study]
    assert job.content["Description"] == "Routing: http"
    assert "secret" not in str(job)


@pytest.mark.parametrize(
    ("keeps_replaced", "has_md5", "is_compressed"),
    [(False, True, False), (True, True, False), (False, False, False), (False, False, True)],
)
@pytest.mark.parametrize("trigger", ["NewInstance", "StableSeries", "StableStudy"])
async def test_what_comes_back_unchanged_is_not_sent_again(
    tmp_path: Path, trigger: str, keeps_replaced: bool, has_md5: bool, is_compressed: bool
) -> None:
    options: dict[str, object] = {
        "StableAge": 100_000,
        "OverwriteInstances": "Always",
        "Isocenter.OverwriteInPlace": keeps_replaced,
        "StoreMD5ForAttachments": has_md5,
        "StorageCompression": is_compressed,
    }
    async with open_api(tmp_path, options) as api:
        await api.jobs.stop(1.0)
        await api.archive.remotes.modalities.put("pacs", RemoteModality("PACS", "127.0.0.1", 1))
        case = Case(api, Router(api.archive, api.jobs, retries=7))
        await case.put(trigger=trigger)

        async def arrive(file: SyntheticFile) -> int:
            assert (await api.request("POST", "/instances", body=file.content)).status_code == 200
            await case.stabilize()
            await case.follow()
            return len(await case.list_resources())

        first, changed, other = (
            build_synthetic(
                {0x00200013: ("IS", number)},
                patient_id="P",
                study="1.2",
                series="1.3",
                instance=instance,
            )
            for number, instance in (("1", "1.4"), ("2", "1.4"), ("1", "1.5"))
        )
        assert await arrive(first) == 1
        assert await arrive(first) == 1
        assert await arrive(changed) == 2
        assert await arrive(changed) == 2
        assert await arrive(first) == 3
        # What is new beside it is sent.
        assert await arrive(other) == 4
        # Whoever deletes it wants it to be sent anew.
        await api.request("DELETE", first.paths["instances"])
        assert await arrive(first) == (5 if trigger == "NewInstance" else 4)
        await api.request("DELETE", first.paths["studies"])
        assert await arrive(first) == (6 if trigger == "NewInstance" else 5)


async def test_another_destination_gets_what_the_first_has(case: Case) -> None:
    await case.put()
    await case.store(1)
    await case.stabilize()
    await case.follow()
    other = RemoteModality("OTHER", "127.0.0.1", 1)
    await case.api.archive.remotes.modalities.put("other", other)
    await case.api.archive.remotes.routing.put("rule", RoutingRule("other"))
    await case.api.archive.workers.write(
        lambda tx: tx.run("touch", {"internal_id": 2, "last_update": 1})
    )
    await case.stabilize()
    await case.follow()
    jobs = await case.api.jobs.find(JobFilter())
    assert [job.destination for job in jobs] == ["pacs", "other"]


async def stabilize_again(case: Case) -> int:
    """Let the study come again, with the same content; tell how many jobs there are then."""
    await case.api.archive.workers.write(
        lambda tx: tx.run("touch", {"internal_id": 2, "last_update": 1})
    )
    await case.stabilize()
    await case.follow()
    return len(await case.api.jobs.find(JobFilter()))


@pytest.mark.parametrize("is_canceled", [False, True])
async def test_what_a_job_has_not_sent_is_sent_when_it_comes_again(
    case: Case, is_canceled: bool
) -> None:
    await case.put()
    await case.store(1)
    assert await stabilize_again(case) == 1
    assert await stabilize_again(case) == 1
    jobs = DatabaseJobs(case.api.archive.workers._database, history=1)
    kind = PeerStoreKind(case.api.archive.remotes, RetryPolicy(0, 1, 1))
    if is_canceled:
        (job,) = await case.api.jobs.find(JobFilter())
        await case.api.jobs.act(job.job_id, Action.CANCEL)
    else:
        (job,) = jobs.claim("me", 1, Limits()).jobs
        jobs.fail(job, Failure(9), kind.abandon(job))
    assert await stabilize_again(case) == 2


async def test_what_is_forgotten_unfinished_is_sent_when_it_comes_again(case: Case) -> None:
    await case.put()
    await case.store(1)
    assert await stabilize_again(case) == 1
    jobs = DatabaseJobs(case.api.archive.workers._database, history=1)
    kind = PeerStoreKind(case.api.archive.remotes, RetryPolicy(0, 1, 1))
    jobs.recover("other", Recovery.FORGET, kind.abandon)
    assert await stabilize_again(case) == 1


async def test_destination_at_another_address_gets_it_again(case: Case) -> None:
    await case.put()
    await case.store(1)
    assert await stabilize_again(case) == 1
    modalities = case.api.archive.remotes.modalities
    await modalities.put("pacs", RemoteModality("PACS", "127.0.0.1", 1, manufacturer="GE"))
    assert await stabilize_again(case) == 1
    for number, changed in enumerate(
        (RemoteModality("OTHER", "127.0.0.1", 1), RemoteModality("OTHER", "127.0.0.2", 1)), 2
    ):
        await modalities.put("pacs", changed)
        assert await stabilize_again(case) == number


async def test_rules_that_are_gone_from_the_configuration_have_sent_nothing(case: Case) -> None:
    gone = Fingerprint("study", "gone", "1")
    kept = Fingerprint("study", "kept", "1")
    workers = case.api.archive.workers
    await case.put("kept")
    await workers.write(lambda tx: set_fingerprints(tx, [gone, kept]))
    await Router(case.api.archive, case.api.jobs, retries=7).follow()
    assert await workers.read_long(list_rules_with_fingerprints) == ["kept"]


async def test_file_that_cannot_be_read_is_new_with_each_storing(case: Case) -> None:
    file = await case.store(1)
    outgoing = case.api.archive.remotes.outgoing
    plan = replace(await outgoing.plan([file.study]), digests=("",))
    read: dict[str, str] = {}
    digest = hashlib.md5(file.content, usedforsecurity=False).hexdigest()
    assert await outgoing.sum_up(plan, read) == read == {file.instance: digest}
    attachment = (await outgoing.find([file.instance]))[file.instance].attachment
    case.api.archive.storage.remove(attachment.attachment_uuid)
    assert await outgoing.sum_up(plan, read) == {file.instance: digest}
    assert await outgoing.sum_up(plan, {}) == {file.instance: attachment.attachment_uuid}
    await case.api.request("DELETE", file.paths["instances"])
    assert await outgoing.sum_up(plan, {}) == {file.instance: ""}

"""The log of changes."""

import re
from typing import Any

import pytest
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
NEW = ["NewInstance", "NewSeries", "NewStudy", "NewPatient"]


def get_seqs(page: Any) -> list[int]:
    return [change["Seq"] for change in page["Changes"]]


async def test_first_instance_logs_the_levels_upwards(api: Api) -> None:
    file = await api.store()
    page = await api.get_json("/changes")
    assert [change["ChangeType"] for change in page["Changes"]] == NEW
    first = page["Changes"][0]
    assert re.fullmatch(r"\d{8}T\d{6}", first.pop("Date"))
    assert first == {
        "Seq": page["First"],
        "ChangeType": "NewInstance",
        "ResourceType": "Instance",
        "ID": file.instance,
        "Path": f"/instances/{file.instance}",
    }
    assert [change["Path"] for change in page["Changes"]] == [
        file.paths[level] for level in ("instances", "series", "studies", "patients")
    ]
    assert page["Done"] is True
    assert page["Last"] == get_seqs(page)[-1]
    assert get_seqs(page) == list(range(page["First"], page["First"] + 4))


async def test_instance_of_a_known_study_logs_only_what_is_new(api: Api) -> None:
    first = await api.store()
    study, _, _ = first.uids
    await api.store(build_synthetic(patient_id=first.patient_id, study=study))
    types = [change["ChangeType"] for change in (await api.get_json("/changes"))["Changes"]]
    assert types == [*NEW, "NewInstance", "NewSeries"]


async def test_instance_that_was_there_already_logs_nothing(api: Api) -> None:
    file = await api.store()
    await api.request("POST", "/instances", body=file.content)
    assert len((await api.get_json("/changes"))["Changes"]) == 4


async def test_client_that_follows_sees_every_change_once(api: Api) -> None:
    for _ in range(3):
        await api.store()
    whole = await api.get_json("/changes")
    assert len(whole["Changes"]) == 12
    seen, since, is_done = [], 0, False
    while not is_done:
        page = await api.get_json(f"/changes?since={since}&limit=5")
        assert len(page["Changes"]) <= 5
        seen += page["Changes"]
        since, is_done = page["Last"], page["Done"]
    assert seen == whole["Changes"]
    after = await api.get_json(f"/changes?since={since}")
    assert after == {"Changes": [], "Done": True, "Last": since}


async def test_limit_that_ends_at_the_last_change_is_done(api: Api) -> None:
    await api.store()
    assert (await api.get_json("/changes?limit=4"))["Done"] is True
    assert (await api.get_json("/changes?limit=3"))["Done"] is False


async def test_limit_of_zero_answers_no_change_and_is_not_done(api: Api) -> None:
    await api.store()
    last = (await api.get_json("/changes"))["Last"]
    assert await api.get_json("/changes?limit=0") == {"Changes": [], "Done": False, "Last": last}


async def test_to_is_inclusive_and_walks_backwards_alone(api: Api) -> None:
    for _ in range(2):
        await api.store()
    seqs = get_seqs(await api.get_json("/changes"))
    bounded = await api.get_json(f"/changes?since={seqs[1]}&to={seqs[4]}")
    assert get_seqs(bounded) == seqs[2:5]
    backwards = await api.get_json(f"/changes?to={seqs[5]}&limit=2")
    assert get_seqs(backwards) == seqs[4:6]
    assert backwards["Done"] is False


async def test_type_filters(api: Api) -> None:
    for _ in range(2):
        await api.store()
    page = await api.get_json("/changes?type=NewStudy;NewPatient&limit=3")
    assert [change["ChangeType"] for change in page["Changes"]] == [
        "NewStudy",
        "NewPatient",
        "NewStudy",
    ]
    assert page["Done"] is False
    assert len((await api.get_json("/changes?type=all"))["Changes"]) == 8


async def test_unknown_type_is_400(api: Api) -> None:
    result = await api.get("/changes?type=NewStudy;Nothing")
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 3)


@pytest.mark.parametrize(
    "query", ["since=x&limit=1", "since=0&limit=x", "since=-1&limit=1", "since=&limit=1"]
)
async def test_one_unreadable_number_resets_both(api: Api, query: str) -> None:
    await api.store()
    assert len((await api.get_json(f"/changes?{query}"))["Changes"]) == 4


@pytest.mark.parametrize("since", ["9223372036854775807", "99999999999999999999"])
async def test_since_beyond_every_number_answers_nothing(api: Api, since: str) -> None:
    await api.store()
    page = await api.get_json(f"/changes?since={since}")
    assert (page["Changes"], page["Done"]) == ([], True)


async def test_last_is_the_newest_change_alone(api: Api) -> None:
    await api.store()
    whole = await api.get_json("/changes")
    last = await api.get_json("/changes?last")
    assert last == {
        "Changes": whole["Changes"][-1:],
        "Done": True,
        "First": whole["Last"],
        "Last": whole["Last"],
    }


async def test_deleting_takes_the_changes_along(api: Api) -> None:
    first, second = await api.store(), await api.store()
    await api.request("DELETE", first.paths["patients"])
    changes = (await api.get_json("/changes"))["Changes"]
    assert {change["ID"] for change in changes} == {
        second.instance,
        second.series,
        second.study,
        second.patient,
    }


async def test_clearing_empties_the_log_and_numbering_goes_on(api: Api) -> None:
    await api.store()
    last = (await api.get_json("/changes"))["Last"]
    result = await api.request("DELETE", "/changes")
    assert (result.status_code, result.content) == (200, b"")
    assert result.headers["content-type"] == "text/plain"
    assert await api.get_json("/changes") == {"Changes": [], "Done": True, "Last": last}
    await api.store()
    assert (await api.get_json("/changes"))["First"] == last + 1

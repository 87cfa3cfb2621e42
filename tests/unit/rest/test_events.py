"""What happens, told as it happens, and told again to those who missed it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, cast

import pytest
from tests.support.events import Event, parse_events
from tests.unit.rest.api import Api

from isocenter.archive import event_feed
from isocenter.archive.event_feed import EventPosition
from isocenter.errors import BadParameterError, DatabaseUnavailableError, TooManyRequestsError
from isocenter.http import event_streams
from isocenter.http.event_streams import EventStreams, Interest, parse_position
from isocenter.jobs.records import NewJob
from isocenter.jobs.states import Action
from isocenter.rest.events import EVENT_FORMATS

_DEADLINE_S = 20.0

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Client:
    """Reads a stream of events piece by piece."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.content = b""

    @property
    def events(self) -> list[Event]:
        return parse_events(self.content)

    async def read_until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(_DEADLINE_S):
            while not condition():
                self.content += await anext(self._pieces)

    async def read_all(self) -> None:
        async with asyncio.timeout(_DEADLINE_S):
            async for piece in self._pieces:
                self.content += piece

    def list_states(self, job_id: str) -> list[str]:
        return [e.data["State"] for e in self.events if e.data["ID"] == job_id]


def has_read(client: Client, count: int) -> bool:
    return len(client.events) >= count


def _listen(
    api: Api,
    interest: Interest | None = None,
    since: EventPosition | None = None,
    **options: Any,
) -> Any:
    """Open a stream; for ``aclosing``."""
    options = {"timeout_s": None, "abort": lambda: None, **options}
    return cast(Any, api.services.events.listen(interest or Interest(), since, **options))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "_INTERVAL_S", 0.005)


async def test_changes_are_told_in_order_with_their_numbers(api: Api) -> None:
    async with aclosing(_listen(api)) as pieces:
        client = Client(pieces)
        await client.read_until(lambda: client.content)
        file = await api.store()
        await client.read_until(lambda: len(client.events) >= 4)
    log = (await api.get_json("/changes?limit=100000"))["Changes"]
    told = [event.data for event in client.events]
    assert told == log[-len(told) :]
    assert {event.name for event in client.events} == {"change"}
    assert [int(event.identifier.split(".")[0]) for event in client.events] == [
        change["Seq"] for change in told
    ]
    assert file.instance in {change["ID"] for change in told}


async def test_jobs_are_told_up_to_their_end(api: Api) -> None:
    async with aclosing(_listen(api, Interest(has_changes=False))) as pieces:
        client = Client(pieces)
        await client.read_until(lambda: client.content)
        job = await api.jobs.submit(NewJob("Counting", {"to": 3}))
        await client.read_until(lambda: "Success" in client.list_states(job.job_id))
    described = await api.get_json(f"/jobs/{job.job_id}")
    last = client.events[-1].data
    assert last.keys() == described.keys()
    assert last["Content"] == described["Content"] == {"Count": 3}
    assert last["Progress"] == 100


async def test_new_client_is_told_what_waits(api: Api) -> None:
    job = await api.jobs.submit(NewJob("Counting", {"to": 1}, priority=-5))
    await api.jobs.act(job.job_id, Action.CANCEL)
    await api.jobs.wait(job.job_id, 10)
    waiting = await api.jobs.submit(NewJob("Counting", {"to": 10_000}))
    result = await api.get("/events?timeout=0")
    ids = {event.data["ID"] for event in parse_events(result.content) if event.name == "job"}
    assert waiting.job_id in ids
    assert job.job_id not in ids
    await api.jobs.act(waiting.job_id, Action.CANCEL)


async def test_client_that_comes_back_is_told_what_it_missed(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "_MOST_CHANGES", 3)
    await api.store()
    log = (await api.get_json("/changes?limit=100000"))["Changes"]
    since = f"{log[-4]['Seq'] - 1}.{10**15}"
    job = await api.jobs.submit(NewJob("Counting", {"to": 1}))
    await api.jobs.wait(job.job_id, _DEADLINE_S)
    await api.store()
    result = await api.get("/events?timeout=0", headers={"Last-Event-ID": since})
    events = parse_events(result.content)
    changes = [event.data for event in events if event.name == "change"]
    log = (await api.get_json("/changes?limit=100000"))["Changes"]
    assert changes == log[-8:]
    # The job that ended meanwhile as well.
    assert [event.data["State"] for event in events if event.data["ID"] == job.job_id] == [
        "Success"
    ]
    again = await api.get(f"/events?timeout=0&last-event-id={events[3].identifier}")
    assert parse_events(again.content)[0].data == changes[4]


async def test_client_with_a_number_that_is_not_reached_yet_is_told_what_comes(api: Api) -> None:
    since = EventPosition(10**15, 0)
    async with aclosing(_listen(api, Interest(has_jobs=False), since)) as pieces:
        client = Client(pieces)
        await client.read_until(lambda: client.content)
        reading = asyncio.create_task(client.read_until(lambda: client.events))
        while not reading.done():
            await api.store()


async def test_only_one_job_is_of_interest(api: Api) -> None:
    job = await api.jobs.submit(NewJob("Counting", {"to": 1}))
    await api.jobs.wait(job.job_id, _DEADLINE_S)
    async with aclosing(_listen(api, Interest(has_changes=False, job_id=job.job_id))) as pieces:
        client = Client(pieces)
        await client.read_until(lambda: client.list_states(job.job_id) == ["Success"])
    result = await api.get(f"/events?timeout=0&job={job.job_id}&type=job")
    (event,) = parse_events(result.content)
    assert event.data["ID"] == job.job_id


@pytest.mark.parametrize(
    ("query", "names"),
    [("type=change", {"change"}), ("type=job", {"job"}), ("type=job;change", {"change", "job"})],
)
async def test_types_are_chosen(api: Api, query: str, names: set[str]) -> None:
    await api.store()
    job = await api.jobs.submit(NewJob("Counting", {"to": 1}))
    await api.jobs.wait(job.job_id, _DEADLINE_S)
    result = await api.get(f"/events?timeout=0&last-event-id=0.0&{query}")
    assert {event.name for event in parse_events(result.content)} == names


async def test_answer_is_an_event_stream_that_nobody_keeps(api: Api) -> None:
    result = await api.get("/events?timeout=0")
    assert result.status_code == 200
    assert result.headers["content-type"] == "text/event-stream"
    assert result.headers["cache-control"] == "no-store"
    assert result.content.startswith(b"retry: ")


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/events?type=x", {}),
        ("/events?timeout=-1", {}),
        ("/events?timeout=99999999", {}),
        ("/events?timeout=x", {}),
        ("/events?last-event-id=5", {}),
        ("/events", {"Last-Event-ID": "a.b"}),
        ("/events", {"Last-Event-ID": f"{'9' * 30}.1"}),
    ],
)
async def test_wrong_arguments_are_refused(api: Api, target: str, headers: dict[str, str]) -> None:
    assert (await api.get(target, headers=headers)).status_code == 400


async def test_unknown_job_is_missing(api: Api) -> None:
    result = await api.get("/events?job=0f2c3a52-0000-4000-8000-000000000000")
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 7)


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "-1.1", "1.1.1", "1.²", "1\n.2"])
async def test_position_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(BadParameterError):
        parse_position(text)


async def test_slow_client_is_dropped_with_a_comment(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "_MOST_WAITING", 20)
    monkeypatch.setattr(event_streams, "_GRACE_S", 0.0)
    aborted = asyncio.Event()
    async with (
        aclosing(_listen(api, abort=aborted.set)) as slow_pieces,
        aclosing(_listen(api)) as pieces,
    ):
        slow, client = Client(slow_pieces), Client(pieces)
        await slow.read_until(lambda: slow.content)
        await client.read_until(lambda: client.content)
        # From the comment at its beginning on it does not read any more.
        reading = asyncio.create_task(slow.read_until(lambda: slow.events))
        await api.store()
        await reading
        for number in range(2, 10):
            await api.store()
            await client.read_until(partial(has_read, client, 4 * number))
        async with asyncio.timeout(_DEADLINE_S):
            await aborted.wait()
        await slow.read_all()
    assert slow.content.endswith(b": too slow; connect again with Last-Event-ID\n\n")
    assert len(slow.events) < len(client.events)


async def test_idle_stream_shows_that_it_lives(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "_KEEP_ALIVE_S", 0.01)
    async with aclosing(_listen(api)) as pieces:
        client = Client(pieces)
        await client.read_until(lambda: client.content.count(b": keep-alive\n\n") == 3)
    assert api.services.events.count == 0


async def test_nothing_is_read_while_nobody_listens(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "_LINGER", 1)
    await api.get("/events?timeout=0")
    streams = api.services.events
    if streams._task is not None:
        await asyncio.wait([streams._task], timeout=_DEADLINE_S)
    assert not streams._feed._is_open
    job = await api.jobs.submit(NewJob("Counting", {"to": 1}))
    await api.jobs.wait(job.job_id, _DEADLINE_S)
    assert streams._feed._pending == {}


async def test_too_many_listeners_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "_MOST_LISTENERS", 1)
    async with aclosing(_listen(api)) as pieces:
        client = Client(pieces)
        await client.read_until(lambda: client.content)
        assert (await api.get("/events")).status_code == 503
        with pytest.raises(TooManyRequestsError):
            api.services.events.check_room()


async def test_feed_goes_on_after_a_fault_of_the_database(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "_BACKOFF_S", 0.0)
    feed = api.services.events._feed
    faults = iter([DatabaseUnavailableError("gone"), DatabaseUnavailableError("gone")])
    take = feed._take_changes

    async def fail() -> Any:
        error = next(faults, None)
        if error is not None:
            raise error
        return await take()

    monkeypatch.setattr(feed, "_take_changes", fail)
    async with aclosing(_listen(api)) as pieces:
        client = Client(pieces)
        await client.read_until(lambda: client.content)
        await api.store()
        await client.read_until(lambda: len(client.events) >= 4)


async def test_timeout_ends_the_stream(api: Api) -> None:
    async with aclosing(_listen(api, timeout_s=0.02)) as pieces:
        client = Client(pieces)
        await client.read_all()
    assert client.content.startswith(b"retry: ")


async def test_stream_that_begins_while_the_server_stops_ends(api: Api) -> None:
    streams = EventStreams(api.services.events._feed, EVENT_FORMATS)
    pieces = streams.listen(Interest(), None, timeout_s=None, abort=lambda: None)
    streams.close()
    async with aclosing(cast(Any, pieces)) as opened:
        client = Client(opened)
        await client.read_all()
    assert client.content.startswith(b": the server stops")
    with pytest.raises(TooManyRequestsError):
        streams.check_room()

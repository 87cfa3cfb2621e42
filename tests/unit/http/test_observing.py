"""What is noted of every request."""

import asyncio
import logging
from time import perf_counter
from typing import Any

import pytest

from isocenter.http.exchange import DirectRequest, DirectResponse
from isocenter.http.observing import ObservedApplication, Observer
from isocenter.logs import TRACE
from isocenter.measures import Measures

LOGGER = "isocenter.http.observing"


def new_request(template: str | None = "/studies/{public_id}") -> DirectRequest:
    req = DirectRequest("/studies/secret", "PatientName=DOE", headers={}, remote_addr="::1")
    req.uri_template = template
    return req


async def observe(
    observer: Observer, req: DirectRequest, *, status: int = 200, has_succeeded: bool = True
) -> None:
    resp = DirectResponse()
    resp.status = status
    await observer.process_request(req, resp)
    await observer.process_response(req, resp, None, has_succeeded)


@pytest.mark.parametrize(
    ("status", "has_succeeded", "errors"),
    [(200, True, 0), (404, False, 0), (500, False, 1), (501, False, 0), (507, False, 1)],
)
async def test_answers_are_counted(status: int, has_succeeded: bool, errors: int) -> None:
    observer = Observer(Measures())
    for _ in range(3):
        await observe(observer, new_request(), status=status, has_succeeded=has_succeeded)
    assert (observer.requests, observer.errors) == (3, 3 * errors)


async def test_buckets_grow_to_the_number_of_requests() -> None:
    observer = Observer(Measures())
    for _ in range(4):
        await observe(observer, new_request())
    samples = observer.build_samples()
    buckets = [sample.value for sample in samples if sample.suffix == "_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 4
    bounds = [dict(sample.labels)["le"] for sample in samples if sample.suffix == "_bucket"]
    assert bounds[-1] == "+Inf"
    assert [float(bound) for bound in bounds] == sorted(float(bound) for bound in bounds)
    (total,) = [sample.value for sample in samples if sample.suffix == "_sum"]
    assert 0 < total < 4


async def test_request_of_no_route_has_a_common_name() -> None:
    observer = Observer(Measures())
    await observe(observer, new_request(None))
    assert {dict(sample.labels)["route"] for sample in observer.build_samples()} == {"other"}


async def test_time_of_a_request_that_is_repeated_begins_anew() -> None:
    # A kept answer comes with the request that it was made for (see `http.direct`).
    measures = Measures()
    observer, req = Observer(measures), new_request()
    req.context.started_at = perf_counter() - 5000
    await observe(observer, req)
    assert measures.rest_api.get_ms(perf_counter()) < 5_000_000


async def test_nothing_is_counted_while_metrics_are_off() -> None:
    measures = Measures(is_enabled=False)
    observer = Observer(measures)
    await observe(observer, new_request(), status=500, has_succeeded=False)
    assert (observer.requests, observer.errors, observer.build_samples()) == (0, 0, ())
    assert measures.rest_api.get_ms(perf_counter()) == 0


@pytest.mark.parametrize(
    ("level", "told", "secret"),
    [
        (logging.INFO, "", "request"),
        (logging.DEBUG, "/studies/{public_id}", "DOE"),
        (TRACE, "PatientName=DOE", "{public_id}"),
    ],
)
async def test_log_tells_more_the_more_is_wanted(
    caplog: pytest.LogCaptureFixture, level: int, told: str, secret: str
) -> None:
    caplog.set_level(level, LOGGER)
    await observe(Observer(Measures()), new_request())
    text = " ".join(str(vars(record)) for record in caplog.records)
    assert told in text
    assert secret not in text


async def test_active_requests_are_those_under_way() -> None:
    observer = Observer(Measures())
    is_answered = asyncio.Event()

    async def answer(*_: Any) -> None:
        await is_answered.wait()

    application = ObservedApplication(answer, observer)
    tasks = [asyncio.create_task(application({}, None, None)) for _ in range(3)]
    await asyncio.sleep(0)
    assert observer.active == 3
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    assert observer.active == 2
    is_answered.set()
    await asyncio.gather(*tasks[1:])
    assert observer.active == 0

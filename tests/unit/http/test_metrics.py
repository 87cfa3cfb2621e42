"""Metrics in Prometheus' format."""

from typing import cast

import falcon.asgi
import pytest
from prometheus_client.parser import text_string_to_metric_families

from isocenter.archive.records import Statistics
from isocenter.http.exchange import Request
from isocenter.http.metrics import Metrics

MIB = 1024 * 1024
STATISTICS = Statistics(1, 2, 3, 4, 5 * MIB // 2, 6 * MIB, 7)
NO_REQUEST = cast(Request, None)


def read(metrics: Metrics) -> dict[str, float]:
    """Read what Prometheus reads."""
    text = metrics.format(STATISTICS).decode()
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_content_is_told_in_orthancs_names() -> None:
    values = read(Metrics())
    assert values["orthanc_count_patients"] == 1
    assert values["orthanc_count_studies"] == 2
    assert values["orthanc_count_series"] == 3
    assert values["orthanc_count_instances"] == 4
    assert values["orthanc_disk_size_mb"] == 2.5
    assert values["orthanc_uncompressed_size_mb"] == 6
    assert values["orthanc_last_change"] == 7
    assert values["orthanc_up_time_s"] >= 0


@pytest.mark.parametrize(
    ("status", "has_succeeded", "errors"), [(200, True, 0), (404, False, 0), (500, False, 1)]
)
async def test_answers_are_counted(status: int, has_succeeded: bool, errors: int) -> None:
    metrics = Metrics()
    resp = falcon.asgi.Response()
    resp.status = status
    for _ in range(3):
        await metrics.process_response(NO_REQUEST, resp, None, has_succeeded)
    values = read(metrics)
    assert values["isocenter_http_requests_total"] == 3
    assert values["isocenter_http_errors_total"] == 3 * errors


def test_two_servers_in_one_process_count_apart() -> None:
    assert read(Metrics())["isocenter_http_requests_total"] == 0
    assert read(Metrics())["isocenter_http_requests_total"] == 0

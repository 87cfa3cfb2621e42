"""Metrics over REST, read by Prometheus' own parser."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.rest.api import Api

from isocenter.jobs.records import NewJob

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Behaviour manual §36.3, as far as there is what they measure.
GAUGES = """available_test count_patients count_studies count_series count_instances disk_size_mb
uncompressed_size_mb last_change store_dicom_duration_ms rest_api_duration_ms
find_scp_duration_ms move_scp_duration_ms get_scp_duration_ms
storage_create_duration_ms storage_read_duration_ms storage_remove_duration_ms
rest_api_active_requests storage_available_threads dicom_parser_cache_count
dicom_parser_cache_size_mb up_time_s jobs_pending jobs_running jobs_total_completed
jobs_total_success jobs_total_failed"""
COUNTERS = """storage_read_bytes storage_written_bytes dicom_parser_cache_hit_count
dicom_parser_cache_miss_count logged_errors_count logged_warnings_count"""


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _enabled(api: Api) -> AsyncIterator[None]:
    yield
    api.services.metrics.is_enabled = True


async def read(api: Api) -> dict[str, Metric]:
    """Read the families by their names."""
    result = await api.get("/tools/metrics-prometheus")
    assert result.headers["content-type"] == "text/plain; version=0.0.4"
    return {family.name: family for family in text_string_to_metric_families(result.text)}


async def read_value(api: Api, name: str) -> float:
    # The parser takes this ending from the names of counters.
    (sample,) = (await read(api))[name.removesuffix("_total")].samples
    return float(sample.value)


async def test_metrics_have_orthancs_names_and_the_right_types(api: Api) -> None:
    api.services.metrics.add_gauge("orthanc_available_test", "A test.", lambda: 7)
    # Not through the parser, which ends the names of all counters with "_total".
    lines = (await api.get("/tools/metrics-prometheus")).text.splitlines()
    for names, kind in ((GAUGES, "gauge"), (COUNTERS, "counter")):
        for name in names.split():
            place = lines.index(f"# TYPE orthanc_{name} {kind}")
            assert lines[place - 1].startswith(f"# HELP orthanc_{name} ")
            # Clients of Orthanc take only lines of three words (seen in orthanc-api-client).
            assert re.fullmatch(rf"orthanc_{name} \S+ 1\d{{12}}", lines[place + 1])
    assert any(line.startswith("orthanc_available_test 7 ") for line in lines)


async def test_metrics_are_sorted_and_every_number_can_be_split_from_its_name(api: Api) -> None:
    text = (await api.get("/tools/metrics-prometheus")).text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert names == sorted(names)
    for line in text.splitlines():
        if not line.startswith("#"):
            float(line.partition(" ")[2].split()[0])


async def test_stored_instance_is_counted(api: Api) -> None:
    written = await read_value(api, "orthanc_storage_written_bytes")
    await api.store()
    families = await read(api)
    for level in ("patients", "studies", "series", "instances"):
        assert families[f"orthanc_count_{level}"].samples[0].value == 1
    size = int((await api.get_json("/statistics"))["TotalDiskSize"])
    assert await read_value(api, "orthanc_storage_written_bytes") == written + size
    for name in ("store_dicom", "storage_create", "rest_api"):
        assert families[f"orthanc_{name}_duration_ms"].samples[0].value > 0


async def test_uncompressed_size_is_not_the_size_on_disk(api: Api) -> None:
    # The archive of this module keeps files compressed (quirk 20).
    await api.store()
    families = await read(api)
    disk = families["orthanc_disk_size_mb"].samples[0].value
    assert families["orthanc_uncompressed_size_mb"].samples[0].value > disk > 0


async def test_read_tags_are_hits_and_misses_of_the_cache(api: Api) -> None:
    file = await api.store()
    hits = await read_value(api, "orthanc_dicom_parser_cache_hit_count")
    misses = await read_value(api, "orthanc_dicom_parser_cache_miss_count")
    for _ in range(3):
        await api.get(f"/instances/{file.instance}/tags")
    assert await read_value(api, "orthanc_dicom_parser_cache_hit_count") == hits + 2
    assert await read_value(api, "orthanc_dicom_parser_cache_miss_count") == misses + 1
    assert await read_value(api, "orthanc_dicom_parser_cache_count") >= 1


async def test_requests_are_counted_by_route(api: Api) -> None:
    async def count(method: str, route: str) -> float:
        histogram = (await read(api))["isocenter_http_request_duration_seconds"]
        assert histogram.type == "histogram"
        labels = {"method": method, "route": route}
        return sum(
            sample.value
            for sample in histogram.samples
            if sample.name.endswith("_count") and sample.labels == labels
        )

    file = await api.store()
    before = await count("GET", "/studies/{public_id}")
    unknown = await count("GET", "other")
    for target in (f"/studies/{file.study}", "/studies/nobody", "/nowhere"):
        await api.get(target)
    assert await count("GET", "/studies/{public_id}") == before + 2
    assert await count("GET", "other") == unknown + 1
    assert await count("POST", "/instances") >= 1


async def test_switch_tells_and_sets_whether_metrics_are_collected(api: Api) -> None:
    assert (await api.get("/tools/metrics")).text == "1"
    for body, expected in (("0", "0"), ("true", "1"), (" false\n", "0"), ("1", "1")):
        result = await api.request("PUT", "/tools/metrics", body=body.encode())
        assert (result.status_code, result.content) == (200, b"")
        assert result.headers["content-type"] == "text/plain"
        assert (await api.get("/tools/metrics")).text == expected


async def test_switched_off_metrics_are_empty_and_count_nothing(api: Api) -> None:
    before = await read_value(api, "isocenter_http_requests_total")
    written = await read_value(api, "orthanc_storage_written_bytes")
    await api.request("PUT", "/tools/metrics", body=b"0")
    assert (await api.get("/tools/metrics-prometheus")).content == b""
    await api.store()
    await api.request("PUT", "/tools/metrics", body=b"1")
    assert await read_value(api, "orthanc_storage_written_bytes") == written
    # The three reads, and the request that switched them on again.
    assert await read_value(api, "isocenter_http_requests_total") == before + 4


@pytest.mark.parametrize("body", [b"", b"2", b"True", b"yes", b'"1"', b"[]", b"\xff"])
async def test_switch_refuses_what_is_no_boolean(api: Api, body: bytes) -> None:
    result = await api.request("PUT", "/tools/metrics", body=body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)
    assert (await api.get("/tools/metrics")).text == "1"


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {"StorageCompression": True}


def _read_sums(family: Metric, **labels: str) -> dict[str, float]:
    """Add up the samples with some labels, by their names."""
    sums: dict[str, float] = {}
    for sample in family.samples:
        if labels.items() <= sample.labels.items() and sample.labels.get("le", "+Inf") == "+Inf":
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


async def test_times_of_jobs_are_told_by_kind_and_state(api: Api) -> None:
    before = (await read(api))["isocenter_jobs"]
    for arguments, state in (({"to": 2}, "Success"), ({"to": 2, "fail_at": 0}, "Failure")):
        job = await api.jobs.submit(NewJob("Counting", arguments))
        ended = await api.jobs.wait(job.job_id, 20)
        families = await read(api)
        runs = _read_sums(families["isocenter_job_duration_seconds"], type="Counting", state=state)
        assert runs["isocenter_job_duration_seconds_count"] == 1
        assert runs["isocenter_job_duration_seconds_bucket"] == 1
        assert runs["isocenter_job_duration_seconds_sum"] == pytest.approx(ended.runtime / 1e6)
    waits = _read_sums(families["isocenter_job_waiting_seconds"], type="Counting")
    assert waits["isocenter_job_waiting_seconds_count"] == 2
    states = {s.labels["state"]: s.value for s in families["isocenter_jobs"].samples}
    assert states.keys() == {"Pending", "Running", "Success", "Failure", "Paused", "Retry"}
    assert sum(states.values()) == sum(s.value for s in before.samples) + 2

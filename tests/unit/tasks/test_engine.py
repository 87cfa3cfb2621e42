"""How the configuration of the engine reaches the kinds of jobs."""

import logging
import os
from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit.rest.api import open_api

_MANY = os.cpu_count() or 1


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, [1, 1, 1, 4, 4]),
        ({"ResourceModification": 3}, [3, 3, 3, 4, 4]),
        ({"ResourceModification": 3, "SplitStudy": 2, "Archive": 1}, [3, 2, 3, 1, 4]),
        ({"MergeStudy": 2, "Media": 7}, [1, 1, 2, 4, 7]),
        ({"Archive": 1000, "ResourceModification": 1000}, [10, 10, 10, 10, 4]),
        ({"Archive": 0, "ResourceModification": 0}, [*[min(_MANY, 10)] * 4, 4]),
    ],
)
async def test_files_of_a_job_at_once(
    tmp_path: Path, counts: dict[str, int], expected: list[int]
) -> None:
    options = {"JobsEngineThreadsCount": counts, "Isocenter.IngestThreads": 20}
    async with open_api(tmp_path, options) as api:
        kinds = cast(dict[str, Any], api.jobs._kinds)
        edits = [kinds[name] for name in ("ResourceModification", "SplitStudy", "MergeStudy")]
        archives = [kinds[name] for name in ("Archive", "Media")]
        seen = [kind._edits._threads for kind in edits] + [kind._ahead for kind in archives]
    assert seen == expected


@pytest.mark.parametrize("option", ["JobsEngineThreadsCount", "Isocenter.ConcurrentJobsPerKind"])
async def test_unknown_kind_in_an_option_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, option: str
) -> None:
    with caplog.at_level(logging.WARNING):
        async with open_api(tmp_path, {option: {"archive": 1, "Media": 1}}):
            pass
    [told] = [record.__dict__ for record in caplog.records if "kinds" in record.__dict__]
    assert (told["option"], told["kinds"]) == (option, "archive")

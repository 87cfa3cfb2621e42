"""The REST API in process: the real application on a real archive, without sockets."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from falcon.testing import ASGIConductor, Result
from tests.support.jobs import CountingKind
from tests.support.server import SyntheticFile, build_synthetic

from isocenter.archive.archive import Archive, build_archive
from isocenter.archive.event_feed import EventFeed
from isocenter.config.configuration import Configuration
from isocenter.http.application import build_application
from isocenter.http.error_answers import ErrorAnswers
from isocenter.http.event_streams import EventStreams
from isocenter.http.job_times import JobTimes
from isocenter.http.metrics import Metrics
from isocenter.http.observing import Observer
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.jobs.engine import Engine
from isocenter.jobs.records import Job
from isocenter.logs import Logs
from isocenter.rest.events import EVENT_FORMATS
from isocenter.rest.services import Lifecycle, Services
from isocenter.rest.table import ROUTES
from isocenter.scp.conformance import ConformanceStatement
from isocenter.storage.memory import MemoryStorage
from isocenter.tasks.engine import build_engine


@dataclass
class Api:
    """The application, its archive, and what was asked of the composition root."""

    archive: Archive
    configuration: Configuration
    jobs: Engine
    conductor: ASGIConductor
    services: Services
    ends: list[str] = field(default_factory=list)

    async def request(self, method: str, target: str, **options: Any) -> Result:
        """Send one request."""
        path, _, query = target.partition("?")
        result = await self.conductor.simulate_request(method, path, query_string=query, **options)
        assert isinstance(result, Result)
        return result

    async def get(self, target: str, **options: Any) -> Result:
        """Send a GET request."""
        return await self.request("GET", target, **options)

    async def get_json(self, target: str) -> Any:
        """Read a JSON answer that must be a success."""
        result = await self.get(target)
        assert result.status_code == 200, result.text
        assert result.headers["content-type"] == "application/json; charset=utf-8"
        return result.json

    async def store(self, file: SyntheticFile | None = None) -> SyntheticFile:
        """Store a file that must be new."""
        file = file or build_synthetic()
        result = await self.request("POST", "/instances", body=file.content)
        assert (result.status_code, result.json["Status"]) == (200, "Success"), result.text
        return file

    async def empty(self) -> None:
        """Delete everything that is stored."""
        for public_id in (await self.get("/patients")).json:
            await self.request("DELETE", f"/patients/{public_id}")
        self.ends.clear()


@asynccontextmanager
async def open_api(
    folder: Path, options: Mapping[str, object], *, storage: MemoryStorage | None = None
) -> AsyncIterator[Api]:
    """Start the API with an empty archive, or with that of the same folder and storage."""
    folders = {"TemporaryDirectory": str(folder), "StorageDirectory": str(folder)}
    configuration = Configuration.defaults().with_values(folders | dict(options))
    database = SQLiteDatabase(folder / "index", is_durable=False)
    archive = build_archive(configuration, database, storage or MemoryStorage())
    await archive.start()
    feed, times = EventFeed(archive.workers, archive.changes), JobTimes()

    def tell(job: Job) -> None:
        feed.note_job(job)
        times.note(job)

    jobs = build_engine(configuration, archive, database, [CountingKind()], on_saved=tell)
    feed.bind(jobs)
    await jobs.start()
    ends: list[str] = []
    logs = Logs()
    metrics = Metrics(archive, jobs, Observer(archive.measures), logs, job_times=times)
    services = Services(
        archive=archive,
        jobs=jobs,
        events=EventStreams(feed, EVENT_FORMATS),
        configuration=configuration,
        logs=logs,
        metrics=metrics,
        lifecycle=Lifecycle(
            stop=lambda: ends.append("stop"), restart=lambda: ends.append("restart")
        ),
        openapi=b"{}",
        describe_conformance=ConformanceStatement(configuration, archive.acceptance).format,
        library_versions={"python": "3"},
    )
    application = build_application(
        ROUTES,
        services,
        middleware=[metrics.observer],
        errors=ErrorAnswers(has_bodies=configuration.boolean("HttpDescribeErrors")),
    )
    try:
        async with ASGIConductor(application) as conductor:
            yield Api(archive, configuration, jobs, conductor, services, ends)
    finally:
        services.events.close()
        await jobs.stop(5.0)
        await archive.stop()
        database.close()

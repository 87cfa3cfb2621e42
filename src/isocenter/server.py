"""The composition root: builds every part as configured, starts and stops them in order."""

import asyncio
import errno
import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, TypeAlias

from isocenter.archive.archive import Archive, build_archive
from isocenter.archive.event_feed import EventFeed
from isocenter.config.configuration import Configuration
from isocenter.errors import ConfigurationError, FullStorageError, StorageUnavailableError
from isocenter.http.access import AccessControl
from isocenter.http.answers import format_json
from isocenter.http.application import build_application
from isocenter.http.compression import CompressedApplication
from isocenter.http.direct import DirectAnswers
from isocenter.http.error_answers import ErrorAnswers
from isocenter.http.event_streams import EventStreams
from isocenter.http.immediate_routes import ImmediateRoutes
from isocenter.http.job_times import JobTimes
from isocenter.http.metrics import Metrics
from isocenter.http.observing import ObservedApplication, Observer
from isocenter.http.openapi import build_openapi
from isocenter.http.repeated import RepeatedAnswers
from isocenter.http.server import HTTPServer, HTTPServerOptions
from isocenter.http.short_writes import ShortWrites
from isocenter.index.port import Database
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.jobs.engine import Engine
from isocenter.jobs.port import Recovery
from isocenter.jobs.records import Job
from isocenter.logs import Logs
from isocenter.rest.events import EVENT_FORMATS
from isocenter.rest.read_only import build_read_only_routes
from isocenter.rest.services import Lifecycle, Services
from isocenter.rest.table import select_routes
from isocenter.rest.unserved import UNSERVED
from isocenter.scp.conformance import ConformanceStatement
from isocenter.scp.server import build_acceptor
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.journaled import JournaledStorage
from isocenter.storage.port import Storage
from isocenter.tasks.engine import build_engine
from isocenter.tasks.routing import Router
from isocenter.tls import build_calling_tls, build_dicom_tls, build_http_tls
from isocenter.version import __version__, read_library_versions

__all__ = ["End", "Endpoints", "Server", "open_database", "open_storage"]

_log = logging.getLogger(__name__)

Endpoint: TypeAlias = tuple[str, int]

_BACKLOG = 2048
# Enough for all connections, listeners and mapped files; systems often grant 1024 by default.
_OPEN_FILES = 16_384
_MIB = 1024 * 1024
# For all doors at once; a second more for the steps of jobs. With closing what is open, a server
# has ended 10 s after it was asked to.
_STOP_DEADLINE_S = 8.0
_LEAST_STOP_S = 1.0
_LOOPBACK = ("127.0.0.1", "::1")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - only where remote access is allowed


class End(Enum):
    """Why a server ended."""

    STOPPED = "stopped"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a server listens; ``None`` if it does not."""

    http: Endpoint | None
    dicom: Endpoint | None


def _keep_for_good() -> None:
    """Take what the start has made out of the collections of garbage; it lasts as long as we do.

    A collection stops the event loop as well, and would look at all of it each time that a job has
    made some ten thousand objects: 0.15 s instead of 0.03 s.
    """
    # What an earlier start of this process has left goes first.
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def open_database(configuration: Configuration, *, is_exclusive: bool = False) -> Database:
    """Open the index that the configuration names.

    Parameters
    ----------
    is_exclusive
        Keep servers away from it; one on SQLite is always exclusive.

    Raises
    ------
    DatabaseUnavailableError, DatabaseVersionError
        If it cannot be opened.
    """
    is_durable = configuration.boolean("Isocenter.DurableIndex")
    if configuration.boolean("PostgreSQL.EnableIndex"):
        return _open_postgresql(configuration, is_durable=is_durable, is_exclusive=is_exclusive)
    folder = configuration.path("IndexDirectory")
    return SQLiteDatabase(folder / "index", is_durable=is_durable)


def _open_postgresql(
    configuration: Configuration, *, is_durable: bool, is_exclusive: bool
) -> Database:
    # Who uses SQLite needs neither the time nor the memory that the driver takes.
    from isocenter.index.postgresql import (  # noqa: PLC0415
        PostgreSQLDatabase,
        build_connection_info,
    )

    uri = configuration.text("PostgreSQL.ConnectionUri")
    return PostgreSQLDatabase(
        uri or build_connection_info(_get_connection_values(configuration)),
        schema=configuration.text("PostgreSQL.Schema") or "public",
        connections=configuration.integer("PostgreSQL.IndexConnectionsCount"),
        is_durable=is_durable,
        attempts=configuration.integer("PostgreSQL.MaximumConnectionRetries") + 1,
        retry_interval_s=configuration.integer("PostgreSQL.ConnectionRetryInterval"),
        is_exclusive=is_exclusive,
    )


@contextmanager
def _naming_storage(configuration: Configuration) -> Iterator[None]:
    """Name the folder in an error, which leaves it out because clients see most errors."""
    try:
        yield
    except (FullStorageError, StorageUnavailableError) as error:
        folder = configuration.path("StorageDirectory")
        raise type(error)(f'option "StorageDirectory": {folder}: {error}') from error


def open_storage(configuration: Configuration, database: Database) -> Storage:
    """Open the storage area that the configuration names.

    Parameters
    ----------
    database
        The index whose rows belong to it.

    Raises
    ------
    StorageUnavailableError
        If it cannot be opened.
    """
    folder = configuration.path("StorageDirectory")
    journal_bytes = configuration.integer("Isocenter.JournalSizeMB") * _MIB
    is_synced = configuration.boolean("SyncStorageArea")
    with _naming_storage(configuration):
        has_journal = is_synced and journal_bytes > 0
        if not has_journal and not JournaledStorage.is_in(folder):
            return FileSystemStorage(folder, sync=is_synced)
        return JournaledStorage(
            folder,
            journal_bytes=journal_bytes if has_journal else 0,
            sync=is_synced,
            is_shared=configuration.boolean("PostgreSQL.EnableIndex"),
            sync_rows=database.sync,
        )


def _open_read_only_storage(configuration: Configuration, _: Database) -> Storage:
    """Open the storage area for a server that stores nothing, on a read-only disk perhaps."""
    folder = configuration.path("StorageDirectory")
    try:
        if JournaledStorage.is_in(folder):
            # Rows that are missing stay in it for a server that may write.
            return JournaledStorage(folder, journal_bytes=0, sync=False)
    except StorageUnavailableError:
        _log.warning("the journal of the storage cannot be emptied; the newest files may be absent")
    with _naming_storage(configuration):
        return FileSystemStorage(folder, sync=False)


def _get_connection_values(configuration: Configuration) -> dict[str, str | int]:
    values: dict[str, str | int] = {
        "host": configuration.text("PostgreSQL.Host"),
        "port": configuration.integer("PostgreSQL.Port"),
        "dbname": configuration.text("PostgreSQL.Database"),
        "user": configuration.text("PostgreSQL.Username"),
        "password": configuration.text("PostgreSQL.Password"),
    }
    given = {name: value for name, value in values.items() if value != ""}
    if configuration.boolean("PostgreSQL.EnableSsl"):
        given["sslmode"] = "require"
    return given


class Server:
    """One running server.

    Parameters
    ----------
    configuration
        The options in force.
    logs
        The levels of the log.
    recovery
        What becomes of jobs that an earlier server did not finish.
    """

    def __init__(
        self,
        configuration: Configuration,
        logs: Logs | None = None,
        recovery: Recovery = Recovery.RESUME,
    ) -> None:
        self._configuration = configuration
        self._recovery = recovery
        routes = select_routes(has_patient_level=configuration.boolean("PatientLevelEnabled"))
        self._logs = logs or Logs()
        is_read_only = configuration.boolean("ReadOnly")
        self._routes = build_read_only_routes(routes) if is_read_only else routes
        self._end: asyncio.Future[None] | None = None
        self._outcome = End.RESTART
        self._http: HTTPServer | None = None
        self._events: EventStreams | None = None
        self._stop_at = 0.0

    async def run(self, on_ready: Callable[[Endpoints], None]) -> End:
        """Serve until a signal or a client ends it.

        Parameters
        ----------
        on_ready
            Called once everything listens.

        Returns
        -------
        End
            Why it ended; every acknowledged instance is durable in any case.

        Raises
        ------
        ServerError
            If a part cannot be started; what was started is stopped again.
        """
        _allow_open_files()
        self._end = asyncio.get_running_loop().create_future()
        # Signals are handled until everything has stopped, so that none cuts that off.
        with ExitStack() as signals:
            async with AsyncExitStack() as stack:
                archive, database = await stack.enter_async_context(self._open_archive())
                feed = EventFeed(archive.workers, archive.changes)
                times = JobTimes()
                jobs = await stack.enter_async_context(
                    self._run_jobs(archive, database, feed, times)
                )
                observer = Observer(archive.measures)
                metrics = Metrics(archive, jobs, observer, self._logs, job_times=times)
                services = self._build_services(archive, jobs, feed, metrics)
                http = await stack.enter_async_context(self._serve_http(services))
                dicom = await stack.enter_async_context(self._serve_dicom(archive, jobs, metrics))
                signals.enter_context(self._handle_signals())
                _keep_for_good()
                on_ready(Endpoints(http, dicom))
                await self._end
                self._begin_to_stop()
        return self._outcome

    def _begin_to_stop(self) -> None:
        """Let all doors end at once, so that their deadlines do not add up."""
        self._stop_at = asyncio.get_running_loop().time() + _STOP_DEADLINE_S
        if self._events is not None:
            self._events.close()
        if self._http is not None:
            self._http.stop()

    def _get_stop_time_s(self) -> float:
        """Tell how long the next part may take to stop."""
        left = self._stop_at - asyncio.get_running_loop().time()
        return max(left, _LEAST_STOP_S)

    def end(self, end: End) -> None:
        """Ask the server to end; returns at once. For the event loop's thread.

        Whoever asks it to stop wins over those who ask for a restart, before or after.
        """
        if end is End.STOPPED:
            self._outcome = end
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    @contextmanager
    def _handle_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        ends = {
            signal.SIGTERM: End.STOPPED,
            signal.SIGINT: End.STOPPED,
            signal.SIGHUP: End.RESTART,
        }
        for number, end in ends.items():
            loop.add_signal_handler(number, self.end, end)
        try:
            yield
        finally:
            for number in ends:
                loop.remove_signal_handler(number)
            # Until the next start is complete: a second request to restart must not be the end.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    @asynccontextmanager
    async def _open_archive(self) -> AsyncIterator[tuple[Archive, Database]]:
        with ExitStack() as stack:
            database = open_database(self._configuration)
            stack.callback(database.close)
            is_read_only = self._configuration.boolean("ReadOnly")
            open_folder = _open_read_only_storage if is_read_only else open_storage
            storage = open_folder(self._configuration, database)
            stack.callback(storage.close)
            archive = build_archive(
                self._configuration,
                database,
                storage,
                calling_tls=build_calling_tls(self._configuration),
            )
            try:
                with _naming_storage(self._configuration):
                    await archive.start()
                yield archive, database
            finally:
                await archive.stop()

    @asynccontextmanager
    async def _run_jobs(
        self, archive: Archive, database: Database, feed: EventFeed, times: JobTimes
    ) -> AsyncIterator[Engine]:
        def tell(job: Job) -> None:
            feed.note_job(job)
            times.note(job)

        engine = build_engine(
            self._configuration,
            archive,
            database,
            recovery=self._recovery,
            on_saved=tell,
        )
        feed.bind(engine)
        await engine.start()
        # Jobs that were forgotten have left files.
        archive.deleter.wake()
        router = Router(
            archive, engine, retries=self._configuration.integer("Isocenter.TransferRetries")
        )
        if not archive.is_read_only:
            router.start()
        try:
            yield engine
        finally:
            await router.stop()
            await engine.stop(self._get_stop_time_s())

    @asynccontextmanager
    async def _serve_http(self, services: Services) -> AsyncIterator[Endpoint | None]:
        configuration = self._configuration
        if not configuration.boolean("HttpServerEnabled"):
            yield None
            return
        self._events = services.events
        server = self._http = self._build_http_server(services)
        services.metrics.add_gauge(
            "orthanc_available_http_threads_count",
            "Connections that may still be opened.",
            lambda: server.available_count,
        )
        services.metrics.add_gauge(
            "isocenter_event_listeners",
            "Clients that listen to events.",
            lambda: services.events.count,
        )
        sockets = bind_sockets(
            self._get_http_addresses(), configuration.integer("HttpPort"), option="HttpPort"
        )
        task = asyncio.create_task(server.serve_until_stopped(sockets), name="HTTP server")
        try:
            yield sockets[0].getsockname()[:2]
        finally:
            server.stop()
            await task

    def _get_http_addresses(self) -> tuple[str, ...]:
        configured = self._configuration.texts("HttpBindAddresses")
        if configured:
            return configured
        is_remote = self._configuration.boolean("RemoteAccessAllowed")
        return _EVERYWHERE if is_remote else _LOOPBACK

    def _build_http_server(self, services: Services) -> HTTPServer:
        configuration, archive = self._configuration, services.archive
        has_users = configuration.boolean("AuthenticationEnabled")
        access = AccessControl(
            archive.workers,
            is_remote_allowed=configuration.boolean("RemoteAccessAllowed"),
            users=configuration.mapping("RegisteredUsers") if has_users else None,
        )
        middleware = [services.metrics.observer, access]
        errors = ErrorAnswers(has_bodies=configuration.boolean("HttpDescribeErrors"))
        application = build_application(
            self._routes,
            services,
            middleware=middleware,
            errors=errors,
            unserved=UNSERVED,
        )
        repeated = RepeatedAnswers(archive.get_generation)
        direct = DirectAnswers(ImmediateRoutes(self._routes, services), middleware, repeated)
        writes = ShortWrites(
            self._routes,
            services,
            middleware=middleware,
            errors=errors,
            observer=services.metrics.observer,
        )
        is_compressed = configuration.boolean("HttpCompressionEnabled")
        has_keep_alive = configuration.boolean("KeepAlive")
        options = HTTPServerOptions(
            tls=build_http_tls(configuration),
            keep_alive_timeout_s=configuration.integer("KeepAliveTimeout") if has_keep_alive else 0,
            request_timeout_s=configuration.integer("HttpRequestTimeout"),
            shutdown_timeout_s=int(_STOP_DEADLINE_S),
            direct_answers=direct if archive.workers.reads_inline and not is_compressed else None,
            count_listeners=lambda: services.events.count,
            short_writes=writes,
        )
        outermost: Any = ObservedApplication(application, services.metrics.observer)
        if is_compressed:
            outermost = CompressedApplication(outermost, archive.workers)
        return HTTPServer(outermost, options)

    def _build_services(
        self, archive: Archive, jobs: Engine, feed: EventFeed, metrics: Metrics
    ) -> Services:
        statement = ConformanceStatement(self._configuration, archive.acceptance)
        openapi = build_openapi(self._routes, title="Isocenter", version=__version__)
        return Services(
            archive=archive,
            jobs=jobs,
            events=EventStreams(feed, EVENT_FORMATS),
            configuration=self._configuration,
            logs=self._logs,
            metrics=metrics,
            lifecycle=Lifecycle(
                stop=partial(self.end, End.STOPPED), restart=partial(self.end, End.RESTART)
            ),
            openapi=format_json(openapi),
            describe_conformance=statement.format,
            library_versions=read_library_versions(),
        )

    @asynccontextmanager
    async def _serve_dicom(
        self, archive: Archive, jobs: Engine, metrics: Metrics
    ) -> AsyncIterator[Endpoint | None]:
        configuration = self._configuration
        if not configuration.boolean("DicomServerEnabled"):
            yield None
            return
        acceptor = await build_acceptor(configuration, archive, jobs)
        metrics.add_gauge(
            "orthanc_available_dicom_threads",
            "Associations that may still be opened.",
            lambda: configuration.integer("DicomThreadsCount") - acceptor.association_count,
        )
        port = configuration.integer("DicomPort")
        tls = build_dicom_tls(configuration)
        try:
            await acceptor.start(None, port, ssl_context=tls)
        except OSError as error:
            message = (
                f"cannot listen on DICOM port {port}: {os.strerror(error.errno or 0)}; "
                "is another server running? Set DicomPort to another port"
            )
            raise ConfigurationError(message) from error
        try:
            yield ("localhost", acceptor.port)
        finally:
            await acceptor.stop(deadline_s=self._get_stop_time_s())


def _allow_open_files() -> None:
    """Take as many open files as the system grants: each connection and each file is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def bind_sockets(addresses: Sequence[str], port: int, *, option: str) -> list[socket.socket]:
    """Bind a port on some addresses; an address family that the machine lacks is left out.

    Parameters
    ----------
    port
        0 for any that is free, the same one on all addresses.
    option
        Name of the option that gave the port, for the error.

    Raises
    ------
    ConfigurationError
        If the port is taken, or no address can be bound.
    """
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            bound = _bind(address, port, option)
            if bound is not None:
                sockets.append(bound)
                port = bound.getsockname()[1]
    except ConfigurationError:
        for bound in sockets:
            bound.close()
        raise
    if not sockets:
        raise ConfigurationError(f"none of the addresses {', '.join(addresses)} can be bound")
    return sockets


def _bind(address: str, port: int, option: str) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return None
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        bound.bind((address, port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            return None
        message = (
            f"cannot listen on {address} port {port}: {error.strerror}; "
            f"is another server running? Set {option} to another port"
        )
        raise ConfigurationError(message) from error
    return bound

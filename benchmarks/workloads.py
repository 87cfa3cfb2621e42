"""The kinds of measurement: storing by C-STORE, by HTTP, reading, searching, annotating, deleting.

A workload prepares what it needs, measures one server once, and checks that the server did its
work.
"""

import http.client
import itertools
import json
import shutil
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.failures import BenchmarkError
from benchmarks.servers import HOST, ORTHANC, Server
from benchmarks.stage import Stage
from benchmarks.storescu import store_folders
from benchmarks.studies import study_keys, write_files
from benchmarks.timing import Sample, timed
from benchmarks.uploads import upload
from benchmarks.wrk import COUNT, Post, measure_rate

_FIND = "/tools/find"

_ANNOTATED = 100

_CREATE_MEDIA = "/tools/create-media"
_CLIENTS = 8
_JOBS_HISTORY = 10
_JOBS_DEADLINE_S = 300
_JOBS_POLL_S = 0.02


class Workload(Protocol):
    """One kind of measurement."""

    @property
    def studies(self) -> int:
        """How many fresh studies a measurement uses; both servers get the same ones."""

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Measure one server once.

        Raises
        ------
        BenchmarkError
            If the server does not do what is asked.
        """


@dataclass(frozen=True, slots=True)
class CStore:
    """Instances per second by ``storescu``, process start and negotiation included.

    Attributes
    ----------
    modality
        ``CT`` or ``MR``.
    count
        Instances per association.
    studies
        Number of associations at the same time; each sends a study of its own.
    is_no_delay
        Whether ``storescu`` runs with ``TCP_NODELAY=1``.
    orthanc_count
        Instances that Orthanc gets where it needs seconds for a few; None: as many as Isocenter.
    """

    modality: str
    count: int
    studies: int = 1
    is_no_delay: bool = True
    orthanc_count: int | None = None

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Send the studies and count them on the server afterwards."""
        count = stage.scale(self.count)
        if server.name == ORTHANC and self.orthanc_count is not None:
            count = stage.scale(self.orthanc_count)
        shutil.rmtree(stage.outbox, ignore_errors=True)
        folders = [stage.outbox / str(study) for study in studies]
        for study, folder in zip(studies, folders, strict=True):
            write_files(stage.templates[self.modality], study_keys(study, 2, count // 2), folder)
        before = server.count_instances()
        stage.settle()
        watch = store_folders(server.dicom_port, folders, is_no_delay=self.is_no_delay)
        _check_count(server, before + count * len(folders))
        return watch.build_rate(count * len(folders))


@dataclass(frozen=True, slots=True)
class Upload:
    """Instances per second by ``POST /instances``.

    Attributes
    ----------
    modality
        ``CT`` or ``MR``.
    count
        Instances per measurement.
    connections
        Connections that work at the same time.
    """

    modality: str
    count: int
    connections: int
    studies: int = 1

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Upload a study and count it on the server afterwards."""
        keys = study_keys(studies[0], 2, stage.scale(self.count) // 2)
        before = server.count_instances()
        stage.settle()
        template = stage.templates[self.modality]
        watch = upload(server.http_port, template, keys, connections=self.connections)
        _check_count(server, before + len(keys))
        return watch.build_rate(len(keys))


@dataclass(frozen=True, slots=True)
class Read:
    """Requests per second by ``wrk`` with one thread.

    Attributes
    ----------
    build_paths
        Builds the paths that are asked for in turn.
    is_anew
        No two requests are the same, so that no answer can be repeated.
    connections
        Connections that work at the same time; few where Orthanc needs more than a second.
    """

    build_paths: Callable[[Stage], list[str]]
    is_anew: bool = False
    connections: int = 8
    studies: int = 0

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:  # noqa: ARG002
        """Ask for the paths for some seconds."""
        stage.settle()
        return measure_rate(
            server.http_port,
            self.build_paths(stage),
            script=stage.folder / "wrk.lua",
            duration_s=stage.duration_s,
            is_anew=self.is_anew,
            connections=self.connections,
        )


@dataclass(frozen=True, slots=True)
class FirstRead:
    """Milliseconds to answer about a CT study that was never asked for before.

    Attributes
    ----------
    count
        Instances of the study.
    name
        What follows the address of the study.
    """

    count: int
    name: str
    studies: int = 1

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Upload a study, ask once, and delete the study again."""
        keys = study_keys(studies[0], 2, self.count // 2)
        upload(server.http_port, stage.templates["CT"], keys)
        stage.settle()
        path = f"/studies/{keys[0].public_study_id}"
        with timed() as watch:
            server.request("GET", f"{path}/{self.name}")
        server.request("DELETE", path)
        return watch.build_duration_ms()


@dataclass(frozen=True, slots=True)
class Annotate:
    """Requests per second by ``wrk`` that write to instances, with one thread.

    Attributes
    ----------
    connections
        Connections that work at the same time.
    steps
        Method, path below the instance, and body of what is written to all of them, in turn.
    """

    connections: int
    steps: tuple[tuple[str, str, str], ...] = (("PUT", "metadata/1024", "value"),)
    studies: int = 1

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Upload a study, and write to its instances for some seconds."""
        keys = study_keys(studies[0], 2, _ANNOTATED // 2)
        upload(server.http_port, stage.templates["MR"], keys)
        stage.settle()
        return measure_rate(
            server.http_port,
            [
                Post(f"/instances/{key.public_id}/{path}", body, method)
                for method, path, body in self.steps
                for key in keys
            ],
            script=stage.folder / "wrk.lua",
            duration_s=stage.duration_s,
            connections=self.connections,
        )


@dataclass(frozen=True, slots=True)
class Jobs:
    """Jobs per second that write the medium of one MR instance, from the first request to the end.

    Attributes
    ----------
    count
        Jobs to submit, by eight clients.
    """

    count: int
    studies: int = 0

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:  # noqa: ARG002
        """Submit all jobs, then wait until none is left."""
        count = stage.scale(self.count)
        instances = [key.public_id for keys in stage.mr_studies for key in keys]
        bodies = [
            json.dumps({"Resources": [public_id], "Asynchronous": True}).encode()
            for public_id in itertools.islice(itertools.cycle(instances), count)
        ]
        stage.settle()
        with timed() as watch:
            with ThreadPoolExecutor(_CLIENTS) as clients:
                shares = (bodies[number::_CLIENTS] for number in range(_CLIENTS))
                list(clients.map(lambda share: _post_all(server, _CREATE_MEDIA, share), shares))
            _wait_for_jobs(server)
        return watch.build_rate(count)


def _post_all(server: Server, path: str, bodies: Sequence[bytes]) -> None:
    """Send requests one after the other on one connection."""
    connection = http.client.HTTPConnection(HOST, server.http_port, timeout=_JOBS_DEADLINE_S)
    try:
        for body in bodies:
            connection.request("POST", path, body)
            answer = connection.getresponse()
            answer.read()
            if answer.status != http.client.OK:
                raise BenchmarkError(f"{server.name}: POST {path} answered {answer.status}")
    finally:
        connection.close()


def _wait_for_jobs(server: Server) -> None:
    """Wait until all jobs have ended; only so many stay in the history (``JobsHistorySize``)."""
    deadline = time.monotonic() + _JOBS_DEADLINE_S
    while len(server.get_json("/jobs")) > _JOBS_HISTORY:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{server.name} still has jobs after {_JOBS_DEADLINE_S} s")
        time.sleep(_JOBS_POLL_S)
    states = {job["State"] for job in server.get_json("/jobs?expand")}
    if states != {"Success"}:
        raise BenchmarkError(f"{server.name} has jobs in the states {states}")


@dataclass(frozen=True, slots=True)
class Find:
    """Searches per second by ``wrk``, as `Read`.

    Attributes
    ----------
    build_bodies
        Builds the searches that are asked in turn.
    expected
        Number of resources that the first of them must find.
    is_anew
        No two searches are the same.
    """

    build_bodies: Callable[[Stage], list[dict[str, Any]]]
    expected: int
    is_anew: bool = False
    studies: int = 0

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:  # noqa: ARG002
        """Check the first search, then ask all for some seconds."""
        bodies = [json.dumps({**body, **COUNT}) for body in self.build_bodies(stage)]
        _check_found(server, bodies[0], self.expected)
        stage.settle()
        return measure_rate(
            server.http_port,
            [Post(_FIND, body) for body in bodies],
            script=stage.folder / "wrk.lua",
            duration_s=stage.duration_s,
            is_anew=self.is_anew,
        )


@dataclass(frozen=True, slots=True)
class FindInFiles:
    """Milliseconds to search the instances of a study by a tag that is in no index.

    Attributes
    ----------
    count
        Instances of the study.
    """

    count: int
    studies: int = 1

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Upload a study, measure the search, and delete the study again."""
        keys = study_keys(studies[0], 2, stage.scale(self.count) // 2)
        upload(server.http_port, stage.templates["MR"], keys)
        stage.settle()
        query = {"StudyInstanceUID": keys[0].study_instance_uid, "Rows": "256"}
        body = json.dumps({"Level": "Instance", "Query": query})
        with timed() as watch:
            _check_found(server, body, len(keys))
        server.request("DELETE", f"/studies/{keys[0].public_study_id}")
        return watch.build_duration_ms()


@dataclass(frozen=True, slots=True)
class Delete:
    """Milliseconds to delete a CT study.

    Attributes
    ----------
    count
        Instances of the study.
    """

    count: int
    studies: int = 1

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Upload a study, then measure its deletion."""
        keys = study_keys(studies[0], 2, self.count // 2)
        before = server.count_instances()
        upload(server.http_port, stage.templates["CT"], keys)
        stage.settle()
        with timed() as watch:
            server.request("DELETE", f"/studies/{keys[0].public_study_id}")
        _check_count(server, before)
        return watch.build_duration_ms()


@dataclass(frozen=True, slots=True)
class Edit:
    """Milliseconds to store an edited copy of a CT study.

    Attributes
    ----------
    action
        ``modify`` or ``anonymize``.
    body
        Of the request.
    count
        Instances of the study.
    """

    action: str
    body: dict[str, Any]
    count: int
    studies: int = 1

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Upload a study, measure until the copy is stored, and delete both."""
        keys = study_keys(studies[0], 2, self.count // 2)
        before = server.count_instances()
        upload(server.http_port, stage.templates["CT"], keys)
        stage.settle()
        path = f"/studies/{keys[0].public_study_id}"
        body = json.dumps(self.body).encode()
        with timed() as watch:
            answer = json.loads(server.request("POST", f"{path}/{self.action}", body))
        _check_count(server, before + 2 * len(keys))
        for study in (path, answer["Path"]):
            server.request("DELETE", study)
        return watch.build_duration_ms()


def _check_found(server: Server, body: str, expected: int) -> None:
    """Make sure that a search finds as many resources as it should."""
    found = json.loads(server.request("POST", _FIND, body.encode()))
    if len(found) != expected:
        raise BenchmarkError(f"{server.name} found {len(found)} resources instead of {expected}")


def _check_count(server: Server, expected: int) -> None:
    """Make sure that a server holds as many instances as it should."""
    count = server.count_instances()
    if count != expected:
        raise BenchmarkError(f"{server.name} holds {count} instances instead of {expected}")


@dataclass(frozen=True, slots=True)
class Split:
    """Milliseconds to move half a CT study into a study of its own.

    Attributes
    ----------
    count
        Instances that are moved.
    """

    count: int
    studies: int = 1

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Upload a study of two series, measure until one is moved, and delete both studies."""
        keys = study_keys(studies[0], 2, self.count)
        before = server.count_instances()
        upload(server.http_port, stage.templates["CT"], keys)
        stage.settle()
        path = f"/studies/{keys[0].public_study_id}"
        series = server.get_json(path)["Series"]
        body = json.dumps({"Series": series[:1]}).encode()
        with timed() as watch:
            answer = json.loads(server.request("POST", f"{path}/split", body))
        _check_count(server, before + len(keys))
        for study in (path, f"/studies/{answer['TargetStudy']}"):
            server.request("DELETE", study)
        return watch.build_duration_ms()


@dataclass(frozen=True, slots=True)
class Merge:
    """Milliseconds to bring a CT study into another one.

    Attributes
    ----------
    count
        Instances that are moved.
    """

    count: int
    studies: int = 2

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Upload two studies, measure until one is a part of the other, and delete that."""
        source, target = study_keys(studies[0], 2, self.count // 2), study_keys(studies[1], 1, 1)
        before = server.count_instances()
        for keys in (source, target):
            upload(server.http_port, stage.templates["CT"], keys)
        stage.settle()
        path = f"/studies/{target[0].public_study_id}"
        body = json.dumps({"Resources": [source[0].public_study_id]}).encode()
        with timed() as watch:
            server.request("POST", f"{path}/merge", body)
        _check_count(server, before + len(source) + 1)
        server.request("DELETE", path)
        return watch.build_duration_ms()


@dataclass(frozen=True, slots=True)
class Download:
    """Milliseconds from a GET request to the last byte of its answer.

    Attributes
    ----------
    build_path
        Builds the path.
    least_bytes
        A shorter answer is an error.
    """

    build_path: Callable[[Stage], str]
    least_bytes: int
    studies: int = 0

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:  # noqa: ARG002
        """Download once."""
        stage.settle()
        url = f"http://{HOST}:{server.http_port}{self.build_path(stage)}"
        size = 0
        with timed() as watch, urllib.request.urlopen(url, timeout=600) as answer:
            while piece := answer.read(1 << 20):
                size += len(piece)
        if size < self.least_bytes:
            raise BenchmarkError(f"{server.name} answered {size} bytes to {url}")
        return Sample(watch.elapsed_s * 1000, watch.client_cpu_s / watch.elapsed_s)

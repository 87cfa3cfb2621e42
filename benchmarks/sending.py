"""Sending: by C-STORE to DCMTK's ``storescp``, by HTTP to an Orthanc; both have to wait for it."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.failures import BenchmarkError, find_program
from benchmarks.servers import HOST, NO_DELAY, Server
from benchmarks.stage import Stage
from benchmarks.studies import study_keys
from benchmarks.third_servers import run_third_server
from benchmarks.timing import Sample, timed
from benchmarks.uploads import upload

_MODALITY = "sink"
SINK_TITLE = "SINK"
"""AE title of the receiver."""

_DEADLINE_S = 10.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Send:
    """Instances per second by ``POST /modalities/{id}/store``, to a receiver that drops them.

    Attributes
    ----------
    modality
        ``CT`` or ``MR``.
    count
        Instances of the study that is sent.
    """

    modality: str
    count: int
    studies: int = 1

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Store a study, not measured, and send it."""
        keys = study_keys(studies[0], 2, stage.scale(self.count) // 2)
        upload(server.http_port, stage.templates[self.modality], keys)
        with run_storescp() as port:
            register_modality(server, _MODALITY, SINK_TITLE, port)
            body = json.dumps([keys[0].public_study_id]).encode()
            stage.settle()
            with timed() as watch:
                answer = server.request("POST", f"/modalities/{_MODALITY}/store", body)
        if json.loads(answer)["InstancesCount"] != len(keys):
            raise BenchmarkError(f"{server.name} did not send {len(keys)} instances")
        return watch.build_rate(len(keys))


@dataclass(frozen=True, slots=True)
class SendToPeer:
    """Instances per second by ``POST /peers/{id}/store``, to an Orthanc that stores them.

    Attributes
    ----------
    modality
        ``CT`` or ``MR``.
    count
        Instances of the study that is sent.
    """

    modality: str
    count: int
    studies: int = 1

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Store a study, not measured, and send it to a server that starts empty."""
        keys = study_keys(studies[0], 2, stage.scale(self.count) // 2)
        upload(server.http_port, stage.templates[self.modality], keys)
        with run_third_server(stage) as receiver:
            form = json.dumps([f"http://{HOST}:{receiver.http_port}/"]).encode()
            server.request("PUT", "/peers/third", form)
            body = json.dumps([keys[0].public_study_id]).encode()
            stage.settle()
            with timed() as watch:
                server.request("POST", "/peers/third/store", body)
            if receiver.count_instances() != len(keys):
                raise BenchmarkError(f"{server.name} did not send {len(keys)} instances")
        return watch.build_rate(len(keys))


def register_modality(server: Server, name: str, ae_title: str, port: int) -> None:
    """Tell a server of a modality on this machine."""
    form = json.dumps([ae_title, HOST, port]).encode()
    server.request("PUT", f"/modalities/{name}", form)


@contextmanager
def run_storescp() -> Iterator[int]:
    """Run a receiver that takes everything and writes nothing; yields its port."""
    with socket.socket() as reserved:
        reserved.bind((HOST, 0))
        port = int(reserved.getsockname()[1])
    command = [find_program("storescp"), "--ignore", "+xa", "-aet", SINK_TITLE, str(port)]
    with subprocess.Popen(
        command, env=NO_DELAY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as receiver:
        try:
            _wait_until_listening(port)
            yield port
        finally:
            receiver.kill()


def _wait_until_listening(port: int) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(_POLL_S)
        else:
            return
    raise BenchmarkError("storescp does not listen")

"""Retrieving: C-MOVE as provider, to ``storescp``; C-MOVE and C-GET as user, from an Orthanc."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.failures import BenchmarkError, find_program
from benchmarks.sending import SINK_TITLE, register_modality, run_storescp
from benchmarks.servers import HOST, NO_DELAY, Server
from benchmarks.stage import Stage
from benchmarks.studies import InstanceKey, study_keys
from benchmarks.third_servers import THIRD_TITLE, run_third_server
from benchmarks.timing import Sample, timed
from benchmarks.uploads import upload

_TIMEOUT_S = 900
_PROVIDER = "provider"
# Both servers have the title of the common configuration.
_OWN_TITLE = "BENCHMARK"


@dataclass(frozen=True, slots=True)
class MoveSCU:
    """Instances per second by ``movescu``: the server sends them to a receiver that drops them.

    Attributes
    ----------
    modality
        ``CT`` or ``MR``.
    count
        Instances of the study, which is stored before.
    """

    modality: str
    count: int
    studies: int = 1

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Store a study, not measured, and have it moved."""
        keys = _store(stage, server, self.modality, studies[0], self.count)
        with run_storescp() as port:
            register_modality(server, "sink", SINK_TITLE, port)
            command = [
                *(find_program("movescu"), "-S", "-aec", _OWN_TITLE, "-aem", SINK_TITLE),
                *(HOST, str(server.dicom_port)),
                *("-k", "QueryRetrieveLevel=STUDY"),
                *("-k", f"StudyInstanceUID={keys[0].study_instance_uid}"),
            ]
            stage.settle()
            with timed() as watch:
                ended = subprocess.run(
                    [*command, "-v"],
                    capture_output=True,
                    timeout=_TIMEOUT_S,
                    check=False,
                    env={**os.environ, **NO_DELAY},
                )
        said = (ended.stdout + ended.stderr).decode(errors="replace")
        if ended.returncode or "Final Move Response (Success)" not in said:
            raise BenchmarkError(f"{server.name}: movescu failed: {said[-500:]}")
        return watch.build_rate(len(keys))


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Instances per second by a retrieve of the server, from an Orthanc that holds them.

    Attributes
    ----------
    modality
        ``CT`` or ``MR``.
    count
        Instances of the study.
    is_get
        By C-GET, which Orthanc 1.10 lacks as a user.
    """

    modality: str
    count: int
    is_get: bool = False
    studies: int = 1

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Start a provider with a study, not measured, and fetch it from there."""
        with run_third_server(stage) as provider:
            keys = _store(stage, provider, self.modality, studies[0], self.count)
            register_modality(provider, "caller", _OWN_TITLE, server.dicom_port)
            register_modality(server, _PROVIDER, THIRD_TITLE, provider.dicom_port)
            before = server.count_instances()
            stage.settle()
            with timed() as watch:
                self._fetch(server, keys[0])
        received = server.count_instances() - before
        if received != len(keys):
            raise BenchmarkError(f"{server.name} got {received} of {len(keys)} instances")
        return watch.build_rate(len(keys))

    def _fetch(self, server: Server, key: InstanceKey) -> None:
        """Fetch a study; answered at its end."""
        wanted = {"StudyInstanceUID": key.study_instance_uid}
        if self.is_get:
            body = {"Level": "Study", "Resources": [wanted]}
            server.request("POST", f"/modalities/{_PROVIDER}/get", json.dumps(body).encode())
            return
        question = json.dumps({"Level": "Study", "Query": wanted}).encode()
        answer = server.request("POST", f"/modalities/{_PROVIDER}/query", question)
        path = json.loads(answer)["Path"]
        server.request("POST", f"{path}/retrieve", _OWN_TITLE.encode())


def _store(
    stage: Stage, server: Server, modality: str, study: int, count: int
) -> list[InstanceKey]:
    keys = study_keys(study, 2, stage.scale(count) // 2)
    upload(server.http_port, stage.templates[modality], keys)
    return keys

"""What all measurements of a run share: templates, fresh study numbers, the stored population."""

import fcntl
import itertools
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from benchmarks.failures import BenchmarkError
from benchmarks.processes import wait_idle
from benchmarks.servers import Server
from benchmarks.studies import InstanceKey, Template, load_template, study_keys
from benchmarks.uploads import upload

WORK = Path(__file__).resolve().parent / "scratch"
"""Everything a benchmark writes, except its results; not under version control."""

_MR_STUDIES = 24
_MR_INSTANCES = 20
_CT_INSTANCES = 200


class Stage:
    """The place of one run.

    Parameters
    ----------
    folder
        Folder of the run; emptied first.
    effort
        Factor on the number of instances per measurement.
    duration_s
        How long each measurement of a read lasts.

    Attributes
    ----------
    templates
        One template per modality, ``CT`` and ``MR``.
    mr_studies, ct_study
        Keys of the population that is read: 24 MR studies of 20 instances, a CT study of 200.
    running
        The servers that are up now; all must be idle before a measurement starts.

    Raises
    ------
    BenchmarkError
        If another benchmark runs, or a tool is missing.
    """

    def __init__(self, folder: Path, *, effort: float, duration_s: int) -> None:
        self._lock = _lock_work()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self.duration_s = duration_s
        self.running: list[Server] = []
        self.templates: dict[str, Template] = {
            modality: load_template(modality, WORK / "cache") for modality in ("CT", "MR")
        }
        self._effort = effort
        self._study_numbers = itertools.count(1)
        self.mr_studies = [
            study_keys(self.take_study(), 2, _MR_INSTANCES // 2) for _ in range(_MR_STUDIES)
        ]
        self.ct_study = study_keys(self.take_study(), 2, _CT_INSTANCES // 2)

    def take_study(self) -> int:
        """Number of a study that no server has seen."""
        return next(self._study_numbers)

    def scale(self, count: int) -> int:
        """Number of instances to send where a full run sends ``count``; even, so two series fit."""
        return max(2, round(count * self._effort / 2) * 2)

    @property
    def outbox(self) -> Path:
        """Folder of the files that ``storescu`` sends."""
        return self.folder / "outbox"

    def settle(self) -> None:
        """Wait until nothing is left to do: pages written back, all servers idle."""
        os.sync()
        wait_idle([server.pid for server in self.running])

    def populate(self, server: Server) -> None:
        """Store the population that the reading measurements ask for.

        Raises
        ------
        BenchmarkError
            If the server does not return what it was given.
        """
        for keys in self.mr_studies:
            self._store(server, "MR", keys)
        self._store(server, "CT", self.ct_study)
        expected = [keys[0].public_study_id for keys in (*self.mr_studies, self.ct_study)]
        if sorted(server.get_json("/studies")) != sorted(expected):
            raise BenchmarkError(f"{server.name}: /studies lacks a study that was stored")
        key = self.ct_study[-1]
        if server.get(f"/instances/{key.public_id}/file") != self.templates["CT"].render(key):
            raise BenchmarkError(f"{server.name}: an instance came back changed")

    def _store(self, server: Server, modality: str, keys: Iterable[InstanceKey]) -> None:
        """Upload instances, not measured."""
        upload(server.http_port, self.templates[modality], list(keys))


def _lock_work() -> BinaryIO:
    """Keep a second benchmark away: both would measure each other.

    The lock ends with the file, so with the process at the latest.
    """
    WORK.mkdir(exist_ok=True)
    file = (WORK / "lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise BenchmarkError("another benchmark is running in this checkout") from error
    return file

"""What a million instances cost: ``python -m benchmarks.scale``.

Two Isocenter servers run side by side, one nearly empty, one filled in steps. Each is measured in
turn, so the noise of the machine meets both.
"""

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.failures import BenchmarkError
from benchmarks.processes import measure_rss_mb
from benchmarks.queries import Query
from benchmarks.report import format_table, format_value
from benchmarks.scale_fill import fill_folder
from benchmarks.servers import NO_DELAY, Launch, Server, find_isocenter, run_server
from benchmarks.stage import WORK, Stage
from benchmarks.studies import InstanceKey
from benchmarks.workloads import Find, Read, Upload, Workload

_PAGE = 100
_SERIES = 2
_INSTANCES = 50
_STUDY_INSTANCES = _SERIES * _INSTANCES
_FIRST_STUDY = 10_000_000
_QUESTIONS = 40_000
_SAMPLED_STUDIES = 1000


@dataclass(frozen=True, slots=True)
class Archive:
    """A server's folder and what has been filled into it.

    Attributes
    ----------
    folder
        Folder of the server.
    studies
        Number of studies, numbered from `_FIRST_STUDY`.
    study_instances
        Instances of each study.
    """

    folder: Path
    studies: int
    study_instances: int

    @property
    def study_paths(self) -> list[str]:
        """Paths of at most 1000 studies, spread over the whole archive."""
        step = max(1, self.studies // _SAMPLED_STUDIES)
        return [
            f"/studies/{InstanceKey(_FIRST_STUDY + number, 0, 0).public_study_id}"
            for number in range(0, self.studies, step)
        ]

    @property
    def instances(self) -> int:
        """Number of instances."""
        return self.studies * self.study_instances


@dataclass(frozen=True, slots=True)
class ScaleLine:
    """One line: its name, how it is measured, and the lowest acceptable share of the empty rate."""

    name: str
    build_workload: Callable[[Archive], Workload]
    floor: float | None = None


def _read(build_paths: Callable[[Archive], list[str]]) -> Callable[[Archive], Workload]:
    """A workload that reads paths which depend on the archive."""
    return lambda archive: Read(lambda _stage: build_paths(archive))


def _page(level: str, start: int) -> list[str]:
    """Path of one page of a list."""
    return [f"/{level}?since={start}&limit={_PAGE}"]


def _find(pattern: str) -> Find:
    """A search for the first ten studies, which all archives have."""
    body = {"Level": "Study", "Query": {"PatientName": pattern}, "Expand": True}
    return Find(lambda _stage: [body], 10, is_anew=True)


def _query_patients(archive: Archive) -> Query:
    """Queries for one patient after the other, each asked once, as `_find`."""
    step = max(1, archive.studies // _SAMPLED_STUDIES)
    patients = [
        InstanceKey(_FIRST_STUDY + number, 0, 0).patient_id
        for number in range(0, archive.studies, step)
    ]
    # Beginnings of dates that all studies lie behind make different questions, as many for one
    # patient as for a thousand: the answer to a question that was asked before is repeated.
    dates = (
        f"{1000 + number // 336}{1 + number // 28 % 12:02}{1 + number % 28:02}-"
        for number in range(_QUESTIONS // len(patients))
    )
    keys = [
        [
            (0x00080020, "DA", date),
            (0x00080052, "CS", "STUDY"),
            (0x00100010, "PN", ""),
            (0x00100020, "LO", patient),
            (0x0020000D, "UI", ""),
        ]
        for date in dates
        for patient in patients
    ]
    return Query(lambda _stage: keys, 1)


LINES: tuple[ScaleLine, ...] = (
    ScaleLine("POST /instances, MR, 8 connections", lambda _: Upload("MR", 800, 8), 0.9),
    ScaleLine("GET /studies/{id}", _read(lambda archive: archive.study_paths), 1 / 1.5),
    ScaleLine("GET /studies, first 100", _read(lambda _: _page("studies", 0))),
    ScaleLine(
        "GET /studies, middle 100",
        _read(lambda archive: _page("studies", (archive.studies - _PAGE) // 2)),
    ),
    ScaleLine(
        "GET /studies, last 100", _read(lambda archive: _page("studies", archive.studies - _PAGE))
    ),
    ScaleLine(
        "GET /instances, last 100",
        _read(lambda archive: _page("instances", archive.instances - _PAGE)),
    ),
    ScaleLine(
        "POST /tools/find, 10 studies by their beginning, expanded",
        lambda _: _find("phantom^number1000000*"),
        1 / 2,
    ),
    ScaleLine(
        "POST /tools/find, 10 studies by wildcards within, expanded",
        lambda _: _find("*ber1000000?"),
    ),
    ScaleLine("C-FIND, 1 patient of all", _query_patients, 1 / 2),
    ScaleLine("GET /statistics", _read(lambda _: ["/statistics"])),
)


def iter_keys(first: int, last: int, *, series: int, instances: int) -> Iterator[InstanceKey]:
    """Yield the instances of the studies from ``first`` up to but without ``last``."""
    for study in range(first, last):
        for number in range(series):
            for instance in range(instances):
                yield InstanceKey(_FIRST_STUDY + study, number, instance)


class ScaleRun:
    """Measures one nearly empty server and one that grows.

    Parameters
    ----------
    stage
        The place of the run.
    launch
        Isocenter.
    rounds
        How often each line is measured; the median counts.
    """

    def __init__(self, stage: Stage, launch: Launch, *, rounds: int) -> None:
        self._stage = stage
        self._launch = launch
        self._rounds = rounds
        # A page of 100 studies must exist even in the archive that stands for an empty one.
        self._empty = Archive(stage.folder / "empty", _PAGE, 1)
        self._full = Archive(stage.folder / "full", 0, _STUDY_INSTANCES)

    def prepare(self) -> None:
        """Let the servers create their indexes, and give the empty one its page of studies."""
        for archive in (self._empty, self._full):
            with run_server(self._launch, archive.folder):
                pass
        keys = iter_keys(0, _PAGE, series=1, instances=1)
        fill_folder(self._empty.folder, self._stage.templates["MR"], keys)

    def grow(self, instances: int) -> float:
        """Fill the growing archive up to a number of instances; return the rows per second."""
        studies = instances // _STUDY_INSTANCES
        keys = iter_keys(self._full.studies, studies, series=_SERIES, instances=_INSTANCES)
        added = (studies - self._full.studies) * _STUDY_INSTANCES
        start = time.perf_counter()
        fill_folder(self._full.folder, self._stage.templates["MR"], keys)
        self._full = Archive(self._full.folder, studies, _STUDY_INSTANCES)
        return added / (time.perf_counter() - start)

    def measure(self) -> list[tuple[str, ...]]:
        """Measure both servers and return the cells of the table."""
        archives = (self._empty, self._full)
        with ExitStack() as stack:
            servers = []
            for archive in archives:
                running = run_server(self._launch, archive.folder, environment=NO_DELAY)
                servers.append(stack.enter_context(running))
            self._stage.running = servers
            pairs = list(zip(archives, servers, strict=True))
            rows = [self._measure_line(line, pairs) for line in LINES]
            memory = [format_value(measure_rss_mb(server.pid)) for server in servers]
            self._stage.running = []
        return [*rows, ("Resident memory, MB", *memory, "", "", "")]

    def _measure_line(
        self, line: ScaleLine, pairs: Sequence[tuple[Archive, Server]]
    ) -> tuple[str, ...]:
        """Measure one line on both servers in turn."""
        rates: list[list[float]] = [[] for _ in pairs]
        for _ in range(self._rounds):
            studies = [self._stage.take_study()]
            for taken, (archive, server) in zip(rates, pairs, strict=True):
                workload = line.build_workload(archive)
                taken.append(workload.measure(self._stage, server, studies).value)
        empty, full = map(statistics.median, rates)
        share = full / empty
        verdict = "" if line.floor is None else "yes" if share >= line.floor else "NO"
        target = "" if line.floor is None else f"≥ {line.floor:.0%}"
        return line.name, format_value(empty), format_value(full), f"{share:.0%}", target, verdict


def _parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="instances at the end")
    parser.add_argument("--steps", type=int, default=2, help="steps, each ten times the one before")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per line (default: 5)")
    options = parser.parse_args(arguments)
    smallest = _PAGE * _STUDY_INSTANCES
    if options.count // 10 ** (options.steps - 1) < smallest:
        parser.error(
            f"the first step would have less than {smallest} instances, one page of studies"
        )
    return options


def _run(options: argparse.Namespace) -> None:
    """Fill and measure step by step."""
    stage = Stage(WORK / "scale", effort=1.0, duration_s=2)
    run = ScaleRun(stage, find_isocenter(None, {}), rounds=options.rounds)
    run.prepare()
    for step in reversed(range(options.steps)):
        count = options.count // 10**step
        rate = run.grow(count)
        print(f"\n{count:,} instances; rows filled at {rate:,.0f}/s; {os.cpu_count()} cores\n")
        header = ("Line, 1/s", "Empty", "Filled", "Share", "Target", "OK?")
        print(format_table(header, run.measure()), flush=True)
    shutil.rmtree(stage.folder)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit status."""
    options = _parse_arguments(arguments)
    try:
        _run(options)
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

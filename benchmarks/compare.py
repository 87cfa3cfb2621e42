"""Compare Isocenter with Orthanc: ``python -m benchmarks.compare`` (``make bench``).

Both servers run at the same time on private ports and fresh folders; only one is asked at a time.
"""

import argparse
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import memory
from benchmarks.failures import BenchmarkError
from benchmarks.lines import LINES, Line, Variant
from benchmarks.processes import measure_rss_mb
from benchmarks.report import (
    Row,
    build_memory_row,
    build_row,
    format_document,
    format_results,
    format_value,
    insert_document,
)
from benchmarks.servers import (
    ISOCENTER,
    NO_DELAY,
    ORTHANC,
    Launch,
    Server,
    find_isocenter,
    find_orthanc,
    merge_options,
    read_version,
    run_server,
)
from benchmarks.stage import WORK, Stage
from benchmarks.timing import Sample

_RESULTS = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
_RELAXED = {"Isocenter": {"DurableIndex": False}}


class Comparison:
    """One run over both servers, line by line.

    Parameters
    ----------
    stage
        The place of the run.
    launches
        The servers that take part.
    rounds
        How often each line is measured; the median counts.
    """

    def __init__(self, stage: Stage, launches: Sequence[Launch], *, rounds: int) -> None:
        self._stage = stage
        self._launches = {launch.name: launch for launch in launches}
        self._rounds = rounds
        self._servers: dict[str, Server] = {}
        self.rows: list[Row] = []
        self.versions: dict[str, str] = {}

    def run(self, pattern: re.Pattern[str], *, with_large: bool) -> None:
        """Start the servers, measure the lines whose name matches, and stop the servers."""
        with ExitStack() as stack:
            for launch in self._launches.values():
                server = stack.enter_context(self._running(launch, launch.name))
                self._servers[launch.name] = server
                self.versions[launch.name] = read_version(server)
            self._stage.settle()
            idle = self._measure_memory()
            for server in self._servers.values():
                self._stage.populate(server)
            for line in LINES:
                if pattern.search(line.name):
                    self._measure_line(line)
            self._stage.settle()
            for limit, values in ((memory.IDLE, idle), (memory.AFTER, self._measure_memory())):
                if pattern.search(limit.name):
                    self._keep(build_memory_row(limit, values))
            if ISOCENTER in self._servers:
                self._measure_peaks(pattern, with_large=with_large)

    def _measure_peaks(self, pattern: re.Pattern[str], *, with_large: bool) -> None:
        """Measure Isocenter's memory while much arrives at once."""
        if pattern.search(memory.CROWD.name):
            self._measure_crowd()
        for limit, measure in memory.LARGE if with_large else ():
            if pattern.search(limit.name):
                self._measure_large(limit, measure)

    @contextmanager
    def _running(
        self, launch: Launch, folder: str, *, variant: Variant = Variant.TUNED
    ) -> Iterator[Server]:
        """Start a server in one of its variants."""
        is_stock = variant is Variant.STOCK and launch.name == ORTHANC
        is_relaxed = variant is Variant.RELAXED and launch.name == ISOCENTER
        with run_server(
            launch,
            self._stage.folder / folder,
            environment={} if is_stock else NO_DELAY,
            overrides=_RELAXED if is_relaxed else None,
        ) as server:
            self._stage.running.append(server)
            try:
                yield server
            finally:
                self._stage.running.remove(server)

    @contextmanager
    def _pair(self, variant: Variant) -> Iterator[Mapping[str, Server]]:
        """Servers that a line compares; a variant of one of them runs for this line only."""
        replaced = {Variant.STOCK: ORTHANC, Variant.RELAXED: ISOCENTER}.get(variant)
        if replaced is None or replaced not in self._launches:
            yield self._servers
            return
        launch = self._launches[replaced]
        folder = f"{replaced}-{variant.value}"
        with self._running(launch, folder, variant=variant) as server:
            yield {**self._servers, replaced: server}
        shutil.rmtree(self._stage.folder / folder)

    def _measure_line(self, line: Line) -> None:
        """Measure all rounds of a line; a failure is kept in its row and does not end the run."""
        try:
            with self._pair(line.variant) as servers:
                samples = self._take_samples(line, servers)
        except BenchmarkError as error:
            self._keep(Row(name=line.name, unit=line.unit, values={}, failure=str(error)))
        else:
            self._keep(build_row(line, samples))

    def _take_samples(self, line: Line, servers: Mapping[str, Server]) -> dict[str, list[Sample]]:
        """Measure each server in each round; they take turns in going first."""
        if line.is_alone:
            servers = {name: server for name, server in servers.items() if name != ORTHANC}
        samples: dict[str, list[Sample]] = {name: [] for name in servers}
        for number in range(self._rounds):
            studies = [self._stage.take_study() for _ in range(line.workload.studies)]
            for name in sorted(servers, reverse=number % 2 == 0):
                samples[name].append(line.workload.measure(self._stage, servers[name], studies))
        return samples

    def _measure_crowd(self) -> None:
        """Measure Isocenter's memory while a hundred associations store at the same time."""
        folder = self._stage.folder / "crowd"
        launch = self._launches[ISOCENTER]
        try:
            with run_server(launch, folder, overrides=memory.CROWD_OPTIONS) as server:
                peak_mb = memory.measure_crowd(self._stage, server)
        except BenchmarkError as error:
            self._keep(Row(name=memory.CROWD.name, unit="MB", values={}, failure=str(error)))
        else:
            self._keep(build_memory_row(memory.CROWD, {ISOCENTER: peak_mb}))
        shutil.rmtree(folder)

    def _measure_large(
        self, limit: memory.MemoryLimit, measure: Callable[[Stage, Server], float]
    ) -> None:
        """Measure Isocenter's memory while it receives a large instance."""
        try:
            peak_mb = measure(self._stage, self._servers[ISOCENTER])
        except BenchmarkError as error:
            self._keep(Row(name=limit.name, unit="MB", values={}, failure=str(error)))
        else:
            self._keep(build_memory_row(limit, {ISOCENTER: peak_mb}))

    def _measure_memory(self) -> dict[str, float]:
        """Resident memory of each server now."""
        return {name: measure_rss_mb(server.pid) for name, server in self._servers.items()}

    def _keep(self, row: Row) -> None:
        """Add a row and show that it is done."""
        self.rows.append(row)
        values = ", ".join(f"{name} {format_value(value)}" for name, value in row.values.items())
        print(f"{row.name}: {row.failure or values}", file=sys.stderr, flush=True)


def parse_override(text: str) -> dict[str, Any]:
    """Parse ``KEY=VALUE``; dots in the key lead into sections, the value is JSON or plain text."""
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        decoded = json.loads(value)
    except ValueError:
        decoded = value
    for part in reversed(key.split(".")):
        decoded = {part: decoded}
    return dict(decoded)


def _parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--only", metavar="PATTERN", help="only lines whose name matches (regex)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per line (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one short round, to try things out")
    parser.add_argument("--large", action="store_true", help="also send instances of 2 GB")
    parser.add_argument("--skip", choices=[ORTHANC, ISOCENTER], help="leave one server out")
    parser.add_argument(
        "--isocenter",
        metavar="KEY=VALUE",
        type=parse_override,
        action="append",
        default=[],
        help='option of Isocenter, e.g. Isocenter.IngestThreads=4 or Name="x" (repeatable)',
    )
    parser.add_argument(
        "--command",
        type=shlex.split,
        help="program in Isocenter's place; its last argument is the configuration file",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="where to write the results (default: docs/performance.md after a complete run)",
    )
    return parser.parse_args(arguments)


def _find_servers(options: argparse.Namespace) -> list[Launch]:
    """Find the servers that take part."""
    overrides: dict[str, Any] = {}
    for override in options.isocenter:
        overrides = merge_options(overrides, override)
    launches = []
    if options.skip != ORTHANC:
        launches.append(find_orthanc())
    if options.skip != ISOCENTER:
        launches.append(find_isocenter(options.command, overrides))
    return launches


def main(arguments: Sequence[str]) -> int:
    """Run the comparison and return the exit status: 1 if a line could not be measured."""
    options = _parse_arguments(arguments)
    rounds = 1 if options.quick else options.rounds
    try:
        launches = _find_servers(options)
        stage = Stage(
            WORK / "compare",
            effort=0.25 if options.quick else 1.0,
            duration_s=1 if options.quick else 3,
        )
        comparison = Comparison(stage, launches, rounds=rounds)
        pattern = re.compile(options.only or "", re.IGNORECASE)
        comparison.run(pattern, with_large=options.large)
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    print(format_results(comparison.rows))
    if options.command:
        comparison.versions[ISOCENTER] = f"replaced by {Path(options.command[0]).name}"
    is_complete = not (options.only or options.quick or options.skip or options.command)
    output = options.output or (_RESULTS if is_complete else None)
    if output is not None:
        command = shlex.join(["python", "-m", "benchmarks.compare", *arguments])
        document = format_document(
            comparison.rows, versions=comparison.versions, command=command, rounds=rounds
        )
        is_page = output == _RESULTS
        output.write_text(insert_document(output.read_text(), document) if is_page else document)
    shutil.rmtree(stage.folder)
    return int(any(row.failure for row in comparison.rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

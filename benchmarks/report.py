"""Medians, ratios, and the table of results as Markdown."""

import datetime as dt
import math
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.failures import BenchmarkError
from benchmarks.lines import Line
from benchmarks.memory import MemoryLimit
from benchmarks.servers import ISOCENTER, ORTHANC
from benchmarks.timing import Sample

_HEADER = ("Line", "Unit", ORTHANC, ISOCENTER, "Ratio", "Target", "OK?", "Client")
_TIMES = "\N{MULTIPLICATION SIGN}"
_NOTHING = "\N{EN DASH}"
_BEGIN = "<!-- results: begin -->"
_END = "<!-- results: end -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table with its results.

    Attributes
    ----------
    name, unit
        As in the line.
    values
        Median per server name; a server that was skipped is absent.
    target
        The target as text; empty if there is none.
    ratio
        How many times better Isocenter is; None without both values or without sense.
    is_met
        Whether the target is met; None without a target or without a value to hold against it.
    is_scored
        Whether the ratio is part of the geometric mean.
    client_share
        Busy cores of the client while it measured the faster server, median.
    failure
        Why there are no values; empty if there are.
    """

    name: str
    unit: str
    values: Mapping[str, float]
    target: str = ""
    ratio: float | None = None
    is_met: bool | None = None
    is_scored: bool = False
    client_share: float | None = None
    failure: str = ""


def build_row(line: Line, samples: Mapping[str, Sequence[Sample]]) -> Row:
    """Reduce the rounds of a line to its row: the ratio is that of the medians."""
    values = {
        name: statistics.median(sample.value for sample in taken) for name, taken in samples.items()
    }
    ratio = None
    if ORTHANC in values and ISOCENTER in values:
        ratio = values[ISOCENTER] / values[ORTHANC]
        if line.is_duration:
            ratio = 1 / ratio
    return Row(
        name=line.name,
        unit=line.unit,
        values=values,
        target="" if line.target is None else f"≥ {line.target:g}{_TIMES}",
        ratio=ratio,
        is_met=None if line.target is None or ratio is None else ratio >= line.target,
        is_scored=line.target is not None,
        client_share=max(
            (
                statistics.median(sample.client_share for sample in taken)
                for taken in samples.values()
            ),
            default=None,
        ),
    )


def build_memory_row(limit: MemoryLimit, values: Mapping[str, float]) -> Row:
    """Build the row of a memory limit, which holds for Isocenter only."""
    own = values.get(ISOCENTER)
    return Row(
        name=limit.name,
        unit="MB",
        values=values,
        target=f"≤ {limit.limit_mb:g} MB",
        is_met=None if own is None else own <= limit.limit_mb,
    )


def compute_geometric_mean(rows: Iterable[Row]) -> float | None:
    """Geometric mean of the ratios that have a target; None if there are none."""
    logs = [math.log(row.ratio) for row in rows if row.is_scored and row.ratio is not None]
    return math.exp(statistics.fmean(logs)) if logs else None


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table whose columns also line up on a terminal."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def format_cells(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join([first, *rest])} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([format_cells(header), f"|{rule}|", *map(format_cells, rows)])


def format_value(value: float | None) -> str:
    """Format a measured value with three significant digits or all before the point."""
    if value is None:
        return _NOTHING
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _format_row(row: Row) -> tuple[str, ...]:
    """Cells of one row."""
    verdict = {True: "yes", False: "NO", None: _NOTHING}[row.is_met]
    return (
        row.name,
        row.unit,
        format_value(row.values.get(ORTHANC)),
        format_value(row.values.get(ISOCENTER)),
        _NOTHING if row.ratio is None else f"{row.ratio:.2f}{_TIMES}",
        row.target or _NOTHING,
        "FAILED" if row.failure else verdict,
        _NOTHING if row.client_share is None else f"{row.client_share:.0%}",
    )


def format_results(rows: Sequence[Row]) -> str:
    """Format the table, the geometric mean, and what could not be measured."""
    parts = [format_table(_HEADER, [_format_row(row) for row in rows])]
    mean = compute_geometric_mean(rows)
    if mean is not None:
        parts.append(f"Geometric mean of the ratios that have a target: **{mean:.2f}{_TIMES}**")
    parts += [f"- {row.name}: {row.failure}" for row in rows if row.failure]
    return "\n\n".join(parts)


def format_document(
    rows: Sequence[Row], *, versions: Mapping[str, str], command: str, rounds: int
) -> str:
    """Format how results were taken, and the table."""
    now = dt.datetime.now(dt.UTC)
    machine = (
        f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )
    facts = [
        f"- Date: {now:%Y-%m-%d %H:%M} UTC",
        f"- Command: `{command}`",
        f"- Servers: {', '.join(f'{name} {version}' for name, version in versions.items())}",
        f"- Machine: {machine}",
        f"- Medians of {rounds} rounds",
    ]
    return "\n".join([*facts, "", format_results(rows), ""])


def insert_document(page: str, document: str) -> str:
    """Put results between the two marks of a page, in the place of older ones.

    Raises
    ------
    BenchmarkError
        If the marks are missing.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise BenchmarkError(f"the page lacks the marks {_BEGIN} and {_END}")
    return f"{before}{begin}\n{document}{end}{after}"

"""Prometheus' text format.

The client library of Prometheus ends the name of every counter with ``_total``, which Orthanc's
names do not; the format itself is a few lines.

References
----------
Prometheus, "Exposition formats", text-based format 0.0.4
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["MEDIA_TYPE", "Family", "Kind", "Sample", "format_families"]

MEDIA_TYPE = "text/plain; version=0.0.4"

_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Kind(StrEnum):
    """What a number means."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Sample:
    """One number.

    Attributes
    ----------
    suffix
        What follows the name of its family: ``_bucket``, ``_sum``, ``_count`` of a histogram.
    labels
        Names and values.
    """

    value: float
    suffix: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """The numbers of one name.

    Attributes
    ----------
    timestamp_ms
        When they were read, for clients that want to be told; milliseconds since 1970.
    """

    name: str
    kind: Kind
    meaning: str
    samples: tuple[Sample, ...]
    timestamp_ms: int | None = None


def format_families(families: Iterable[Family]) -> bytes:
    """Write families, sorted by name."""
    lines: list[str] = []
    for family in sorted(families, key=lambda family: family.name):
        lines.append(f"# HELP {family.name} {family.meaning}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        end = "" if family.timestamp_ms is None else f" {family.timestamp_ms}"
        lines.extend(_format_sample(family.name, sample) + end for sample in family.samples)
    return "".join(f"{line}\n" for line in lines).encode()


def _format_sample(name: str, sample: Sample) -> str:
    labels = ",".join(f'{key}="{value.translate(_ESCAPED)}"' for key, value in sample.labels)
    value = str(sample.value) if isinstance(sample.value, int) else f"{sample.value:.15g}"
    return f"{name}{sample.suffix}{f'{{{labels}}}' if labels else ''} {value}"

"""What jobs offer for download: contents in parts, kept by number, age and size.

References
----------
Orthanc REST: outputs of jobs (behaviour manual §16.4, quirk 16)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from isocenter.index.port import Transaction

__all__ = [
    "Output",
    "OutputLimits",
    "Part",
    "add_output",
    "add_part",
    "discard_parts",
    "discard_unsaved",
    "evict_outputs",
    "list_parts",
    "lookup_output",
]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a content.

    Attributes
    ----------
    document
        For whoever writes the next part; JSON.
    """

    attachment_uuid: str
    size_bytes: int
    document: str = "null"


@dataclass(frozen=True, slots=True)
class Output:
    """A content that can be downloaded.

    Attributes
    ----------
    created_at
        Microseconds since 1970, UTC.
    """

    file_name: str
    media_type: str
    size_bytes: int
    created_at: int


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """How many outputs to keep; the newest stay. The newest one of all is never evicted."""

    count: int
    size_bytes: int
    age_us: int


def add_part(tx: Transaction, job_id: str, name: str, number: int, part: Part) -> None:
    """Keep a part that is in the storage area.

    Parameters
    ----------
    number
        Its place in the content, from 0.
    """
    tx.run(
        "insert_part",
        {
            "job_id": job_id,
            "name": name,
            "number": number,
            "attachment_uuid": part.attachment_uuid,
            "size": part.size_bytes,
            "document": part.document,
        },
    )


def list_parts(tx: Transaction, job_id: str, name: str) -> list[Part]:
    """List the parts of a content in their order; empty if there is none."""
    rows = tx.rows("list_parts", {"job_id": job_id, "name": name})
    return [Part(*row) for row in rows]


def discard_parts(tx: Transaction, job_id: str, name: str) -> bool:
    """Remove a content, complete or not; false if there is none."""
    keys = {"job_id": job_id, "name": name}
    has_parts = bool(tx.rows("list_parts", keys))
    tx.run("insert_removals_of_parts", keys)
    tx.run("delete_parts", keys)
    tx.run("delete_output", keys)
    return has_parts


def discard_unsaved(tx: Transaction, attachment_uuid: str) -> None:
    """Remove the blob of a part that was never added, if there is one."""
    tx.run("add_possible_removal", {"attachment_uuid": attachment_uuid})


def add_output(tx: Transaction, job_id: str, name: str, output: Output) -> None:
    """Offer a content whose parts are all there."""
    tx.run(
        "insert_output",
        {
            "job_id": job_id,
            "name": name,
            "file_name": output.file_name,
            "media_type": output.media_type,
            "size": output.size_bytes,
            "created_at": output.created_at,
        },
    )


def lookup_output(tx: Transaction, job_id: str, name: str) -> Output | None:
    """Find a content that can be downloaded, or ``None``."""
    row = tx.row("lookup_output", {"job_id": job_id, "name": name})
    return None if row is None else Output(*row)


def evict_outputs(tx: Transaction, limits: OutputLimits, *, now_us: int) -> int:
    """Remove the outputs beyond the limits, the oldest first; tell how many were removed."""
    rows = tx.rows("list_outputs_by_age")
    evicted = _choose_evicted(rows, limits, now_us)
    for job_id, name in evicted:
        discard_parts(tx, job_id, name)
    return len(evicted)


def _choose_evicted(
    rows: Sequence[tuple[str, str, int, int]], limits: OutputLimits, now_us: int
) -> list[tuple[str, str]]:
    evicted = []
    total = 0
    for place, (job_id, name, size, created_at) in enumerate(rows):
        total += size
        is_beyond = place >= limits.count or total > limits.size_bytes
        is_old = now_us - created_at > limits.age_us
        if is_old or (is_beyond and place > 0):
            evicted.append((job_id, name))
    return evicted

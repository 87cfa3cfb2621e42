"""What a job of a routing rule leaves behind: the note that the rule has sent something.

The note is made when the job is submitted, and taken back if the job does not send it.

References
----------
Decision 0020
"""

from collections.abc import Sequence
from dataclasses import replace

from isocenter.index.routing import Fingerprint, add_fingerprints, delete_fingerprints
from isocenter.jobs.records import Apply, Job, NewJob

__all__ = ["build_confirmation", "build_withdrawal", "note_routed"]

_ROUTED = "Routed"


def note_routed(new: NewJob, sent: Sequence[Fingerprint]) -> NewJob:
    """Let a job know what a rule will have sent with it."""
    routed = [[one.public_id, one.rule, one.value] for one in sent]
    return replace(new, arguments={**new.arguments, _ROUTED: routed})


def build_confirmation(job: Job) -> Apply | None:
    """Build the change by which a rule has sent what a job was submitted for.

    Only for a job that was submitted again the note is not there already.
    """
    sent = _list_routed(job)
    return (lambda tx: add_fingerprints(tx, sent)) if sent else None


def build_withdrawal(job: Job) -> Apply | None:
    """Build the change by which a rule has not sent what a job was submitted for."""
    sent = _list_routed(job)
    return (lambda tx: delete_fingerprints(tx, sent)) if sent else None


def _list_routed(job: Job) -> list[Fingerprint]:
    return [Fingerprint(*values) for values in job.arguments.get(_ROUTED, ())]

"""How instances are to be sent, whoever the receiver is, and the job that does it.

References
----------
Decision 0020
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isocenter.archive.outgoing import OutgoingPlan
from isocenter.jobs.records import FailedItem, Job, NewJob

__all__ = ["SendingOrder", "build_sending_job", "build_sending_retry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingOrder:
    """How to send, whoever the receiver is.

    Attributes
    ----------
    description
        Who asked for it.
    is_permissive
        Go on after an instance that cannot be sent.
    retries
        Most new attempts in a row while the receiver cannot be reached.
    not_before, quiet_hours
        When not to send, see `get_wait_s`.
    """

    description: str = "REST API"
    is_permissive: bool = False
    retries: int = 0
    not_before: int = 0
    quiet_hours: Sequence[tuple[int, int]] = ()


def build_sending_job(
    kind: str, plan: OutgoingPlan, order: SendingOrder, destination: str
) -> NewJob:
    """Build a job that sends instances; its kind adds what only it needs."""
    arguments: dict[str, Any] = {
        "Instances": list(plan.instances),
        "Permissive": order.is_permissive,
        "Retries": order.retries,
    }
    content: dict[str, Any] = {
        "Description": order.description,
        "InstancesCount": len(plan.instances),
        "FailedInstancesCount": 0,
        "ParentResources": [public_id for _, public_id in plan.resources],
        "Resources": [{"ID": name, "Type": level.title} for level, name in plan.resources],
    }
    if order.not_before or order.quiet_hours:
        quiet_hours = [list(pair) for pair in order.quiet_hours]
        arguments |= {"NotBefore": order.not_before, "QuietHours": quiet_hours}
    return NewJob(kind, arguments, content, destination=destination)


def build_sending_retry(job: Job, failed: Sequence[FailedItem]) -> NewJob:
    """Build a job that sends what failed (see `JobKind.build_retry`)."""
    arguments = {**job.arguments, "Instances": [item.name for item in failed]}
    content = {**job.content, "InstancesCount": len(failed), "FailedInstancesCount": 0}
    return NewJob(job.kind, arguments, content, destination=job.destination)

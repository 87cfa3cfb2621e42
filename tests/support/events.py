"""Server-sent events as a client reads them (HTML Living Standard §9.2.6)."""

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Event", "parse_events"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``identifier`` is what ``Last-Event-ID`` would be behind it."""

    name: str
    identifier: str
    data: dict[str, Any]


def parse_events(content: bytes) -> list[Event]:
    """Read the complete events of a stream; comments are passed over."""
    events = []
    for block in content.decode().split("\n\n")[:-1]:
        fields = dict(
            line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")
        )
        if "data" in fields:
            events.append(Event(fields["event"], fields["id"], json.loads(fields["data"])))
    return events

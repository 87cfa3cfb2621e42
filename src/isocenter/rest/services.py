"""What a responder is given besides the request."""

from collections.abc import Callable
from dataclasses import dataclass

from isocenter.archive.archive import Archive
from isocenter.config.configuration import Configuration
from isocenter.http.metrics import Metrics
from isocenter.jobs.engine import Engine

__all__ = ["Lifecycle", "Services"]


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Ways to end or restart the server from within.

    Attributes
    ----------
    stop, restart
        Return at once; the server ends or starts anew when the present requests are answered.
    """

    stop: Callable[[], None]
    restart: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the server that responders call.

    Attributes
    ----------
    openapi
        The description of the routes, ready to be answered.
    """

    archive: Archive
    jobs: Engine
    configuration: Configuration
    metrics: Metrics
    lifecycle: Lifecycle
    openapi: bytes

"""What a responder is given besides the request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from isocenter.archive.archive import Archive
from isocenter.config.configuration import Configuration
from isocenter.http.event_streams import EventStreams
from isocenter.http.metrics import Metrics
from isocenter.jobs.engine import Engine
from isocenter.logs import Logs

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
    describe_conformance
        Writes the DICOM conformance statement, as things are now.
    library_versions
        Versions of the libraries that the server stands on, by name.
    """

    archive: Archive
    jobs: Engine
    events: EventStreams
    configuration: Configuration
    logs: Logs
    metrics: Metrics
    lifecycle: Lifecycle
    openapi: bytes
    describe_conformance: Callable[[], str]
    library_versions: Mapping[str, str]

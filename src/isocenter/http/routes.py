"""One record per route: routing, permissions, OpenAPI and tests all read the same table."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = [
    "Argument",
    "Permission",
    "Responder",
    "Route",
    "Schema",
    "list_children",
    "list_directories",
]

Responder = Callable[..., Awaitable[None]]
"""``responder(services, req, resp, **path_parameters)``."""

Schema = Mapping[str, Any]
"""JSON Schema 2020-12."""


class Permission(StrEnum):
    """What a caller must be allowed to do."""

    READ = "read"
    WRITE = "write"
    ADMINISTER = "administer"


@dataclass(frozen=True, slots=True)
class Argument:
    """A query argument.

    Attributes
    ----------
    kind
        ``flag`` (present, or 1, true, 0, false), ``integer`` or ``text``.
    """

    name: str
    kind: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Route:
    """A method on a path, and all that is known of it.

    Attributes
    ----------
    path
        Template such as ``/studies/{public_id}``. A parameter ``{path}`` at its end takes all that
        follows, slashes included.
    summary
        One line for the documentation.
    area
        Heading in the documentation.
    body
        Media type of the request body, or ``None`` if it is ignored.
    body_schema
        What the body holds; ``None`` for bytes of any kind.
    answer
        Media type of a success.
    answer_schema
        What a success holds, if there is something to say.
    other_answers
        Further media types of a success, where the request chooses among them.
    statuses
        Possible statuses besides those that every route may answer (401, 403, 500).
    is_writing
        Whether it changes what is stored; ``None`` if it does so just where it needs the
        permission to write.
    is_immediate
        The responder often finds all it needs at hand. It may be run on the event loop outside of a
        task, and a second time if that did not do, so it must only read (see `http.direct`).
    is_lasting
        An immediate answer depends on the request, the index, stored files, which never change, and
        `archive.settings`, so it stays true until one of these has another generation (see
        `http.repeated`). Not: time, other options that change at run time.
    is_light
        Of the request and the response, the responder of a short body asks only for what
        `http.exchange` offers, and answers with bytes (see `http.short_writes`).
    """

    method: str
    path: str
    responder: Responder
    summary: str
    area: str
    permission: Permission = Permission.READ
    arguments: tuple[Argument, ...] = ()
    body: str | None = None
    body_schema: Schema | None = None
    answer: str = "application/json"
    answer_schema: Schema | None = None
    other_answers: tuple[str, ...] = ()
    statuses: tuple[int, ...] = (200,)
    details: str = ""
    is_writing: bool | None = None
    is_immediate: bool = False
    is_lasting: bool = False
    is_light: bool = False

    @property
    def changes_archive(self) -> bool:
        """Whether a read-only server must not offer it."""
        if self.is_writing is None:
            return self.permission is Permission.WRITE
        return self.is_writing


def list_directories(routes: Iterable[Route]) -> list[str]:
    """List the paths that lead to routes but answer nothing of their own.

    References
    ----------
    Orthanc REST: directories of the API (behaviour manual §2.1)
    """
    routes = list(routes)
    readable = {route.path for route in routes if route.method == "GET"}
    prefixes: dict[str, Any] = {}
    for route in routes:
        segments = route.path.split("/")[1:-1]
        for length in range(1, len(segments) + 1):
            prefixes["/" + "/".join(segments[:length])] = None
    return sorted(prefix for prefix in prefixes if prefix not in readable)


def list_children(routes: Iterable[Route], directory: str) -> list[str]:
    """List the names that follow a directory in the paths, templates left out."""
    start = directory.rstrip("/") + "/"
    names = {
        route.path[len(start) :].split("/")[0] for route in routes if route.path.startswith(start)
    }
    return sorted(name for name in names if name and not name.startswith("{"))

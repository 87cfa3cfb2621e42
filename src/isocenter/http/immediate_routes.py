"""Finding and running the responders that answer outside of Falcon (Decision 0009)."""

import re
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from isocenter.archive.workers import WouldWaitError
from isocenter.http.routes import Route, list_directories

__all__ = ["ImmediateRoute", "ImmediateRoutes", "Step", "collect", "finish"]

Step = Callable[..., Coroutine[Any, Any, None]]
"""A responder, or what is run before or after it."""

_NAMED = re.compile(r"/(?P<first>[^{}/]+)/{(?P<outer>\w+)}(?:/(?P<last>[^{}]+))?")
_NESTED = re.compile(
    r"/(?P<first>[^{}/]+)/{(?P<outer>\w+)}"
    r"/(?P<middle>[^{}/]+)/{(?P<inner>\w+)}(?:/(?P<last>[^{}]+))?"
)


@dataclass(frozen=True, slots=True)
class ImmediateRoute:
    """What of a route is needed to run it."""

    responder: Step
    path: str
    is_lasting: bool


class ImmediateRoutes:
    """Finds the responder of a path with a look-up or two.

    Parameters
    ----------
    routes
        All routes; they tell which paths are taken.
    services
        First argument of every responder.
    chosen
        Those to find, all of one method; by default the immediate ones.

    Raises
    ------
    ValueError
        If one of these is neither ``/a/b`` nor ``/a/{b}`` nor ``/a/{b}/c``, nor
        ``/a/{b}/c/{d}`` nor ``/a/{b}/c/{d}/e``.
    """

    def __init__(
        self, routes: Sequence[Route], services: Any, chosen: Iterable[Route] | None = None
    ) -> None:
        # A path with fewer parameters goes before one with more, even if it is not immediate.
        self._exact: dict[str, ImmediateRoute | None] = {}
        self._named: dict[tuple[str, str | None], tuple[ImmediateRoute, str] | None] = {}
        self._nested: dict[tuple[str, str, str | None], tuple[ImmediateRoute, str, str]] = {}
        for path in (*list_directories(routes), *(route.path for route in routes)):
            self._take(path)
        if chosen is None:
            chosen = (route for route in routes if route.is_immediate)
        for route in chosen:
            self._add(route, services)

    def _take(self, path: str) -> None:
        if "{" not in path:
            self._exact[path] = None
        elif match := _NAMED.fullmatch(path):
            self._named[match["first"], match["last"]] = None

    def _add(self, route: Route, services: Any) -> None:
        immediate = ImmediateRoute(
            cast(Step, partial(route.responder, services)), route.path, is_lasting=route.is_lasting
        )
        if "{" not in route.path:
            self._exact[route.path] = immediate
        elif match := _NAMED.fullmatch(route.path):
            self._named[match["first"], match["last"]] = (immediate, match["outer"])
        elif match := _NESTED.fullmatch(route.path):
            key = (match["first"], match["middle"], match["last"])
            self._nested[key] = (immediate, match["outer"], match["inner"])
        else:
            raise ValueError(f"the route {route.path} cannot be immediate")

    def lookup(self, path: str) -> tuple[ImmediateRoute, dict[str, str]] | None:
        """Find a route and its path parameters, or ``None``."""
        if path in self._exact:
            immediate = self._exact[path]
            return None if immediate is None else (immediate, {})
        segments = path.split("/", 3)
        if len(segments) < 3 or not segments[2]:
            return None
        key = (segments[1], segments[3] if len(segments) > 3 else None)
        if key in self._named:
            named = self._named[key]
            return None if named is None else (named[0], {named[1]: segments[2]})
        return self._lookup_nested(*segments[1:]) if len(segments) > 3 else None

    def _lookup_nested(
        self, first: str, outer: str, rest: str
    ) -> tuple[ImmediateRoute, dict[str, str]] | None:
        segments = rest.split("/", 2)
        if len(segments) < 2 or not segments[1]:
            return None
        key = (first, segments[0], segments[2] if len(segments) > 2 else None)
        nested = self._nested.get(key)
        if nested is None:
            return None
        return nested[0], {nested[1]: outer, nested[2]: segments[1]}


def collect(middleware: Iterable[Any], name: str) -> tuple[Step, ...]:
    """Find what the parts of the middleware have under a name."""
    return tuple(getattr(part, name) for part in middleware if hasattr(part, name))


def finish(step: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that has nothing to wait for.

    Raises
    ------
    WouldWaitError
        If it has; it is closed then.
    """
    try:
        step.send(None)
    except StopIteration:
        return
    step.close()
    raise WouldWaitError

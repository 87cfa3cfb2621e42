"""Routing: rules that send what is stored to remote modalities and peers, and a dry run of them.

References
----------
Decision 0020
"""

from typing import Any

from falcon.asgi import Request as BodyRequest

from isocenter.archive.routing import RuleMatcher
from isocenter.config.routing_rules import (
    RULE_NAME,
    RoutingRule,
    format_destination,
    format_routing_rule,
    parse_routing_rule,
)
from isocenter.dicom.levels import Level
from isocenter.errors import BadFileFormatError, ConfigurationError
from isocenter.http.answers import answer_json, answer_nothing
from isocenter.http.arguments import get_flag, read_body
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Permission, Route
from isocenter.rest.arguments import EXPAND
from isocenter.rest.bodies import ROUTING_RULE, ROUTING_TEST
from isocenter.rest.remote_bodies import parse_json, read_object
from isocenter.rest.services import Services
from isocenter.tasks.routing import select_resources

__all__ = ["ROUTES", "delete_rule", "get_rule", "list_rules", "put_rule", "test_rules"]

_LEVELS = {"Study": Level.STUDY, "Series": Level.SERIES}


async def list_rules(services: Services, req: Request, resp: Response) -> None:
    """Ours: GET /routing."""
    routing = services.archive.remotes.routing
    matchers = routing.list_matchers()
    if not get_flag(req, "expand"):
        answer_json(resp, list(matchers))
        return
    answer_json(resp, {name: _describe(services, name, m.rule) for name, m in matchers.items()})


def _describe(services: Services, name: str, rule: RoutingRule) -> dict[str, Any]:
    is_configured = services.archive.remotes.routing.is_configured(name)
    source = "Configuration" if is_configured else "Database"
    return {**format_routing_rule(rule), "Source": source}


async def get_rule(services: Services, _: Request, resp: Response, rule: str) -> None:
    """Ours: GET /routing/{name}."""
    answer_json(resp, _describe(services, rule, services.archive.remotes.routing.get(rule)))


async def put_rule(services: Services, req: BodyRequest, resp: Response, rule: str) -> None:
    """Ours: PUT /routing/{name}."""
    if RULE_NAME.fullmatch(rule) is None:
        message = "the name of a rule has up to 64 letters, digits, dashes and underscores"
        raise BadFileFormatError(message)
    await services.archive.remotes.routing.put(rule, _parse_rule(parse_json(await read_body(req))))
    answer_nothing(resp)


def _parse_rule(value: Any) -> RoutingRule:
    if isinstance(value, dict):
        value = {name: entry for name, entry in value.items() if name != "Source"}
    try:
        return parse_routing_rule(value)
    except ConfigurationError as error:
        raise BadFileFormatError(f"the rule {error.details}") from error


async def delete_rule(services: Services, _: Request, resp: Response, rule: str) -> None:
    """Ours: DELETE /routing/{name}."""
    await services.archive.remotes.routing.delete(rule)
    answer_nothing(resp)


async def test_rules(services: Services, req: BodyRequest, resp: Response) -> None:
    """Ours: POST /routing/test; nothing is sent."""
    body = await read_object(req)
    named = [(level, body[key]) for key, level in _LEVELS.items() if key in body]
    if len(named) != 1 or not isinstance(named[0][1], str):
        message = 'the body must name one "Study" or one "Series"'
        raise BadFileFormatError(message)
    level, public_id = named[0]
    routing = services.archive.remotes.routing
    matchers = routing.list_matchers()
    if "Rule" in body:
        matchers = {"": routing.build_matcher(_parse_rule(body["Rule"]))}
    found = await routing.find_series(level, public_id)
    answer_json(
        resp,
        [_explain(services, level, name, matcher, found) for name, matcher in matchers.items()],
    )


def _explain(
    services: Services, level: Level, name: str, matcher: RuleMatcher, found: Any
) -> dict[str, Any]:
    rule = matcher.rule
    chosen = services.archive.remotes.routing.choose(matcher, found)
    return {
        "Rule": name,
        "Enabled": rule.is_enabled,
        "Trigger": rule.trigger,
        "Matches": bool(chosen),
        "Destination": format_destination(rule),
        "IsDestinationKnown": services.archive.remotes.routing.is_destination_known(rule),
        "Resources": select_resources(level, found, chosen) if chosen else [],
        "Series": services.archive.remotes.routing.explain(matcher, found),
    }


ROUTES = (
    Route(
        "GET",
        "/routing",
        list_rules,
        "List the routing rules",
        "routing",
        arguments=(EXPAND,),
        statuses=(200, 400),
    ),
    Route(
        "POST",
        "/routing/test",
        test_rules,
        "Tell which rules a stored study fulfils, and why",
        "routing",
        permission=Permission.WRITE,
        is_writing=False,
        body="application/json",
        body_schema=ROUTING_TEST,
        statuses=(200, 400, 404, 413),
        details="Nothing is sent. With `Rule` that rule is tried instead of those that there are. "
        "What a rule has sent already with the same content matches, too, but is not sent again.",
    ),
    Route(
        "GET",
        "/routing/{rule}",
        get_rule,
        "Read a routing rule",
        "routing",
        statuses=(200, 404),
    ),
    Route(
        "PUT",
        "/routing/{rule}",
        put_rule,
        "Create or change a routing rule",
        "routing",
        permission=Permission.ADMINISTER,
        is_writing=True,
        body="application/json",
        body_schema=ROUTING_RULE,
        answer="text/plain",
        statuses=(200, 400, 409, 413),
    ),
    Route(
        "DELETE",
        "/routing/{rule}",
        delete_rule,
        "Forget a routing rule",
        "routing",
        permission=Permission.ADMINISTER,
        is_writing=True,
        answer="text/plain",
        statuses=(200, 404, 409),
    ),
)

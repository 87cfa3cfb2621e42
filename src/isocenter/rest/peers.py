"""Peers: servers with this REST API that are known, and what is sent to them.

References
----------
Orthanc REST: peers (behaviour manual §27)
"""

from collections.abc import Mapping
from typing import Any

from falcon.asgi import Request as BodyRequest

from isocenter.archive.transcoding import Target, parse_target
from isocenter.config.peers import Peer, describe_peer, parse_peer
from isocenter.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.errors import (
    BadFileFormatError,
    ConfigurationError,
    UnknownItemError,
)
from isocenter.http.answers import answer_json, answer_nothing
from isocenter.http.arguments import get_flag, read_body
from isocenter.http.error_answers import NotFound
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Permission, Route
from isocenter.rest.arguments import EXPAND
from isocenter.rest.bodies import PEER, PEER_STORE
from isocenter.rest.job_calls import answer_repeated, parse_job_call, submit_job
from isocenter.rest.remote_bodies import (
    check_symbolic_name,
    get_flag_field,
    parse_json,
    parse_resources,
    parse_retries,
)
from isocenter.rest.services import Services
from isocenter.tasks.peer_store import PeerOrder, build_peer_job

__all__ = [
    "ROUTES",
    "delete_peer",
    "get_configuration",
    "list_operations",
    "list_peers",
    "put_peer",
    "read_system",
    "store",
    "store_straight",
]

_OPERATIONS = ["configuration", "store", "store-straight", "system"]


async def list_peers(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: GET /peers."""
    known = await services.archive.remotes.peers.list_known()
    if get_flag(req, "expand"):
        answer_json(resp, {name: describe_peer(peer) for name, peer in known.items()})
    else:
        answer_json(resp, list(known))


async def list_operations(services: Services, _: Request, resp: Response, name: str) -> None:
    """Orthanc REST: GET /peers/{id}."""
    if name not in await services.archive.remotes.peers.list_known():
        raise NotFound
    answer_json(resp, _OPERATIONS)


async def get_configuration(services: Services, _: Request, resp: Response, name: str) -> None:
    """Orthanc REST: GET /peers/{id}/configuration."""
    answer_json(resp, describe_peer(await services.archive.remotes.peers.get_known(name)))


async def put_peer(services: Services, req: BodyRequest, resp: Response, name: str) -> None:
    """Orthanc REST: PUT /peers/{id}."""
    check_symbolic_name(name)
    peer = _parse_peer(parse_json(await read_body(req)))
    await services.archive.remotes.peers.put(name, peer)
    answer_nothing(resp)


def _parse_peer(value: Any) -> Peer:
    try:
        return parse_peer(value)
    except ConfigurationError as error:
        raise BadFileFormatError(f"the peer {error.details}") from error


async def delete_peer(services: Services, _: Request, resp: Response, name: str) -> None:
    """Orthanc REST: DELETE /peers/{id}."""
    peers = services.archive.remotes.peers
    if name not in await peers.list_known():
        raise UnknownItemError(f"Unknown Orthanc peer: {name[:100]}")
    await peers.delete(name)
    answer_nothing(resp)


async def read_system(services: Services, _: BodyRequest, resp: Response, name: str) -> None:
    """Orthanc REST: GET /peers/{id}/system."""
    peer = await services.archive.remotes.peers.get_known(name)
    answer_json(resp, await services.archive.remotes.peer_calls.read_system(peer))


async def store(services: Services, req: BodyRequest, resp: Response, name: str) -> None:
    """Orthanc REST: POST /peers/{id}/store."""
    remotes = services.archive.remotes
    peer = await remotes.peers.get_known(name)
    body = parse_resources(await read_body(req))
    call = parse_job_call(req, body)
    is_compressed = get_flag_field(body, "Compress", default=False)
    plan = await remotes.outgoing.plan(list(dict.fromkeys(body["Resources"])))
    order = PeerOrder(
        name,
        is_compressed,
        target=_parse_target(body),
        is_permissive=call.is_permissive,
        retries=parse_retries(services, body, is_synchronous=call.is_synchronous),
    )
    new = build_peer_job(plan, order, peer)
    if not await answer_repeated(services, resp, new, call):
        await services.archive.exports.add(plan.resources, remote_modality=name)
        await submit_job(services, resp, new, call)


def _parse_target(body: Mapping[str, Any]) -> Target | None:
    syntax = body.get("Transcode")
    if isinstance(syntax, str) and syntax not in TRANSFER_SYNTAXES:
        # Of all routes only this one calls it a bad format (measured).
        raise BadFileFormatError(f"Unknown transfer syntax UID: {syntax[:64]}")
    return parse_target(body)


async def store_straight(services: Services, req: BodyRequest, resp: Response, name: str) -> None:
    """Orthanc REST: POST /peers/{id}/store-straight."""
    remotes = services.archive.remotes
    peer = await remotes.peers.get_known(name)
    content = await services.archive.uploads.receive(req.stream, size=req.content_length)
    answer_json(resp, await remotes.peer_calls.store_content(peer, content))


ROUTES = (
    Route(
        "GET",
        "/peers",
        list_peers,
        "List the peers",
        "peers",
        arguments=(EXPAND,),
        statuses=(200, 400),
    ),
    Route(
        "GET",
        "/peers/{name}",
        list_operations,
        "List what can be done with a peer",
        "peers",
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/peers/{name}/configuration",
        get_configuration,
        "Read the configuration of a peer, without passwords",
        "peers",
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/peers/{name}/system",
        read_system,
        "Ask a peer who it is",
        "peers",
        statuses=(200, 404, 500, 501),
    ),
    Route(
        "PUT",
        "/peers/{name}",
        put_peer,
        "Create or change a peer",
        "peers",
        permission=Permission.ADMINISTER,
        body="application/json",
        body_schema=PEER,
        answer="text/plain",
        statuses=(200, 400, 413),
        details="Lasts until the next start, or for good with the option `OrthancPeersInDatabase`.",
    ),
    Route(
        "DELETE",
        "/peers/{name}",
        delete_peer,
        "Forget a peer",
        "peers",
        permission=Permission.ADMINISTER,
        answer="text/plain",
        statuses=(200, 404),
    ),
    Route(
        "POST",
        "/peers/{name}/store",
        store,
        "Send resources to a peer by HTTP",
        "peers",
        permission=Permission.WRITE,
        is_writing=False,
        body="application/json",
        body_schema=PEER_STORE,
        statuses=(200, 400, 404, 409, 413, 501, 504),
        details="Answers the content of the job at its end, or with `Asynchronous` its identifier. "
        "In the background the job tries again while the peer cannot be reached (`Retries`).",
    ),
    Route(
        "POST",
        "/peers/{name}/store-straight",
        store_straight,
        "Send a DICOM file to a peer without storing it here",
        "peers",
        permission=Permission.WRITE,
        is_writing=False,
        body="application/dicom",
        statuses=(200, 400, 404, 413, 501, 507),
    ),
)

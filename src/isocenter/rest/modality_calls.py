"""Calls of remote modalities: tests, and sending.

References
----------
Orthanc REST: operations of modalities (behaviour manual §23.2)
"""

from collections.abc import Mapping
from typing import Any

from falcon.asgi import Request

from isocenter.archive.commitment_reports import MOST_REFERENCES
from isocenter.archive.outgoing import OutgoingPlan
from isocenter.config.remote_modalities import RemoteModality
from isocenter.dicom.uids import build_uid
from isocenter.errors import BadFileFormatError, BadParameterError
from isocenter.http.answers import answer_done, answer_json
from isocenter.http.arguments import read_body
from isocenter.http.exchange import Response
from isocenter.http.routes import Permission, Route
from isocenter.rest.bodies import ECHO, ECHO_OF_ADDRESS, STORE
from isocenter.rest.job_calls import answer_repeated, parse_job_call, submit_job
from isocenter.rest.modalities import parse_modality
from isocenter.rest.remote_bodies import (
    get_flag_field,
    get_integer_field,
    get_title_field,
    parse_json,
    parse_options,
    parse_resources,
    parse_retries,
    read_optional_object,
)
from isocenter.rest.services import Services
from isocenter.scu.store import MoveOriginator
from isocenter.tasks.modality_store import StoreOrder, build_store_job

__all__ = ["ROUTES", "echo", "echo_address", "store", "store_straight"]

_LARGEST_MESSAGE_ID = 0xFFFF


async def echo(services: Services, req: Request, resp: Response, name: str) -> None:
    """Orthanc REST: POST /modalities/{id}/echo."""
    modality = await services.archive.remotes.modalities.get_known(name)
    await _echo(services, resp, modality, await read_optional_object(req))


async def echo_address(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: POST /tools/dicom-echo."""
    body = parse_json(await read_body(req))
    modality = parse_modality(body)
    await _echo(services, resp, modality, body if isinstance(body, dict) else {})


async def _echo(
    services: Services, resp: Response, modality: RemoteModality, body: Mapping[str, Any]
) -> None:
    default = services.configuration.boolean("DicomEchoChecksFind")
    checks_find = get_flag_field(body, "CheckFind", default=default)
    options = parse_options({"Timeout": body.get("Timeout")})
    await services.archive.remotes.calls.echo(modality, options, checks_find=checks_find)
    answer_done(resp)


async def store(services: Services, req: Request, resp: Response, name: str) -> None:
    """Orthanc REST: POST /modalities/{id}/store."""
    remotes = services.archive.remotes
    modality = await remotes.modalities.get_known(name)
    body = parse_resources(await read_body(req))
    call = parse_job_call(req, body)
    options = parse_options(body)
    target = remotes.calling.build_target(modality, options)
    plan = await remotes.outgoing.plan(list(dict.fromkeys(body["Resources"])))
    order = StoreOrder(
        name,
        options,
        move_originator=_parse_originator(body),
        is_permissive=call.is_permissive,
        retries=parse_retries(services, body, is_synchronous=call.is_synchronous),
        commitment_uid=_choose_commitment_uid(body, plan),
    )
    new = build_store_job(plan, order, target)
    if not await answer_repeated(services, resp, new, call):
        await services.archive.exports.add(plan.resources, remote_modality=name)
        await submit_job(services, resp, new, call)


def _choose_commitment_uid(body: Mapping[str, Any], plan: OutgoingPlan) -> str:
    if not get_flag_field(body, "StorageCommitment", default=False):
        return ""
    if len(plan.instances) > MOST_REFERENCES:
        raise BadFileFormatError(
            f"storage commitment can be asked for at most {MOST_REFERENCES} instances at once"
        )
    return build_uid()


def _parse_originator(body: Mapping[str, Any]) -> MoveOriginator | None:
    title = get_title_field(body, "MoveOriginatorAet")
    message_id = get_integer_field(body, "MoveOriginatorID")
    if title is None:
        return None
    if message_id is not None and not 0 <= message_id <= _LARGEST_MESSAGE_ID:
        raise BadParameterError(f"the field 'MoveOriginatorID' may be 0 to {_LARGEST_MESSAGE_ID}")
    return MoveOriginator(title, message_id or 0)


async def store_straight(services: Services, req: Request, resp: Response, name: str) -> None:
    """Orthanc REST: POST /modalities/{id}/store-straight."""
    remotes = services.archive.remotes
    modality = await remotes.modalities.get_known(name)
    content = await services.archive.uploads.receive(req.stream, size=req.content_length)
    sop_class_uid, sop_instance_uid = await remotes.calls.store(
        modality, content, parse_options({})
    )
    answer_json(resp, {"SOPClassUID": sop_class_uid, "SOPInstanceUID": sop_instance_uid})


ROUTES = (
    Route(
        "POST",
        "/modalities/{name}/echo",
        echo,
        "Test a modality by C-ECHO",
        "modalities",
        permission=Permission.WRITE,
        is_writing=False,
        body="application/json",
        body_schema=ECHO,
        statuses=(200, 400, 404, 413),
    ),
    Route(
        "POST",
        "/tools/dicom-echo",
        echo_address,
        "Test an address by C-ECHO",
        "tools",
        permission=Permission.ADMINISTER,
        is_writing=False,
        body="application/json",
        body_schema=ECHO_OF_ADDRESS,
        statuses=(200, 400, 413),
    ),
    Route(
        "POST",
        "/modalities/{name}/store",
        store,
        "Send resources to a modality by C-STORE",
        "modalities",
        permission=Permission.WRITE,
        is_writing=False,
        body="application/json",
        body_schema=STORE,
        statuses=(200, 400, 404, 409, 413, 504),
        details="Answers the content of the job at its end, or with `Asynchronous` its identifier. "
        "In the background the job tries again while the modality cannot be reached (`Retries`).",
    ),
    Route(
        "POST",
        "/modalities/{name}/store-straight",
        store_straight,
        "Send a DICOM file to a modality without storing it here",
        "modalities",
        permission=Permission.WRITE,
        is_writing=False,
        body="application/dicom",
        statuses=(200, 400, 404, 413, 507),
    ),
)

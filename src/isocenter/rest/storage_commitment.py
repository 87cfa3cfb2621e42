"""Storage commitment: ask a modality to keep instances, read its report, delete what it keeps.

References
----------
Orthanc REST: storage commitment (behaviour manual §26)
"""

from typing import Any

from falcon.asgi import Request as BodyRequest

from isocenter.archive.commitment_reports import MOST_REFERENCES, CommitmentState, CommittedInstance
from isocenter.dicom.uids import build_uid, is_valid_uid
from isocenter.errors import BadFileFormatError
from isocenter.http.answers import JSON, answer_done, answer_json, format_json
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Permission, Route
from isocenter.rest.bodies import COMMITMENT
from isocenter.rest.remote_bodies import check_resources, parse_options, read_object
from isocenter.rest.services import Services

__all__ = ["ROUTES", "ask_commitment", "get_commitment", "remove_committed"]

# What a report of 4 MB can tell of.
_UIDS = ("SOPClassUID", "SOPInstanceUID")
# PS3.3 §C.14.1.1.
_REASONS = {
    0x0110: "A general failure in processing the operation was encountered",
    0x0112: "One or more of the elements in the Referenced SOP Instance Sequence was not available",
    0x0119: "The SOP Class of an element in the Referenced SOP Instance Sequence did not "
    "correspond to the SOP class registered for this SOP Instance at the SCP",
    0x0122: "Storage Commitment has been requested for a SOP Instance with a SOP Class that is not "
    "supported by the SCP",
    0x0131: "The Transaction UID of the Storage Commitment Request is already in use",
    0x0213: "The SCP does not currently have enough resources to store the requested SOP "
    "Instance(s)",
}


async def ask_commitment(services: Services, req: BodyRequest, resp: Response, name: str) -> None:
    """Orthanc REST: POST /modalities/{id}/storage-commitment."""
    remotes = services.archive.remotes
    modality = await remotes.modalities.get_known(name)
    body = await read_object(req)
    if "Resources" not in body and "DicomInstances" not in body:
        message = (
            "Empty storage commitment request, one of these fields is mandatory: "
            '"Resources" or "DicomInstances"'
        )
        raise BadFileFormatError(message)
    named = _parse_instances(body.get("DicomInstances", []))
    resources = check_resources(body.get("Resources", []))
    reports = services.archive.remotes.commitment_reports
    instances = [*await reports.list_instances(list(dict.fromkeys(resources))), *named]
    if len(instances) > MOST_REFERENCES:
        raise BadFileFormatError(f"at most {MOST_REFERENCES} instances may be named at once")
    target = remotes.calling.build_target(modality, parse_options(body))
    transaction_uid = build_uid()
    await reports.ask(target, transaction_uid, instances)
    answer_json(resp, {"ID": transaction_uid, "Path": f"/storage-commitment/{transaction_uid}"})


def _parse_instances(value: Any) -> list[CommittedInstance]:
    """Read instances that are named by their UIDs, as objects or as pairs."""
    if not isinstance(value, list) or len(value) > MOST_REFERENCES:
        raise BadFileFormatError(
            f'The "DicomInstances" field must be an array of at most {MOST_REFERENCES} instances'
        )
    return [_parse_instance(entry) for entry in value]


def _parse_instance(entry: Any) -> CommittedInstance:
    uids = [entry.get(key) for key in _UIDS] if isinstance(entry, dict) else entry
    is_pair = isinstance(uids, list) and len(uids) == len(_UIDS)
    if not is_pair or not all(isinstance(uid, str) and is_valid_uid(uid) for uid in uids):
        message = "An instance must provide a SOP Class UID and a SOP Instance UID"
        raise BadFileFormatError(message)
    return CommittedInstance(*uids)


async def get_commitment(services: Services, _: Request, resp: Response, uid: str) -> None:
    """Orthanc REST: GET /storage-commitment/{id}."""
    state = await services.archive.remotes.commitment_reports.get(uid)
    resp.content_type = JSON
    resp.data = await services.archive.workers.run(_describe, state)


def _describe(state: CommitmentState) -> bytes:
    """Write a report, which may tell of thousands of instances."""
    answer: dict[str, Any] = {"RemoteAET": state.remote_aet, "Status": state.status}
    if state.status != "Pending":
        answer["Success"] = [dict(zip(_UIDS, one, strict=True)) for one in state.kept]
        answer["Failures"] = [
            {
                **dict(zip(_UIDS, one, strict=True)),
                "FailureReason": reason,
                "Description": _REASONS.get(reason, "Unknown failure reason"),
            }
            for one, reason in state.failed
        ]
    return format_json(answer)


async def remove_committed(services: Services, _: BodyRequest, resp: Response, uid: str) -> None:
    """Orthanc REST: POST /storage-commitment/{id}/remove."""
    await services.archive.remotes.commitment_reports.remove(uid)
    answer_done(resp)


ROUTES = (
    Route(
        "POST",
        "/modalities/{name}/storage-commitment",
        ask_commitment,
        "Ask a modality to keep instances",
        "modalities",
        permission=Permission.WRITE,
        body="application/json",
        body_schema=COMMITMENT,
        statuses=(200, 400, 404, 413),
        details="The modality reports later over an association of its own, for which it must be "
        "configured with our title and address.",
    ),
    Route(
        "GET",
        "/storage-commitment/{uid}",
        get_commitment,
        "Report of a storage commitment",
        "storage-commitment",
        statuses=(200, 404),
    ),
    Route(
        "POST",
        "/storage-commitment/{uid}/remove",
        remove_committed,
        "Delete the instances that the modality keeps",
        "storage-commitment",
        permission=Permission.WRITE,
        statuses=(200, 404),
    ),
)

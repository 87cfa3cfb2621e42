"""What the DICOM door takes and how text is read; changeable until the next start."""

import msgspec
from falcon.asgi import Request, Response

from isocenter.dicom.character_sets import DEFAULT_ENCODINGS
from isocenter.errors import BadFileFormatError, BadParameterError
from isocenter.http.answers import answer_json, answer_nothing, answer_text
from isocenter.http.arguments import read_body, read_boolean, read_text
from isocenter.http.routes import Permission, Route
from isocenter.rest.bodies import BOOLEAN
from isocenter.rest.services import Services

__all__ = [
    "ROUTES",
    "get_conformance",
    "get_default_encoding",
    "get_unknown_classes_accepted",
    "list_sop_classes",
    "list_transfer_syntaxes",
    "set_default_encoding",
    "set_transfer_syntaxes",
    "set_unknown_classes_accepted",
]

_LARGEST_PATTERNS_BYTES = 64 * 1024
_LONGEST_PATTERN = 128
_ENCODINGS = {name.upper(): name for name in DEFAULT_ENCODINGS}


async def get_default_encoding(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: GET /tools/default-encoding."""
    answer_text(resp, services.archive.settings.default_encoding)


async def set_default_encoding(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: PUT /tools/default-encoding; in any case, answered as spelled here."""
    encoding = _ENCODINGS.get((await read_text(req)).upper())
    if encoding is None:
        message = f"the encoding must be one of {', '.join(DEFAULT_ENCODINGS)}"
        raise BadParameterError(message)
    services.archive.settings.change_default_encoding(encoding)
    answer_text(resp, encoding)


async def list_transfer_syntaxes(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: GET /tools/accepted-transfer-syntaxes."""
    answer_json(resp, sorted(services.archive.acceptance.transfer_syntaxes))


async def set_transfer_syntaxes(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: PUT /tools/accepted-transfer-syntaxes; counts for new associations."""
    body = await read_body(req, limit=_LARGEST_PATTERNS_BYTES)
    services.archive.acceptance.accept_transfer_syntaxes(_parse_patterns(body))
    await list_transfer_syntaxes(services, req, resp)


def _parse_patterns(body: bytes) -> list[str]:
    """Read a JSON array of texts, a JSON text, or a plain text.

    Raises
    ------
    BadFileFormatError
        If it is none of these, or a text is too long for a pattern of UIDs.
    """
    try:
        value = msgspec.json.decode(body)
    except (RecursionError, msgspec.DecodeError):
        value = body.decode("ascii", "replace").strip()
    except UnicodeDecodeError as error:
        raise _not_patterns() from error
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list) or not all(
        isinstance(pattern, str) and len(pattern) <= _LONGEST_PATTERN for pattern in patterns
    ):
        raise _not_patterns()
    return patterns


def _not_patterns() -> BadFileFormatError:
    return BadFileFormatError("UIDs of transfer syntaxes, or patterns of them, are expected")


async def list_sop_classes(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: GET /tools/accepted-sop-classes."""
    answer_json(resp, sorted(services.archive.acceptance.storage_classes))


async def get_unknown_classes_accepted(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: GET /tools/unknown-sop-class-accepted."""
    answer_text(resp, "1" if services.archive.acceptance.has_unknown_classes else "0")


async def set_unknown_classes_accepted(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: PUT /tools/unknown-sop-class-accepted."""
    services.archive.acceptance.has_unknown_classes = await read_boolean(req)
    answer_nothing(resp)


async def get_conformance(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: GET /tools/dicom-conformance."""
    answer_text(resp, await services.archive.workers.run(services.describe_conformance))


ROUTES = (
    Route(
        "GET",
        "/tools/dicom-conformance",
        get_conformance,
        "The DICOM conformance statement, as text",
        "tools",
        answer="text/plain",
    ),
    Route(
        "GET",
        "/tools/default-encoding",
        get_default_encoding,
        "Tell the character set of files that name none",
        "tools",
        answer="text/plain",
    ),
    Route(
        "PUT",
        "/tools/default-encoding",
        set_default_encoding,
        "Set the character set of files that name none, until the next start",
        "tools",
        permission=Permission.ADMINISTER,
        body="text/plain",
        body_schema={"type": "string", "enum": list(DEFAULT_ENCODINGS)},
        answer="text/plain",
        statuses=(200, 400, 413),
    ),
    Route(
        "GET",
        "/tools/accepted-transfer-syntaxes",
        list_transfer_syntaxes,
        "List the transfer syntaxes that are accepted for storage",
        "tools",
    ),
    Route(
        "PUT",
        "/tools/accepted-transfer-syntaxes",
        set_transfer_syntaxes,
        "Set the transfer syntaxes that are accepted for storage, until the next start",
        "tools",
        permission=Permission.ADMINISTER,
        body="application/json",
        body_schema={
            "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}],
            "examples": [["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.*"]],
        },
        statuses=(200, 400, 413),
        details="UIDs; `*` stands for any characters and `?` for one.",
    ),
    Route(
        "GET",
        "/tools/accepted-sop-classes",
        list_sop_classes,
        "List the SOP classes that are accepted for storage",
        "tools",
    ),
    Route(
        "GET",
        "/tools/unknown-sop-class-accepted",
        get_unknown_classes_accepted,
        "Tell whether SOP classes that are not known are stored: 1 or 0",
        "tools",
        answer="text/plain",
    ),
    Route(
        "PUT",
        "/tools/unknown-sop-class-accepted",
        set_unknown_classes_accepted,
        "Store SOP classes that are not known or not, until the next start",
        "tools",
        permission=Permission.ADMINISTER,
        body="text/plain",
        body_schema=BOOLEAN,
        answer="text/plain",
        statuses=(200, 400, 413),
    ),
)

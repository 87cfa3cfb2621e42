"""OpenAPI 3.1, generated from a table of routes.

References
----------
OpenAPI Specification 3.1.0
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from isocenter.http.routes import Argument, Permission, Route, Schema

__all__ = ["build_openapi"]

_TEMPLATE = re.compile(r"{(\w+)}")
# What any route may answer: wrong credentials, a refusal, a failure of ours or of the database.
_COMMON_STATUSES = (401, 403, 500, 503)
_EMPTY_STATUSES = {304, 307, 401, 403}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "flag": {"enum": ["", "1", "true", "0", "false"]},
    "integer": {"type": "integer", "minimum": 0},
    "text": {"type": "string"},
}
_BYTES = {"type": "string", "format": "binary"}
_ERROR = {
    "type": "object",
    "required": ["HttpStatus", "OrthancStatus"],
    "properties": {
        "Method": {"type": "string"},
        "Uri": {"type": "string"},
        "HttpStatus": {"type": "integer"},
        "HttpError": {"type": "string"},
        "OrthancStatus": {"type": "integer", "description": "Orthanc's number of the error."},
        "OrthancError": {"type": "string"},
        "Message": {"type": "string"},
        "Details": {"type": "string"},
        "ErrorPayload": {"type": "object"},
    },
}


def build_openapi(routes: Iterable[Route], *, title: str, version: str) -> dict[str, Any]:
    """Describe a table of routes.

    Returns
    -------
    dict
        An OpenAPI document, ready for JSON.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _describe_route(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
        },
        "security": [{}, {"basic": []}],
    }


def _describe_route(route: Route) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _build_operation_id(route),
        "tags": [route.area],
        "parameters": [
            *(_describe_path_parameter(name) for name in _TEMPLATE.findall(route.path)),
            *(_describe_argument(argument) for argument in route.arguments),
        ],
        "responses": {
            str(status): _describe_answer(route, status)
            for status in sorted({*route.statuses, *_COMMON_STATUSES})
        },
        "x-permission": route.permission.value,
    }
    if route.details:
        described["description"] = route.details
    if route.permission is not Permission.READ:
        described["description"] = " ".join(
            filter(None, [route.details, f"Needs the permission to {route.permission.value}."])
        )
    if route.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {route.body: {"schema": _get_body_schema(route)}},
        }
    return described


def _get_body_schema(route: Route) -> Schema:
    if route.body_schema is not None:
        return route.body_schema
    # The empty schema fits every JSON.
    return {} if route.body == "application/json" else _BYTES


def _build_operation_id(route: Route) -> str:
    words = re.findall(r"\w+", route.path) or ["root"]
    return "_".join([route.method.lower(), *words]).replace("-", "_")


def _describe_path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _describe_argument(argument: Argument) -> dict[str, Any]:
    return {
        "name": argument.name,
        "in": "query",
        "description": argument.meaning,
        "schema": _SCHEMAS[argument.kind],
        "allowEmptyValue": argument.kind == "flag",
    }


def _describe_answer(route: Route, status: int) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    if status in _EMPTY_STATUSES:
        return {"description": phrase}
    if status >= 400:
        schema = {"$ref": "#/components/schemas/Error"}
        # The second stands for the empty bodies of Orthanc.
        return {
            "description": phrase,
            "content": {"application/json": {"schema": schema}, "text/plain": {}},
        }
    media_type = "application/octet-stream" if status == 206 else route.answer
    is_described = route.answer_schema is not None and status != 206
    content: dict[str, Any] = {"schema": route.answer_schema} if is_described else {}
    others: dict[str, Any] = {} if status == 206 else {name: {} for name in route.other_answers}
    return {"description": phrase, "content": {media_type: content, **others}}

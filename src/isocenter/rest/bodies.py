"""Schemas of request bodies (JSON Schema 2020-12); more fields than these are let pass."""

from isocenter.http.routes import Schema

__all__ = [
    "ARCHIVE",
    "ARCHIVE_OF_MANY",
    "BOOLEAN",
    "EDIT",
    "MEDIA",
    "MEDIA_OF_MANY",
    "RESOURCES",
]

_FLAG: Schema = {"type": "boolean"}
_TEXT: Schema = {"type": "string"}
_TAGS: Schema = {"type": "array", "items": {"type": "string", "examples": ["StudyDescription"]}}
_JOB_CALL: Schema = {
    "Synchronous": _FLAG,
    "Asynchronous": _FLAG,
    "Permissive": _FLAG,
    "Priority": {"type": "integer"},
    "UserData": {},
}

BOOLEAN: Schema = {"type": "string", "enum": ["0", "1", "false", "true"]}

RESOURCES: Schema = {
    "type": "object",
    "required": ["Resources"],
    "properties": {"Resources": {"type": "array", "items": {"type": ["string", "object"]}}},
}

_ARCHIVE: Schema = {**_JOB_CALL, "Filename": _TEXT, "Manifest": _FLAG, "Utf8": _FLAG}
_MEDIA: Schema = {**_ARCHIVE, "Extended": _FLAG}


def _build_one(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


def _build_many(properties: Schema) -> Schema:
    identifiers: Schema = {"type": "array", "items": _TEXT}
    described: Schema = {
        "type": "object",
        "required": ["Resources"],
        "properties": {**properties, "Resources": identifiers},
    }
    return {"anyOf": [identifiers, described]}


ARCHIVE = _build_one(_ARCHIVE)
ARCHIVE_OF_MANY = _build_many(_ARCHIVE)
MEDIA = _build_one(_MEDIA)
MEDIA_OF_MANY = _build_many(_MEDIA)

EDIT: Schema = {
    "type": "object",
    "properties": {
        "Replace": {"type": "object", "examples": [{"PatientName": "Anonymous"}]},
        "Remove": _TAGS,
        "Keep": _TAGS,
        "Force": _FLAG,
        "KeepSource": _FLAG,
        "KeepLabels": _FLAG,
        "KeepPrivateTags": _FLAG,
        "RemovePrivateTags": _FLAG,
        "PrivateCreator": _TEXT,
        "DicomVersion": _TEXT,
    },
}

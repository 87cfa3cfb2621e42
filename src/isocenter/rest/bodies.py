"""Schemas of request bodies (JSON Schema 2020-12); more fields than these are let pass."""

from isocenter.http.routes import Schema

__all__ = ["ARCHIVE", "ARCHIVE_OF_MANY", "BOOLEAN", "CREATION", "EDIT", "RESOURCES"]

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

ARCHIVE: Schema = {
    "type": "object",
    "properties": {**_JOB_CALL, "Filename": _TEXT, "Manifest": _FLAG},
}

ARCHIVE_OF_MANY: Schema = {
    "anyOf": [
        {"type": "array", "items": _TEXT},
        {
            "type": "object",
            "required": ["Resources"],
            "properties": {
                **_JOB_CALL,
                "Filename": _TEXT,
                "Manifest": _FLAG,
                "Resources": {"type": "array", "items": _TEXT},
            },
        },
    ]
}

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

CREATION: Schema = {
    "type": "object",
    "properties": {
        "Tags": {
            "type": "object",
            "additionalProperties": {"type": ["string", "array"]},
            "examples": [{"PatientID": "P1", "Modality": "OT"}],
        },
        "Content": {"type": ["string", "array"], "items": {"type": ["string", "object"]}},
        "Parent": _TEXT,
        "Force": _FLAG,
        "PrivateCreator": _TEXT,
        "InterpretBinaryTags": _FLAG,
        "Encapsulate": _FLAG,
    },
}

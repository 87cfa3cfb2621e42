"""Schemas of request bodies (JSON Schema 2020-12); more fields than these are let pass."""

from isocenter.http.routes import Schema

__all__ = [
    "ANSWER_QUERY",
    "ARCHIVE",
    "ARCHIVE_OF_MANY",
    "BOOLEAN",
    "COMMITMENT",
    "CREATION",
    "ECHO",
    "ECHO_OF_ADDRESS",
    "EDIT",
    "EDIT_JOB",
    "EDIT_OF_MANY",
    "MEDIA",
    "MEDIA_OF_MANY",
    "MERGE",
    "MODALITY",
    "PEER",
    "PEER_STORE",
    "QUERY",
    "RESOURCES",
    "RETRIEVE",
    "ROUTING_RULE",
    "ROUTING_TEST",
    "SPLIT",
    "STORE",
    "TAGS_OF_QUERY",
    "TRANSFER",
    "WORKLIST",
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

_TRANSCODING: Schema = {
    "Transcode": {"type": "string", "examples": ["1.2.840.10008.1.2.4.70"]},
    "LossyQuality": {"type": "integer", "minimum": 1, "maximum": 100},
}
_ARCHIVE: Schema = {
    **_JOB_CALL,
    **_TRANSCODING,
    "Filename": _TEXT,
    "Manifest": _FLAG,
    "Utf8": _FLAG,
}
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

_EDIT: Schema = {
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
    **_TRANSCODING,
    # Isocenter's own.
    "CleanDescriptors": _FLAG,
    "CleanGraphics": _FLAG,
    "OriginalAttributes": _FLAG,
    "MaximumShiftDays": {"type": "integer", "minimum": 1, "maximum": 36_500},
    "PseudonymKey": {"type": "string", "minLength": 8, "maxLength": 1024},
    "ShiftDates": _FLAG,
    "UpdateReferences": _FLAG,
}

EDIT: Schema = {"type": "object", "properties": _EDIT}

EDIT_JOB: Schema = {
    "type": "object",
    "properties": {**_JOB_CALL, **_EDIT, "DryRun": _FLAG},
}

EDIT_OF_MANY: Schema = {
    "type": "object",
    "required": ["Resources"],
    "properties": {
        **_JOB_CALL,
        **_EDIT,
        "DryRun": _FLAG,
        "Resources": {"type": "array", "items": _TEXT},
        "Level": _TEXT,
    },
}

_AE_TITLE: Schema = {"type": "string", "maxLength": 16, "examples": ["ARCHIVE"]}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_SECONDS: Schema = {"type": "integer", "minimum": 0}
_CALL: Schema = {"LocalAet": _AE_TITLE, "Timeout": _SECONDS}
_RETRIES: Schema = {"Retries": {"type": "integer", "minimum": 0}}
_PATTERNS: Schema = {
    "type": "object",
    "additionalProperties": _TEXT,
    "examples": [{"PatientID": "A1*", "StudyDate": ""}],
}
_LEVEL: Schema = {"type": "string", "enum": ["Patient", "Study", "Series", "Instance"]}
_ADDRESS: Schema = {
    "type": "object",
    "required": ["AET", "Host", "Port"],
    "properties": {
        "AET": _AE_TITLE,
        "Host": _TEXT,
        "Port": _PORT,
        "Manufacturer": _TEXT,
        "LocalAet": _TEXT,
        "Timeout": _SECONDS,
        "UseDicomTls": _FLAG,
        "RetrieveMethod": {"type": "string", "enum": ["SystemDefault", "C-MOVE", "C-GET"]},
    },
}
_ITEMS: Schema = {"type": "array", "minItems": 3, "maxItems": 4}

MODALITY: Schema = {"anyOf": [_ADDRESS, _ITEMS]}

ECHO: Schema = {"type": "object", "properties": {"CheckFind": _FLAG, "Timeout": _SECONDS}}

ECHO_OF_ADDRESS: Schema = {
    "anyOf": [
        {**_ADDRESS, "properties": {**_ADDRESS["properties"], "CheckFind": _FLAG}},
        _ITEMS,
    ]
}

STORE: Schema = {
    "anyOf": [
        _TEXT,
        {"type": "array", "items": _TEXT},
        {
            "type": "object",
            "required": ["Resources"],
            "properties": {
                **_JOB_CALL,
                **_CALL,
                **_RETRIES,
                "Resources": {"type": "array", "items": _TEXT},
                "CalledAet": _AE_TITLE,
                "Host": _TEXT,
                "Port": _PORT,
                "MoveOriginatorAet": _AE_TITLE,
                "MoveOriginatorID": {"type": "integer"},
                "StorageCommitment": _FLAG,
            },
        },
    ]
}

PEER: Schema = {
    "anyOf": [
        {"type": "array", "items": _TEXT, "examples": [["http://host:8042/", "user", "password"]]},
        {
            "type": "object",
            "required": ["Url"],
            "properties": {
                "Url": {"type": "string", "format": "uri"},
                "Username": _TEXT,
                "Password": _TEXT,
                "HttpHeaders": {"type": "object", "additionalProperties": _TEXT},
                "CertificateFile": _TEXT,
                "CertificateKeyFile": _TEXT,
                "CertificateKeyPassword": _TEXT,
                "Pkcs11": _FLAG,
                "Timeout": _SECONDS,
            },
        },
    ]
}

PEER_STORE: Schema = {
    "anyOf": [
        _TEXT,
        {"type": "array", "items": _TEXT},
        {
            "type": "object",
            "required": ["Resources"],
            "properties": {
                **_JOB_CALL,
                **_RETRIES,
                "Resources": {"type": "array", "items": _TEXT},
                "Compress": _FLAG,
                "Transcode": _TEXT,
            },
        },
    ]
}

QUERY: Schema = {
    "type": "object",
    "required": ["Level"],
    "properties": {**_CALL, "Level": _LEVEL, "Query": _PATTERNS, "Normalize": _FLAG},
}

ANSWER_QUERY: Schema = {"type": "object", "properties": {"Query": _PATTERNS, "Timeout": _SECONDS}}

RETRIEVE: Schema = {
    "anyOf": [
        _TEXT,
        {
            "type": "object",
            "properties": {
                **_JOB_CALL,
                **_CALL,
                **_RETRIES,
                "TargetAet": _AE_TITLE,
                "RetrieveMethod": {"type": "string", "enum": ["C-MOVE", "C-GET"]},
            },
        },
    ]
}

TRANSFER: Schema = {
    "type": "object",
    "required": ["Level", "Resources"],
    "properties": {
        **_JOB_CALL,
        **_CALL,
        **_RETRIES,
        "Level": _LEVEL,
        "Resources": {"type": "array", "items": _PATTERNS},
        "TargetAet": _AE_TITLE,
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

WORKLIST: Schema = {
    "type": "object",
    "properties": {
        "Query": {"type": "object"},
        "Full": _FLAG,
        "Short": _FLAG,
        "Simplify": _FLAG,
    },
}

TAGS_OF_QUERY: Schema = _PATTERNS

SPLIT: Schema = {
    "type": "object",
    "properties": {
        **_JOB_CALL,
        "Series": {"type": "array", "items": _TEXT},
        "Instances": {"type": "array", "items": _TEXT},
        "Replace": {"type": "object", "examples": [{"StudyDescription": "Second part"}]},
        "Remove": _TAGS,
        "KeepSource": _FLAG,
        "KeepLabels": _FLAG,
    },
}

MERGE: Schema = {
    "type": "object",
    "required": ["Resources"],
    "properties": {
        **_JOB_CALL,
        "Resources": {"type": "array", "items": _TEXT},
        "KeepSource": _FLAG,
        "KeepLabels": _FLAG,
    },
}

COMMITMENT: Schema = {
    "type": "object",
    "properties": {
        "Resources": {"type": "array", "items": _TEXT},
        "DicomInstances": {"type": "array", "items": {"type": ["array", "object"]}},
        "Timeout": _SECONDS,
    },
}

_TEXTS: Schema = {"type": "array", "items": _TEXT}

ROUTING_RULE: Schema = {
    "type": "object",
    "required": ["Destination"],
    "properties": {
        "Destination": {
            "type": "object",
            "properties": {"Modality": _TEXT, "Peer": _TEXT},
            "examples": [{"Modality": "pacs"}, {"Peer": "backup"}],
        },
        "Trigger": {"type": "string", "enum": ["StableStudy", "StableSeries", "NewInstance"]},
        "Modality": _TEXTS,
        "OriginAet": _TEXTS,
        "Tags": _PATTERNS,
        "Delay": _SECONDS,
        "QuietHours": {"type": "array", "items": _TEXTS, "examples": [[["07:00", "19:00"]]]},
        "Retries": {"type": "integer", "minimum": 0},
        "Priority": {"type": "integer"},
        "Permissive": _FLAG,
        "Enabled": _FLAG,
    },
}

ROUTING_TEST: Schema = {
    "type": "object",
    "properties": {"Study": _TEXT, "Series": _TEXT, "Rule": ROUTING_RULE},
}

"""Kinds of the nested options: users, user-defined names, tags, dictionary, remote servers.

References
----------
Orthanc REST: behaviour manual §4.2 (tags), §4.5 (warnings), §11 and §12 (codes), §27 (peers)
"""

import re
from collections.abc import Mapping
from typing import Any

from isocenter.config.codes import (
    FIRST_USER_CODE,
    LAST_USER_CODE,
    SYSTEM_ATTACHMENTS,
    SYSTEM_METADATA,
    is_number,
)
from isocenter.config.peers import parse_peer
from isocenter.config.remote_modalities import AE_TITLE, parse_remote_modality
from isocenter.config.routing_rules import parse_routing_rule
from isocenter.config.values import (
    BooleanKind,
    ChoiceKind,
    CustomKind,
    IntegerKind,
    Kind,
    ListKind,
    MapKind,
    PathKind,
    TextKind,
    check_text,
)
from isocenter.errors import ConfigurationError

__all__ = [
    "AE_TITLE",
    "BOOLEAN",
    "COUNT",
    "DICOMWEB_SERVERS",
    "DICOM_DICTIONARY",
    "ENCODINGS",
    "EXTRA_MAIN_DICOM_TAGS",
    "OVERWRITE_INSTANCES",
    "PATH",
    "PATHS",
    "PEERS",
    "PORT",
    "REMOTE_MODALITIES",
    "ROUTING_RULES",
    "TEXT",
    "TEXTS",
    "UID",
    "UID_OR_NONE",
    "UID_PATTERNS",
    "URL_PATH",
    "USERS",
    "USER_CONTENT_TYPE",
    "USER_METADATA",
    "WARNINGS",
    "WARNING_CODES",
]

BOOLEAN = BooleanKind()
COUNT = IntegerKind()
PATH = PathKind()
PATHS = ListKind(PathKind())
PORT = IntegerKind(0, 65535)
TEXT = TextKind()
TEXTS = ListKind(TEXT)
# PS3.5 §9.1: at most 64 digits and dots.
_UID_FORM = r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)*"
UID = TextKind(re.compile(_UID_FORM), "unique identifier")
UID_OR_NONE = TextKind(re.compile(f"|{_UID_FORM}"), "unique identifier or empty")
UID_PATTERNS = ListKind(
    TextKind(re.compile(r"[0-9.*?]{1,64}"), "unique identifier, * and ? allowed")
)
URL_PATH = TextKind(re.compile(r"/?[^\s?#]*"), "path of an address")
USERS = MapKind(TEXT)
OVERWRITE_INSTANCES = ChoiceKind(("Never", "Always", "IfChanged"), true="Always", false="Never")
ENCODINGS = ChoiceKind(
    (
        "Ascii",
        "Utf8",
        "Latin1",
        "Latin2",
        "Latin3",
        "Latin4",
        "Latin5",
        "Cyrillic",
        "Windows1251",
        "Arabic",
        "Greek",
        "Hebrew",
        "Thai",
        "Japanese",
        "JapaneseKanji",
        "Chinese",
        "SimplifiedChinese",
        "Korean",
    )
)
_USER_CODE = IntegerKind(FIRST_USER_CODE, LAST_USER_CODE)


def _is_metadata_taken(name: str) -> bool:
    return is_number(name) or name in SYSTEM_METADATA.values()


def _is_attachment_taken(name: str) -> bool:
    return is_number(name) or name in SYSTEM_ATTACHMENTS.values()


USER_METADATA = MapKind(_USER_CODE, distinct=lambda code: code, is_taken=_is_metadata_taken)
# RFC 9110 §8.3.1; it becomes the value of a header.
_MEDIA_TYPE = TextKind(re.compile(r"[\w.+-]+/[\w.+-]+( *;[ -~]*)?", re.ASCII), "media type")


def _check_user_content_type(value: object) -> Any:
    """Accept ``code`` and ``[code, "media/type"]``."""
    if not isinstance(value, list | tuple):
        return _USER_CODE.check(value)
    if len(value) != 2:
        raise ConfigurationError("must be a code, or a code and a media type")
    return [_USER_CODE.check(value[0]), _MEDIA_TYPE.check(value[1])]


def _get_content_type_code(value: Any) -> object:
    return value[0] if isinstance(value, tuple) else value


USER_CONTENT_TYPE = MapKind(
    CustomKind("code from 1024 to 65535 or [code, media type]", _check_user_content_type),
    distinct=_get_content_type_code,
    is_taken=_is_attachment_taken,
)

EXTRA_MAIN_DICOM_TAGS = MapKind(
    ListKind(TextKind(re.compile(r"[0-9A-Za-z]+([,-][0-9A-Fa-f]+)?"), "tag")),
    names=("Patient", "Study", "Series", "Instance"),
)

WARNING_CODES = ("W001", "W002", "W003", "W004", "W005", "W006", "W007")
_WARNING_NAME = re.compile(r"(W00[1-7])(_\w+)?", re.ASCII)


def _check_warnings(value: object) -> dict[str, bool]:
    """Reduce names such as ``W003_DecoderFailure`` to their codes; warnings not named stay on."""
    switches = dict.fromkeys(WARNING_CODES, True)
    for name, is_on in MapKind(BOOLEAN).check(value).items():
        match = _WARNING_NAME.fullmatch(name)
        if match is None:
            raise ConfigurationError(f'"{name}" is no warning from W001 to W007')
        switches[match[1]] = is_on
    return switches


WARNINGS = CustomKind("object of true or false", _check_warnings)

# PS3.6 §6: "gggg,eeee"; the reference also takes fewer digits and joins them without the comma.
_DICTIONARY_TAG = re.compile(r"[0-9A-Fa-f]{1,4}[,-]?[0-9A-Fa-f]{1,4}")
_DICTIONARY_ENTRY = "[VR, name, minimum, maximum, private creator]"
# PS3.5 §6.2
_VALUE_REPRESENTATION = TextKind(
    re.compile(
        "AE|AS|AT|CS|DA|DS|DT|FD|FL|IS|LO|LT|OB|OD|OF|OL|OV|OW|PN|SH|SL|SQ|SS|ST|SV|TM|"
        "UC|UI|UL|UN|UR|US|UT|UV"
    ),
    "value representation of two letters",
)


def _check_dictionary_entry(value: object) -> object:
    """Accept ``[VR, name]`` with minimum, maximum and private creator as the further items."""
    if not isinstance(value, list | tuple) or not 2 <= len(value) <= 5:
        raise ConfigurationError(f"must be {_DICTIONARY_ENTRY}, the last three optional")
    _VALUE_REPRESENTATION.check(value[0])
    check_text(value[1], "name")
    for multiplicity in value[2:4]:
        COUNT.check(multiplicity)
    check_text(value[4] if len(value) == 5 else "", "private creator")
    return value


def _check_dictionary(value: object) -> Mapping[str, object]:
    entries = MapKind(CustomKind(_DICTIONARY_ENTRY, _check_dictionary_entry)).check(value)
    for tag in entries:
        if _DICTIONARY_TAG.fullmatch(tag) is None:
            raise ConfigurationError(f'"{tag}" is not a tag like "0014,1020"')
    return entries


DICOM_DICTIONARY = CustomKind(f"object of {_DICTIONARY_ENTRY}", _check_dictionary)


def _check_remote_modality(value: object) -> object:
    parse_remote_modality(value)
    return value


REMOTE_MODALITIES = MapKind(
    CustomKind('["AET", "host", port] or its object form', _check_remote_modality)
)


def _check_routing_rule(value: object) -> object:
    parse_routing_rule(value)
    return value


ROUTING_RULES = MapKind(CustomKind("object with a destination and conditions", _check_routing_rule))

_URL = TextKind(re.compile(r"https?://\S+", re.IGNORECASE), "address starting with http or https")
# Entries of the object form; plugins add entries of their own, which pass unchecked.
_SERVER_ENTRIES: dict[str, Kind] = {
    "Url": _URL,
    "Username": TEXT,
    "Password": TEXT,
    "HttpHeaders": MapKind(TEXT),
    "CertificateFile": TEXT,
    "CertificateKeyFile": TEXT,
    "CertificateKeyPassword": TEXT,
    "Pkcs11": BOOLEAN,
    "Timeout": COUNT,
}


def _check_http_server(value: object) -> object:
    """Accept ``["url"]``, ``["url", "user", "password"]`` and the object form."""
    if isinstance(value, list | tuple):
        if len(value) not in {1, 3}:
            raise ConfigurationError("must have one item or three: url, user, password")
        named: Mapping[str, object] = dict(
            zip(("Url", "Username", "Password"), value, strict=False)
        )
    elif isinstance(value, Mapping):
        named = value
    else:
        raise ConfigurationError("must be a list or an object")
    if "Url" not in named:
        raise ConfigurationError("lacks Url")
    for name in named.keys() & _SERVER_ENTRIES.keys():
        try:
            _SERVER_ENTRIES[name].check(named[name])
        except ConfigurationError as error:
            raise ConfigurationError(f"{name} {error.details}") from None
    return value


_HTTP_SERVER = CustomKind('["url", "user", "password"] or its object form', _check_http_server)


def _check_peer(value: object) -> object:
    parse_peer(value)
    return value


PEERS = MapKind(CustomKind('["url", "user", "password"] or its object form', _check_peer))
DICOMWEB_SERVERS = MapKind(_HTTP_SERVER)

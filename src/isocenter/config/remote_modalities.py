"""Remote modalities as configuration and clients write them.

Two forms are understood: the list ``["AET", "host", port]`` with the manufacturer as an optional
fourth item, and the object form, which can say more.

References
----------
Orthanc REST: ``DicomModalities``, PUT /modalities/{id} (behaviour manual §23.1)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isocenter.config.values import BooleanKind, ChoiceKind, IntegerKind, Kind, TextKind
from isocenter.errors import ConfigurationError

__all__ = [
    "AE_TITLE",
    "RETRIEVE_METHODS",
    "RemoteModality",
    "format_remote_modality",
    "parse_remote_modality",
]

# PS3.5 §6.2: VR AE has at most 16 characters of the default repertoire without backslash and
# control characters; spaces alone are no title.
AE_TITLE = TextKind(
    re.compile(r"(?=.{1,16}\Z)[\x20-\x5b\x5d-\x7e]*[\x21-\x5b\x5d-\x7e][\x20-\x5b\x5d-\x7e]*"),
    "AE title of 1 to 16 characters",
)
RETRIEVE_METHODS = ("C-MOVE", "C-GET")

_MANUFACTURERS = (
    "Generic",
    "GenericNoWildcardInDates",
    "GenericNoUniversalWildcard",
    "Vitrea",
    "GE",
    "SiemensSyngoCT",
)
# Names that old configuration files hold and what they mean today.
_OLD_MANUFACTURERS = {
    "AgfaImpax": "GenericNoWildcardInDates",
    "ClearCanvas": "Generic",
    "Dcm4Chee": "Generic",
    "EFilm2": "Generic",
    "MedInria": "Generic",
    "StoreScp": "Generic",
    "SyngoVia": "GenericNoWildcardInDates",
}
_MANUFACTURER = ChoiceKind((*_MANUFACTURERS, *_OLD_MANUFACTURERS))
_HOST = TextKind(re.compile(r"\S+"), "host name or address")
_PORT = IntegerKind(1, 65535)
_BOOLEAN = BooleanKind()


@dataclass(frozen=True, slots=True)
class RemoteModality:
    """A DICOM node we call and that may call us.

    The ``allow_`` switches say what it may ask of us; ``allow_transcoding`` says whether we may
    transcode what we send to it. ``local_ae_title`` and ``timeout_s`` are ``None`` where the
    server's own title and ``DicomScuTimeout`` apply.
    """

    ae_title: str
    host: str
    port: int
    manufacturer: str = "Generic"
    allow_echo: bool = True
    allow_find: bool = True
    allow_find_worklist: bool = True
    allow_get: bool = True
    allow_move: bool = True
    allow_store: bool = True
    allow_n_action: bool = True
    allow_event_report: bool = True
    allow_transcoding: bool = True
    use_dicom_tls: bool = False
    local_ae_title: str | None = None
    timeout_s: int | None = None
    retrieve_method: str = "SystemDefault"


# Name in the object form: our attribute and its kind. Other names are ignored, as by the reference.
_OBJECT_FORM: dict[str, tuple[str, Kind]] = {
    "AET": ("ae_title", AE_TITLE),
    "Host": ("host", _HOST),
    "Port": ("port", _PORT),
    "Manufacturer": ("manufacturer", _MANUFACTURER),
    "AllowEcho": ("allow_echo", _BOOLEAN),
    "AllowFind": ("allow_find", _BOOLEAN),
    "AllowFindWorklist": ("allow_find_worklist", _BOOLEAN),
    "AllowGet": ("allow_get", _BOOLEAN),
    "AllowMove": ("allow_move", _BOOLEAN),
    "AllowStore": ("allow_store", _BOOLEAN),
    "AllowNAction": ("allow_n_action", _BOOLEAN),
    "AllowEventReport": ("allow_event_report", _BOOLEAN),
    "AllowTranscoding": ("allow_transcoding", _BOOLEAN),
    "UseDicomTls": ("use_dicom_tls", _BOOLEAN),
    "LocalAet": ("local_ae_title", AE_TITLE),
    "Timeout": ("timeout_s", IntegerKind()),
    "RetrieveMethod": ("retrieve_method", ChoiceKind(("SystemDefault", *RETRIEVE_METHODS))),
}
_LIST_FORM = ("AET", "Host", "Port", "Manufacturer")
_REQUIRED = ("AET", "Host", "Port")
# What stands for a value that was not given when a modality is read back.
_NOT_GIVEN: dict[str, object] = {"LocalAet": "", "Timeout": 0}


def parse_remote_modality(value: object) -> RemoteModality:
    """Read a remote modality in its list or object form.

    Raises
    ------
    ConfigurationError
        If it is neither form, lacks a required entry, or an entry is wrong; ``details`` is the
        reason alone.

    References
    ----------
    Orthanc REST: behaviour manual §23.1
    """
    attributes: dict[str, Any] = {}
    for name, entry in _entries(value).items():
        attribute, kind = _OBJECT_FORM[name]
        try:
            attributes[attribute] = kind.check(entry)
        except ConfigurationError as error:
            raise ConfigurationError(f"{name} {error.details}") from None
    manufacturer = attributes.get("manufacturer", "Generic")
    attributes["manufacturer"] = _OLD_MANUFACTURERS.get(manufacturer, manufacturer)
    return RemoteModality(**attributes)


def _entries(value: object) -> dict[str, object]:
    """Return the known entries of either form under their names in the object form."""
    if isinstance(value, list | tuple):
        if len(value) not in {3, 4}:
            raise ConfigurationError("must have three or four items: AET, host, port, manufacturer")
        named: dict[str, object] = dict(zip(_LIST_FORM, value, strict=False))
    elif isinstance(value, Mapping):
        named = {str(name): entry for name, entry in value.items()}
        for missing in (name for name in _REQUIRED if name not in named):
            raise ConfigurationError(f"lacks {missing}")
        if "AllowStorageCommitment" in named:
            # One name for the two services of storage commitment (PS3.4 Annex J); the precise
            # names win.
            allowed = named["AllowStorageCommitment"]
            named = {"AllowNAction": allowed, "AllowEventReport": allowed} | named
    else:
        raise ConfigurationError("must be a list or an object")
    named = {name: entry for name, entry in named.items() if not _is_not_given(name, entry)}
    port = named["Port"]
    if isinstance(port, str) and port.isascii() and port.isdigit() and len(port) <= 5:
        named["Port"] = int(port)  # The reference accepts digits in a text (measured on 1.10.1).
    return {name: entry for name, entry in named.items() if name in _OBJECT_FORM}


def _is_not_given(name: str, entry: object) -> bool:
    return name in _NOT_GIVEN and not isinstance(entry, bool) and entry == _NOT_GIVEN[name]


def format_remote_modality(modality: RemoteModality) -> dict[str, Any]:
    """Write a remote modality in its object form, which `parse_remote_modality` understands.

    References
    ----------
    Orthanc REST: GET /modalities/{id}/configuration (behaviour manual §23.1)
    """
    form: dict[str, Any] = {}
    for name, (attribute, _) in _OBJECT_FORM.items():
        value = getattr(modality, attribute)
        form[name] = _NOT_GIVEN[name] if value is None else value
    return form

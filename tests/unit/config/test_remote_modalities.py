from typing import Any

import pytest

from isocenter.config.remote_modalities import (
    RemoteModality,
    format_remote_modality,
    parse_remote_modality,
)
from isocenter.errors import ConfigurationError

REQUIRED: dict[str, Any] = {"AET": "CT1", "Host": "10.0.0.5", "Port": 104}


def test_parse_remote_modality_list_uses_defaults() -> None:
    modality = parse_remote_modality(["CT1", "10.0.0.5", 104])

    assert modality == RemoteModality("CT1", "10.0.0.5", 104)
    assert modality.manufacturer == "Generic"
    assert modality.allow_store
    assert modality.timeout_s is None


def test_parse_remote_modality_list_with_manufacturer_keeps_it() -> None:
    assert parse_remote_modality(["CT1", "host", 104, "GE"]).manufacturer == "GE"


def test_parse_remote_modality_object_reads_every_entry() -> None:
    modality = parse_remote_modality(
        REQUIRED
        | {
            "Manufacturer": "Vitrea",
            "AllowEcho": False,
            "AllowFind": False,
            "AllowFindWorklist": False,
            "AllowGet": False,
            "AllowMove": False,
            "AllowStore": False,
            "AllowNAction": False,
            "AllowEventReport": False,
            "AllowTranscoding": False,
            "UseDicomTls": True,
            "LocalAet": "OTHER",
            "Timeout": 7,
            "RetrieveMethod": "C-GET",
        }
    )

    assert modality == RemoteModality(
        ae_title="CT1",
        host="10.0.0.5",
        port=104,
        manufacturer="Vitrea",
        allow_echo=False,
        allow_find=False,
        allow_find_worklist=False,
        allow_get=False,
        allow_move=False,
        allow_store=False,
        allow_n_action=False,
        allow_event_report=False,
        allow_transcoding=False,
        use_dicom_tls=True,
        local_ae_title="OTHER",
        timeout_s=7,
        retrieve_method="C-GET",
    )


def test_parse_remote_modality_storage_commitment_stands_for_both_services() -> None:
    modality = parse_remote_modality(REQUIRED | {"AllowStorageCommitment": False})

    assert (modality.allow_n_action, modality.allow_event_report) == (False, False)


def test_parse_remote_modality_precise_name_beats_storage_commitment() -> None:
    modality = parse_remote_modality(
        REQUIRED | {"AllowStorageCommitment": False, "AllowNAction": True}
    )

    assert (modality.allow_n_action, modality.allow_event_report) == (True, False)


@pytest.mark.parametrize(
    ("old", "present"),
    [("AgfaImpax", "GenericNoWildcardInDates"), ("EFilm2", "Generic"), ("Dcm4Chee", "Generic")],
)
def test_parse_remote_modality_old_manufacturer_becomes_present_one(old: str, present: str) -> None:
    assert parse_remote_modality(["A", "h", 1, old]).manufacturer == present


@pytest.mark.parametrize("value", [["A", "h", "104"], REQUIRED | {"Port": "104"}])
def test_parse_remote_modality_port_as_digits_is_accepted(value: object) -> None:
    assert parse_remote_modality(value).port == 104


def test_parse_remote_modality_unknown_entry_is_ignored() -> None:
    assert parse_remote_modality(REQUIRED | {"Note": 1}) == parse_remote_modality(REQUIRED)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("CT1", "must be a list or an object"),
        (["CT1", "host"], "must have three or four items: AET, host, port, manufacturer"),
        ({"AET": "CT1", "Host": "h"}, "lacks Port"),
        (["CT1", "host", 0], "Port must be integer from 1 to 65535"),
        (["CT1", "host", "²"], "Port must be integer from 1 to 65535, not a text"),
        (["CT1", "host", 65536], "Port must be integer from 1 to 65535"),
        (["", "host", 104], "AET must be AE title of 1 to 16 characters"),
        (["  ", "host", 104], "AET must be AE title of 1 to 16 characters"),
        (["A" * 17, "host", 104], "AET must be AE title of 1 to 16 characters"),
        (["A\\B", "host", 104], "AET must be AE title of 1 to 16 characters"),
        (["CT1", "", 104], "Host must be host name or address"),
        (REQUIRED | {"AllowEcho": 1}, "AllowEcho must be true or false, not an integer"),
    ],
)
def test_parse_remote_modality_wrong_form_raises_reason(value: object, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_remote_modality(value)

    assert caught.value.details == reason


def test_parse_remote_modality_unknown_manufacturer_raises() -> None:
    with pytest.raises(ConfigurationError, match='not "Foo"'):
        parse_remote_modality(["A", "h", 104, "Foo"])


@pytest.mark.parametrize(
    "value",
    [
        ["CT1", "10.0.0.5", 104],
        REQUIRED | {"Manufacturer": "GE", "AllowGet": False, "UseDicomTls": True},
        REQUIRED | {"LocalAet": "US", "Timeout": 7, "RetrieveMethod": "C-GET"},
        REQUIRED | {"LocalAet": "", "Timeout": 0},
    ],
)
def test_format_remote_modality_is_read_back(value: Any) -> None:
    modality = parse_remote_modality(value)

    assert parse_remote_modality(format_remote_modality(modality)) == modality


def test_format_remote_modality_without_title_and_timeout_says_so() -> None:
    form = format_remote_modality(parse_remote_modality(REQUIRED))

    assert (form["LocalAet"], form["Timeout"]) == ("", 0)
    assert (form["AllowNAction"], form["AllowEventReport"]) == (True, True)


@pytest.mark.parametrize("entry", [{"LocalAet": " "}, {"Timeout": -1}, {"Timeout": False}])
def test_parse_remote_modality_wrong_title_or_timeout_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        parse_remote_modality(REQUIRED | entry)

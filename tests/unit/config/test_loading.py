import json
from pathlib import Path

import pytest

from isocenter.config.configuration import Configuration
from isocenter.config.loading import load_configuration
from isocenter.errors import ConfigurationError


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def load(folder: Path, content: object, environ: dict[str, str] | None = None) -> Configuration:
    return load_configuration([write(folder / "site.json", content)], environ or {})


def test_load_configuration_without_files_gives_defaults() -> None:
    configuration = load_configuration([], {})

    assert configuration == Configuration.defaults()
    assert configuration.warnings == ()


def test_load_configuration_file_sets_options_and_sections(tmp_path: Path) -> None:
    configuration = load(
        tmp_path, '{"HttpPort": 1, /* no */ "PostgreSQL": {"Host": "${DB:-db}"}} // end'
    )

    assert configuration.integer("HttpPort") == 1
    assert configuration.text("PostgreSQL.Host") == "db"
    assert not configuration.is_set("DicomPort")


def test_load_configuration_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert load(tmp_path, '\ufeff{"Name": "é"}').text("Name") == "é"


def test_load_configuration_relative_path_starts_at_its_file(tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "site.json", {"StorageDirectory": "data"})
    second = write(tmp_path / "b" / "site.json", {"LuaScripts": ["x.lua"]})

    configuration = load_configuration([first, second], {})

    assert configuration.path("StorageDirectory") == tmp_path / "a" / "data"
    assert configuration.path("IndexDirectory") == tmp_path / "a" / "data"
    assert configuration.paths("LuaScripts") == (tmp_path / "b" / "x.lua",)


def test_load_configuration_relative_path_in_environment_starts_at_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    configuration = load_configuration([], {"ORTHANC__STORAGE_DIRECTORY": "data"})

    assert configuration.path("StorageDirectory") == tmp_path / "data"


def test_load_configuration_folder_reads_its_json_files(tmp_path: Path) -> None:
    write(tmp_path / "1.json", {"HttpPort": 1})
    write(tmp_path / "2.json", {"DicomPort": 2})
    write(tmp_path / "notes.txt", "no JSON")

    configuration = load_configuration([tmp_path], {})

    assert (configuration.integer("HttpPort"), configuration.integer("DicomPort")) == (1, 2)


@pytest.mark.parametrize("name", ["HttpPort", "DicomWeb"])
def test_load_configuration_name_in_two_files_raises_both(tmp_path: Path, name: str) -> None:
    content: object = {name: {} if name == "DicomWeb" else 1}
    write(tmp_path / "1.json", content)
    write(tmp_path / "2.json", content)

    with pytest.raises(ConfigurationError) as caught:
        load_configuration([tmp_path], {})

    assert caught.value.details == (
        f'{tmp_path / "2.json"}: "{name}" is set in {tmp_path / "1.json"}, too'
    )


def test_load_configuration_environment_wins_over_files(tmp_path: Path) -> None:
    configuration = load(tmp_path, {"HttpPort": 1}, {"ORTHANC__HTTP_PORT": "2"})

    assert configuration.integer("HttpPort") == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "line 1, column 2: Expecting property name"),
        ('{"a": 1, "a": 2}', '"a" appears twice in one object'),
        ({"HttpPort": "1"}, 'option "HttpPort": must be integer from 0 to 65535, not a text'),
        ({"Name": None}, 'option "Name": must be text, not null'),
        ({"DicomWeb": []}, 'section "DicomWeb" must be an object'),
        (
            {"DicomModalities": {"ct": ["CT1", "host"]}},
            'option "DicomModalities": "ct": must have three or four items',
        ),
    ],
)
def test_load_configuration_wrong_file_raises_file_and_reason(
    tmp_path: Path, content: object, reason: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, content)

    assert caught.value.details.startswith(f"{tmp_path / 'site.json'}: {reason}")


def test_load_configuration_wrong_variable_raises_variable() -> None:
    with pytest.raises(ConfigurationError, match=r'ORTHANC_JSON: option "HttpPort"'):
        load_configuration([], {"ORTHANC_JSON": '{"HttpPort": -1}'})


def test_load_configuration_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_configuration([tmp_path / "none.json"], {})


def test_load_configuration_other_encoding_raises_line(tmp_path: Path) -> None:
    path = tmp_path / "site.json"
    path.write_bytes(b'{\n"Name": "\xe9"}')

    with pytest.raises(ConfigurationError, match="line 2: the text is not UTF-8"):
        load_configuration([path], {})


def test_load_configuration_huge_file_raises(tmp_path: Path) -> None:
    path = tmp_path / "site.json"
    with path.open("wb") as stream:
        stream.truncate(16 * 1024 * 1024 + 1)

    with pytest.raises(ConfigurationError, match="larger than 16 MB"):
        load_configuration([path], {})


@pytest.mark.parametrize(
    ("content", "suggestion"),
    [
        ({"HtpPort": 1}, '; did you mean "HttpPort"?'),
        ({"httpport": 1}, '; did you mean "HttpPort"?'),
        ({"IngestThreads": 1}, '; did you mean "Isocenter.IngestThreads"?'),
        ({"Dicomweb": {}}, '; did you mean "DicomWeb"?'),
        ({"PostgreSQL": {"Hosst": "db"}}, '; did you mean "PostgreSQL.Host"?'),
        ({"Gdcm": {}}, ""),
    ],
)
def test_load_configuration_unknown_option_is_warned_of(
    tmp_path: Path, content: dict[str, object], suggestion: str
) -> None:
    (warning,) = load(tmp_path, content).warnings

    assert warning.startswith('unknown option "')
    assert warning.endswith(f'" is ignored{suggestion}')


def test_load_configuration_unknown_variable_is_warned_of() -> None:
    (warning,) = load_configuration([], {"ORTHANC__DICOMWEB__ENABEL": "true"}).warnings

    assert warning == (
        'unknown option "ORTHANC__DICOMWEB__ENABEL" is ignored; '
        'did you mean "ORTHANC__DICOM_WEB__ENABLE"?'
    )


def test_load_configuration_options_without_effect_share_one_warning(tmp_path: Path) -> None:
    content: dict[str, object] = {"LuaHeartBeatPeriod": 5, "WebDavEnabled": False}
    content |= {"HttpPort": 1, "HttpThreadsCount": 3}

    assert load(tmp_path, content).warnings == (
        "these options have no effect in this release: LuaHeartBeatPeriod, WebDavEnabled",
    )


def test_load_configuration_default_of_option_without_effect_is_no_warning(tmp_path: Path) -> None:
    assert load(tmp_path, {"SaveJobs": True, "HttpsCACertificates": ""}).warnings == ()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"RemoteAccessAllowed": True}, "RegisteredUsers"),
        ({"RemoteAccessAllowed": True, "AuthenticationEnabled": True}, "RegisteredUsers"),
        ({"OverwriteInstances": "IfChanged", "StoreMD5ForAttachments": False}, "StoreMD5"),
        ({"PatientLevelEnabled": False, "MaximumStorageSize": 1}, "MaximumStorageSize"),
        ({"PatientLevelEnabled": False, "MaximumPatientCount": 1}, "MaximumPatientCount"),
    ],
)
def test_load_configuration_contradiction_stops_the_start(
    tmp_path: Path, content: object, named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        load(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        {"RemoteAccessAllowed": True, "RegisteredUsers": {}},
        {"RemoteAccessAllowed": True, "RegisteredUsers": {"alice": "secret"}},
        {"RemoteAccessAllowed": True, "AuthenticationEnabled": False},
        {"RemoteAccessAllowed": True, "HttpServerEnabled": False},
        {"OverwriteInstances": "IfChanged"},
        {"OverwriteInstances": True, "StoreMD5ForAttachments": False},
        {"OverwriteInstances": "IfChanged", "StoreMD5ForAttachments": False, "ReadOnly": True},
        {"PatientLevelEnabled": False},
        {"PatientLevelEnabled": False, "MaximumStorageSize": 1, "ReadOnly": True},
    ],
)
def test_load_configuration_consistent_options_are_accepted(
    tmp_path: Path, content: dict[str, object]
) -> None:
    assert all(load(tmp_path, content).is_set(name) for name in content)

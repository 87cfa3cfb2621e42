from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isocenter.config.configuration import Configuration
from isocenter.config.remote_modalities import RemoteModality
from isocenter.errors import ConfigurationError, InternalError


@pytest.fixture
def defaults() -> Configuration:
    return Configuration.defaults()


@pytest.mark.parametrize(
    ("read", "name", "expected"),
    [
        (Configuration.boolean, "KeepAlive", True),
        (Configuration.integer, "HttpPort", 8042),
        (Configuration.integer, "KeepAliveTimeout", 75),
        (Configuration.integer, "DicomThreadsCount", 100),
        (Configuration.number, "StableAge", 60.0),
        (Configuration.text, "DicomAet", "ISOCENTER"),
        (Configuration.text, "OverwriteInstances", "Never"),
        (Configuration.text, "PostgreSQL.Schema", "public"),
        (Configuration.texts, "AcceptedTransferSyntaxes", ("1.2.840.10008.1.*",)),
        (Configuration.texts, "HttpBindAddresses", ()),
        (Configuration.paths, "LuaScripts", ()),
        (Configuration.lookup_path, "HttpsCACertificates", None),
        (Configuration.mapping, "UserMetadata", {}),
        (Configuration.mapping, "OrthancExplorer2.UiOptions", {}),
        (Configuration.sequence, "MultitenantDicom.Servers", ()),
        (Configuration.boolean, "Isocenter.DurableIndex", True),
    ],
)
def test_defaults_are_those_of_the_table(
    defaults: Configuration,
    read: Callable[[Configuration, str], Any],
    name: str,
    expected: object,
) -> None:
    assert read(defaults, name) == expected
    assert not defaults.is_set(name)


def test_defaults_paths_start_at_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert Configuration.defaults().path("StorageDirectory") == tmp_path / "isocenter-data"


def test_temporary_directory_by_default_is_absolute(defaults: Configuration) -> None:
    assert defaults.path("TemporaryDirectory").is_absolute()


def test_with_values_sets_and_leaves_original(defaults: Configuration) -> None:
    changed = defaults.with_values({"HttpPort": 0, "PostgreSQL.Host": "db"})

    assert changed.integer("HttpPort") == 0
    assert changed.text("PostgreSQL.Host") == "db"
    assert changed.is_set("HttpPort")
    assert defaults.integer("HttpPort") == 8042


def test_with_values_keeps_earlier_ones(defaults: Configuration) -> None:
    changed = defaults.with_values({"HttpPort": 1}).with_values({"DicomPort": 2})

    assert (changed.integer("HttpPort"), changed.integer("DicomPort")) == (1, 2)


def test_with_values_wrong_value_raises_option_and_reason(defaults: Configuration) -> None:
    with pytest.raises(ConfigurationError, match=r'option "HttpPort": must be integer'):
        defaults.with_values({"HttpPort": "8042"})


@pytest.mark.parametrize("is_allowed", [True, False])
def test_authentication_by_default_follows_remote_access(
    defaults: Configuration, is_allowed: bool
) -> None:
    configuration = defaults.with_values({"RemoteAccessAllowed": is_allowed})

    assert configuration.boolean("AuthenticationEnabled") is is_allowed


def test_authentication_if_set_ignores_remote_access(defaults: Configuration) -> None:
    configuration = defaults.with_values(
        {"RemoteAccessAllowed": True, "AuthenticationEnabled": False}
    )

    assert not configuration.boolean("AuthenticationEnabled")


def test_index_directory_by_default_is_that_of_storage(defaults: Configuration) -> None:
    configuration = defaults.with_values({"StorageDirectory": "/archive"})

    assert configuration.path("IndexDirectory") == Path("/archive")


def test_lookup_path_empty_text_returns_none(defaults: Configuration) -> None:
    assert defaults.with_values({"SslCertificate": ""}).lookup_path("SslCertificate") is None


def test_paths_relative_ones_become_absolute(defaults: Configuration) -> None:
    configuration = defaults.with_values({"LuaScripts": ["a.lua", "/b.lua"]})

    assert configuration.paths("LuaScripts") == (defaults.folder / "a.lua", Path("/b.lua"))


def test_remote_modalities_come_as_records(defaults: Configuration) -> None:
    configuration = defaults.with_values({"DicomModalities": {"ct": ["CT1", "host", 104]}})

    assert configuration.remote_modalities == {"ct": RemoteModality("CT1", "host", 104)}


def test_mapping_cannot_be_changed(defaults: Configuration) -> None:
    users: Any = defaults.with_values({"RegisteredUsers": {"a": "b"}}).mapping("RegisteredUsers")

    with pytest.raises(TypeError):
        users["c"] = "d"


def test_values_cannot_be_changed(defaults: Configuration) -> None:
    values: Any = defaults.values

    with pytest.raises(TypeError):
        values["HttpPort"] = 1


def test_repr_hides_passwords(defaults: Configuration) -> None:
    configuration = defaults.with_values({"RegisteredUsers": {"alice": "secret"}})

    assert "secret" not in repr(configuration)


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (Configuration.integer, "Nothing"),
        (Configuration.is_set, "Nothing"),
        (Configuration.integer, "KeepAlive"),
        (Configuration.boolean, "HttpPort"),
        (Configuration.text, "StorageDirectory"),
        (Configuration.path, "Name"),
        (Configuration.texts, "LuaScripts"),
        (Configuration.paths, "HttpBindAddresses"),
        (Configuration.mapping, "MultitenantDicom.Servers"),
        (Configuration.sequence, "OrthancExplorer2.UiOptions"),
        (Configuration.path, "HttpsCACertificates"),
        (Configuration.boolean, "JpegTransferSyntaxAccepted"),
    ],
)
def test_accessor_mistake_of_caller_raises_internal_error(
    defaults: Configuration, read: Callable[[Configuration, str], Any], name: str
) -> None:
    with pytest.raises(InternalError):
        read(defaults, name)


def test_with_values_unknown_name_raises_internal_error(defaults: Configuration) -> None:
    with pytest.raises(InternalError):
        defaults.with_values({"Nothing": 1})

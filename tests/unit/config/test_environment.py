import pytest

from isocenter.config.environment import flatten, read_environment
from isocenter.errors import ConfigurationError


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("ORTHANC__HTTP_PORT", "8043", "HttpPort", 8043),
        ("ORTHANC__NAME", "8043", "Name", "8043"),
        ("ORTHANC__DICOM_WEB__ENABLE", "false", "DicomWeb.Enable", False),
        ("ORTHANC__POSTGRESQL__HOST", "db", "PostgreSQL.Host", "db"),
        ("ORTHANC__POSTGRE_SQL__HOST", "db", "PostgreSQL.Host", "db"),
        ("ORTHANC__STORE_M_D5_FOR_ATTACHMENTS", "false", "StoreMD5ForAttachments", False),
        ("ORTHANC__REGISTERED_USERS", '{"a": "b"}', "RegisteredUsers", {"a": "b"}),
        ("ORTHANC__OVERWRITE_INSTANCES", "true", "OverwriteInstances", True),
        ("ORTHANC__POSTGRESQL", '{"Host": "db"}', "PostgreSQL.Host", "db"),
        ("ORTHANC_JSON", '{"HttpPort": 1}', "HttpPort", 1),
        ("ORTHANC_JSON", '{"PostgreSQL": {"Port": 1}}', "PostgreSQL.Port", 1),
    ],
)
def test_read_environment_variable_sets_option(
    variable: str, text: str, name: str, value: object
) -> None:
    options = read_environment({variable: text})

    assert dict(options.values) == {name: (variable, value)}
    assert options.unknown == ()


def test_read_environment_more_precise_variable_wins() -> None:
    options = read_environment(
        {
            "ORTHANC__POSTGRESQL__HOST": "precise",
            "ORTHANC__POSTGRESQL": '{"Host": "section", "Port": 2}',
            "ORTHANC_JSON": '{"PostgreSQL": {"Host": "whole", "Port": 1, "Schema": "whole"}}',
        }
    )

    assert {name: value for name, (_, value) in options.values.items()} == {
        "PostgreSQL.Host": "precise",
        "PostgreSQL.Port": 2,
        "PostgreSQL.Schema": "whole",
    }


def test_read_environment_object_may_use_variables() -> None:
    options = read_environment({"ORTHANC_JSON": '{"Name": "${WHO}"}', "WHO": "me"})

    assert options.values["Name"] == ("ORTHANC_JSON", "me")


def test_read_environment_other_variables_are_left_alone() -> None:
    options = read_environment({"HOME": "/root", "ORTHANC_HTTP_PORT": "1", "HTTP_PORT": "1"})

    assert (dict(options.values), options.unknown) == ({}, ())


def test_read_environment_unknown_names_are_told() -> None:
    options = read_environment(
        {"ORTHANC__NOTHING": "1", "ORTHANC_JSON": '{"Other": 1, "PostgreSQL": {"Hots": "db"}}'}
    )

    assert dict(options.values) == {}
    assert set(options.unknown) == {"ORTHANC__NOTHING", "Other", "PostgreSQL.Hots"}


@pytest.mark.parametrize(
    ("variable", "text", "reason"),
    [
        ("ORTHANC__HTTP_PORT", "many", 'ORTHANC__HTTP_PORT, option "HttpPort": must be integer'),
        ("ORTHANC__POSTGRESQL", "db", "ORTHANC__POSTGRESQL: line 1, column 1: Expecting value"),
        ("ORTHANC_JSON", "[]", "ORTHANC_JSON: must hold one JSON object"),
        ("ORTHANC_JSON", '{"DicomWeb": 1}', 'ORTHANC_JSON: section "DicomWeb" must be an object'),
    ],
)
def test_read_environment_wrong_text_raises_variable_and_reason(
    variable: str, text: str, reason: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_environment({variable: text})

    assert caught.value.details.startswith(reason)


def test_flatten_opens_known_sections_only() -> None:
    flat = flatten({"HttpPort": 1, "DicomWeb": {"Enable": True}, "Python": {"Path": "x"}})

    assert flat == {"HttpPort": 1, "DicomWeb.Enable": True, "Python": {"Path": "x"}}

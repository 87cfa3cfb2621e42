import pytest

from isocenter.config.option import Option
from isocenter.config.values import TextKind


# The first four are named in the Orthanc Book, "orthancteam/orthanc Docker images".
@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("StableAge", "ORTHANC__STABLE_AGE"),
        ("DicomWeb.Root", "ORTHANC__DICOM_WEB__ROOT"),
        ("DicomWeb.StudiesMetadata", "ORTHANC__DICOM_WEB__STUDIES_METADATA"),
        ("DicomWeb.Servers", "ORTHANC__DICOM_WEB__SERVERS"),
        ("HttpPort", "ORTHANC__HTTP_PORT"),
        ("PostgreSQL.Host", "ORTHANC__POSTGRESQL__HOST"),
        ("StoreMD5ForAttachments", "ORTHANC__STORE_MD5_FOR_ATTACHMENTS"),
        ("CaseSensitivePN", "ORTHANC__CASE_SENSITIVE_PN"),
        ("HttpsCACertificates", "ORTHANC__HTTPS_CA_CERTIFICATES"),
        (
            "OrthancExplorer2.IsDefaultOrthancUI",
            "ORTHANC__ORTHANC_EXPLORER_2__IS_DEFAULT_ORTHANC_UI",
        ),
        ("Isocenter.SpoolThresholdKB", "ORTHANC__ISOCENTER__SPOOL_THRESHOLD_KB"),
    ],
)
def test_environment_name_follows_documented_rule(name: str, variable: str) -> None:
    assert Option(name, TextKind(), meaning="X.").environment_name == variable


@pytest.mark.parametrize(
    ("name", "section", "key"), [("HttpPort", "", "HttpPort"), ("A.B", "A", "B")]
)
def test_option_name_is_section_and_key(name: str, section: str, key: str) -> None:
    option = Option(name, TextKind(), meaning="X.")

    assert (option.section, option.key) == (section, key)

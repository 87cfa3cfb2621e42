import pytest

from isocenter.config import shapes
from isocenter.config.values import Kind
from isocenter.errors import ConfigurationError

ALL_ON = dict.fromkeys(shapes.WARNING_CODES, True)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (shapes.USERS, {"alice": "secret"}),
        (shapes.USER_METADATA, {"first": 1024, "last": 65535}),
        (shapes.USER_CONTENT_TYPE, {"a": 1024, "b": [1025, "application/pdf"]}),
        (shapes.EXTRA_MAIN_DICOM_TAGS, {"Study": ["StudyID", "0020,0010", "00200010"]}),
        (shapes.DICOM_DICTIONARY, {"0014,1020": ["DA", "Date", 1, 1]}),
        (
            shapes.DICOM_DICTIONARY,
            {"7053,03": ["ST", "Name", 1, 0, "Creator"], "00091001": ["UI", "X"]},
        ),
        (shapes.PEERS, {"a": ["http://host:8042/"], "b": ["https://host/", "user", "word"]}),
        (shapes.PEERS, {"a": {"Url": "http://host/", "RemoteSelf": "b", "Timeout": 3}}),
        (shapes.UID, "1.2.840.10008.1.2"),
        (shapes.UID_OR_NONE, ""),
        (shapes.UID_PATTERNS, ["1.2.840.*", "1.2.?"]),
        (shapes.URL_PATH, "/dicom-web/"),
        (shapes.PORT, 0),
    ],
)
def test_check_documented_form_is_accepted(kind: Kind, value: object) -> None:
    kind.check(value)


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (shapes.USERS, {"alice": 1}, '"alice": must be text'),
        (shapes.USER_METADATA, {"a": 1023}, '"a": must be integer from 1024 to 65535'),
        (shapes.USER_METADATA, {"a": 1024, "b": 1024}, "share the code 1024"),
        (shapes.USER_METADATA, {"a": 65536}, '"a": must be integer from 1024 to 65535'),
        (shapes.USER_METADATA, {"Origin": 1024}, '"Origin" has a meaning already'),
        (shapes.USER_METADATA, {"1500": 1024}, '"1500" has a meaning already'),
        (shapes.USER_METADATA, {"-1": 1024}, '"-1" has a meaning already'),
        (shapes.USER_METADATA, {"": 1024}, "holds an empty name"),
        (shapes.USER_CONTENT_TYPE, {"dicom": 1024}, '"dicom" has a meaning already'),
        (shapes.USER_CONTENT_TYPE, {"1024": 1024}, '"1024" has a meaning already'),
        (shapes.USER_CONTENT_TYPE, {"a": [1024, "a/b;c=\r\nX: y"]}, "must be media type"),
        (shapes.USER_CONTENT_TYPE, {"a": 1024, "b": [1024, "a/b"]}, "share the code 1024"),
        (shapes.USER_CONTENT_TYPE, {"a": [1024]}, "a code, or a code and a media type"),
        (shapes.USER_CONTENT_TYPE, {"a": [1024, "pdf"]}, "must be media type"),
        (shapes.EXTRA_MAIN_DICOM_TAGS, {"study": []}, '"study" is not one of'),
        (shapes.EXTRA_MAIN_DICOM_TAGS, {"Study": ["a b"]}, "item 1: must be tag"),
        (shapes.WARNINGS, {"W008": True}, '"W008" is no warning'),
        (shapes.WARNINGS, {"W001": 1}, "must be true or false"),
        (shapes.DICOM_DICTIONARY, {"zzzz,1": ["DA", "X"]}, "is not a tag"),
        (shapes.DICOM_DICTIONARY, {"0009,01": ["ZZ", "X"]}, "value representation"),
        (shapes.DICOM_DICTIONARY, {"0009,01": [{}, "X"]}, "value representation"),
        (shapes.DICOM_DICTIONARY, {"0009,01": ["DA"]}, "the last three optional"),
        (shapes.DICOM_DICTIONARY, {"0009,01": ["DA", "X", -1]}, "at least 0"),
        (shapes.DICOM_DICTIONARY, {"0009,01": ["DA", "X", 1, 1, 5]}, "private creator"),
        (shapes.REMOTE_MODALITIES, {"ct": ["A"]}, '"ct": must have three or four items'),
        (shapes.PEERS, {"a": "http://host/"}, "must be a list or an object"),
        (shapes.PEERS, {"a": ["http://host/", "user"]}, "must have one item or three"),
        (shapes.PEERS, {"a": {"Username": "u"}}, "lacks Url"),
        (shapes.PEERS, {"a": ["ftp://host/"]}, "Url must be address"),
        (shapes.UID, "1." * 40, "unique identifier"),
        (shapes.UID_PATTERNS, ["a.*"], "item 1"),
        (shapes.URL_PATH, "/a?b", "path of an address"),
        (shapes.PORT, 65536, "from 0 to 65535"),
    ],
)
def test_check_other_form_raises_reason(kind: Kind, value: object, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        kind.check(value)


def test_check_warnings_long_names_become_codes() -> None:
    checked = shapes.WARNINGS.check({"W003_DecoderFailure": False, "W005": False})

    assert checked == ALL_ON | {"W003": False, "W005": False}

import pytest

from isocenter.archive.registry import Registry, build_registry, is_user_code
from isocenter.config.codes import SYSTEM_METADATA
from isocenter.config.configuration import Configuration
from isocenter.errors import ParameterTypeError, UnknownItemError
from isocenter.index.records import MetadataCode


@pytest.fixture
def registry() -> Registry:
    values = {
        "UserMetadata": {"ward": 1024, "<b>ü</b>": 65535},
        "UserContentType": {"report": 1024, "sheet": [1025, "text/csv"]},
    }
    return build_registry(Configuration.defaults().with_values(values))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("IndexInSeries", 1),
        ("LastUpdate", 7),
        ("MainDicomSequences", 16),
        ("ward", 1024),
        ("<b>ü</b>", 65535),
        ("8", 8),
        ("1024", 1024),
        ("01024", 1024),
        ("1500", 1500),
        ("99999", 99999),
        ("2147483647", 2**31 - 1),
        ("-1", -1),
        ("0" * 5000 + "7", 7),
    ],
)
def test_metadata_code_of_name_or_number_is_found(registry: Registry, name: str, code: int) -> None:
    assert registry.metadata.get_code(name) == code


@pytest.mark.parametrize(
    "name", ["", "Nope", "Ward", "1a", "+1", " 1", "٣", "dicom", "\x00", "a/b"]
)
def test_metadata_code_of_unknown_name_is_an_error(registry: Registry, name: str) -> None:
    with pytest.raises(UnknownItemError):
        registry.metadata.get_code(name)


@pytest.mark.parametrize("name", ["2147483648", "-2147483648", "9" * 5000])
def test_metadata_code_beyond_32_bits_is_an_error(registry: Registry, name: str) -> None:
    with pytest.raises(ParameterTypeError):
        registry.metadata.get_code(name)


@pytest.mark.parametrize(
    ("code", "name"), [(8, "Origin"), (1024, "ward"), (1025, "1025"), (500, "500")]
)
def test_metadata_name_of_code_is_the_number_unless_registered(
    registry: Registry, code: int, name: str
) -> None:
    assert registry.metadata.get_name(code) == name


def test_metadata_names_are_those_of_the_codes_set_when_storing() -> None:
    for code in MetadataCode:
        assert SYSTEM_METADATA[code].lower() == code.name.replace("_", "").lower()


@pytest.mark.parametrize(
    ("name", "code", "media_type"),
    [
        ("dicom", 1, "application/dicom"),
        ("dicom-as-json", 2, "application/json"),
        ("dicom-until-pixel-data", 3, "application/dicom"),
        ("report", 1024, "application/octet-stream"),
        ("sheet", 1025, "text/csv"),
        ("4301", 4301, "application/octet-stream"),
    ],
)
def test_content_type_has_code_name_and_media_type(
    registry: Registry, name: str, code: int, media_type: str
) -> None:
    types = registry.content_types
    assert (types.get_code(name), types.get_name(code)) == (code, name)
    assert types.get_media_type(code) == media_type


@pytest.mark.parametrize(
    ("code", "is_user"),
    [(0, False), (1, False), (1023, False), (1024, True), (65535, True), (65536, False)],
)
def test_user_codes_begin_and_end(code: int, is_user: bool) -> None:
    assert is_user_code(code) is is_user

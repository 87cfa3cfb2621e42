"""Whatever the administrator's file holds, the start ends in a configuration or in a clear error."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.config.configuration import Configuration
from isocenter.config.loading import load_configuration
from isocenter.config.options import OPTIONS, SECTIONS
from isocenter.config.source import parse_source
from isocenter.errors import ConfigurationError

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
# Pieces that make nearly valid files far more often than plain text does.
PIECES = st.lists(
    st.sampled_from(
        ["{", "}", "[", "]", ",", ":", '"', "\\", "//", "/*", "*/", "\n", "${X}", "${", "}", "1"]
        + ['"HttpPort"', '"DicomWeb"', "true", " ", "é", "\0", "\ud800"]
    )
).map("".join)
COMMENTS = st.sampled_from(
    [" ", "\n", '// a " comment ${NONE}\n', '/* another " , } */', "/**/", "/* // */"]
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configuration") / "site.json"


def load(file: Path, content: bytes) -> Configuration | None:
    file.write_bytes(content)
    try:
        return load_configuration([file], {"X": "x"})
    except ConfigurationError as error:
        assert error.details.startswith((str(file), "option "))
        error.details.encode()
        return None


@given(content=st.binary())
def test_load_configuration_any_bytes_end_well(file: Path, content: bytes) -> None:
    load(file, content)


@given(content=PIECES)
def test_load_configuration_nearly_valid_text_ends_well(file: Path, content: str) -> None:
    load(file, content.encode("utf-8", "surrogatepass"))


@given(document=st.dictionaries(st.sampled_from([*OPTIONS, *SECTIONS]) | st.text(), JSON))
def test_load_configuration_any_values_end_well(file: Path, document: dict[str, Any]) -> None:
    load(file, json.dumps(document).encode())


@given(name=st.sampled_from([*OPTIONS]), value=JSON)
def test_load_configuration_any_value_of_an_option_ends_well(
    file: Path, name: str, value: Any
) -> None:
    section, _, key = name.rpartition(".")
    document = {section: {key: value}} if section else {name: value}

    load(file, json.dumps(document).encode())


@given(name=st.sampled_from([*OPTIONS]), text=st.text())
def test_load_configuration_any_variable_ends_well(name: str, text: str) -> None:
    try:
        load_configuration([], {OPTIONS[name].environment_name: text})
    except ConfigurationError as error:
        assert error.details


@given(text=st.text())
def test_parse_source_string_keeps_its_content(text: str) -> None:
    document = {"a": text.replace("${", "$ {")}

    assert parse_source(json.dumps(document, ensure_ascii=False), {}) == document


@given(
    document=st.dictionaries(st.text(), JSON), comments=st.lists(COMMENTS, min_size=4, max_size=4)
)
def test_parse_source_comments_between_tokens_change_nothing(
    document: dict[str, Any], comments: list[str]
) -> None:
    plain = json.dumps({"first": 1, "rest": "-"})
    first, second, third, fourth = comments
    commented = plain.replace(":", f"{first}:{second}").replace(",", f"{third},{fourth}")

    assert parse_source(commented, {}) == json.loads(plain)


@given(value=st.text())
def test_parse_source_variable_in_string_arrives_unchanged(value: str) -> None:
    assert parse_source('{"a": "${X}"}', {"X": value}) == {"a": value}

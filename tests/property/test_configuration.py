"""Whatever a configuration file holds, reading it ends in a configuration or in a clear error."""

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
        [*'{}[],:"\\\n\0é\ud8001 ', "//", "/*", "*/", "${X}", "${", '"HttpPort"', "true"]
    )
).map("".join)
TOKENS = ("{", '"a"', ":", "[", "1", ",", '"//"', ",", "]", ",", '"b"', ":", "{", "}", ",", "}")
GAPS = st.sampled_from(
    ["", " ", "\n", '// a " comment ${NONE}\n', '/* another " , } */', "/**/", "/* // */"]
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configuration") / "site.json"


def load(file: Path, content: bytes) -> Configuration | ConfigurationError:
    file.write_bytes(content)
    try:
        return load_configuration([file], {"X": "x"})
    except ConfigurationError as error:
        return error


def check_outcome(outcome: Configuration | ConfigurationError) -> None:
    """Accept a configuration, and an error that can be shown and says where to look."""
    if isinstance(outcome, ConfigurationError):
        assert outcome.details.encode()
        assert "site.json: " in outcome.details or outcome.details.startswith('option "')


@given(content=st.binary())
def test_load_configuration_any_bytes_end_well(file: Path, content: bytes) -> None:
    check_outcome(load(file, content))


@given(content=PIECES)
def test_load_configuration_nearly_valid_text_ends_well(file: Path, content: str) -> None:
    check_outcome(load(file, content.encode("utf-8", "surrogatepass")))


@given(document=st.dictionaries(st.sampled_from([*OPTIONS, *SECTIONS]) | st.text(), JSON))
def test_load_configuration_any_values_end_well(file: Path, document: dict[str, Any]) -> None:
    check_outcome(load(file, json.dumps(document).encode()))


@given(name=st.sampled_from([*OPTIONS]), value=JSON)
def test_load_configuration_any_value_of_an_option_ends_well(
    file: Path, name: str, value: Any
) -> None:
    section, _, key = name.rpartition(".")
    document = {section: {key: value}} if section else {name: value}

    check_outcome(load(file, json.dumps(document).encode()))


@given(name=st.sampled_from([*OPTIONS]), text=st.text())
def test_load_configuration_any_variable_ends_well(name: str, text: str) -> None:
    variable = OPTIONS[name].environment_name

    try:
        configuration = load_configuration([], {variable: text})
    except ConfigurationError:
        return
    assert configuration.is_set(name)


@given(text=st.text())
def test_parse_source_string_keeps_its_content(text: str) -> None:
    document = {"a": text.replace("${", "$ {")}

    assert parse_source(json.dumps(document, ensure_ascii=False), {}) == document


@given(gaps=st.lists(GAPS, min_size=len(TOKENS) + 1, max_size=len(TOKENS) + 1))
def test_parse_source_comments_between_tokens_change_nothing(gaps: list[str]) -> None:
    source = gaps[0] + "".join(token + gap for token, gap in zip(TOKENS, gaps[1:], strict=True))

    assert parse_source(source, {}) == {"a": [1, "//"], "b": {}}


@given(value=st.text())
def test_parse_source_variable_in_string_arrives_unchanged(value: str) -> None:
    assert parse_source('{"a": "${X}"}', {"X": value}) == {"a": value}

"""Names of metadata and entity tags as clients may send them."""

from typing import cast

from hypothesis import example, given
from hypothesis import strategies as st

from isocenter.archive.registry import build_registry
from isocenter.config.configuration import Configuration
from isocenter.errors import BadParameterError, ParameterTypeError, UnknownItemError
from isocenter.http.entity_tags import get_expected_tag, has_entity_tag
from isocenter.http.exchange import DirectRequest, Request

REGISTRY = build_registry(Configuration.defaults().with_values({"UserMetadata": {"ward": 1024}}))
CODES = st.integers(-(2**31) + 1, 2**31 - 1)
NAMES = st.text() | st.from_regex(r"-?[0-9]+", fullmatch=True) | st.sampled_from(["ward", "Origin"])
HEADERS = st.text(st.characters(codec="latin-1"))
TAGS = st.from_regex(r"[0-9]{1,19}-[a-f0-9]{0,32}", fullmatch=True)


def build_request(header: str) -> Request:
    headers = {b"if-match": header.encode("latin-1")}
    return cast(Request, DirectRequest("/", "", headers=headers, remote_addr=""))


@given(NAMES)
@example("9" * 5000)
def test_any_name_has_a_code_of_32_bits_or_is_refused(name: str) -> None:
    try:
        code = REGISTRY.metadata.get_code(name)
    except (UnknownItemError, ParameterTypeError):
        return
    assert abs(code) < 2**31


@given(CODES)
def test_name_of_any_code_leads_back_to_it(code: int) -> None:
    for names in (REGISTRY.metadata, REGISTRY.content_types):
        assert names.get_code(names.get_name(code)) == code
        assert names.get_code(str(code)) == code


@given(HEADERS)
def test_any_expected_tag_is_read_or_refused(header: str) -> None:
    try:
        tag = get_expected_tag(build_request(header))
    except BadParameterError:
        return
    assert tag is not None
    assert tag in header
    assert '"' not in tag


@given(TAGS)
def test_tag_is_read_with_and_without_quotes(tag: str) -> None:
    for header in (tag, f'"{tag}"', f' "{tag}"  '):
        assert get_expected_tag(build_request(header)) == tag


@given(TAGS, st.lists(TAGS))
def test_tag_is_found_in_a_list_if_it_is_there(tag: str, others: list[str]) -> None:
    header = ", ".join(f'"{other}"' for other in others)
    assert has_entity_tag(header, tag) == (tag in others)
    assert has_entity_tag(f'{header}, W/"{tag}"', tag)

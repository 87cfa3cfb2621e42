"""Decoding never raises, whatever the bytes and the declared character set are."""

from hypothesis import given, settings
from hypothesis import strategies as st

from isocenter.dicom.character_sets import DEFAULT_ENCODINGS, build_character_set
from isocenter.dicom.main_tags import build_index_value, normalize_for_search

# A slow machine is no failure.
_UNTIMED = settings(deadline=None)

TERMS = ["", "ISO_IR 6", "ISO_IR 192", "GB18030", "GBK"] + [
    f"{kind} {number}"
    for kind in ("ISO_IR", "ISO 2022 IR")
    for number in (13, 58, 87, 100, 101, 109, 110, 126, 127, 138, 144, 148, 149, 159, 166, 203)
]

# Escape sequences and delimiters are drawn more often than their bytes would be.
pieces = st.lists(
    st.binary(max_size=6)
    | st.sampled_from(
        [b"\x1b", b"\x1b$B", b"\x1b(B", b"\x1b$(D", b"\x1b$)C", b"\x1b$)A", b"\x1b-F", b"\\", b"^="]
    ),
    max_size=20,
).map(b"".join)


@_UNTIMED
@given(
    pieces,
    st.lists(st.sampled_from(TERMS), max_size=3).map("\\".join) | st.text(max_size=20),
    st.sampled_from(sorted(DEFAULT_ENCODINGS)),
    st.booleans(),
)
def test_decoding_any_bytes_gives_text(
    data: bytes, term: str, encoding: str, is_person_name: bool
) -> None:
    text = build_character_set(term, encoding).decode(data, is_person_name=is_person_name)
    text.encode()


@_UNTIMED
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)), st.sampled_from(TERMS))
def test_decoding_ascii_is_the_same_in_all_sets(text: str, term: str) -> None:
    assert build_character_set(term).decode(text.encode()) == text


@_UNTIMED
@given(st.text())
def test_normalizing_twice_is_normalizing_once(text: str) -> None:
    folded = normalize_for_search(text)
    assert normalize_for_search(folded) == folded


@_UNTIMED
@given(st.text(max_size=400))
def test_index_value_fits_and_begins_the_normalized_text(text: str) -> None:
    value = build_index_value(text)
    assert len(value.encode("utf-8", "replace")) <= 256
    assert normalize_for_search(text).startswith(value)


@_UNTIMED
@given(st.text())
def test_case_does_not_count_in_searches(text: str) -> None:
    assert normalize_for_search(text.upper().lower()) == normalize_for_search(
        text.lower().upper().lower()
    )

"""Text without the words that identify."""

import pytest

from isocenter.dicom.descriptors import clean_text, split_words

_WORDS = split_words(["Müller^Hans Peter^^Dr", "St. Mary Hospital", "ID-4711", "X"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CT abdomen of MULLER, hans", "CT abdomen of ,"),
        ("HEAD with contrast", "HEAD with contrast"),
        ("seen at Mary's on 12.03.2024", "seen at 's on"),
        ("acc 1234567 T2 axial", "acc T2 axial"),
        ("4711", ""),
        ("Hans", ""),
        ("", ""),
        ("X ray", "X ray"),
    ],
)
def test_clean_text(text: str, expected: str) -> None:
    assert clean_text(text, _WORDS) == expected


def test_words_are_compared_without_case_and_accents() -> None:
    assert {"muller", "hans", "4711"} <= {word.lower() for word in _WORDS}

"""The table of transfer syntaxes."""

import pytest

from isocenter.dicom.transfer_syntaxes import (
    TRANSFER_SYNTAXES,
    is_encapsulated,
    lookup_transfer_syntax,
)

# Typed from the behaviour manual, appendix D: suffixes of 1.2.840.10008.1.2.
SUFFIXES = (
    ["", ".1", ".1.99", ".2", ".4.70", ".4.80", ".4.81", ".5", ".6.1", ".6.2"]
    + [f".4.{number}" for number in range(50, 67)]
    + [f".4.{number}" for number in range(90, 96)]
    + [f".4.{number}" for number in range(100, 109)]
    + [f".4.{number}" for number in (110, 111, 112, 201, 202, 203)]
)


def test_known_transfer_syntaxes_are_those_of_the_manual() -> None:
    assert set(TRANSFER_SYNTAXES) == {f"1.2.840.10008.1.2{suffix}" for suffix in SUFFIXES}
    assert all(uid == syntax.uid and syntax.name for uid, syntax in TRANSFER_SYNTAXES.items())


@pytest.mark.parametrize(
    ("suffix", "is_explicit", "is_big_endian", "is_deflated", "encapsulates"),
    [
        ("", False, False, False, False),
        (".1", True, False, False, False),
        (".1.99", True, False, True, False),
        (".2", True, True, False, False),
        (".4.50", True, False, False, True),
        (".4.94", True, False, False, False),
        (".4.95", True, False, True, False),
        (".5", True, False, False, True),
    ],
)
def test_transfer_syntax_is_encoded_as_the_standard_says(
    suffix: str, is_explicit: bool, is_big_endian: bool, is_deflated: bool, encapsulates: bool
) -> None:
    uid = f"1.2.840.10008.1.2{suffix}"
    syntax = TRANSFER_SYNTAXES[uid]
    assert syntax.is_explicit is is_explicit
    assert syntax.is_big_endian is is_big_endian
    assert syntax.is_deflated is is_deflated
    assert is_encapsulated(uid) is encapsulates


def test_unknown_transfer_syntax_is_none() -> None:
    assert lookup_transfer_syntax("1.2.3") is None
    assert not is_encapsulated("1.2.3")

"""Unique identifiers."""

import pytest

from isocenter.dicom.uids import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    build_uid,
    is_valid_uid,
)


def test_new_uids_are_valid_different_and_derived_from_uuids() -> None:
    uids = {build_uid() for _ in range(100)}
    assert len(uids) == 100
    assert all(uid.startswith("2.25.") and is_valid_uid(uid) for uid in uids)


def test_implementation_names_obey_the_standard() -> None:
    assert is_valid_uid(IMPLEMENTATION_CLASS_UID)
    assert len(IMPLEMENTATION_VERSION_NAME) <= 16


@pytest.mark.parametrize("text", ["", "1.", "1.02", "1..2", "a", "1.2 ", "1." + "2" * 64])
def test_uids_against_the_encoding_rules_are_invalid(text: str) -> None:
    assert not is_valid_uid(text)

"""Identifiers that follow from a key."""

import uuid

from isocenter.dicom.pseudonyms import Pseudonyms
from isocenter.dicom.uids import is_valid_uid


def test_same_key_gives_the_same_identifiers() -> None:
    one, other, stranger = Pseudonyms(b"k"), Pseudonyms(b"k"), Pseudonyms(b"x")
    assert one.replace_uid("1.2.3") == other.replace_uid("1.2.3") != stranger.replace_uid("1.2.3")
    assert one.replace_uid("1.2.3") != one.replace_uid("1.2.4")
    assert one.replace_patient_id("P") == other.replace_patient_id("P")
    assert one.replace_patient_id("P") != stranger.replace_patient_id("P")


def test_padding_does_not_count() -> None:
    pseudonyms = Pseudonyms(b"k")
    assert pseudonyms.replace_uid("1.2.3\0") == pseudonyms.replace_uid(" 1.2.3 ")
    assert pseudonyms.replace_patient_id(" 123") == pseudonyms.replace_patient_id("123\0")
    assert pseudonyms.count_shifted_days(" 123", 9999) == pseudonyms.count_shifted_days("123", 9999)


def test_identifiers_are_valid() -> None:
    pseudonyms = Pseudonyms(b"k")
    assert all(is_valid_uid(pseudonyms.replace_uid(f"1.2.{i}")) for i in range(100))
    assert uuid.UUID(pseudonyms.replace_patient_id("P")).version == 4


def test_uid_set_by_hand_is_used() -> None:
    pseudonyms = Pseudonyms(b"k")
    pseudonyms.set_uid("1.2.3", "4.5")
    assert pseudonyms.replace_uid("1.2.3\0") == "4.5"


def test_shift_of_dates_is_bounded_and_stays() -> None:
    pseudonyms = Pseudonyms(b"k")
    shifts = {pseudonyms.count_shifted_days(str(i), 10) for i in range(500)}
    assert shifts == set(range(1, 11))
    assert pseudonyms.count_shifted_days("7", 10) == Pseudonyms(b"k").count_shifted_days("7", 10)

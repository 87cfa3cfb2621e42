"""The table of storage SOP classes."""

import pytest

from isocenter.dicom.sop_classes import (
    STORAGE_SOP_CLASSES,
    is_storage_sop_class,
    lookup_sop_class_name,
)
from isocenter.dicom.uids import is_valid_uid


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", "CT Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.4", "MR Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.3", "Ultrasound Multi-frame Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "Comprehensive SR Storage"),
        ("1.2.840.10008.5.1.4.34.7", "RT Beams Delivery Instruction Storage"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF Storage"),
    ],
)
def test_storage_classes_of_the_standard_are_known(uid: str, name: str) -> None:
    assert is_storage_sop_class(uid)
    assert lookup_sop_class_name(uid) == name


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.1.1",  # Verification
        "1.2.840.10008.1.3.10",  # Media Storage Directory Storage
        "1.2.840.10008.1.20.1",  # Storage Commitment Push Model
        "1.2.840.10008.5.1.4.1.2.2.1",  # Study Root Query/Retrieve - FIND
        "1.2.3",
    ],
)
def test_other_classes_are_not_storage(uid: str) -> None:
    assert not is_storage_sop_class(uid)
    assert lookup_sop_class_name(uid) is None


def test_storage_classes_are_valid_and_complete() -> None:
    assert len(STORAGE_SOP_CLASSES) > 180
    assert all(map(is_valid_uid, STORAGE_SOP_CLASSES))

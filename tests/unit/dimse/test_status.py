import pytest

from isocenter.dimse.status import Status, StatusCategory, categorize_status


@pytest.mark.parametrize(
    ("status", "category"),
    [
        (0x0000, StatusCategory.SUCCESS),
        (0x0001, StatusCategory.WARNING),
        (0x0107, StatusCategory.WARNING),
        (0x0116, StatusCategory.WARNING),
        (0xB000, StatusCategory.WARNING),
        (0xB007, StatusCategory.WARNING),
        (0xFE00, StatusCategory.CANCEL),
        (0xFF00, StatusCategory.PENDING),
        (0xFF01, StatusCategory.PENDING),
        (0x0122, StatusCategory.FAILURE),
        (0xA700, StatusCategory.FAILURE),
        (0xC123, StatusCategory.FAILURE),
        (0x1234, StatusCategory.FAILURE),
    ],
)
def test_categorize_status_follows_annex_c(status: int, category: StatusCategory) -> None:
    assert categorize_status(status) is category


def test_status_values_are_16_bit_numbers() -> None:
    assert all(0 <= status <= 0xFFFF for status in Status)

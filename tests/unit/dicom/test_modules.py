"""The modules of the levels, against the tables of appendix A of the behavior manual."""

from isocenter.dicom.levels import Level
from isocenter.dicom.modules import MODULE_TAGS
from isocenter.dicom.tags import DEFAULT_DICTIONARY


def test_modules_have_as_many_tags_as_the_manual_counts() -> None:
    assert {level: len(tags) for level, tags in MODULE_TAGS.items()} == {
        Level.PATIENT: 24,
        Level.STUDY: 17,
        Level.SERIES: 27,
        Level.INSTANCE: 22,
    }


def test_no_tag_belongs_to_two_modules() -> None:
    assert len(frozenset().union(*MODULE_TAGS.values())) == 24 + 17 + 27 + 22


def test_largest_pixel_value_has_its_own_tag() -> None:
    # Quirk 32.
    assert 0x00280109 in MODULE_TAGS[Level.SERIES]
    assert 0x00290109 not in MODULE_TAGS[Level.SERIES]


def test_all_tags_are_in_the_dictionary() -> None:
    assert all(DEFAULT_DICTIONARY.lookup(tag) for tags in MODULE_TAGS.values() for tag in tags)

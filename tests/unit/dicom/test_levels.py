"""The four levels."""

import pytest

from isocenter.dicom.levels import Level


@pytest.mark.parametrize(
    ("level", "number", "title", "plural", "children"),
    [
        (Level.PATIENT, 0, "Patient", "patients", "Patients"),
        (Level.STUDY, 1, "Study", "studies", "Studies"),
        (Level.SERIES, 2, "Series", "series", "Series"),
        (Level.INSTANCE, 3, "Instance", "instances", "Instances"),
    ],
)
def test_level_names_are_those_of_the_rest_api(
    level: Level, number: int, title: str, plural: str, children: str
) -> None:
    assert (level.value, level.title, level.plural, level.plural_title) == (
        number,
        title,
        plural,
        children,
    )
    assert Level.lookup_plural(plural) is level
    assert Level.lookup_title(title.upper()) is level


def test_level_parent_and_child_follow_the_hierarchy() -> None:
    assert [level.parent for level in Level] == [None, Level.PATIENT, Level.STUDY, Level.SERIES]
    assert [level.child for level in Level] == [Level.STUDY, Level.SERIES, Level.INSTANCE, None]


def test_level_lookup_of_unknown_names_is_none() -> None:
    assert Level.lookup_plural("frames") is None
    assert Level.lookup_title("Frame") is None

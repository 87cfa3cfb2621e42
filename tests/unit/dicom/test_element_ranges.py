"""Many ranges of elements: the index finds what trying each of them would find."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from isocenter.dicom.dictionary import Definition
from isocenter.dicom.element_ranges import ElementRange, RangeIndex
from isocenter.dicom.tags import TagDictionary

CREATORS = st.sampled_from([None, "A", "B"])


@st.composite
def build_ranges(draw: st.DrawFn, last: int) -> range:
    start = draw(st.integers(0, last))
    return range(start, draw(st.integers(start, last)) + 1, draw(st.sampled_from([1, 2])))


RANGES = st.lists(
    st.builds(
        ElementRange,
        build_ranges(12),
        st.one_of(build_ranges(12), build_ranges(0x210)),
        st.integers(0, 1000).map(lambda number: Definition("LO", "1", f"Name{number}")),
        CREATORS,
    ),
    max_size=8,
)
TAGS = st.lists(
    st.tuples(st.integers(0, 13), st.one_of(st.integers(0, 13), st.integers(0, 0x220)), CREATORS),
    min_size=1,
    max_size=20,
)


def try_each(
    ranges: Sequence[ElementRange], group: int, element: int, creator: str | None
) -> Definition | None:
    for one in ranges:
        is_of_creator = one.creator in (None, creator)
        numbers = {element} if one.creator is None else {element, element & 0xFF}
        if is_of_creator and group in one.groups and numbers & set(one.elements):
            return one.definition
    return None


@given(RANGES, TAGS)
def test_index_finds_the_first_range_that_holds_an_element(
    ranges: list[ElementRange], tags: list[tuple[int, int, str | None]]
) -> None:
    index = RangeIndex(ranges)
    for group, element, creator in tags:
        expected = try_each(ranges, group, element, creator)
        assert index.lookup(group << 16 | element, creator) == expected


class CountingRange:
    """Elements 00 to 1F; counts how often it is asked."""

    start, stop = 0, 0x20

    def __init__(self) -> None:
        self.count = 0

    def __contains__(self, number: int) -> bool:
        self.count += 1
        return self.start <= number < self.stop


def test_unknown_elements_do_not_try_each_range() -> None:
    elements = CountingRange()
    definition = Definition("LO", "1", "Name")
    ranges = [
        ElementRange(range(group, group + 1), elements, definition, "A")  # type: ignore[arg-type]
        for group in range(0x11, 0x811, 2)
    ] * 2
    dictionary = TagDictionary(ranges)
    for group in range(0x11, 0x1011, 2):
        for element in range(0x1000, 0x10FF, 17):
            found = dictionary.lookup(group << 16 | element, "A")
            assert (found is not None) == (group < 0x811 and element < 0x1020)
    assert elements.count < 20 * len(ranges)

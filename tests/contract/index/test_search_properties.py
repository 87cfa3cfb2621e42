"""SQL finds exactly what the tests of `dicom.matching` let pass, whatever texts are compared."""

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.described import MAIN_TAGS, build_described
from tests.support.instances import IndexCase, store

from isocenter.dicom.levels import Level
from isocenter.dicom.matching import build_matcher
from isocenter.dicom.query import Criterion, Query, parse_criterion
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.errors import BadParameterError
from isocenter.index.searching import count_resources, find_public_ids

# Letters that fold to others, to several, or to none; characters that SQL, JSON or patterns treat
# specially; the ends of the planes of Unicode.
PIECES = (
    *("a", "A", "k", "\u212a", "\u00e4", "\u00c4", "a\u0308", "\u00df", "\u1e9e", "\ufb01"),
    *("\u0130", "\u0131", "\u03c2", "\u03a3", "\u00c5", "\u212b", "\u0416", "\u0451"),
    *("\u5c71", "\u7530", "\uac00", "\u1100", "\u1161", "\uff76\uff9e", "\u304b", "\u3099"),
    *("\U0001f600", "\u200d", "\u0301", "\ud7ff", "\ue000", "\U0010ffff", "\u3000", "\u00a0"),
    *("\x7f", "\x1b", "\t", "\n", " ", " ", "%", "_", "!", "[", "]", "{", "}", "'", '"', "\\"),
    *("=", "^", "-", "*", "?", "\uff05", "\uff0a", "\uff1f", "\uff11", "\u00b2", "0", "1", "9"),
    *("ab", "20200101", "b"),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
PATTERNS = st.lists(st.sampled_from((*PIECES, "*", "?", "\\")), max_size=6).map("".join)

PATIENT_TAGS = (0x00100010, 0x00100030, 0x00101000)  # PN, DA, LO
STUDY_TAGS = (0x00080020, 0x00081030, 0x00080090)  # DA, LO, PN
SERIES_TAGS = (0x00080060, 0x0008103E, 0x00081070, 0x00200037)  # CS, LO, PN, DS
INSTANCE_TAGS = (0x00080012, 0x00200013, 0x00204000)  # DA, IS, LT
TAGS = {
    Level.PATIENT: PATIENT_TAGS,
    Level.STUDY: STUDY_TAGS,
    Level.SERIES: SERIES_TAGS,
    Level.INSTANCE: INSTANCE_TAGS,
}
IDENTIFIERS = {
    Level.PATIENT: 0x00100020,
    Level.STUDY: 0x0020000D,
    Level.SERIES: 0x0020000E,
    Level.INSTANCE: 0x00080018,
}
MODALITY, MODALITIES_IN_STUDY = 0x00080060, 0x00080061


def draw_values(draw: st.DrawFn, level: Level) -> dict[int, str]:
    return {tag: draw(TEXTS) for tag in TAGS[level] if draw(st.booleans())}


@st.composite
def archives(draw: st.DrawFn) -> list[dict[int, str]]:
    """Draw the values of instances: two of each series, two series of each study, and so on."""
    found: list[dict[int, str]] = []

    def descend(level: Level, path: str, above: dict[int, str]) -> None:
        for number in range(draw(st.integers(1, 2))):
            own = f"{path}.{number}"
            values = {**above, **draw_values(draw, level), IDENTIFIERS[level]: own}
            if level is Level.INSTANCE:
                found.append(values)
            else:
                descend(Level(level + 1), own, values)

    descend(Level.PATIENT, "1", {})
    return found


@st.composite
def patterns(draw: st.DrawFn, known: list[str]) -> str:
    """Draw any pattern, or one that is near to some value."""
    if draw(st.integers(0, 5)) == 0:
        return draw(PATTERNS)
    text = draw(st.sampled_from(known))
    for _ in range(draw(st.integers(0, 2))):
        place, length = draw(st.integers(0, len(text))), draw(st.integers(0, 2))
        inserted = draw(st.sampled_from(("", "*", "*", "?", "\\", "-", " ", "a")))
        text = text[:place] + inserted + text[place + length :]
    forms = (text, text.upper(), text.lower(), text.casefold())
    return draw(st.sampled_from(forms))


@st.composite
def criteria(draw: st.DrawFn, archive: list[dict[int, str]]) -> Criterion:
    tags = sorted({tag for values in archive for tag in values})
    tag = draw(st.sampled_from([*tags, MODALITIES_IN_STUDY]))
    source = MODALITY if tag == MODALITIES_IN_STUDY else tag
    text = draw(patterns([values[source] for values in archive if source in values] or ["CT"]))
    vr = DEFAULT_DICTIONARY.lookup_vr(tag)
    is_case_sensitive = draw(st.booleans())
    try:
        return parse_criterion(tag, vr, text, is_case_sensitive=is_case_sensitive)
    except BadParameterError:
        text = text.replace("*", "").replace("?", "")
        return parse_criterion(tag, vr, text, is_case_sensitive=is_case_sensitive)


@dataclass(frozen=True)
class Resource:
    """A resource with the values of all instances at and below it."""

    public_id: str
    path: tuple[str, ...]
    instances: tuple[dict[int, str], ...]


def list_resources(archive: list[dict[int, str]], level: Level) -> list[Resource]:
    by_path: dict[tuple[str, ...], list[dict[int, str]]] = {}
    for values in archive:
        path = tuple(values[IDENTIFIERS[at]] for at in Level if at <= level)
        by_path.setdefault(path, []).append(values)
    return [
        Resource(build_described(instances[0]).public_ids[level], path, tuple(instances))
        for path, instances in by_path.items()
    ]


def is_expected(resource: Resource, criterion: Criterion, archive: list[dict[int, str]]) -> bool:
    """Tell by the matcher alone whether a resource fulfils a criterion."""
    matches = build_matcher(criterion)
    if criterion.tag == MODALITIES_IN_STUDY:
        study = resource.instances[0][IDENTIFIERS[Level.STUDY]]
        instances = [
            values
            for values in (*archive, *resource.instances)
            if values in resource.instances or values[IDENTIFIERS[Level.STUDY]] == study
        ]
        if len(resource.path) == 1:
            instances = list(resource.instances)
        return any(matches(values.get(MODALITY)) for values in instances)
    return any(matches(values.get(criterion.tag)) for values in resource.instances)


def refill(index: IndexCase, archive: list[dict[int, str]]) -> None:
    index.sql("DELETE FROM changes")
    index.sql("DELETE FROM search")
    index.sql("DELETE FROM attachments")
    index.sql("DELETE FROM resources")
    store(index.database, *(build_described(values) for values in archive))


def count(index: IndexCase, query: Query) -> int:
    return index.database.read(lambda tx: count_resources(tx, query, MAIN_TAGS, check=lambda: None))


def run(index: IndexCase, query: Query) -> list[str]:
    return index.database.read(lambda tx: find_public_ids(tx, query, MAIN_TAGS, check=lambda: None))


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_search_finds_what_the_matcher_lets_pass(index: IndexCase, data: st.DataObject) -> None:
    archive = data.draw(archives())
    refill(index, archive)
    for number in range(8):
        wanted = data.draw(st.lists(criteria(archive), min_size=1, max_size=2))
        level = Level(number % len(Level))
        query = Query(level, tuple(wanted))
        expected = sorted(
            resource.public_id
            for resource in list_resources(archive, level)
            if all(is_expected(resource, criterion, archive) for criterion in wanted)
        )
        assert run(index, query) == expected
        assert count(index, query) == len(expected)

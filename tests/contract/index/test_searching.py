"""Searches of the index, on both databases: what is found, in which order, with one statement."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.support.described import MAIN_TAGS, build_described
from tests.support.instances import NOON, CountingTransaction, IndexCase, store

from isocenter.dicom.levels import Level
from isocenter.dicom.query import (
    Criterion,
    LabelConstraint,
    LabelFilter,
    MetadataCriterion,
    OrderKey,
    OrderSource,
    OrderType,
    Query,
    parse_criterion,
    parse_test,
)
from isocenter.dicom.tags import DEFAULT_DICTIONARY, parse_tag
from isocenter.errors import BadRequestError, DeadlineExceededError
from isocenter.index import postgresql, sqlite
from isocenter.index.relatives import find_samples
from isocenter.index.searching import (
    count_resources,
    find_public_ids,
    find_rows,
    list_public_ids_of,
)
from isocenter.index.sql_builder import list_file_criteria

PATIENT_ID, STUDY_UID, SERIES_UID, INSTANCE_UID = 0x00100020, 0x0020000D, 0x0020000E, 0x00080018
CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
USER_METADATA = 1024
LAST_UPDATE = 7

# Patient, study, series and instance, and their tags. A patient with two studies, and others.
Row = tuple[str, Mapping[str, str]]
ARCHIVE: Sequence[Row] = (
    (
        "p1/t1/r1/i1",
        {
            "PatientName": "Doe^Jane",
            "PatientBirthDate": "19700101",
            "StudyDate": "20240101",
            "StudyDescription": "50%_a[b]c!",
            "AccessionNumber": "A10",
            "Modality": "CT",
            "SeriesNumber": "2",
            "InstanceNumber": "1",
            "InstanceCreationDate": "20240101",
        },
    ),
    ("p1/t1/r1/i2", {"InstanceNumber": " 2", "ImageComments": "Gro\u00df"}),
    ("p1/t1/r2/i3", {"Modality": "MR", "SeriesNumber": "10"}),
    (
        "p1/t2/r3/i4",
        {
            "PatientName": "Doe^Jane",
            "StudyDate": "20240601",
            "StudyDescription": "",
            "AccessionNumber": "A9",
            "Modality": "CT",
            "SeriesNumber": "1.5",
        },
    ),
    (
        "p2/t3/r4/i5",
        {
            "PatientName": "M\u00dcLLER^J\u00f6rg=\u5c71\u7530^\u592a\u90ce",
            "AccessionNumber": "b",
            "Modality": "US",
            "OperatorsName": "Roe^R\\Low^L",
            "SeriesNumber": "-3e0",
        },
    ),
    ("p3/t4/r5/i6", {"PatientName": "\u0391\u03bb\u03c6\u03b1", "SeriesNumber": "none"}),
)


def build(path: str, tags: Mapping[str, str], number: int) -> Any:
    names = path.split("/")
    values = dict(zip((PATIENT_ID, STUDY_UID, SERIES_UID, INSTANCE_UID), names, strict=True))
    values |= {parse_tag(name): text for name, text in tags.items()}
    return build_described(
        values, sop_class_uid=SR if path.endswith("i3") else CT, stored_at=NOON + 60 * number
    )


NAMES = {
    public_id: name
    for number, (path, tags) in enumerate(ARCHIVE)
    for name, public_id in zip(path.split("/"), build(path, tags, number).public_ids, strict=True)
}
PUBLIC_IDS = {name: public_id for public_id, name in NAMES.items()}


@pytest.fixture
def filled(index: IndexCase) -> IndexCase:
    for number, (path, tags) in enumerate(ARCHIVE):
        store(index.database, build(path, tags, number))
    return index


def get_row(index: IndexCase, name: str) -> int:
    """Find the row of a resource."""
    public_id = PUBLIC_IDS[name]
    statement = f"SELECT internal_id FROM resources WHERE public_id = '{public_id}'"  # noqa: S608
    found = index.sql(statement)
    return int(found[0][0])


def criterion(name: str, text: str, *, is_case_sensitive: bool = False) -> Criterion:
    tag = parse_tag(name)
    vr = DEFAULT_DICTIONARY.lookup_vr(tag)
    return parse_criterion(tag, vr, text, is_case_sensitive=is_case_sensitive)


def find(index: IndexCase, query: Query) -> list[str]:
    def run(tx: Any) -> list[str]:
        counting = CountingTransaction(tx)
        found = find_public_ids(counting, query, MAIN_TAGS, check=lambda: None)
        assert counting.count == 1
        return found

    return [NAMES[public_id] for public_id in index.database.read(run)]


def count(index: IndexCase, query: Query) -> int:
    return index.database.read(lambda tx: count_resources(tx, query, MAIN_TAGS, check=lambda: None))


CASES: tuple[tuple[Level, Mapping[str, str], set[str]], ...] = (
    (Level.PATIENT, {}, {"p1", "p2", "p3"}),
    (Level.PATIENT, {"PatientName": ""}, {"p1", "p2", "p3"}),
    (Level.PATIENT, {"PatientName": "doe*"}, {"p1"}),
    (Level.PATIENT, {"PatientName": "muller*"}, {"p2"}),
    (Level.PATIENT, {"PatientName": "M?LLER^JORG*"}, {"p2"}),
    (Level.PATIENT, {"PatientName": "\u5c71\u7530*"}, {"p2"}),
    (Level.PATIENT, {"PatientName": "*\u592a?"}, {"p2"}),
    (Level.PATIENT, {"PatientName": "\u0391\u039b\u03a6*"}, {"p3"}),
    (Level.PATIENT, {"PatientName": "doe*\\*\u03c6*"}, {"p1", "p3"}),
    (Level.PATIENT, {"PatientBirthDate": "1970-"}, {"p1"}),
    (Level.PATIENT, {"PatientID": "P1\\P3\\nobody"}, {"p1", "p3"}),
    # Study: its own tags, the patient's, those of series and of instances.
    (Level.STUDY, {"PatientName": "Doe^Jane"}, {"t1", "t2"}),
    (Level.STUDY, {"StudyDate": "20240101-20240301"}, {"t1"}),
    (Level.STUDY, {"StudyDate": "-20240301"}, {"t1"}),
    (Level.STUDY, {"StudyDate": "20240601-"}, {"t2"}),
    (Level.STUDY, {"StudyDate": "-"}, {"t1", "t2", "t3", "t4"}),
    (Level.STUDY, {"StudyDate": "20240101\\20240601"}, {"t1", "t2"}),
    (Level.STUDY, {"StudyDescription": "*"}, {"t1", "t2"}),
    (Level.STUDY, {"StudyDescription": "50%*"}, {"t1"}),
    (Level.STUDY, {"StudyDescription": "5?%_A[B]C!"}, {"t1"}),
    (Level.STUDY, {"StudyDescription": "*[b]*"}, {"t1"}),
    (Level.STUDY, {"StudyDescription": "5_*"}, set()),
    (Level.STUDY, {"StudyDescription": "*!"}, {"t1"}),
    (Level.STUDY, {"StudyDescription": "' OR 1=1 --"}, set()),
    (Level.STUDY, {"AccessionNumber": "a10 "}, {"t1"}),
    (Level.STUDY, {"Modality": "CT"}, {"t1", "t2"}),
    (Level.STUDY, {"Modality": "MR"}, {"t1"}),
    (Level.STUDY, {"InstanceNumber": "2"}, {"t1"}),
    (Level.STUDY, {"ModalitiesInStudy": "mr\\us"}, {"t1", "t3"}),
    (Level.STUDY, {"SOPClassesInStudy": SR}, {"t1"}),
    (Level.STUDY, {"SOPClassUID": CT}, {"t1", "t2", "t3", "t4"}),
    (Level.STUDY, {"SOPInstanceUID": "i3"}, {"t1"}),
    (Level.STUDY, {"InstanceAvailability": "online"}, {"t1", "t2", "t3", "t4"}),
    (Level.STUDY, {"InstanceAvailability": "NEARLINE"}, set()),
    (Level.STUDY, {"NumberOfStudyRelatedInstances": "3"}, {"t1"}),
    (Level.STUDY, {"NumberOfStudyRelatedInstances": "03"}, set()),
    (Level.STUDY, {"NumberOfStudyRelatedSeries": "1\\7"}, {"t2", "t3", "t4"}),
    (Level.STUDY, {"NumberOfPatientRelatedStudies": "2"}, {"t1", "t2"}),
    (Level.STUDY, {"NumberOfSeriesRelatedInstances": "2"}, {"t1"}),
    (Level.PATIENT, {"NumberOfPatientRelatedInstances": "4"}, {"p1"}),
    (Level.PATIENT, {"ModalitiesInStudy": "MR"}, {"p1"}),
    # Series and instances: tags of the levels above.
    (Level.SERIES, {"PatientID": "p1"}, {"r1", "r2", "r3"}),
    (Level.SERIES, {"PatientName": "doe*", "Modality": "CT"}, {"r1", "r3"}),
    (Level.SERIES, {"ModalitiesInStudy": "MR"}, {"r1", "r2"}),
    (Level.SERIES, {"OperatorsName": "low^l"}, {"r4"}),
    (Level.SERIES, {"OperatorsName": "Roe*"}, {"r4"}),
    (Level.SERIES, {"SOPClassesInStudy": SR}, {"r1", "r2"}),
    (Level.SERIES, {"RequestAttributesSequence": "x"}, set()),
    (Level.SERIES, {"NumberOfStudyRelatedSeries": "2"}, {"r1", "r2"}),
    (Level.INSTANCE, {"PatientID": "p1", "Modality": "CT"}, {"i1", "i2", "i4"}),
    (Level.INSTANCE, {"StudyInstanceUID": "t1"}, {"i1", "i2", "i3"}),
    (Level.INSTANCE, {"InstanceNumber": "1\\2"}, {"i1", "i2"}),
    (Level.INSTANCE, {"ImageComments": "gross"}, {"i2"}),
    (Level.INSTANCE, {"ImageComments": "GRO*"}, {"i2"}),
    (Level.INSTANCE, {"ImageComments": "*"}, {"i2"}),
    (Level.INSTANCE, {"InstanceCreationDate": "2023-2025"}, {"i1"}),
    (Level.INSTANCE, {"SOPClassUID": SR}, {"i3"}),
    (Level.INSTANCE, {"SOPInstanceUID": "I1\\I6\\i7"}, {"i1", "i6"}),
    (Level.INSTANCE, {"ModalitiesInStudy": "MR"}, {"i1", "i2", "i3"}),
    (Level.INSTANCE, {"NumberOfSeriesRelatedInstances": "2"}, {"i1", "i2"}),
)


def test_search_finds_exactly_what_matches(filled: IndexCase) -> None:
    results = {}
    for number, (level, wanted, _) in enumerate(CASES):
        query = Query(level, tuple(criterion(name, text) for name, text in wanted.items()))
        found = find(filled, query)
        assert found == sorted(found, key=PUBLIC_IDS.__getitem__)
        assert count(filled, query) == len(found)
        results[number] = (level, wanted, set(found))

    assert results == dict(enumerate(CASES))


def test_search_that_distinguishes_case_compares_the_text_itself(filled: IndexCase) -> None:
    def search(level: Level, name: str, text: str) -> set[str]:
        wanted = criterion(name, text, is_case_sensitive=True)
        return set(find(filled, Query(level, (wanted,))))

    assert search(Level.STUDY, "PatientName", "Doe*") == {"t1", "t2"}
    assert search(Level.STUDY, "PatientName", "doe*") == set()
    assert search(Level.STUDY, "PatientName", "M?LLER*") == {"t3"}
    assert search(Level.STUDY, "PatientName", "MULLER*") == set()
    assert search(Level.INSTANCE, "PatientName", "Doe^Jane") == {"i1", "i2", "i3", "i4"}
    assert search(Level.STUDY, "Modality", "CT") == {"t1", "t2"}
    assert search(Level.STUDY, "Modality", "ct") == set()
    assert search(Level.INSTANCE, "ImageComments", "Gro?") == {"i2"}
    assert search(Level.INSTANCE, "ImageComments", "gro*") == set()


def set_labels(index: IndexCase) -> None:
    for name, label in (("t1", "a"), ("t1", "b"), ("t2", "a"), ("r1", "a"), ("t3", "B")):
        row = get_row(index, name)
        index.sql(f"INSERT INTO labels VALUES ({row}, '{label}')")  # noqa: S608


@pytest.mark.parametrize(
    ("labels", "constraint", "expected"),
    [
        ("", LabelConstraint.ALL, {"t1", "t2", "t3", "t4"}),
        ("", LabelConstraint.ANY, {"t1", "t2", "t3", "t4"}),
        ("", LabelConstraint.NONE, {"t4"}),
        ("a", LabelConstraint.ALL, {"t1", "t2"}),
        ("ab", LabelConstraint.ALL, {"t1"}),
        ("abc", LabelConstraint.ALL, set()),
        ("bB", LabelConstraint.ANY, {"t1", "t3"}),
        ("bB", LabelConstraint.NONE, {"t2", "t4"}),
        ("'", LabelConstraint.ANY, set()),
    ],
)
def test_search_by_labels_follows_the_constraint(
    filled: IndexCase, labels: str, constraint: LabelConstraint, expected: set[str]
) -> None:
    set_labels(filled)
    wanted = LabelFilter(frozenset(labels), constraint)

    assert set(find(filled, Query(Level.STUDY, labels=wanted))) == expected
    both = Query(Level.STUDY, (criterion("PatientID", "p1"),), labels=wanted)
    assert set(find(filled, both)) == expected & {"t1", "t2"}


def write_metadata(index: IndexCase, name: str, value: str, *, code: int = USER_METADATA) -> None:
    row = get_row(index, name)
    index.sql(f"INSERT INTO metadata VALUES ({row}, {code}, '{value}', 0)")  # noqa: S608


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (USER_METADATA, "", {"t1", "t2", "t3", "t4"}),
        (USER_METADATA, "*", {"t1", "t2", "t3"}),
        (USER_METADATA, "OPEN", {"t1"}),
        (USER_METADATA, "open\\waiting", {"t1", "t2"}),
        (USER_METADATA, "op?n", {"t1"}),
        (USER_METADATA, "*\\_", {"t1", "t2", "t3"}),
        (USER_METADATA, "\u00dcBER*", {"t3"}),
        (USER_METADATA, "?ber %", {"t3"}),
        (LAST_UPDATE, "20231114T2213*", set()),
        (LAST_UPDATE, "20231114t2216*", {"t2"}),
    ],
)
def test_search_by_metadata_sees_what_was_written_last(
    filled: IndexCase, code: int, text: str, expected: set[str]
) -> None:
    for name, value in (("t1", "Open"), ("t2", "waiting"), ("t3", "\u00fcber %")):
        write_metadata(filled, name, value)
    query = Query(Level.STUDY, metadata=(MetadataCriterion(code, parse_test(text)),))

    assert set(find(filled, query)) == expected
    assert count(filled, query) == len(expected)


def test_search_by_stored_metadata_is_overridden_by_written_one(filled: IndexCase) -> None:
    sop_class = 10
    query = Query(Level.INSTANCE, metadata=(MetadataCriterion(sop_class, parse_test(SR)),))
    assert find(filled, query) == ["i3"]

    write_metadata(filled, "i3", "other", code=sop_class)

    assert find(filled, query) == []


@pytest.mark.parametrize(
    ("level", "ancestors", "expected"),
    [
        (Level.STUDY, {Level.PATIENT: "p1"}, {"t1", "t2"}),
        (Level.SERIES, {Level.PATIENT: "p1"}, {"r1", "r2", "r3"}),
        (Level.SERIES, {Level.PATIENT: "p1", Level.STUDY: "t2"}, {"r3"}),
        (Level.INSTANCE, {Level.PATIENT: "p1", Level.SERIES: "r1"}, {"i1", "i2"}),
        (Level.INSTANCE, {Level.PATIENT: "p1"}, {"i1", "i2", "i3", "i4"}),
        (Level.INSTANCE, {Level.PATIENT: "p2", Level.SERIES: "r1"}, set()),
        (Level.INSTANCE, {Level.STUDY: "p1"}, set()),
    ],
)
def test_search_below_ancestors_honors_all_of_them(
    filled: IndexCase, level: Level, ancestors: Mapping[Level, str], expected: set[str]
) -> None:
    named = {at: PUBLIC_IDS[name] for at, name in ancestors.items()}

    assert set(find(filled, Query(level, ancestors=named))) == expected


def order_by(
    name: str, order_type: OrderType = OrderType.TEXT, *, is_descending: bool = False
) -> OrderKey:
    return OrderKey(OrderSource.TAG, parse_tag(name), order_type, is_descending)


@pytest.mark.parametrize(
    ("level", "key", "first"),
    [
        # By bytes: capital letters first; those without the tag follow at the end.
        (Level.STUDY, order_by("AccessionNumber"), ["t1", "t2", "t3", "t4"]),
        (Level.STUDY, order_by("AccessionNumber", is_descending=True), ["t3", "t2", "t1", "t4"]),
        (Level.STUDY, order_by("StudyDescription"), ["t2", "t1"]),
        (Level.STUDY, order_by("StudyDescription", is_descending=True), ["t1", "t2"]),
        (Level.SERIES, order_by("SeriesNumber"), ["r4", "r3", "r2", "r1", "r5"]),
        (Level.SERIES, order_by("SeriesNumber", OrderType.INTEGER), ["r4", "r3", "r1", "r2", "r5"]),
        (
            Level.SERIES,
            order_by("SeriesNumber", OrderType.FLOAT, is_descending=True),
            ["r2", "r1", "r3", "r4", "r5"],
        ),
        (Level.SERIES, order_by("AccessionNumber"), ["r1", "r2", "r3", "r4", "r5"]),
        (Level.INSTANCE, order_by("InstanceNumber", OrderType.INTEGER), ["i1", "i2"]),
        (
            Level.STUDY,
            OrderKey(OrderSource.METADATA, LAST_UPDATE, is_descending=True),
            ["t4", "t3", "t2", "t1"],
        ),
        (Level.STUDY, OrderKey(OrderSource.METADATA, USER_METADATA), ["t3", "t1"]),
        (
            Level.STUDY,
            OrderKey(OrderSource.METADATA, USER_METADATA, OrderType.FLOAT),
            ["t1", "t3"],
        ),
        (
            Level.STUDY,
            OrderKey(OrderSource.METADATA, USER_METADATA, OrderType.INTEGER, is_descending=True),
            ["t3", "t1"],
        ),
    ],
)
def test_search_in_an_order_puts_what_lacks_the_key_last(
    filled: IndexCase, level: Level, key: OrderKey, first: list[str]
) -> None:
    write_metadata(filled, "t1", "9.5")
    write_metadata(filled, "t3", "10")
    # A second key, as the identifiers of equals are not in the order of the names here.
    second = "SOPInstanceUID" if level is Level.INSTANCE else "StudyInstanceUID"

    found = find(filled, Query(level, order=(key, order_by(second))))

    assert found[: len(first)] == first
    assert len(found) == count(filled, Query(level))


@pytest.mark.parametrize("order_type", [OrderType.INTEGER, OrderType.FLOAT])
def test_search_in_the_order_of_numbers_reads_any_text(
    filled: IndexCase, order_type: OrderType
) -> None:
    key = OrderKey(OrderSource.METADATA, USER_METADATA, order_type)
    write_metadata(filled, "t2", "5")
    least = {}
    texts = ("1e99", "9" * 31, "-", "+", ".", "1e", "1e400", "0x10", "\u0661", "1\n", "", " 1 ")
    for text in texts:
        filled.sql("DELETE FROM metadata WHERE value <> '5'")
        write_metadata(filled, "t1", text)
        least[text] = find(filled, Query(Level.STUDY, order=(key,)))[0]

    assert {text for text, name in least.items() if name == "t1"} == {" 1 "}


@pytest.mark.parametrize(
    ("level", "key", "first"),
    [
        # Of several values below, that which comes first in the order.
        (Level.PATIENT, order_by("SeriesNumber", OrderType.FLOAT), ["p2", "p1", "p3"]),
        (Level.PATIENT, order_by("SeriesNumber"), ["p2", "p1", "p3"]),
        (Level.STUDY, order_by("SeriesNumber", OrderType.INTEGER), ["t3", "t2", "t1", "t4"]),
        (
            Level.STUDY,
            order_by("SeriesNumber", OrderType.FLOAT, is_descending=True),
            ["t1", "t2", "t3", "t4"],
        ),
        (Level.STUDY, order_by("Modality"), ["t1", "t2", "t3", "t4"]),
        (Level.STUDY, order_by("Modality", is_descending=True), ["t3", "t1", "t2", "t4"]),
        (Level.STUDY, order_by("ModalitiesInStudy", is_descending=True), ["t3", "t1", "t2", "t4"]),
        # Those of the study, not of the series alone.
        (Level.SERIES, order_by("ModalitiesInStudy", is_descending=True), ["r4", "r1", "r2", "r3"]),
        (Level.SERIES, order_by("SOPClassUID", is_descending=True), ["r2", "r1", "r3", "r4", "r5"]),
        (Level.STUDY, order_by("InstanceNumber", OrderType.INTEGER), ["t1", "t2", "t3", "t4"]),
    ],
)
def test_search_in_the_order_of_what_is_below_takes_the_first_value(
    filled: IndexCase, level: Level, key: OrderKey, first: list[str]
) -> None:
    identifiers = {Level.PATIENT: "PatientID", Level.SERIES: "SeriesInstanceUID"}
    last = order_by(identifiers.get(level, "StudyInstanceUID"))

    found = find(filled, Query(level, order=(key, last)))

    assert found[: len(first)] == first
    assert len(found) == count(filled, Query(level))


def test_search_in_the_order_of_what_is_not_indexed_is_refused(filled: IndexCase) -> None:
    name = "Rows"
    with pytest.raises(BadRequestError):
        find(filled, Query(Level.STUDY, order=(order_by(name),)))


@pytest.mark.parametrize(
    "criteria",
    [
        (),
        (criterion("PatientID", "*"),),
        (criterion("PatientName", "*e*", is_case_sensitive=True),),
    ],
)
def test_search_for_a_part_skips_and_limits(
    filled: IndexCase, criteria: tuple[Criterion, ...]
) -> None:
    whole = find(filled, Query(Level.INSTANCE, criteria))
    assert len(whole) >= 4

    for since, limit in ((0, 2), (1, 2), (3, None), (0, 0), (100, 1), (2**62, None)):
        stop = None if limit is None else since + limit
        query = Query(Level.INSTANCE, criteria, since=since, limit=limit)
        assert find(filled, query) == whole[since:stop]
        assert count(filled, query) == len(whole)


def test_search_with_the_most_of_everything_is_answered(filled: IndexCase) -> None:
    patterns = "\\".join(["*x?y*", *(f"d*{number}*" for number in range(98)), "Doe^*"])
    values = "\\".join(["p1", *(f"{number}" for number in range(9_999))])
    names = ("PatientName", "StudyDescription", "SeriesDescription", "ImageComments")
    wanted = [
        *(criterion("PatientName", patterns) for _ in range(20)),
        *(criterion("PatientID", values) for _ in range(10)),
        *(criterion(name, "") for name in names),
        *(criterion("Modality", "C*", is_case_sensitive=True) for _ in range(20)),
    ]

    assert set(find(filled, Query(Level.STUDY, tuple(wanted)))) == {"t1", "t2"}


def test_search_by_the_beginning_of_a_long_value_finds_it(index: IndexCase) -> None:
    store(index.database, build("p1/t1/r1/i1", {"StudyDescription": "x" * 300 + "END"}, 0))

    def search(text: str) -> list[str]:
        return find(index, Query(Level.STUDY, (criterion("StudyDescription", text),)))

    assert search("x" * 250 + "*") == ["t1"]
    assert search("X" * 300 + "END") == ["t1"]
    # The index holds 256 bytes (docs/architecture.md, limits).
    assert search("*END") == []


def test_search_stops_when_there_is_no_time_left(filled: IndexCase) -> None:
    def fail() -> None:
        raise DeadlineExceededError

    with pytest.raises(DeadlineExceededError):
        filled.database.read(lambda tx: find_rows(tx, Query(Level.STUDY), MAIN_TAGS, check=fail))
    assert find(filled, Query(Level.PATIENT, (criterion("PatientID", "p1"),))) == ["p1"]


ENDLESS = (
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000000) "
    "SELECT COUNT(*) FROM n"
)


def test_statement_that_takes_too_long_is_ended_by_the_database(
    filled: IndexCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUILT_TIMEOUT_S", 0)
    monkeypatch.setattr(postgresql, "_SET_TIMEOUT", b"SET LOCAL statement_timeout = 1")

    with pytest.raises(DeadlineExceededError):
        filled.database.read(lambda tx: list(tx.iter_built(ENDLESS, {})))

    monkeypatch.undo()
    assert find(filled, Query(Level.PATIENT, (criterion("PatientID", "p1"),))) == ["p1"]


def test_search_that_ends_early_leaves_the_transaction_usable(filled: IndexCase) -> None:
    wanted = criterion("PatientName", "*", is_case_sensitive=True)
    exact = criterion("PatientName", "*^*", is_case_sensitive=True)
    query = Query(Level.INSTANCE, (wanted, exact), limit=1)

    def search(tx: Any) -> list[str]:
        rows = find_rows(tx, query, MAIN_TAGS, check=lambda: None)
        return list_public_ids_of(tx, rows)

    assert len(filled.database.read(search)) == 1


@pytest.mark.parametrize("level", Level)
def test_find_samples_gives_one_file_of_each_resource(filled: IndexCase, level: Level) -> None:
    def search(tx: Any) -> tuple[int, int]:
        rows = list(find_rows(tx, Query(level), MAIN_TAGS, check=lambda: None))
        return len(rows), len(find_samples(tx, level, rows))

    found, samples = filled.database.read(search)

    assert found == samples > 0


def test_list_file_criteria_names_what_the_index_lacks() -> None:
    names = ("Rows", "PatientName", "Modality", "InstanceNumber", "SOPClassUID", "0009,1001")
    computed = ("ModalitiesInStudy", "NumberOfStudyRelatedSeries", "InstanceAvailability")
    wanted = [criterion(name, "1") for name in (*names, *computed)]

    query = Query(Level.STUDY, (*wanted, criterion("Columns", "")))

    assert [c.tag for c in list_file_criteria(query, MAIN_TAGS)] == [0x00280010, 0x00091001]

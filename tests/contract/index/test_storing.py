import pytest
from tests.support.instances import NOON, IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.index.change_log import find_changes
from isocenter.index.port import Database
from isocenter.index.reading import (
    find_descendants,
    find_removals,
    get_statistics,
    lookup_dicom_attachment,
    lookup_resource,
)
from isocenter.index.records import (
    ChangeType,
    MetadataCode,
    NewInstance,
    NewResource,
    Overwrite,
    ResourceRow,
    Statistics,
    StoreResult,
)

STORED = StoreResult(is_stored=True)
REPLACED = StoreResult(is_stored=True, has_replaced=True)
REFUSED = StoreResult(is_stored=False)


def get_resource(database: Database, level: Level, public_id: str) -> ResourceRow:
    row = database.read(lambda tx: lookup_resource(tx, level, public_id))
    assert row is not None
    return row


def list_changes(database: Database) -> list[tuple[int, ChangeType, str]]:
    changes = database.read(lambda tx: find_changes(tx, since=0, until=None, limit=1000))
    return [(change.seq, change.change_type, change.public_id) for change in changes]


def get_uuid(instance: NewInstance) -> str:
    return instance.attachments[0].attachment_uuid


def test_store_first_instance_creates_four_levels(index: IndexCase) -> None:
    instance = build_new_instance("p/t/r/i", size=1000)

    results = store(index.database, instance)

    assert results == [STORED]
    assert index.database.read(get_statistics) == Statistics(1, 1, 1, 1, 500, 1000, 4)
    index.assert_consistent()


def test_store_first_instance_logs_changes_from_the_bottom(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i"))

    assert list_changes(database) == [
        (1, ChangeType.NEW_INSTANCE, "i"),
        (2, ChangeType.NEW_SERIES, "r"),
        (3, ChangeType.NEW_STUDY, "t"),
        (4, ChangeType.NEW_PATIENT, "p"),
    ]


def test_store_siblings_creates_only_missing_levels(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i1"))

    store(
        index.database,
        build_new_instance("p/t/r/i2"),
        build_new_instance("p/t/r2/i3"),
        build_new_instance("p/t2/r3/i4"),
        build_new_instance("p2/t3/r4/i5"),
    )

    changes = list_changes(index.database)[4:]
    assert [number for number, _, _ in changes] == list(range(5, 15))
    assert [public_id for _, _, public_id in changes] == (
        ["i2", "i3", "r2", "i4", "r3", "t2", "i5", "r4", "t3", "p2"]
    )
    assert get_resource(index.database, Level.PATIENT, "p").children == ["t", "t2"]
    index.assert_consistent()


def test_store_same_instance_twice_in_group_keeps_the_first(index: IndexCase) -> None:
    first, second = build_new_instance("p/t/r/i"), build_new_instance("p/t/r/i")

    results = store(index.database, first, second)

    assert results == [STORED, REFUSED]
    found = index.database.read(lambda tx: lookup_dicom_attachment(tx, "i"))
    assert found is not None
    assert found.attachment == first.attachments[0]
    index.assert_consistent()


def test_store_same_instance_twice_in_overwriting_group_keeps_the_last(index: IndexCase) -> None:
    pair = [build_new_instance("p/t/r/i", overwrite=Overwrite.ALWAYS) for _ in range(2)]

    results = store(index.database, *pair)

    assert results == [STORED, REPLACED]
    found = index.database.read(lambda tx: lookup_dicom_attachment(tx, "i"))
    assert found is not None
    assert found.attachment == pair[1].attachments[0]
    assert index.database.read(lambda tx: find_removals(tx, 10)) == [get_uuid(pair[0])]
    index.assert_consistent()


@pytest.mark.parametrize(
    ("overwrite", "md5", "expected"),
    [
        (Overwrite.NEVER, "other", REFUSED),
        (Overwrite.ALWAYS, "same", REPLACED),
        (Overwrite.IF_CHANGED, "same", REFUSED),
        (Overwrite.IF_CHANGED, "other", REPLACED),
    ],
)
def test_store_existing_instance_follows_overwrite_rule(
    index: IndexCase, overwrite: Overwrite, md5: str, expected: StoreResult
) -> None:
    old = build_new_instance("p/t/r/i", md5="same", size=100)
    new = build_new_instance("p/t/r/i", md5=md5, size=4000, overwrite=overwrite)
    store(index.database, old)

    results = store(index.database, new)

    assert results == [expected]
    kept = new if expected.is_stored else old
    found = index.database.read(lambda tx: lookup_dicom_attachment(tx, "i"))
    assert found is not None
    assert found.attachment == kept.attachments[0]
    removals = index.database.read(lambda tx: find_removals(tx, 10))
    assert removals == ([get_uuid(old)] if expected.is_stored else [])
    index.assert_consistent()


def test_store_replaced_only_child_recreates_its_ancestors(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))
    index.sql("INSERT INTO labels SELECT internal_id, 'old' FROM resources")

    store(index.database, build_new_instance("p/t/r/i", overwrite=Overwrite.ALWAYS))

    assert list_changes(index.database) == [
        (5, ChangeType.NEW_INSTANCE, "i"),
        (6, ChangeType.NEW_SERIES, "r"),
        (7, ChangeType.NEW_STUDY, "t"),
        (8, ChangeType.NEW_PATIENT, "p"),
    ]
    assert index.sql("SELECT * FROM labels") == []
    index.assert_consistent()


def test_store_replaced_child_keeps_ancestors_of_others(index: IndexCase) -> None:
    store(
        index.database,
        build_new_instance("p/t/r/i"),
        build_new_instance("p/t/r2/i2"),
    )
    index.sql("INSERT INTO labels SELECT internal_id, 'old' FROM resources")

    store(index.database, build_new_instance("p/t/r/i", overwrite=Overwrite.ALWAYS))

    new = [(kind, public_id) for number, kind, public_id in list_changes(index.database)[-2:]]
    assert new == [(ChangeType.NEW_INSTANCE, "i"), (ChangeType.NEW_SERIES, "r")]
    labeled = index.sql(
        "SELECT r.public_id FROM labels l JOIN resources r ON r.internal_id = l.resource_id"
    )
    assert {row[0] for row in labeled} == {"p", "t", "r2", "i2"}
    index.assert_consistent()


def test_store_replacement_then_sibling_in_group_is_consistent(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))

    store(
        index.database,
        build_new_instance("p/t/r/i", overwrite=Overwrite.ALWAYS),
        build_new_instance("p/t/r/i2", overwrite=Overwrite.ALWAYS),
        build_new_instance("p/t/r/i", overwrite=Overwrite.ALWAYS),
    )

    assert get_resource(index.database, Level.SERIES, "r").children == ["i", "i2"]
    index.assert_consistent()


def test_store_instance_touches_its_ancestors(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i", stored_at=NOON))
    index.sql("UPDATE resources SET is_stable = 1")

    store(index.database, build_new_instance("p/t/r2/i2", stored_at=NOON + 7))

    for level, public_id, time in (
        (Level.PATIENT, "p", NOON + 7),
        (Level.STUDY, "t", NOON + 7),
        (Level.SERIES, "r", NOON),
    ):
        row = get_resource(index.database, level, public_id)
        assert (row.last_update, row.is_stable) == (time, time == NOON)


def test_store_refused_instance_touches_nothing(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i", stored_at=NOON))
    index.sql("UPDATE resources SET is_stable = 1")

    store(index.database, build_new_instance("p/t/r/i", stored_at=NOON + 7))

    row = get_resource(index.database, Level.PATIENT, "p")
    assert (row.last_update, row.is_stable) == (NOON, True)


def test_store_row_keeps_every_column(index: IndexCase) -> None:
    row = NewResource(
        identifier="1.2.3",
        main_tags='{"Modality":"CT","SeriesDescription":"Schädel % \' \\" \N{HANGUL SYLLABLE GA}"}',
        metadata=f'{{"{MetadataCode.REMOTE_AET}":"SENDER"}}',
        search=((0x00080060, "CT"), (0x0008103E, "SCHADEL")),
        expected_instances=3,
    )
    store(index.database, build_new_instance("p/t/r/i", rows={Level.SERIES: row}))

    found = get_resource(index.database, Level.SERIES, "r")

    assert (found.main_tags, found.metadata) == (row.main_tags, row.metadata)
    assert found.expected_instances == 3
    searched = index.sql("SELECT tag, value FROM search ORDER BY tag")
    assert [tuple(pair) for pair in searched] == list(row.search)


def build_numbered(name: str, number: int | None, expected: int, **keywords: int) -> NewInstance:
    rows = {
        Level.SERIES: NewResource("R", "{}", "{}", expected_instances=expected),
        Level.INSTANCE: NewResource(name.upper(), "{}", "{}", index_in_series=number),
    }
    return build_new_instance(f"p/t/r/{name}", rows=rows, **keywords)  # type: ignore[arg-type]


def count_completions(database: Database) -> int:
    kinds = [kind for _, kind, _ in list_changes(database)]
    return kinds.count(ChangeType.COMPLETED_SERIES)


@pytest.mark.parametrize("is_grouped", [True, False])
def test_store_last_expected_instance_logs_completion_once(
    index: IndexCase, is_grouped: bool
) -> None:
    instances = [build_numbered(f"i{number}", number, 3) for number in (3, 1, 2)]

    for group in [instances] if is_grouped else [[instance] for instance in instances]:
        assert count_completions(index.database) == 0
        store(index.database, *group)
    store(index.database, *instances)

    assert list_changes(index.database)[-1][1:] == (ChangeType.COMPLETED_SERIES, "r")
    assert count_completions(index.database) == 1


def test_store_completion_keeps_count_of_the_log(index: IndexCase) -> None:
    store(index.database, *(build_numbered(f"i{number}", number, 2) for number in (1, 2)))

    numbers = [number for number, _, _ in list_changes(index.database)]

    assert numbers == list(range(1, 7))
    index.assert_consistent()


@pytest.mark.parametrize(
    "numbers",
    [(1, 2), (1, 2, 2), (1, 2, 4), (0, 1, 2), (1, 2, None), (1, 2, 3, 4), (-1, 2, 3)],
    ids=str,
)
def test_store_wrong_numbers_log_no_completion(
    database: Database, numbers: tuple[int | None, ...]
) -> None:
    # The fourth of four comes before the third, so that three are never just the right ones.
    ordered = sorted(numbers, key=lambda number: -(number or 0))

    store(database, *(build_numbered(f"i{at}", n, 3) for at, n in enumerate(ordered)))

    assert count_completions(database) == 0


def test_store_many_at_once_creates_all(index: IndexCase) -> None:
    instances = [build_new_instance(f"p/t/r{n % 3}/i{n:04}", size=10) for n in range(500)]

    results = store(index.database, *instances)

    assert results == [STORED] * 500
    found = index.database.read(lambda tx: find_descendants(tx, (Level.PATIENT, "p"), Level(3)))
    assert [public_id for _, public_id in found] == [f"i{n:04}" for n in range(500)]
    index.assert_consistent()


def test_store_failing_description_changes_nothing(index: IndexCase) -> None:
    def fail(_: Level) -> NewResource:
        message = "no description"
        raise ValueError(message)

    good = build_new_instance("p/t/r/i")
    bad = NewInstance(("p", "t", "r", "i2"), fail, good.attachments, Overwrite.NEVER, NOON)

    with pytest.raises(ValueError, match="no description"):
        store(index.database, good, bad)

    assert index.database.read(get_statistics) == Statistics(0, 0, 0, 0, 0, 0, 0)
    assert store(index.database, good) == [STORED]
    index.assert_consistent()


def test_store_unnumbered_instance_after_completion_logs_no_more(database: Database) -> None:
    store(database, *(build_numbered(f"i{number}", number, 2) for number in (1, 2)))

    store(database, build_numbered("i", None, 2))

    assert count_completions(database) == 1


def test_store_replacement_with_missing_number_completes(index: IndexCase) -> None:
    store(index.database, *(build_numbered(f"i{at}", n, 3) for at, n in enumerate((1, 2, 2))))
    assert count_completions(index.database) == 0

    store(
        index.database,
        build_numbered("i1", 2, 3, overwrite=Overwrite.ALWAYS),
        build_numbered("i2", 3, 3, overwrite=Overwrite.ALWAYS),
    )

    assert count_completions(index.database) == 1
    index.assert_consistent()

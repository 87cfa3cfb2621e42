"""The limits of storage: what is recycled, what is refused, what stays."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.instances import NOON, CountingTransaction, IndexCase, build_new_instance
from tests.support.recycling_model import Model, ModelInstance

from isocenter.dicom.levels import Level
from isocenter.errors import FullStorageError
from isocenter.index.deletion import Named, delete_resource, delete_resources
from isocenter.index.group_commit import GroupCommit
from isocenter.index.port import Database
from isocenter.index.reading import find_removals, get_statistics, list_public_ids
from isocenter.index.records import Attachment, NewInstance, Overwrite, Quota, Rules, StoreResult
from isocenter.index.recycling import (
    lookup_protection,
    make_room,
    recycle_excess,
    set_protection,
)
from isocenter.index.writing import store_instances

STORED = StoreResult(is_stored=True)
FULL = StoreResult(is_stored=False, is_full=True)
TWO_PATIENTS = Rules(Quota(maximum_patients=2))
BYTES = Rules(Quota(maximum_disk_size=1000))
REJECTING = Rules(Quota(1000, 2, is_recycling=False))


def build(path: str, size: int = 100, overwrite: Overwrite = Overwrite.NEVER) -> NewInstance:
    """Build an instance that takes a size on the disk."""
    return build_new_instance(path, size=2 * size, overwrite=overwrite)


def store(database: Database, rules: Rules, *instances: NewInstance) -> list[StoreResult]:
    return database.write(lambda tx: store_instances(tx, instances, rules))


def store_patients(database: Database, rules: Rules, names: str, size: int = 100) -> None:
    for name in names:
        store(database, rules, build(f"{name}/t{name}/r{name}/i{name}", size))


def protect(database: Database, name: str, *, is_protected: bool = True) -> bool:
    return database.write(lambda tx: set_protection(tx, name, is_protected=is_protected))


def list_patients(index: IndexCase) -> str:
    """Name the patients in the order of recycling, the protected ones last and in brackets."""
    rows = index.sql(
        "SELECT public_id, recycling_order FROM resources WHERE level = 0 "
        "ORDER BY recycling_order, public_id"
    )
    free = [row[0] for row in rows if row[1] is not None]
    kept = [row[0] for row in rows if row[1] is None]
    return "".join(free) + "".join(f"[{name}]" for name in kept)


def count_statements(database: Database, rules: Rules, *instances: NewInstance) -> int:
    def run(tx: CountingTransaction) -> int:
        counting = CountingTransaction(tx)
        store_instances(counting, instances, rules)
        return counting.count

    return database.write(run)  # type: ignore[arg-type]


# The order of the list.


def test_patient_that_receives_moves_to_the_end(index: IndexCase) -> None:
    store_patients(index.database, Rules(), "abc")
    assert list_patients(index) == "abc"

    store(index.database, Rules(), build("a/ta/ra/i2"))

    assert list_patients(index) == "bca"
    index.assert_consistent()


def test_patient_that_is_sent_a_known_instance_keeps_its_place(index: IndexCase) -> None:
    store_patients(index.database, Rules(), "abc")

    store_patients(index.database, Rules(), "a")

    assert list_patients(index) == "abc"


def test_patient_whose_instance_is_replaced_moves_to_the_end(index: IndexCase) -> None:
    store_patients(index.database, Rules(), "abc")

    store(index.database, Rules(), build("a/ta/ra/ia", overwrite=Overwrite.ALWAYS))

    assert list_patients(index) == "bca"


def test_group_orders_patients_by_their_last_instance(index: IndexCase) -> None:
    store_patients(index.database, Rules(), "ab")

    store(
        index.database,
        Rules(),
        build("c/tc/rc/ic"),
        build("a/ta/ra/i2"),
        build("d/td/rd/id"),
        build("c/tc/rc/i3"),
    )

    assert list_patients(index) == "badc"
    index.assert_consistent()


def test_last_patient_of_the_list_needs_no_statement_more(database: Database) -> None:
    store_patients(database, Rules(), "ab")

    again = count_statements(database, Rules(), build("b/tb/rb/i2"))
    other = count_statements(database, Rules(), build("a/ta/ra/i3"))
    assert other == again + 1


# Protection.


def test_protection_takes_a_patient_off_the_list_and_puts_it_back_at_the_end(
    index: IndexCase,
) -> None:
    store_patients(index.database, Rules(), "abc")

    assert protect(index.database, "a")
    assert list_patients(index) == "bc[a]"
    assert index.database.read(lambda tx: lookup_protection(tx, "a")) is True
    store(index.database, Rules(), build("a/ta/ra/i2"))
    assert list_patients(index) == "bc[a]"

    assert protect(index.database, "a", is_protected=False)
    assert list_patients(index) == "bca"
    assert index.database.read(lambda tx: lookup_protection(tx, "a")) is False


def test_patient_that_is_free_already_keeps_its_place(index: IndexCase) -> None:
    store_patients(index.database, Rules(), "abc")

    assert protect(index.database, "a", is_protected=False)

    assert list_patients(index) == "abc"


@pytest.mark.parametrize("name", ["nobody", "ta", ""])
def test_protection_of_no_patient_is_told(index: IndexCase, name: str) -> None:
    store_patients(index.database, Rules(), "a")

    assert not protect(index.database, name)
    assert index.database.read(lambda tx: lookup_protection(tx, name)) is None


def test_protection_survives_the_replacement_of_the_only_instance(index: IndexCase) -> None:
    store_patients(index.database, Rules(), "ab")
    protect(index.database, "a")

    store(index.database, Rules(), build("a/ta/ra/ia", overwrite=Overwrite.ALWAYS))

    assert list_patients(index) == "b[a]"
    index.assert_consistent()


def test_protected_patient_can_be_deleted_and_comes_back_free(index: IndexCase) -> None:
    store_patients(index.database, Rules(), "a")
    protect(index.database, "a")

    index.database.write(lambda tx: delete_resource(tx, Level.PATIENT, "a", deleted_at=NOON))
    store_patients(index.database, Rules(), "a")

    assert list_patients(index) == "a"


# Limits.


def test_oldest_patient_goes_for_a_new_one(index: IndexCase) -> None:
    store_patients(index.database, TWO_PATIENTS, "ab")

    results = store(index.database, TWO_PATIENTS, build("c/tc/rc/ic"))

    assert results == [StoreResult(is_stored=True, recycled_patients=1)]
    assert list_patients(index) == "bc"
    assert len(index.database.read(lambda tx: find_removals(tx, 10))) == 1
    index.assert_consistent()


def test_oldest_patients_go_for_bytes_and_no_more_than_needed(index: IndexCase) -> None:
    store_patients(index.database, BYTES, "abcde", 200)

    results = store(index.database, BYTES, build("f/tf/rf/if", 500))

    assert results == [StoreResult(is_stored=True, recycled_patients=3)]
    assert list_patients(index) == "def"
    assert index.database.read(get_statistics).disk_size == 900
    index.assert_consistent()


def test_full_to_the_last_byte_recycles_nobody(index: IndexCase) -> None:
    store_patients(index.database, BYTES, "abcde", 200)

    assert list_patients(index) == "abcde"


@pytest.mark.parametrize("rules", [TWO_PATIENTS, BYTES])
def test_protected_patients_leave_no_room_and_nobody_is_deleted(
    index: IndexCase, rules: Rules
) -> None:
    store_patients(index.database, rules, "ab", 500)
    protect(index.database, "a")
    protect(index.database, "b")

    results = store(index.database, rules, build("c/tc/rc/ic"))

    assert results == [FULL]
    assert list_patients(index) == "[a][b]"
    index.assert_consistent()


def test_known_patient_still_receives_where_all_are_protected(index: IndexCase) -> None:
    store_patients(index.database, TWO_PATIENTS, "ab")
    protect(index.database, "a")
    protect(index.database, "b")

    assert store(index.database, TWO_PATIENTS, build("a/ta/ra/i2")) == [STORED]


def test_too_little_that_may_go_costs_nobody_anything(index: IndexCase) -> None:
    store_patients(index.database, BYTES, "ab", 200)
    store_patients(index.database, BYTES, "c", 600)
    protect(index.database, "c")

    assert store(index.database, BYTES, build("d/td/rd/id", 401)) == [FULL]

    assert list_patients(index) == "ab[c]"
    index.assert_consistent()


def test_instance_beyond_the_limit_costs_nobody_anything(index: IndexCase) -> None:
    store_patients(index.database, BYTES, "ab", 200)

    assert store(index.database, BYTES, build("d/td/rd/id", 1001)) == [FULL]

    assert list_patients(index) == "ab"


def test_patient_being_stored_is_never_recycled(index: IndexCase) -> None:
    store_patients(index.database, BYTES, "a", 600)
    store_patients(index.database, BYTES, "b", 300)

    assert store(index.database, BYTES, build("a/ta/ra/i2", 400))[0].recycled_patients == 1
    assert list_patients(index) == "a"
    assert store(index.database, BYTES, build("a/ta/ra/i3", 1)) == [FULL]
    assert list_patients(index) == "a"
    index.assert_consistent()


def test_rejection_refuses_and_keeps_everything(index: IndexCase) -> None:
    store_patients(index.database, REJECTING, "ab", 400)

    assert store(index.database, REJECTING, build("c/tc/rc/ic", 1)) == [FULL]
    assert store(index.database, REJECTING, build("a/ta/ra/i2", 201)) == [FULL]
    assert store(index.database, REJECTING, build("a/ta/ra/i3", 200)) == [STORED]
    assert list_patients(index) == "ba"
    index.assert_consistent()


def test_group_is_stored_as_if_one_by_one(index: IndexCase) -> None:
    group = [build(f"{name}/t{name}/r{name}/i{name}") for name in "abca"]

    results = store(index.database, TWO_PATIENTS, *group)

    assert [result.recycled_patients for result in results] == [0, 0, 1, 1]
    assert list_patients(index) == "ca"
    assert len(index.database.read(lambda tx: find_removals(tx, 10))) == 2
    index.assert_consistent()


def test_replacement_counts_only_what_it_adds(index: IndexCase) -> None:
    store_patients(index.database, BYTES, "a", 500)
    store_patients(index.database, BYTES, "b", 500)

    replaced = store(index.database, BYTES, build("b/tb/rb/ib", 499, Overwrite.ALWAYS))
    assert replaced == [StoreResult(is_stored=True, has_replaced=True)]
    assert list_patients(index) == "ab"
    grown = store(index.database, BYTES, build("b/tb/rb/ib", 501, Overwrite.ALWAYS))
    assert grown == [StoreResult(is_stored=True, has_replaced=True, recycled_patients=1)]
    assert list_patients(index) == "b"
    index.assert_consistent()


def test_replacement_without_room_keeps_the_older_version(index: IndexCase) -> None:
    store_patients(index.database, BYTES, "a", 500)

    assert store(index.database, BYTES, build("a/ta/ra/ia", 1001, Overwrite.ALWAYS)) == [FULL]

    assert index.database.read(get_statistics).disk_size == 500
    index.assert_consistent()


def test_room_within_limits_costs_no_statement(database: Database) -> None:
    wide = Rules(Quota(maximum_disk_size=10**9, maximum_patients=1000))
    store_patients(database, Rules(), "ab")

    without = count_statements(database, Rules(), build("b/tb/rb/i2"))
    within = count_statements(database, wide, build("b/tb/rb/i3"))

    assert within == without


def test_many_victims_take_few_statements(database: Database) -> None:
    rules = Rules(Quota(maximum_disk_size=640))
    for number in range(64):
        store(database, rules, build(f"p{number}/t{number}/r{number}/i{number}", 10))

    assert count_statements(database, rules, build("b/tb/rb/ib", 630)) <= 26


def test_parallel_writers_keep_to_the_limit(index: IndexCase) -> None:
    rules = Rules(Quota(maximum_disk_size=2000, maximum_patients=7))
    # Several servers, where the database allows it.
    others = [index.open() for _ in range(2)] if index.name == "postgresql" else []
    commits = [GroupCommit(database, rules) for database in [index.database, *others]]

    def send(number: int) -> list[bool]:
        kept = []
        for count in range(12):
            name = f"p{number}-{count // 3}"
            new = build(f"{name}/t{name}/r{name}/i{name}-{count}", 90 + number)
            commits[number % len(commits)].store(new)
            statistics = index.database.read(get_statistics)
            kept.append(statistics.disk_size <= 2000 and statistics.patients <= 7)
        return kept

    try:
        with ThreadPoolExecutor(6) as senders:
            answers = list(senders.map(send, range(6)))
    finally:
        for database in others:
            database.close()

    assert answers == [[True] * 12] * 6
    index.assert_consistent()
    statistics = index.database.read(get_statistics)
    removals = index.database.read(lambda tx: find_removals(tx, 1000))
    assert statistics.instances + len(removals) == 72


# Attachments, and the start.


def test_make_room_keeps_the_patient_and_deletes_others(index: IndexCase) -> None:
    store_patients(index.database, BYTES, "abc", 300)

    count = index.database.write(
        lambda tx: make_room(tx, BYTES, disk_size=400, patient_public_id="a", made_at=NOON)
    )

    assert count == 1
    assert list_patients(index) == "ac"
    index.assert_consistent()


@pytest.mark.parametrize("rules", [BYTES, REJECTING])
def test_make_room_raises_where_none_can_be_made(index: IndexCase, rules: Rules) -> None:
    store_patients(index.database, BYTES, "ab", 500)
    protect(index.database, "b")

    with pytest.raises(FullStorageError):
        index.database.write(
            lambda tx: make_room(tx, rules, disk_size=400, patient_public_id="a", made_at=NOON)
        )

    assert list_patients(index) == "a[b]"


def test_make_room_without_a_limit_does_nothing(database: Database) -> None:
    def run(tx: CountingTransaction) -> int:
        counting = CountingTransaction(tx)
        make_room(counting, TWO_PATIENTS, disk_size=10, patient_public_id="a", made_at=NOON)
        return counting.count

    assert database.write(run) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (Rules(Quota(maximum_patients=3)), "bde[c]"),
        (Rules(Quota(maximum_disk_size=250)), "e[c]"),
        (Rules(Quota(maximum_disk_size=100)), "[c]"),
        (Rules(Quota(maximum_disk_size=50)), "[c]"),
        (Rules(Quota(maximum_patients=9, maximum_disk_size=500)), "abde[c]"),
        (Rules(Quota(maximum_patients=1, is_recycling=False)), "abde[c]"),
        (Rules(), "abde[c]"),
    ],
)
def test_recycle_excess_brings_the_archive_below_lower_limits(
    index: IndexCase, rules: Rules, left: str
) -> None:
    store_patients(index.database, Rules(), "abcde")
    protect(index.database, "c")
    if rules.quota.maximum_patients == 3:
        left = "de[c]"

    while index.database.write(lambda tx: recycle_excess(tx, rules, recycled_at=NOON)):
        pass

    assert list_patients(index) == left
    index.assert_consistent()


def test_recycle_excess_deletes_a_few_at_a_time(index: IndexCase) -> None:
    rules = Rules(Quota(maximum_patients=1))
    for number in range(40):
        store(index.database, Rules(), build(f"p{number}/t{number}/r{number}/i{number}"))

    counts = []
    while count := index.database.write(lambda tx: recycle_excess(tx, rules, recycled_at=NOON)):
        counts.append(count)

    assert counts == [16, 16, 7]
    index.assert_consistent()


# Against a model.

PATIENTS = "abcde"
OPERATIONS = st.one_of(
    st.tuples(
        st.just("store"),
        st.lists(
            st.builds(
                ModelInstance,
                patient=st.sampled_from(PATIENTS),
                number=st.integers(0, 2),
                size=st.integers(1, 60),
                is_overwriting=st.booleans(),
            ),
            min_size=1,
            max_size=5,
        ),
    ),
    st.tuples(st.just("protect"), st.sampled_from(PATIENTS)),
    st.tuples(st.just("free"), st.sampled_from(PATIENTS)),
    st.tuples(st.just("delete"), st.sampled_from(PATIENTS)),
)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    quota=st.builds(
        Quota,
        maximum_disk_size=st.sampled_from([0, 50, 120]),
        maximum_patients=st.sampled_from([0, 1, 3]),
        is_recycling=st.booleans(),
    ),
    keeps_replaced=st.booleans(),
    operations=st.lists(OPERATIONS, max_size=12),
)
def test_storing_and_recycling_agree_with_the_model(
    index: IndexCase, quota: Quota, keeps_replaced: bool, operations: list[tuple[str, object]]
) -> None:
    everybody: list[Named] = [(Level.PATIENT, patient) for patient in PATIENTS]
    index.database.write(lambda tx: delete_resources(tx, everybody, deleted_at=NOON))
    model, rules = Model(quota), Rules(quota, keeps_replaced=keeps_replaced)

    for name, argument in operations:
        if isinstance(argument, list):
            expected = [model.store(instance) for instance in argument]
            group = [_build(instance) for instance in argument]
            assert store(index.database, rules, *group) == expected
        elif name == "delete":
            model.delete(str(argument))
            index.database.write(
                lambda tx, patient=str(argument): delete_resource(  # type: ignore[misc]
                    tx, Level.PATIENT, patient, deleted_at=NOON
                )
            )
        else:
            is_protected = name == "protect"
            known = protect(index.database, str(argument), is_protected=is_protected)
            assert known == model.protect(str(argument), is_protected=is_protected)
        assert list_patients(index) == model.describe()
        index.assert_consistent()
    instances = index.database.read(lambda tx: list_public_ids(tx, Level.INSTANCE))
    assert instances == model.list_instances()


def _build(instance: ModelInstance) -> NewInstance:
    name, number = instance.patient, instance.number
    overwrite = Overwrite.ALWAYS if instance.is_overwriting else Overwrite.NEVER
    # The first two instances share a series.
    return build(f"{name}/t{name}/r{name}{number // 2}/i{name}{number}", instance.size, overwrite)


def test_build_new_instance_takes_half_its_size_on_the_disk() -> None:
    # What the tests above count on.
    attachment: Attachment = build("a/b/c/d", 7).attachments[0]
    assert attachment.compressed_size == 7

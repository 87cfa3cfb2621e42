"""Whatever is stored and deleted in whatever order, the counters equal a recount."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.instances import NOON, IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.index.change_log import find_changes
from isocenter.index.deletion import delete_resource
from isocenter.index.reading import find_removals, list_public_ids
from isocenter.index.records import NewInstance, Overwrite
from isocenter.index.writing import settle

# Few names, so that collisions are common; each name keeps its place in the tree, as identifiers
# do, which are hashes of the identifiers above.
paths = st.tuples(*[st.integers(0, 1)] * 3, st.integers(0, 2)).map(
    lambda n: f"p{n[0]}/t{n[0]}{n[1]}/r{n[0]}{n[1]}{n[2]}/i{n[0]}{n[1]}{n[2]}{n[3]}"
)
instances = st.builds(
    build_new_instance,
    paths,
    size=st.integers(0, 9000),
    md5=st.sampled_from(["a", "b"]),
    overwrite=st.sampled_from(Overwrite),
    stored_at=st.integers(NOON, NOON + 5),
)
stores = st.lists(instances, min_size=1, max_size=8)
deletions = st.tuples(paths, st.sampled_from(Level))
settlings = st.integers(NOON, NOON + 5)


@dataclass(slots=True)
class Model:
    """What must be stored: public identifier of the instance to its path and blob."""

    stored: dict[str, tuple[str, NewInstance]] = field(default_factory=dict)
    removals: set[str] = field(default_factory=set)

    def store(self, instance: NewInstance) -> bool:
        public_id = instance.public_ids[3]
        known = self.stored.get(public_id)
        if known is not None:
            old = known[1].attachments[0]
            is_same = old.uncompressed_md5 == instance.attachments[0].uncompressed_md5
            if instance.overwrite is Overwrite.NEVER:
                return False
            if instance.overwrite is Overwrite.IF_CHANGED and is_same:
                return False
            self.removals.add(old.attachment_uuid)
        self.stored[public_id] = ("/".join(instance.public_ids), instance)
        return True

    def delete(self, level: Level, public_id: str) -> bool:
        doomed = [
            name for name, (path, _) in self.stored.items() if path.split("/")[level] == public_id
        ]
        self.removals |= {self.stored.pop(n)[1].attachments[0].attachment_uuid for n in doomed}
        return bool(doomed)

    def list_level(self, level: Level) -> list[str]:
        return sorted({path.split("/")[level] for path, _ in self.stored.values()})


def delete(index: IndexCase, level: Level, public_id: str) -> bool:
    deletion = index.database.write(
        lambda tx: delete_resource(tx, level, public_id, deleted_at=NOON)
    )
    return deletion is not None


def apply(index: IndexCase, model: Model, operation: Any) -> None:
    if isinstance(operation, list):
        results = store(index.database, *operation)
        assert [result.is_stored for result in results] == [model.store(i) for i in operation]
    elif isinstance(operation, tuple):
        path, level = operation
        public_id = path.split("/")[level]
        assert delete(index, level, public_id) == model.delete(level, public_id)
    else:
        index.database.write(lambda tx: settle(tx, before=operation, now=NOON, limit=10))


def clear(index: IndexCase) -> None:
    """Empty the tables, which the examples of one test share."""
    for public_id in index.database.read(lambda tx: list_public_ids(tx, Level.PATIENT)):
        delete(index, Level.PATIENT, public_id)
    index.sql("DELETE FROM removals")


# The threads of psycopg's pool draw random numbers while a strategy is at work.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=st.lists(st.one_of(stores, deletions, settlings), min_size=1, max_size=12))
def test_any_sequence_keeps_counters_and_tree(index: IndexCase, operations: list[Any]) -> None:
    clear(index)
    model = Model()

    for operation in operations:
        apply(index, model, operation)

    index.assert_consistent()
    for level in Level:
        listed = index.database.read(lambda tx, level=level: list_public_ids(tx, level))  # type: ignore[misc]
        assert listed == model.list_level(level)
    assert set(index.database.read(lambda tx: find_removals(tx, 10_000))) == model.removals
    changes = index.database.read(lambda tx: find_changes(tx, since=0, until=None, limit=10_000))
    numbers = [change.seq for change in changes]
    assert numbers == sorted(set(numbers))

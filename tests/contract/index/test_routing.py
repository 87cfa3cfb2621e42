"""Rules of routing in the database, and what they look at."""

from tests.support.instances import IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.index.deletion import delete_resource
from isocenter.index.routing import (
    Fingerprint,
    add_fingerprints,
    delete_fingerprints,
    delete_rule,
    find_fingerprints,
    find_routed,
    forget_position,
    list_rules,
    list_rules_with_fingerprints,
    lock_position,
    lookup_position,
    read_last_change,
    set_fingerprints,
    set_position,
    set_rule,
)


def test_rules_are_created_replaced_and_forgotten(index: IndexCase) -> None:
    database = index.database
    for name, document in (("b", "1"), ("a", "2"), ("b", "3")):
        database.write(lambda tx, n=name, d=document: set_rule(tx, n, d))  # type: ignore[misc]
    assert database.read(list_rules) == {"a": "2", "b": "3"}
    database.write(lambda tx: delete_rule(tx, "a"))
    database.write(lambda tx: delete_rule(tx, "nope"))
    assert database.read(list_rules) == {"b": "3"}


def test_position_is_kept_and_forgotten(index: IndexCase) -> None:
    database = index.database
    assert database.read(lookup_position) is None
    database.write(lambda tx: set_position(tx, 7))
    assert database.read(lookup_position) == database.write(lock_position) == 7
    database.write(forget_position)
    assert database.read(lookup_position) is None


def test_last_change_grows_with_what_is_stored(index: IndexCase) -> None:
    before = index.database.read(read_last_change)
    store(index.database, build_new_instance("p/t/r/i"))
    assert index.database.read(read_last_change) > before


def test_series_are_found_by_study_series_and_instance(index: IndexCase) -> None:
    new = build_new_instance("p/t/r/i")
    store(index.database, new)
    ids = ("p", "t", "r", "i")
    for level in (Level.STUDY, Level.SERIES, Level.INSTANCE):
        (routed,) = index.database.read(
            lambda tx, level=level: find_routed(tx, level, [ids[level], "nope"])  # type: ignore[misc]
        )
        own = ids[Level.INSTANCE] if level is Level.INSTANCE else ids[Level.SERIES]
        assert (routed.public_id, routed.series) == (own, ids[Level.SERIES])
        assert routed.study == ids[Level.STUDY]
    assert index.database.read(lambda tx: find_routed(tx, Level.STUDY, ["nope"])) == []


def test_fingerprints_last_until_their_resource_is_deleted(index: IndexCase) -> None:
    database = index.database
    store(database, build_new_instance("p/t/r/i"))
    store(database, build_new_instance("p/t/r/j"))
    sent = [Fingerprint(name, "rule", "1") for name in ("t", "i", "j", "elsewhere")]
    database.write(lambda tx: set_fingerprints(tx, [*sent, Fingerprint("t", "other", "2")]))

    def find(rule: str) -> dict[str, str]:
        names = ["t", "i", "j", "elsewhere", "nope"]
        return database.read(lambda tx: find_fingerprints(tx, rule, names))

    assert find("rule") == dict.fromkeys(["t", "i", "j", "elsewhere"], "1")
    database.write(lambda tx: set_fingerprints(tx, [Fingerprint("t", "rule", "3")]))
    assert find("rule")["t"] == "3"
    database.write(lambda tx: delete_resource(tx, Level.INSTANCE, "i", deleted_at=1))
    assert set(find("rule")) == {"t", "j", "elsewhere"}
    database.write(lambda tx: delete_resource(tx, Level.PATIENT, "p", deleted_at=1))
    assert (find("rule"), find("other")) == ({"elsewhere": "1"}, {})
    database.write(lambda tx: delete_rule(tx, "rule"))
    assert find("rule") == {}


def test_fingerprints_are_taken_back_and_confirmed(index: IndexCase) -> None:
    database = index.database
    store(database, build_new_instance("p/t/r/i"))
    first, other = Fingerprint("t", "a", "1"), Fingerprint("t", "b", "1")
    database.write(lambda tx: set_fingerprints(tx, [first, other]))
    database.write(lambda tx: delete_fingerprints(tx, [first, Fingerprint("t", "b", "2")]))
    assert database.read(lambda tx: find_fingerprints(tx, "a", ["t"])) == {}
    assert database.read(list_rules_with_fingerprints) == ["b"]
    confirmed = [first, Fingerprint("t", "b", "2"), Fingerprint("gone", "a", "1")]
    database.write(lambda tx: add_fingerprints(tx, confirmed))
    assert database.read(lambda tx: find_fingerprints(tx, "a", ["t", "gone"])) == {"t": "1"}
    # What was sent since is not what the older job has sent.
    assert database.read(lambda tx: find_fingerprints(tx, "b", ["t"])) == {"t": "1"}

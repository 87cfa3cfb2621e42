"""Remote modalities and queries in the database."""

import pytest

from isocenter.index.port import Database
from isocenter.index.remote_queries import (
    QueryLimits,
    StoredQuery,
    add_query,
    delete_query,
    list_answers,
    list_queries,
    lookup_query,
)
from isocenter.index.remote_systems import (
    RemoteSystems,
    delete_remote,
    list_remotes,
    lookup_remote,
    set_remote,
)

LIMITS = QueryLimits(count=3, age_us=1000)


def add(database: Database, name: str, answers: list[str], *, now_us: int) -> None:
    query = StoredQuery(name, "{}", len(answers))
    database.write(lambda tx: add_query(tx, query, answers, LIMITS, now_us=now_us))


@pytest.mark.parametrize("systems", RemoteSystems)
def test_remote_systems_are_created_replaced_and_forgotten(
    database: Database, systems: RemoteSystems
) -> None:
    database.write(lambda tx: set_remote(tx, systems, "b", "1"))
    database.write(lambda tx: set_remote(tx, systems, "a", "2"))
    database.write(lambda tx: set_remote(tx, systems, "b", "3"))
    assert database.read(lambda tx: list_remotes(tx, systems)) == {"a": "2", "b": "3"}
    database.write(lambda tx: delete_remote(tx, systems, "a"))
    database.write(lambda tx: delete_remote(tx, systems, "nope"))
    assert database.read(lambda tx: list_remotes(tx, systems)) == {"b": "3"}
    assert database.read(lambda tx: lookup_remote(tx, systems, "b")) == "3"
    assert database.read(lambda tx: lookup_remote(tx, systems, "a")) is None
    assert database.read(lambda tx: lookup_remote(tx, systems, "\0")) is None


def test_query_gives_its_answers_page_by_page(database: Database) -> None:
    add(database, "q", ["x", "y", "z"], now_us=1)
    found = database.read(lambda tx: lookup_query(tx, "q"))
    assert found == StoredQuery("q", "{}", 3)
    assert database.read(lambda tx: list_answers(tx, "q", since=1, limit=1)) == ["y"]
    assert database.read(lambda tx: list_answers(tx, "q", limit=10)) == ["x", "y", "z"]


def test_query_that_does_not_exist_is_nothing(database: Database) -> None:
    assert database.read(lambda tx: lookup_query(tx, "nope")) is None
    assert database.read(lambda tx: lookup_query(tx, "\0")) is None
    database.write(lambda tx: delete_query(tx, "\0"))


def test_oldest_queries_beyond_the_limit_are_forgotten(database: Database) -> None:
    for number in range(6):
        add(database, f"q{number}", ["x"], now_us=number)
    assert database.read(list_queries) == ["q3", "q4", "q5"]
    assert database.read(lambda tx: list_answers(tx, "q0", limit=10)) == []


def test_queries_beyond_the_age_are_forgotten(database: Database) -> None:
    add(database, "old", ["x"], now_us=1)
    add(database, "new", [], now_us=2000)
    assert database.read(list_queries) == ["new"]


def test_query_is_forgotten_with_its_answers(database: Database) -> None:
    add(database, "q", ["x"], now_us=1)
    database.write(lambda tx: delete_query(tx, "q"))
    assert database.read(list_queries) == []
    add(database, "q", [], now_us=2)
    assert database.read(lambda tx: list_answers(tx, "q", limit=10)) == []

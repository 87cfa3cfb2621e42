"""Queries to remote modalities: what was asked, and what came."""

from collections.abc import Sequence
from dataclasses import dataclass

from isocenter.index.port import Transaction

__all__ = [
    "QueryLimits",
    "StoredQuery",
    "add_query",
    "delete_query",
    "list_answers",
    "list_queries",
    "lookup_query",
]


@dataclass(frozen=True, slots=True)
class StoredQuery:
    """A query as it is kept.

    Attributes
    ----------
    document
        What was asked; JSON.
    count
        Number of answers.
    """

    query_id: str
    document: str
    count: int


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What is kept (options ``QueryRetrieveSize`` and ``Isocenter.QueryRetrieveAge``).

    Attributes
    ----------
    count
        Most queries.
    age_us
        Microseconds.
    """

    count: int
    age_us: int


def add_query(
    tx: Transaction, query: StoredQuery, answers: Sequence[str], limits: QueryLimits, *, now_us: int
) -> None:
    """Keep a query and its answers, and forget those beyond the limits: at most five statements.

    Parameters
    ----------
    answers
        Encoded, in their order.
    """
    tx.run(
        "insert_remote_query",
        {"query_id": query.query_id, "created_at": now_us, "document": query.document},
    )
    if answers:
        rows = (
            {"query_id": query.query_id, "number": number, "content": content}
            for number, content in enumerate(answers)
        )
        tx.run_many("insert_remote_answer", rows)
    bounds = {"before": now_us - limits.age_us, "kept": max(1, limits.count)}
    excess = [row[0] for row in tx.rows("list_excess_queries", bounds)]
    if excess:
        _delete(tx, excess)


def list_queries(tx: Transaction) -> list[str]:
    """List the identifiers of all queries, in their order."""
    return [row[0] for row in tx.rows("list_remote_queries")]


def lookup_query(tx: Transaction, query_id: str) -> StoredQuery | None:
    """Find a query."""
    if "\0" in query_id:
        return None
    row = tx.row("select_remote_query", {"query_id": query_id})
    return None if row is None else StoredQuery(query_id, row[0], int(row[1]))


def list_answers(tx: Transaction, query_id: str, *, since: int = 0, limit: int) -> list[str]:
    """Read answers of a query from a number on, from 0."""
    keys = {"query_id": query_id, "since": since, "limit": limit}
    return [row[0] for row in tx.rows("list_remote_answers", keys)]


def delete_query(tx: Transaction, query_id: str) -> None:
    """Forget a query; it is no error if there is none."""
    if "\0" not in query_id:
        _delete(tx, [query_id])


def _delete(tx: Transaction, query_ids: Sequence[str]) -> None:
    tx.run("delete_remote_answers", {"query_ids": list(query_ids)})
    tx.run("delete_remote_queries", {"query_ids": list(query_ids)})

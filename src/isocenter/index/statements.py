"""The named SQL statements of ``sql/``, translated once to the words of a database."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template

__all__ = [
    "INTEGER_TEXT",
    "POSTGRESQL",
    "REAL_TEXT",
    "SQLITE",
    "Dialect",
    "load_foreign_statements",
    "load_migrations",
    "load_statements",
    "read_migrations",
]


# Texts that are taken for numbers; no function of a database fails on one of them.
INTEGER_TEXT = "^ *[+-]?[0-9]{1,18} *$"
REAL_TEXT = "^ *[+-]?([0-9]{1,30}([.][0-9]{0,30})?|[.][0-9]{1,30})([eE][+-]?[0-9]{1,2})? *$"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between the databases, word by word.

    Attributes
    ----------
    words
        Replacements of the ``$words`` in the SQL files.
    parameter
        Template of a named parameter, ``{}`` being its name.
    array
        Template of a parameter that holds a list, standing behind ``IN``; ``{0}`` is its
        name, ``{1}`` the PostgreSQL type of its entries.
    json_text
        Template of the text of a key, ``{1}``, of a JSON object, ``{0}``; compared by its bytes.
    json_array
        Template of an aggregate: the texts ``{0}`` of all rows as a JSON array.
    lower
        Template that makes small letters of A to Z in a text, and of no others.
    integer, real
        Templates of the number in a text, NULL if there is none (see `REAL_TEXT`).
    timestamp
        Template that writes seconds since 1970 as ``YYYYMMDDTHHMMSS``, UTC.
    """

    words: Mapping[str, str]
    parameter: str
    array: str
    json_text: str
    json_array: str
    lower: str
    integer: str
    real: str
    timestamp: str


def _quote(pattern: str) -> str:
    """Keep the braces of a regular expression in a template."""
    return pattern.replace("{", "{{").replace("}", "}}")


SQLITE = Dialect(
    words={
        "rowid": "INTEGER PRIMARY KEY",
        "text": "TEXT",
        "clustered": "WITHOUT ROWID",
        "for_update": "",
        # SQLite never changes the order of a CROSS JOIN, so it goes along the index.
        "attachments_of_b": "attachments",
        "as_json": "",
        "skip_locked": "",
        # A writer is alone anyway.
        "queue_lock": "1",
        # Microseconds since 1970, by the one clock that all servers of a database share.
        "database_now": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    },
    parameter=":{}",
    array="(SELECT value FROM json_each(:{0}))",
    json_text="({0} ->> {1})",
    json_array="json_group_array({0})",
    lower="lower({0})",
    # Functions of ours, see `sqlite`.
    integer="text_to_integer({0})",
    real="text_to_real({0})",
    timestamp="strftime('%Y%m%dT%H%M%S', {0}, 'unixepoch')",
)

POSTGRESQL = Dialect(
    words={
        "rowid": "BIGINT PRIMARY KEY",
        "text": 'TEXT COLLATE "C"',
        "clustered": "",
        "for_update": "FOR UPDATE",
        # OFFSET keeps the subquery apart, so it is run for each row of the table before it.
        "attachments_of_b": "LATERAL (SELECT * FROM attachments x"
        " WHERE x.resource_id = b.internal_id OFFSET 0)",
        "as_json": "::json",
        "skip_locked": "FOR UPDATE SKIP LOCKED",
        # Until the transaction ends; the number is not used for anything else.
        "queue_lock": "pg_advisory_xact_lock(4906573)",
        # Not that of the beginning of the transaction, which may have waited.
        "database_now": "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
    },
    parameter="%({})s",
    array="(SELECT unnest(%({0})s::{1}[]))",
    json_text='(({0}::json ->> {1}::text) COLLATE "C")',
    json_array="json_agg({0})::text",
    lower='lower({0} COLLATE "C")',
    integer=f"(CASE WHEN {{0}} ~ '{_quote(INTEGER_TEXT)}' THEN {{0}}::numeric "
    f"WHEN {{0}} ~ '{_quote(REAL_TEXT)}' THEN trunc({{0}}::double precision)::numeric END)",
    real=f"(CASE WHEN {{0}} ~ '{_quote(REAL_TEXT)}' THEN {{0}}::double precision END)",
    timestamp="""to_char(to_timestamp({0}) AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS')""",
)

# The statement with which others begin, as the word ``$describe``.
_SHARED = "describe"
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_PARAMETER = re.compile(r"(?<!:):([a-z][a-z0-9_]*)(?:\[([a-z]+)\])?")
_MIGRATION = re.compile(r"^(\d{4})_\w+\.sql$")


def load_statements(dialect: Dialect) -> dict[str, str]:
    """Read the named statements of all files in ``sql/`` that are not migrations.

    Raises
    ------
    ValueError
        If two statements have the same name.
    """
    bodies: dict[str, str] = {}
    for entry in (files(__package__) / "sql").iterdir():
        if not entry.name.endswith(".sql") or _MIGRATION.match(entry.name):
            continue
        for name, body in _split(entry.read_text(encoding="utf-8")):
            if name in bodies:
                raise ValueError(f"two statements have the name {name}")
            bodies[name] = body
    words = {**dialect.words, _SHARED: Template(bodies[_SHARED]).substitute(dialect.words)}
    return {
        name: _translate_parameters(Template(body).substitute(words), dialect)
        for name, body in bodies.items()
    }


def load_foreign_statements(maker: str, words: Mapping[str, str]) -> dict[str, str]:
    """Read the named statements for a SQLite database that another server made.

    Parameters
    ----------
    maker
        The folder in ``sql/`` with the statements.
    words
        Replacements of the ``$words``, by which versions of that server differ.
    """
    text = (files(__package__) / "sql" / maker / "reading.sql").read_text(encoding="utf-8")
    return {
        name: _translate_parameters(Template(body).substitute(words), SQLITE)
        for name, body in _split(text)
    }


def _split(text: str) -> list[tuple[str, str]]:
    """Cut a file into pairs of name and statement."""
    parts = _NAME.split(text)[1:]
    return [
        (name, body.strip().removesuffix(";"))
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    ]


def load_migrations(dialect: Dialect) -> list[tuple[int, str]]:
    """List the migrations as (version they lead to, SQL script), in their order.

    Raises
    ------
    ValueError
        If two of them have the same number: a crash between them would leave the second one out.
    """
    return read_migrations(files(__package__) / "sql", dialect)


def read_migrations(folder: Traversable, dialect: Dialect) -> list[tuple[int, str]]:
    """Read the migrations of a folder (see `load_migrations`)."""
    migrations: dict[int, str] = {}
    for entry in folder.iterdir():
        if match := _MIGRATION.match(entry.name):
            version = int(match[1])
            if version in migrations:
                raise ValueError(f"two migrations have the number {match[1]}")
            script = Template(entry.read_text(encoding="utf-8")).substitute(dialect.words)
            migrations[version] = script
    return sorted(migrations.items())


def _translate_parameters(statement: str, dialect: Dialect) -> str:
    def replace(match: re.Match[str]) -> str:
        template = dialect.array if match[2] else dialect.parameter
        return template.format(match[1], match[2])

    return _PARAMETER.sub(replace, statement)

import re
from importlib.resources import files
from string import Template

import pytest

from isocenter.index.statements import (
    POSTGRESQL,
    SQLITE,
    Dialect,
    load_migrations,
    load_statements,
)

BOTH = pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=["sqlite", "postgresql"])


@BOTH
def test_load_statements_leaves_no_words_to_translate(dialect: Dialect) -> None:
    for text in load_statements(dialect).values():
        assert not re.search(r"\$[a-z]|\[[a-z]*\](?!\))|(?<![:\w]):[a-z_]+\[", text)
        assert not text.endswith(";")


def test_load_statements_both_dialects_have_the_same_names() -> None:
    assert load_statements(SQLITE).keys() == load_statements(POSTGRESQL).keys()


def test_load_statements_names_are_unique() -> None:
    names = []
    for file in (files("isocenter.index") / "sql").iterdir():
        if file.is_dir():
            continue
        text = file.read_text(encoding="utf-8")
        names += re.findall(r"^-- name: (\w+)$", text, re.MULTILINE)

    assert len(names) == len(set(names))
    assert set(names) == load_statements(SQLITE).keys()


def test_load_statements_parameters_follow_the_dialect() -> None:
    name = "lookup_internal_id"

    assert ":public_id" in load_statements(SQLITE)[name]
    assert "%(public_id)s" in load_statements(POSTGRESQL)[name]


def test_load_statements_lists_follow_the_dialect() -> None:
    name = "existing_attachments"

    assert "json_each(:attachment_uuids)" in load_statements(SQLITE)[name]
    assert "unnest(%(attachment_uuids)s::text[])" in load_statements(POSTGRESQL)[name]


def test_load_statements_digits_belong_to_the_name() -> None:
    assert "%(compressed_md5)s" in load_statements(POSTGRESQL)["insert_attachment"]


@BOTH
def test_load_migrations_are_numbered_without_gaps(dialect: Dialect) -> None:
    migrations = load_migrations(dialect)

    assert [version for version, _ in migrations] == list(range(1, len(migrations) + 1))
    assert all(Template(script).template.count("$") == 0 for _, script in migrations)

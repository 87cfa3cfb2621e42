import re
from importlib.resources import files
from pathlib import Path
from string import Template

import pytest

from isocenter.index.statements import (
    POSTGRESQL,
    SQLITE,
    Dialect,
    load_migrations,
    load_statements,
    read_migrations,
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


def test_read_migrations_of_the_same_number_are_refused(tmp_path: Path) -> None:
    for name in ("0002_second.sql", "0001_first.sql"):
        (tmp_path / name).write_text(name)
    assert read_migrations(tmp_path, SQLITE) == [(1, "0001_first.sql"), (2, "0002_second.sql")]

    (tmp_path / "0002_other.sql").write_text("")
    with pytest.raises(ValueError, match="two migrations have the number 0002"):
        read_migrations(tmp_path, SQLITE)

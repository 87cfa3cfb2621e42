import re
from pathlib import Path

import pytest

from isocenter.config.configuration import Configuration
from isocenter.config.documentation import (
    DEFAULT_FILE_NAME,
    PAGE_NAME,
    format_default_file,
    format_markdown,
    write_all,
)
from isocenter.config.loading import load_configuration
from isocenter.config.option import Option
from isocenter.config.options import OPTIONS

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # Relative paths of the defaults and of the file start here.
    write_all(tmp_path)
    return tmp_path / DEFAULT_FILE_NAME


@pytest.mark.parametrize(
    ("name", "content"),
    [(PAGE_NAME, format_markdown()), (DEFAULT_FILE_NAME, format_default_file())],
    ids=[PAGE_NAME, DEFAULT_FILE_NAME],
)
def test_committed_file_is_what_the_table_says(name: str, content: str) -> None:
    committed = (DOCS / name).read_text(encoding="utf-8")

    assert committed == content, "run: python -m isocenter.config.documentation docs"


def test_default_file_read_back_gives_the_defaults(default_file: Path) -> None:
    configuration = load_configuration([default_file], {})

    defaults = Configuration.defaults()
    assert configuration.warnings == ()
    assert dict(configuration.values) == {
        name: defaults.get_default(name) for name in configuration.values
    }


def test_default_file_sets_every_option_with_a_constant_default(default_file: Path) -> None:
    configuration = load_configuration([default_file], {})

    constant = {o.name for o in OPTIONS.values() if not (o.default_note or o.fallback)}
    assert configuration.values.keys() == constant


def test_default_file_with_all_options_uncommented_is_accepted(tmp_path: Path) -> None:
    uncommented = re.sub(r'(?m)^( *)// ("\w+": .*,)$', r"\1\2", format_default_file())
    path = tmp_path / DEFAULT_FILE_NAME
    path.write_text(uncommented, encoding="utf-8")

    assert load_configuration([path], {}).values.keys() == OPTIONS.keys()


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_markdown_has_one_row_per_option(option: Option) -> None:
    rows = [line for line in format_markdown().splitlines() if line.startswith("|")]

    assert sum(row.startswith(f"| `{option.name}` | ") for row in rows) in {1, 2}


def test_markdown_rows_have_as_many_cells_as_the_header() -> None:
    rows = [line for line in format_markdown().splitlines() if line.startswith("| `")]

    assert {row.replace("\\|", "").count("|") for row in rows} == {3, 7}

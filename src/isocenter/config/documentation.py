"""What the table of options says to people: a page of documentation and a commented file.

``python -m isocenter.config.documentation docs`` writes both into the folder ``docs``; a test
checks that the committed files are what the table says.
"""

import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isocenter.config.option import Effect, Group, Option
from isocenter.config.options import GROUPS, OPTIONS
from isocenter.config.values import BooleanKind, IntegerKind, Kind, PathKind

__all__ = ["DEFAULT_FILE_NAME", "PAGE_NAME", "format_default_file", "format_markdown", "write_all"]

PAGE_NAME = "configuration.md"
"""Name of the page in the folder of documentation."""

DEFAULT_FILE_NAME = "isocenter.default.json"
"""Name of the commented file in the folder of documentation."""

_WIDTH = 96

_INTRODUCTION = """\
# Configuration

<!-- Generated from the table in src/isocenter/config; write it anew with
     python -m isocenter.config.documentation docs -->

Isocenter reads the configuration files of Orthanc: every option of Orthanc and of its usual plugins
is known here, and so are a few options of our own in the section `Isocenter`. A complete file with
all defaults is [isocenter.default.json](isocenter.default.json); a file of your own needs only what
differs from them.

## Files

- `isocenter serve FILE-OR-FOLDER …` reads the named files; of a folder, all files named `*.json`.
  An option or section that two files set is an error, so no file silently wins over another.
- The text is JSON in UTF-8. `// …` and `/* … */` are comments; a comma after the last item is fine.
- `${NAME}` is replaced by the environment variable `NAME`, and `${NAME:-text}` by `text` if there
  is no such variable. A missing variable without such a text stops the start. Inside a JSON string
  the value is escaped for you; outside it is taken as JSON, as in `"HttpPort": ${PORT:-8042}`.
- Relative paths start at the folder of the file that sets them. In the environment, and for
  defaults, they start at the folder in which the server was started.
- Unknown options are ignored with a warning that names the option you may have meant. A wrong type,
  a value out of range, a name that appears twice, or options that contradict each other stop the
  start with a message that names the file, the option and the reason.

## Environment variables

Every option can be set by a variable that wins over the files: write `ORTHANC__`, the words of the
name in capitals with `_` between them, and `__` between section and option.

| Option | Variable |
|---|---|
{variables}

The value is read as JSON if this gives a value of the right kind (`true`, `8042`, `["a", "b"]`,
`{"alice": "secret"}`), and as plain text otherwise. A whole section may be given as an object
(`ORTHANC__POSTGRESQL`), and a whole configuration in `ORTHANC_JSON`; the more precise variable
wins. Where words are split does not matter: `ORTHANC__POSTGRE_SQL__HOST` is understood, too.

## Options

*Works* says what an option does in this release: **yes**; **not yet**: it is read and checked, and
the start warns if you ask for anything but the default; **needless**: it tunes an inner part that
Orthanc has and Isocenter does not, and is read without a word. A default in *italics* is found when
the server starts.
"""

_EXAMPLES = (
    "StableAge",
    "DicomAet",
    "StoreMD5ForAttachments",
    "DicomWeb.EnableWado",
    "PostgreSQL.Host",
    "OrthancExplorer2.Enable",
    "Isocenter.LogLevel",
)

_EXAMPLE_VALUES: tuple[tuple[type[Kind], object], ...] = (
    (BooleanKind, True),
    (IntegerKind, 1),
    (PathKind, "folder"),
)

_FILE_INTRODUCTION = (
    "All options of Isocenter with their defaults. A file of your own needs only what differs from "
    "them. Options behind // have no constant default; what holds instead is said above them. "
    "Relative paths start at the folder of this file."
)


def format_markdown() -> str:
    """Return the page that documents every option."""
    variables = "\n".join(
        f"| `{name}` | `{OPTIONS[name].environment_name}` |" for name in _EXAMPLES
    )
    introduction = _INTRODUCTION.replace("{variables}", variables)
    return "\n".join([introduction, *(_format_group(group) for group in GROUPS)])


def _format_group(group: Group) -> str:
    lines = [
        f"### {group.title}",
        "",
        "| Option | Default | Unit | Values | Meaning | Works |",
        "|---|---|---|---|---|---|",
        *(_format_row(option) for option in group.options),
        "",
    ]
    return "\n".join(lines)


def _format_row(option: Option) -> str:
    meaning = option.meaning
    if option.differs:
        meaning += f" **Differs from Orthanc:** {option.differs}"
    cells = (
        f"`{option.name}`",
        _format_default(option),
        option.unit,
        option.kind.label,
        meaning,
        option.effect.value,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _format_default(option: Option) -> str:
    note = _get_note(option)
    return f"*{note}*" if note else f"`{_format_json(option.default)}`"


def _get_note(option: Option) -> str:
    """Return how the default is found, or an empty text if it is a constant."""
    return f"as `{option.fallback}`" if option.fallback else option.default_note


def _format_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def format_default_file() -> str:
    """Return a complete commented configuration file; reading it gives the defaults."""
    options = OPTIONS.values()
    sections = dict.fromkeys(option.section for option in options if option.section)
    entries = [_Entry(_format_comment(_FILE_INTRODUCTION), "")]
    entries += [_build_entry(option) for option in options if not option.section]
    for section in sections:
        inside = [_build_entry(option) for option in options if option.section == section]
        entries.append(_Entry([], f'"{section}": {_format_object(inside)}'))
    return _format_object(entries) + "\n"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A comment and the member of an object below it, if there is one."""

    comment: Sequence[str]
    member: str


def _build_entry(option: Option) -> _Entry:
    note = _get_note(option)
    unit = f" ({option.unit})" if option.unit else ""
    sentences = [option.meaning, f"Value: {option.kind.label}{unit}."]
    if note:
        sentences.append(f"Default: {note}.")
    if option.differs:
        sentences.append(f"Differs from Orthanc: {option.differs}")
    if option.effect is Effect.LATER:
        sentences.append("Not effective yet.")
    if option.effect is Effect.NONE:
        sentences.append("Needless here.")
    comment = _format_comment(" ".join(sentences))
    member = f'"{option.key}": {_format_json(_get_example(option))}'
    return _Entry([*comment, f"// {member},"], "") if note else _Entry(comment, member)


def _get_example(option: Option) -> object:
    """Return the default, or, where there is none, a value that shows the form."""
    if option.fallback:
        return _get_example(OPTIONS[option.fallback])
    if option.default is not None:
        return option.default
    return next(example for kind, example in _EXAMPLE_VALUES if isinstance(option.kind, kind))


def _format_comment(text: str) -> list[str]:
    return [f"// {line}" for line in textwrap.wrap(text, _WIDTH - 8, break_on_hyphens=False)]


def _format_object(entries: Sequence[_Entry]) -> str:
    """Return an object over several lines, without a comma after its last member."""
    last = max((n for n, entry in enumerate(entries) if entry.member), default=-1)
    blocks = []
    for number, entry in enumerate(entries):
        member = [entry.member + ("," if number < last else "")] if entry.member else []
        blocks.append(textwrap.indent("\n".join([*entry.comment, *member]), "  "))
    return "{\n" + "\n\n".join(blocks) + "\n}"


def write_all(folder: Path) -> None:
    """Write the page and the commented file into a folder."""
    (folder / PAGE_NAME).write_text(format_markdown(), encoding="utf-8")
    (folder / DEFAULT_FILE_NAME).write_text(format_default_file(), encoding="utf-8")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))

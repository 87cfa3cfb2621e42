"""The dictionary of data elements, loaded from the generated table ``data_elements.tsv``.

The table is text and not Python so that loading it costs little memory (5 MB instead of 33 MB when
there is no compiled file).

References
----------
PS3.6 §6-§8, PS3.5 §7.6 (repeating groups), §7.8 (private elements)
"""

import sys
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

__all__ = ["Definition", "ElementTable", "load_element_table"]


class Definition(NamedTuple):
    """What a dictionary says about a data element.

    Parameters
    ----------
    vr
        Value representation; several possible ones are joined with ``or``.
    name
        Keyword; retired elements of the standard carry the prefix ``RETIRED_``.
    """

    vr: str
    vm: str
    name: str


@dataclass(frozen=True, slots=True)
class ElementTable:
    """The rows of the table, by kind.

    Parameters
    ----------
    standard
        Tag to definition.
    repeating
        Mask, value and definition of the tags of repeating groups: ``tag & mask == value``.
    private
        Creator to the definitions of its block; the key is the group and the last byte of the tag.
    """

    standard: dict[int, Definition]
    repeating: list[tuple[int, int, Definition]]
    private: dict[str, dict[int, Definition]]


@cache
def load_element_table() -> ElementTable:
    """Read the generated table, once in a process."""
    table = ElementTable({}, [], {})
    text = files("isocenter.dicom").joinpath("data_elements.tsv").read_text(encoding="utf-8")
    for line in text.splitlines():
        tag, creator, vr, vm, name = line.split("\t")
        definition = Definition(sys.intern(vr), sys.intern(vm), name)
        if creator:
            key = int(tag.replace("xx", ""), 16)
            table.private.setdefault(creator, {})[key] = definition
        elif "x" in tag:
            mask = int("".join("0" if digit == "x" else "f" for digit in tag), 16)
            table.repeating.append((mask, int(tag.replace("x", "0"), 16), definition))
        else:
            table.standard[int(tag, 16)] = definition
    return table

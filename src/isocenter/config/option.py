"""One row of the table of options."""

import re
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import Any

from isocenter.config.values import Kind

__all__ = ["Effect", "Group", "Option"]


class Effect(Enum):
    """What setting an option does in this release."""

    FULL = "yes"
    """The option works."""
    LATER = "not yet"
    """It is read and checked, and the start warns that it changes nothing."""
    NONE = "needless"
    """It tunes an inner part that the reference has and we have not; read without a word."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Parameters
    ----------
    name
        Dotted name: ``HttpPort``, ``PostgreSQL.Host``.
    kind
        Which values it may have.
    default
        Value of JSON that holds when nothing is set; ``None`` if the option then has no value.
    meaning
        What it does, for the administrator.
    unit
        Unit of the number, if it has one.
    effect
        What it does in this release.
    default_note
        How the default is found when it is not a constant; for the documentation.
    fallback
        Name of the option whose value holds when this one is not set.
    differs
        Why the default, or the meaning, is not the reference's; empty if it is.
    """

    name: str
    kind: Kind
    _: KW_ONLY
    meaning: str
    default: Any = None
    unit: str = ""
    effect: Effect = Effect.LATER
    default_note: str = ""
    fallback: str = ""
    differs: str = ""

    @property
    def section(self) -> str:
        """Section of the file that holds the option; empty for the core's."""
        return self.name.rpartition(".")[0]

    @property
    def key(self) -> str:
        """Name of the option within its section."""
        return self.name.rpartition(".")[2]

    @property
    def is_effective(self) -> bool:
        """Whether setting the option needs no warning."""
        return self.effect is not Effect.LATER

    @property
    def environment_name(self) -> str:
        """Environment variable that sets the option.

        References
        ----------
        Orthanc Book, "orthancteam/orthanc Docker images": capitals, an underscore between words,
        two between levels; acronyms stay together.
        """
        levels = self.name.replace("PostgreSQL", "Postgresql").split(".")
        return "ORTHANC__" + "__".join(_split_words(level).upper() for level in levels)


@dataclass(frozen=True, slots=True)
class Group:
    """Options that the documentation shows together."""

    title: str
    options: tuple[Option, ...]


_WORD_BORDER = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _split_words(name: str) -> str:
    return _WORD_BORDER.sub("_", name)

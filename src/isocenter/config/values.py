"""The kinds of values that an option may have.

A kind checks a value that came out of JSON and returns its normal form: text that stands for a
choice gets the table's spelling, a single text becomes a list where a list is expected. Containers
come back frozen (``tuple``, ``MappingProxyType``), so that a configuration cannot change under its
readers. A refused value raises :class:`ConfigurationError` with the reason alone; who calls knows
the file and the option and adds them. Reasons never repeat the value itself unless it is a choice
or a number, because it may be a password.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from isocenter.errors import ConfigurationError

__all__ = [
    "BooleanKind",
    "ChoiceKind",
    "CustomKind",
    "IntegerKind",
    "Kind",
    "ListKind",
    "MapKind",
    "ObjectKind",
    "PathKind",
    "TextKind",
    "check_text",
    "freeze",
    "parse_environment_value",
]

_JSON_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


class Kind(Protocol):
    """What every kind of value can do."""

    @property
    def label(self) -> str:
        """Name of the kind for people, as in "integer from 1 to 9"."""
        ...

    def check(self, value: object, /) -> Any:
        """Return the normal form of a value that came out of JSON.

        Raises
        ------
        ConfigurationError
            If the value is not of this kind; ``details`` is the reason alone.
        """
        ...


def _wrong_type(label: str, value: object) -> ConfigurationError:
    found = _JSON_NAMES.get(type(value), type(value).__name__)
    return ConfigurationError(f"must be {label}, not {found}")


def check_text(value: object, label: str = "text") -> str:
    """Return a text that every file system, database and protocol can carry.

    Raises
    ------
    ConfigurationError
        If it is no text, or holds a zero character or half of a surrogate pair (JSON's escapes
        can write both).
    """
    if not isinstance(value, str):
        raise _wrong_type(label, value)
    if "\0" in value or not _is_encodable(value):
        raise ConfigurationError("holds a character that no text may hold")
    return value


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class BooleanKind:
    """``true`` or ``false``."""

    label: str = "true or false"

    def check(self, value: object, /) -> bool:
        """Accept a boolean."""
        if not isinstance(value, bool):
            raise _wrong_type(self.label, value)
        return value


_LARGEST = 2**53
"""Above it, not every reader of JSON keeps integers exact (RFC 8259 §6)."""


@dataclass(frozen=True, slots=True)
class IntegerKind:
    """A whole number within bounds, both included."""

    minimum: int = 0
    maximum: int = _LARGEST

    @property
    def label(self) -> str:
        """Name of the kind with its bounds."""
        if self.maximum == _LARGEST:
            return f"integer of at least {self.minimum}"
        return f"integer from {self.minimum} to {self.maximum}"

    def check(self, value: object, /) -> int:
        """Accept an integer; ``true`` and ``1.0`` are none, as in the reference."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong_type(self.label, value)
        if not self.minimum <= value <= self.maximum:
            raise ConfigurationError(f"must be {self.label}")
        return value


@dataclass(frozen=True, slots=True)
class TextKind:
    """A text, on demand of one form.

    Parameters
    ----------
    pattern
        Regular expression that the whole text must match.
    label
        What the pattern means, for people.
    """

    pattern: re.Pattern[str] | None = None
    label: str = "text"

    def check(self, value: object, /) -> str:
        """Accept a text of the form."""
        text = check_text(value, self.label)
        if self.pattern is not None and self.pattern.fullmatch(text) is None:
            raise ConfigurationError(f"must be {self.label}")
        return text


@dataclass(frozen=True, slots=True)
class ChoiceKind:
    """One of a few words, spelt as in the table.

    Parameters
    ----------
    choices
        The words.
    true, false
        The words that the booleans stand for, where booleans are accepted too.
    """

    choices: tuple[str, ...]
    true: str | None = None
    false: str | None = None

    @property
    def label(self) -> str:
        """The words, one after the other."""
        words = ", ".join(f'"{choice}"' for choice in self.choices)
        return f"one of {words}" + (" or a boolean" if self.true is not None else "")

    def check(self, value: object, /) -> str:
        """Return the word that the value stands for."""
        if isinstance(value, bool) and self.true is not None and self.false is not None:
            return self.true if value else self.false
        text = check_text(value, self.label)
        if text not in self.choices:
            raise ConfigurationError(f'must be {self.label}, not "{text[:40]}"')
        return text


@dataclass(frozen=True, slots=True)
class PathKind:
    """A file or folder; a relative one starts at the folder of the file that sets it."""

    label: str = "path"

    def check(self, value: object, /) -> str:
        """Accept a text; the empty one means that there is no path."""
        return check_text(value, self.label)


@dataclass(frozen=True, slots=True)
class ListKind:
    """A list whose items are all of one kind.

    A single text is accepted in place of a list of texts, as the reference does.
    """

    item: Kind

    @property
    def label(self) -> str:
        """Name of the kind with that of its items."""
        return f"list of {self.item.label}"

    def check(self, value: object, /) -> tuple[Any, ...]:
        """Return the checked items."""
        if isinstance(value, str) and isinstance(self.item, TextKind | PathKind):
            value = [value]
        if not isinstance(value, list | tuple):
            raise _wrong_type(self.label, value)
        return tuple(
            _check_part(self.item, item, f"item {number}") for number, item in enumerate(value, 1)
        )


@dataclass(frozen=True, slots=True)
class MapKind:
    """An object whose values are all of one kind.

    Parameters
    ----------
    item
        Kind of the values.
    names
        The only names allowed; ``None`` allows all but the empty one.
    distinct
        Returns what must differ between any two values, as a code that may be given once.
    is_taken
        Tells whether a name has a meaning already and may not be given.
    """

    item: Kind
    names: Collection[str] | None = None
    distinct: Callable[[Any], object] | None = None
    is_taken: Callable[[str], bool] | None = None

    @property
    def label(self) -> str:
        """Name of the kind with that of its values."""
        return f"object of {self.item.label}"

    def check(self, value: object, /) -> Mapping[str, Any]:
        """Return the checked object, frozen."""
        if not isinstance(value, Mapping):
            raise _wrong_type(self.label, value)
        for name in value:
            self._check_name(check_text(name))
        checked = {name: _check_part(self.item, part, f'"{name}"') for name, part in value.items()}
        if self.distinct is not None:
            _check_distinct({name: self.distinct(part) for name, part in checked.items()})
        return MappingProxyType(checked)

    def _check_name(self, name: str) -> None:
        if not name:
            raise ConfigurationError("holds an empty name")
        if self.names is not None and name not in self.names:
            allowed = ", ".join(sorted(self.names))
            raise ConfigurationError(f'"{name}" is not one of {allowed}')
        if self.is_taken is not None and self.is_taken(name):
            raise ConfigurationError(f'"{name}" has a meaning already')


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """An object, or a list of anything, whose inside another part of the server checks."""

    container: type[dict[str, Any]] | type[list[Any]] = dict

    @property
    def label(self) -> str:
        """Name of the container."""
        return "object" if self.container is dict else "list"

    def check(self, value: object, /) -> Any:
        """Accept the container and freeze it."""
        expected = Mapping if self.container is dict else (list, tuple)
        if not isinstance(value, expected):
            raise _wrong_type(self.label, value)
        return freeze(value)


@dataclass(frozen=True, slots=True)
class CustomKind:
    """A kind that is checked by a function of its own.

    Parameters
    ----------
    label
        Name of the kind, for people.
    function
        Returns the normal form or raises :class:`ConfigurationError` with the reason alone.
    """

    label: str
    function: Callable[[object], Any]

    def check(self, value: object, /) -> Any:
        """Return what the function makes of the value."""
        return freeze(self.function(value))


def _check_part(kind: Kind, value: object, place: str) -> Any:
    """Check a part of a container and say which part is refused."""
    try:
        return kind.check(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error.details}") from None


def _check_distinct(codes: Mapping[str, object]) -> None:
    owners: dict[object, str] = {}
    for name, code in codes.items():
        if code in owners:
            raise ConfigurationError(f'"{owners[code]}" and "{name}" share the code {code}')
        owners[code] = name


def freeze(value: Any) -> Any:
    """Return a value of JSON whose containers, at any depth, cannot change."""
    if isinstance(value, Mapping):
        return MappingProxyType({name: freeze(part) for name, part in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(part) for part in value)
    return value


def parse_environment_value(kind: Kind, text: str) -> Any:
    """Return the JSON value that an environment variable gives to an option, not yet checked.

    The text is read as JSON if this yields something of the option's kind; otherwise it stands for
    itself. So ``8042`` is a number for a port and a text for a password. Text that is meant as
    JSON, for an option that can only be a container, is never taken for a name by mistake.

    Raises
    ------
    ConfigurationError
        If neither reading is of the option's kind; ``details`` is the reason alone.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        kind.check(text)
        return text
    try:
        kind.check(value)
    except ConfigurationError:
        if isinstance(value, list | dict) and not isinstance(kind, TextKind | PathKind):
            raise
        kind.check(text)
        return text
    return value

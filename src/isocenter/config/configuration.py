"""Typed, immutable access to the options in force."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from isocenter.config.option import Option
from isocenter.config.options import OPTIONS
from isocenter.config.peers import Peer, parse_peer
from isocenter.config.remote_modalities import RemoteModality, parse_remote_modality
from isocenter.config.routing_rules import RoutingRule, parse_routing_rule
from isocenter.config.values import (
    BooleanKind,
    ChoiceKind,
    CustomKind,
    IntegerKind,
    Kind,
    ListKind,
    MapKind,
    ObjectKind,
    PathKind,
    TextKind,
)
from isocenter.errors import ConfigurationError, InternalError

__all__ = ["Configuration", "check_option"]


def check_option(option: Option, value: object, folder: Path) -> Any:
    """Return the normal form of an option's value; relative paths start at the folder.

    Raises
    ------
    ConfigurationError
        Naming the option and the reason.
    """
    try:
        checked = option.kind.check(value)
    except ConfigurationError as error:
        raise ConfigurationError(f'option "{option.name}": {error.details}') from None
    return _resolve_paths(option.kind, checked, folder)


def _resolve_paths(kind: Kind, value: Any, folder: Path) -> Any:
    """Turn texts of paths into absolute paths; the empty text becomes ``None``."""
    if isinstance(kind, PathKind):
        return (folder / value).absolute() if value else None
    if isinstance(kind, ListKind) and isinstance(kind.item, PathKind):
        return tuple((folder / item).absolute() for item in value)
    return value


def _build_defaults(folder: Path) -> Mapping[str, Any]:
    """Return the normal form of each constant default; ``None`` where there is none."""
    defaults: dict[str, Any] = {
        option.name: None
        if option.default is None
        else check_option(option, option.default, folder)
        for option in OPTIONS.values()
    }
    defaults["TemporaryDirectory"] = Path(tempfile.gettempdir())
    return MappingProxyType(defaults)


def _get_option(name: str) -> Option:
    try:
        return OPTIONS[name]
    except KeyError:
        raise InternalError(f'there is no option "{name}"') from None


def _wrong_kind(name: str) -> InternalError:
    return InternalError(f'option "{name}" is asked as another kind than it is')


@dataclass(frozen=True, slots=True)
class Configuration:
    """The options in force. Immutable, so that every thread and task may read it.

    Get one from :func:`isocenter.config.loading.load_configuration`, :meth:`defaults` or
    :meth:`with_values`. Names are dotted: ``HttpPort``, ``PostgreSQL.Host``. Each accessor raises
    :class:`InternalError` if the table has no such option, if the option is of another kind, or if
    it has no value; all three are mistakes of the caller, never of the administrator.

    Parameters
    ----------
    values
        Normal form of the options that were set, by dotted name (see :func:`check_option`).
    folder
        Where relative paths among the defaults start.
    warnings
        What the administrator should know, one sentence each; log them once at the start.
    """

    # Holds passwords, so it never appears in logs by way of repr().
    values: Mapping[str, Any] = field(repr=False)
    folder: Path
    warnings: tuple[str, ...] = ()
    _defaults: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))
        object.__setattr__(self, "_defaults", _build_defaults(self.folder))

    @classmethod
    def defaults(cls) -> "Configuration":
        """Return what holds when nothing is set; relative paths start at the current folder."""
        return cls({}, Path.cwd())

    def with_values(self, values: Mapping[str, object]) -> "Configuration":
        """Return a configuration in which the named options are set.

        Parameters
        ----------
        values
            Dotted name → value as in a file. Relative paths start at ``folder``.

        Raises
        ------
        ConfigurationError
            If a value is refused. Options are not checked against each other.
        InternalError
            If the table has no such option.
        """
        checked = {
            name: check_option(_get_option(name), value, self.folder)
            for name, value in values.items()
        }
        return replace(self, values={**self.values, **checked})

    def is_set(self, name: str) -> bool:
        """Whether the administrator set the option, be it to its default."""
        return _get_option(name).name in self.values

    def get_default(self, name: str) -> Any:
        """Return the normal form of an option's constant default, ``None`` if it has none."""
        return self._defaults[_get_option(name).name]

    def boolean(self, name: str) -> bool:
        """Return an option that is true or false."""
        return bool(self._get(name, BooleanKind))

    def integer(self, name: str) -> int:
        """Return an option that is a whole number."""
        return int(self._get(name, IntegerKind))

    def number(self, name: str) -> float:
        """Return an option that is a number, for arithmetic with fractions."""
        return float(self._get(name, IntegerKind))

    def text(self, name: str) -> str:
        """Return an option that is a text or a choice; an unset text may be empty."""
        return str(self._get(name, TextKind, ChoiceKind))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an option that is a list of texts."""
        return tuple(self._get_list(name, TextKind))

    def path(self, name: str) -> Path:
        """Return an option that is an absolute path."""
        return Path(self._get(name, PathKind))

    def lookup_path(self, name: str) -> Path | None:
        """Return an option that is an absolute path, or ``None`` if it names none."""
        path: Path | None = self._lookup(name, PathKind)
        return path

    def paths(self, name: str) -> tuple[Path, ...]:
        """Return an option that is a list of absolute paths."""
        return tuple(self._get_list(name, PathKind))

    def sequence(self, name: str) -> tuple[Any, ...]:
        """Return an option that is a list of anything; its containers are frozen."""
        value = self._get(name, ObjectKind)
        if not isinstance(value, tuple):
            raise _wrong_kind(name)
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Return an option that is an object; its containers are frozen."""
        value = self._get(name, MapKind, CustomKind, ObjectKind)
        if not isinstance(value, Mapping):
            raise _wrong_kind(name)
        return value

    @property
    def remote_modalities(self) -> Mapping[str, RemoteModality]:
        """``DicomModalities``, each by its symbolic name."""
        configured = self.mapping("DicomModalities")
        return {name: parse_remote_modality(value) for name, value in configured.items()}

    @property
    def peers(self) -> Mapping[str, Peer]:
        """``OrthancPeers``, each by its symbolic name."""
        configured = self.mapping("OrthancPeers")
        return {name: parse_peer(value) for name, value in configured.items()}

    @property
    def routing_rules(self) -> Mapping[str, RoutingRule]:
        """``Isocenter.Routing``, each rule by its name."""
        configured = self.mapping("Isocenter.Routing")
        return {name: parse_routing_rule(value) for name, value in configured.items()}

    def _lookup(self, name: str, *kinds: type[Kind]) -> Any:
        """Return the value set, else the fallback's, else the default, which may be ``None``."""
        option = _get_option(name)
        if not isinstance(option.kind, kinds):
            raise _wrong_kind(name)
        if name in self.values:
            return self.values[name]
        if option.fallback:
            return self._lookup(option.fallback, *kinds)
        return self._defaults[name]

    def _get(self, name: str, *kinds: type[Kind]) -> Any:
        value = self._lookup(name, *kinds)
        if value is None:
            raise InternalError(f'option "{name}" has no value')
        return value

    def _get_list(self, name: str, item: type[Kind]) -> Any:
        values = self._get(name, ListKind)
        kind = _get_option(name).kind
        if not (isinstance(kind, ListKind) and isinstance(kind.item, item)):
            raise _wrong_kind(name)
        return values

"""Reading the configuration: files and folders, environment, checks, warnings.

References
----------
Orthanc REST: behaviour manual §36.5 and §2.4
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isocenter.config.configuration import Configuration, check_option
from isocenter.config.environment import flatten, normalize_variable, read_environment
from isocenter.config.option import Effect
from isocenter.config.options import OPTIONS, SECTIONS
from isocenter.config.source import parse_source
from isocenter.errors import ConfigurationError

__all__ = ["load_configuration"]

_MAXIMUM_FILE_SIZE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Setting:
    """A value as it was found: unchecked, with the place that people look for it."""

    value: Any
    origin: str
    folder: Path


def load_configuration(paths: Sequence[Path], environ: Mapping[str, str]) -> Configuration:
    """Read the configuration files, then the environment, which wins.

    Parameters
    ----------
    paths
        Files, and folders whose ``*.json`` files are all read. May be empty. Relative paths in a
        file start at the file's folder, others at the current folder.
    environ
        Environment variables: those named ``ORTHANC__…`` and ``ORTHANC_JSON`` set options, and any
        may be used as ``${NAME}`` in a file.

    Returns
    -------
    Configuration
        With the warnings about unknown options and options without effect.

    Raises
    ------
    ConfigurationError
        If a file cannot be read or is not JSON, a name is set twice, a value is refused, or options
        contradict each other. ``details`` names the file, the option and the reason.
    """
    settings, unknown = _read_files(paths, environ)
    from_environment = read_environment(environ)
    for name, (variable, value) in from_environment.values.items():
        settings[name] = _Setting(value, variable, Path.cwd())
    checked = {name: _check(name, setting) for name, setting in settings.items()}
    warnings = (
        *_warn_of_unknown((*unknown, *from_environment.unknown)),
        *_warn_of_ineffective(checked),
    )
    configuration = Configuration(checked, Path.cwd(), tuple(warnings))
    _check_together(configuration)
    return configuration


def _check(name: str, setting: _Setting) -> Any:
    try:
        return check_option(OPTIONS[name], setting.value, setting.folder)
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting.origin}: {error.details}") from None


def _read_files(
    paths: Iterable[Path], environ: Mapping[str, str]
) -> tuple[dict[str, _Setting], list[str]]:
    """Return the known options that the files set and the names that the table does not have."""
    settings: dict[str, _Setting] = {}
    unknown: list[str] = []
    owners: dict[str, Path] = {}
    for path in _iter_files(paths):
        try:
            document = parse_source(_read_text(path), environ)
            _check_owners(document, owners, path)
            flat = flatten(document)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error.details}") from None
        for name, value in flat.items():
            if name in OPTIONS:
                settings[name] = _Setting(value, str(path), path.parent)
            else:
                unknown.append(name)
    return settings, unknown


def _iter_files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        # Unlike Path.is_dir, this leaves a path that may not be looked at to the error of opening.
        if os.path.isdir(path):
            yield from sorted(path.glob("*.json"))
        else:
            yield path


def _read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAXIMUM_FILE_SIZE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}") from error
    if len(content) > _MAXIMUM_FILE_SIZE_BYTES:
        raise ConfigurationError("is larger than 16 MB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"line {line}: the text is not UTF-8") from None


def _check_owners(document: Mapping[str, Any], owners: dict[str, Path], path: Path) -> None:
    """Refuse a name, be it an option or a section, that an earlier file has set."""
    for name in document:
        if name in owners:
            raise ConfigurationError(f'"{name}" is set in {owners[name]}, too')
        owners[name] = path


def _warn_of_unknown(names: Iterable[str]) -> list[str]:
    return [
        f'unknown option "{name}" is ignored'
        + (f'; did you mean "{suggestion}"?' if (suggestion := _suggest(name)) else "")
        for name in names
    ]


def _suggest(name: str) -> str:
    """Return the option or variable that a misspelt name most likely means, or an empty text."""
    if name.startswith("ORTHANC__"):
        names = {
            normalize_variable(o.environment_name): o.environment_name for o in OPTIONS.values()
        }
        wanted = normalize_variable(name)
    else:
        names = {o.key.lower(): o.name for o in OPTIONS.values()} | {
            o.name.lower(): o.name for o in OPTIONS.values()
        }
        names |= {section.lower(): section for section in SECTIONS}
        wanted = name.lower()
    return next((names[m] for m in difflib.get_close_matches(wanted, names, 1, 0.8)), "")


def _warn_of_ineffective(checked: Mapping[str, Any]) -> list[str]:
    """Name the options whose values ask for what this release does not do.

    Values equal to the defaults ask for nothing, so that a complete configuration file, as the
    reference ships it, does not name half of the table.
    """
    defaults = Configuration.defaults()
    names = [
        name
        for name, value in checked.items()
        if OPTIONS[name].effect is Effect.LATER and value != defaults.get_default(name)
    ]
    if not names:
        return []
    return [f"these options have no effect in this release: {', '.join(sorted(names))}"]


def _check_together(configuration: Configuration) -> None:
    """Refuse options that contradict each other.

    References
    ----------
    Orthanc REST: behaviour manual §36.5 (what stops the start; what ``ReadOnly`` ignores)
    """
    if (
        configuration.boolean("HttpServerEnabled")
        and configuration.boolean("RemoteAccessAllowed")
        and configuration.boolean("AuthenticationEnabled")
        and not configuration.is_set("RegisteredUsers")
    ):
        raise ConfigurationError(
            'option "RemoteAccessAllowed": remote access needs users in "RegisteredUsers", or '
            '"AuthenticationEnabled" set to false'
        )
    if configuration.boolean("ReadOnly"):
        return
    if configuration.text("OverwriteInstances") == "IfChanged" and not configuration.boolean(
        "StoreMD5ForAttachments"
    ):
        raise ConfigurationError(
            'option "OverwriteInstances": "IfChanged" needs "StoreMD5ForAttachments"'
        )
    if not configuration.boolean("PatientLevelEnabled"):
        for name in ("MaximumStorageSize", "MaximumPatientCount"):
            if configuration.integer(name) > 0:
                raise ConfigurationError(
                    f'option "{name}": limits of storage recycle by patient and need '
                    '"PatientLevelEnabled"'
                )

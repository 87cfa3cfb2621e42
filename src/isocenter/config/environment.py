"""Options from environment variables.

``ORTHANC__HTTP_PORT=8043`` sets ``HttpPort``, ``ORTHANC__POSTGRESQL__HOST=db`` sets
``PostgreSQL.Host``, ``ORTHANC__POSTGRESQL={"Host": "db"}`` sets several options of a section, and
``ORTHANC_JSON={...}`` is a whole configuration. The more precise variable wins. Single underscores
may stand anywhere within a level, because words are split in more than one way (``MD5``, ``SSL``);
no two options differ by them alone.

References
----------
Orthanc Book, "orthancteam/orthanc Docker images", environment variables
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isocenter.config.options import OPTIONS, SECTIONS
from isocenter.config.source import parse_source
from isocenter.config.values import parse_environment_value
from isocenter.errors import ConfigurationError

__all__ = ["EnvironmentOptions", "flatten", "normalize_variable", "read_environment"]

_PREFIX = "ORTHANC__"
_WHOLE = "ORTHANC_JSON"


@dataclass(frozen=True, slots=True)
class EnvironmentOptions:
    """What the environment sets.

    Parameters
    ----------
    values
        Dotted name → (variable, value of JSON that is not checked yet).
    unknown
        Names that the table does not have, dotted or as variables.
    """

    values: Mapping[str, tuple[str, Any]]
    unknown: tuple[str, ...]


def flatten(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a document under their dotted names.

    Only the objects of known sections are opened; they must be objects.

    Raises
    ------
    ConfigurationError
        If a section is not an object.
    """
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if name not in SECTIONS:
            flat[name] = value
        elif isinstance(value, dict):
            flat.update({f"{name}.{key}": part for key, part in value.items()})
        else:
            raise ConfigurationError(f'section "{name}" must be an object')
    return flat


def read_environment(environ: Mapping[str, str]) -> EnvironmentOptions:
    """Collect the options that environment variables set.

    Raises
    ------
    ConfigurationError
        If a variable's text is not of the kind of its option; names the variable.
    """
    names = _index_by_variable()
    values: dict[str, tuple[str, Any]] = {}
    unknown: list[str] = []
    if _WHOLE in environ:
        values.update(_read_object(_WHOLE, environ, ""))
    variables = [variable for variable in environ if variable.startswith(_PREFIX)]
    # Sections come before their options, so that the precise variable wins.
    for variable in sorted(variables, key=lambda name: (name.count("__"), name)):
        name = names.get(normalize_variable(variable))
        if name is None:
            unknown.append(variable)
        elif name in SECTIONS:
            values.update(_read_object(variable, environ, name))
        else:
            values[name] = (variable, _read_value(variable, environ[variable], name))
    known = {name: entry for name, entry in values.items() if name in OPTIONS}
    unknown.extend(name for name in values if name not in OPTIONS)
    return EnvironmentOptions(known, tuple(unknown))


def normalize_variable(variable: str) -> str:
    """Return a variable's name without the underscores inside its levels."""
    levels = variable.removeprefix(_PREFIX).split("__")
    return ".".join(level.replace("_", "") for level in levels)


def _index_by_variable() -> dict[str, str]:
    return {name.upper(): name for name in (*OPTIONS, *SECTIONS)}


def _read_value(variable: str, text: str, name: str) -> Any:
    try:
        return parse_environment_value(OPTIONS[name].kind, text)
    except ConfigurationError as error:
        raise ConfigurationError(f'{variable}, option "{name}": {error.details}') from None


def _read_object(
    variable: str, environ: Mapping[str, str], section: str
) -> dict[str, tuple[str, Any]]:
    """Read a variable that holds a section, or the whole configuration."""
    try:
        document = parse_source(environ[variable], environ)
        flat = flatten({section: document} if section else document)
    except ConfigurationError as error:
        raise ConfigurationError(f"{variable}: {error.details}") from None
    return {name: (variable, value) for name, value in flat.items()}

"""The text of a configuration file: JSON with comments, trailing commas and variables.

Comments are ``//`` to the end of the line and ``/* */``. ``${NAME}`` is replaced by the environment
variable, ``${NAME:-text}`` by the text if there is no such variable. Inside a JSON string the
variable's value is escaped, so that a quote or a backslash in a password stays what it is; outside
it is taken as JSON. Neither is touched inside comments.

References
----------
Orthanc REST: behaviour manual §36.5; trailing commas: measured on Orthanc 1.10.1
"""

import bisect
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from isocenter.errors import ConfigurationError

__all__ = ["parse_source"]

_MAXIMUM_DEPTH = 64
_VARIABLE = r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}"
_VARIABLE_PATTERN = re.compile(_VARIABLE)
# Strings come first, so that nothing inside them is taken for a comment or a comma. The possessive
# quantifier keeps the time linear when the closing quote is missing.
_STRING = r'"(?:[^"\\]|\\.)*+"'
_TOKEN = re.compile(rf"(?P<string>{_STRING})|//[^\n]*|/\*.*?(?:\*/|\Z)|{_VARIABLE}", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"{_STRING}(?:\s*+,(?=\s*+[\]}}]))?|[\]}}\w]\s*+,(?=\s*+[\]}}])")


class _PlainText:
    """Source without comments and variables that remembers where each part came from."""

    def __init__(self, source: str, environ: Mapping[str, str]) -> None:
        self._source = source
        self._environ = environ
        self._parts: list[str] = []
        self._length = 0
        # Where parts start, in the result and in the source.
        self._starts: list[int] = []
        self._origins: list[int] = []
        end = 0
        for match in _TOKEN.finditer(source):
            self._add(source[end : match.start()], end)
            self._add_token(match)
            end = match.end()
        self._add(source[end:], end)

    def get_text(self) -> str:
        """Return JSON."""
        return _TRAILING_COMMA.sub(_blank_trailing_comma, "".join(self._parts))

    def get_origin(self, offset: int) -> int:
        """Return the offset in the source of an offset in the result."""
        index = bisect.bisect_right(self._starts, offset) - 1
        inside = offset - self._starts[index]
        is_last = index + 1 == len(self._origins)
        end = len(self._source) if is_last else self._origins[index + 1]
        return min(self._origins[index] + inside, end)

    def refuse(self, offset: int, reason: str) -> NoReturn:
        """Raise the error for an offset in the source."""
        line = self._source.count("\n", 0, offset) + 1
        column = offset - self._source.rfind("\n", 0, offset)
        raise ConfigurationError(f"line {line}, column {column}: {reason}")

    def _add(self, part: str, origin: int) -> None:
        self._parts.append(part)
        self._starts.append(self._length)
        self._origins.append(origin)
        self._length += len(part)

    def _add_token(self, match: re.Match[str]) -> None:
        token = match.group()
        if match["string"] is not None:
            self._add_string(token, match.start())
        elif match["name"] is not None:
            self._add(self._get_variable(match, match.start(), is_in_string=False), match.start())
        else:
            if token.startswith("/*") and (len(token) < 4 or not token.endswith("*/")):
                self.refuse(match.start(), "this comment has no end")
            self._add(" ", match.start())

    def _add_string(self, token: str, start: int) -> None:
        end = 0
        for match in _VARIABLE_PATTERN.finditer(token):
            self._add(token[end : match.start()], start + end)
            origin = start + match.start()
            self._add(self._get_variable(match, origin, is_in_string=True), origin)
            end = match.end()
        self._add(token[end:], start + end)

    def _get_variable(self, match: re.Match[str], origin: int, *, is_in_string: bool) -> str:
        value = self._environ.get(match["name"])
        if value is not None:
            return json.dumps(value)[1:-1] if is_in_string else value
        if match["default"] is None:
            self.refuse(origin, f"the environment variable {match['name']} is not set")
        return match["default"]


def _blank_trailing_comma(match: re.Match[str]) -> str:
    token = match.group()
    return token[:-1] + " " if token.endswith(",") else token


def parse_source(source: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Read the text of a configuration file.

    Returns
    -------
    dict
        The outermost object. Its containers nest at most 64 deep.

    Raises
    ------
    ConfigurationError
        If it is not one JSON object, a name appears twice in an object, or a variable is missing.
        ``details`` says the line, the column and the reason, and leaves the file to the caller.
    """
    plain = _PlainText(source, environ)
    try:
        value = json.loads(
            plain.get_text(),
            strict=False,
            object_pairs_hook=_build_object,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        plain.refuse(plain.get_origin(error.pos), error.msg)
    except RecursionError:
        raise ConfigurationError("objects and lists are nested too deeply") from None
    except ValueError:
        # Python refuses to read integers of thousands of digits.
        raise ConfigurationError("a number is too long") from None
    if not isinstance(value, dict):
        raise ConfigurationError("must hold one JSON object")
    _check_depth(value)
    return value


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ConfigurationError(f'"{name}" appears twice in one object')
        result[name] = value
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ConfigurationError(f"{name} is not JSON")


def _check_depth(value: dict[str, Any]) -> None:
    """Refuse nesting beyond the limit, level by level, so that later recursion is bounded."""
    level: list[dict[str, Any] | list[Any]] = [value]
    for _ in range(_MAXIMUM_DEPTH):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
    if level:
        raise ConfigurationError("objects and lists are nested too deeply")

"""Names of metadata and attachments, and the codes that the index keeps in their place."""

from collections.abc import Mapping
from dataclasses import dataclass

from isocenter.config.codes import (
    FIRST_USER_CODE,
    LAST_USER_CODE,
    SYSTEM_ATTACHMENTS,
    SYSTEM_METADATA,
    is_number,
)
from isocenter.config.configuration import Configuration
from isocenter.errors import ParameterTypeError, UnknownItemError

__all__ = [
    "ContentTypes",
    "NameRegistry",
    "Registry",
    "build_registry",
    "is_user_code",
]

_LARGEST_CODE = 2**31 - 1
_MOST_DIGITS = 10
_OCTETS = "application/octet-stream"
_SYSTEM_MEDIA_TYPES = {1: "application/dicom", 2: "application/json", 3: "application/dicom"}


def is_user_code(code: int) -> bool:
    """Tell whether clients may write what has this code (behaviour manual §11, §12)."""
    return FIRST_USER_CODE <= code <= LAST_USER_CODE


class NameRegistry:
    """Finds codes by names and names by codes. A code without a name is named by its number.

    Parameters
    ----------
    system
        Names that are always there, by code.
    user
        Codes of the names that the configuration adds; checked when it was read.

    Attributes
    ----------
    user
        The same.

    References
    ----------
    Orthanc REST: options ``UserMetadata`` and ``UserContentType`` (behaviour manual §11, §12)
    """

    def __init__(self, system: Mapping[int, str], user: Mapping[str, int]) -> None:
        self.user = dict(user)
        self._codes = {name: code for code, name in system.items()} | self.user
        self._names = {code: name for name, code in self._codes.items()}

    def get_code(self, name: str) -> int:
        """Find the code of a name, which may also be the code itself, as a number.

        Raises
        ------
        UnknownItemError
            If nobody registered the name.
        ParameterTypeError
            If it is a number beyond 32 bits.
        """
        code = self._codes.get(name)
        if code is not None:
            return code
        if not is_number(name):
            raise UnknownItemError(f"no such name is registered: {name[:100]}")
        digits = name.removeprefix("-").lstrip("0") or "0"
        if len(digits) > _MOST_DIGITS or int(digits) > _LARGEST_CODE:
            message = "a code is a number of 32 bits"
            raise ParameterTypeError(message)
        return -int(digits) if name[0] == "-" else int(digits)

    def get_name(self, code: int) -> str:
        """Name a code."""
        return self._names.get(code) or str(code)


class ContentTypes(NameRegistry):
    """The kinds of attachments, with their media types.

    Parameters
    ----------
    user
        Option ``UserContentType``: name to code, or to code and media type.
    """

    def __init__(self, user: Mapping[str, int | tuple[int, str]]) -> None:
        pairs = {
            name: value if isinstance(value, tuple) else (value, _OCTETS)
            for name, value in user.items()
        }
        super().__init__(SYSTEM_ATTACHMENTS, {name: code for name, (code, _) in pairs.items()})
        self._media_types = _SYSTEM_MEDIA_TYPES | dict(pairs.values())

    def get_media_type(self, code: int) -> str:
        """Give the media type of the content of an attachment."""
        return self._media_types.get(code, _OCTETS)


@dataclass(frozen=True, slots=True)
class Registry:
    """All names that stand for codes."""

    metadata: NameRegistry
    content_types: ContentTypes


def build_registry(configuration: Configuration) -> Registry:
    """Build the registry from the configuration."""
    return Registry(
        NameRegistry(SYSTEM_METADATA, configuration.mapping("UserMetadata")),
        ContentTypes(configuration.mapping("UserContentType")),
    )

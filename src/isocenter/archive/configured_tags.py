"""The main tags that the configuration adds to the default ones."""

import logging
from collections.abc import Iterable

from isocenter.config.configuration import Configuration
from isocenter.dicom.elements import PIXEL_DATA
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import DEFAULT_MAIN_TAGS, MainTags, build_main_tags
from isocenter.dicom.tags import DEFAULT_DICTIONARY, format_tag
from isocenter.errors import ConfigurationError

__all__ = ["build_configured_main_tags"]

_log = logging.getLogger(__name__)

_OPTION = "ExtraMainDicomTags"
_META_GROUP = 0x0002


def build_configured_main_tags(configuration: Configuration) -> MainTags:
    """Add the tags of the option ``ExtraMainDicomTags`` to the default ones.

    A tag that is there already, or twice, changes nothing and is warned about.

    Raises
    ------
    ConfigurationError
        If a tag is not known, or lies outside of what is read of a file.

    References
    ----------
    Orthanc configuration: ``ExtraMainDicomTags`` (behaviour manual §4.2)
    """
    configured = configuration.mapping(_OPTION)
    return build_main_tags(
        {
            level: _read_level(level, configured[level.title])
            for level in Level
            if level.title in configured
        }
    )


def _read_level(level: Level, names: Iterable[str]) -> frozenset[int]:
    known = set(DEFAULT_MAIN_TAGS[level])
    if level is Level.STUDY:
        known |= DEFAULT_MAIN_TAGS[Level.PATIENT]
    tags: set[int] = set()
    for name in names:
        tag = DEFAULT_DICTIONARY.lookup_tag(name)
        if tag is None:
            raise ConfigurationError(f'{_OPTION}: "{name}" is no tag that the dictionary knows')
        if tag >> 16 <= _META_GROUP or tag >= PIXEL_DATA:
            raise ConfigurationError(f'{_OPTION}: "{name}" is not part of the header of a data set')
        if tag in known | tags:
            _log.warning(
                "a tag of the option ExtraMainDicomTags is a main tag already",
                extra={"tag": format_tag(tag), "at_level": level.title},
            )
        tags.add(tag)
    return frozenset(tags - known)

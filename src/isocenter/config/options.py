"""The one table of options, and the names by which its rows are found."""

from collections.abc import Mapping
from types import MappingProxyType

from isocenter.config.backend_options import BACKEND_GROUPS
from isocenter.config.core_options import CORE_GROUPS
from isocenter.config.dicom_options import DICOM_GROUPS
from isocenter.config.http_options import HTTP_GROUPS
from isocenter.config.option import Group, Option
from isocenter.config.own_options import OWN_GROUPS
from isocenter.config.plugin_options import PLUGIN_GROUPS

__all__ = ["GROUPS", "OPTIONS", "SECTIONS"]

GROUPS: tuple[Group, ...] = (
    *CORE_GROUPS,
    *HTTP_GROUPS,
    *DICOM_GROUPS,
    *OWN_GROUPS,
    *BACKEND_GROUPS,
    *PLUGIN_GROUPS,
)
"""All groups, in the order of the documentation."""

OPTIONS: Mapping[str, Option] = MappingProxyType(
    {option.name: option for group in GROUPS for option in group.options}
)
"""Each option by its dotted name."""

SECTIONS: frozenset[str] = frozenset(option.section for option in OPTIONS.values()) - {""}
"""Names of the objects in a configuration file that hold options."""

"""What clients ask for, in the log of level TRACE; personal data are hidden if so configured.

References
----------
Orthanc configuration: ``DeidentifyLogs``, ``DeidentifyLogsDicomVersion`` (behaviour manual §19.3)
"""

import logging
from collections.abc import Mapping

from isocenter.dicom.confidentiality import Profile
from isocenter.dicom.data_sets import Element
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.dimse.exchange import DimseAssociation
from isocenter.logs import TRACE

__all__ = ["QueryLog"]

_log = logging.getLogger(__name__)

# An anonymization gives these new values, so the table of what is removed does not name them.
_PATIENT = frozenset({0x00100010, 0x00100020})
_HIDDEN = "(hidden)"
_LONGEST_VALUE = 64
_MOST_ELEMENTS = 100


class QueryLog:
    """Logs identifiers of requests.

    Parameters
    ----------
    profile
        Says which values are personal; ``None`` to show all.
    """

    def __init__(self, profile: Profile | None) -> None:
        self._profile = profile

    def add(
        self, association: DimseAssociation, operation: str, identifier: Mapping[int, Element]
    ) -> None:
        """Log what a remote modality asks for."""
        if not _log.isEnabledFor(TRACE):
            return
        shown = list(identifier.items())[:_MOST_ELEMENTS]
        _log.log(
            TRACE,
            "the identifier of a request",
            extra={
                "remote_aet": association.calling_ae_title,
                "operation": operation,
                "identifier": "; ".join(self._format(tag, element) for tag, element in shown),
            },
        )

    def _format(self, tag: int, element: Element) -> str:
        return f"{DEFAULT_DICTIONARY.get_key(tag)}={self._format_value(tag, element)}"

    def _format_value(self, tag: int, element: Element) -> str:
        value = element.value
        if not value:
            return ""
        if self._is_personal(tag):
            return _HIDDEN
        if isinstance(value, list):
            inner = "; ".join(self._format(*pair) for item in value[:1] for pair in item.items())
            return f"[{inner}]"
        return value[:_LONGEST_VALUE] if isinstance(value, str) else f"{len(value)} bytes"

    def _is_personal(self, tag: int) -> bool:
        if self._profile is None:
            return False
        return tag in _PATIENT or self._profile.lookup(tag) is not None

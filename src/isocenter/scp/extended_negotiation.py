"""What is said about SOP classes beyond their roles: relational queries and retrieval.

References
----------
PS3.7 §D.3.3.5; PS3.4 §C.5.1.1 (C-FIND), §C.5.2.1 (C-MOVE), §C.5.3.1 (C-GET)
"""

from collections.abc import Iterable

from isocenter.dimse.user_information import ExtendedNegotiation
from isocenter.scp.supported import SERVICE_CLASSES, ServiceKind

__all__ = ["answer_extended_negotiations"]

# Of each service the first byte is about relational requests, which are always served. The others
# are about combined dates and times, fuzzy matching of names, time zones, and the conversion of
# multi-frame images: none of these is offered.
_RELATIONAL = frozenset({ServiceKind.FIND, ServiceKind.MOVE, ServiceKind.GET})
_LONGEST = 5


def answer_extended_negotiations(
    asked: Iterable[ExtendedNegotiation],
) -> tuple[ExtendedNegotiation, ...]:
    """Answer the application information of a request, as long as it is itself."""
    return tuple(
        ExtendedNegotiation(one.sop_class_uid, _answer(one.application_information))
        for one in asked
        if _is_answered(one)
    )


def _is_answered(asked: ExtendedNegotiation) -> bool:
    kind, _ = SERVICE_CLASSES.get(asked.sop_class_uid, (None, ""))
    return kind in _RELATIONAL and bool(asked.application_information)


def _answer(information: bytes) -> bytes:
    """Grant what was asked for of what there is; 0 cannot be answered by 1."""
    length = min(len(information), _LONGEST)
    return bytes((int(information[0] == 1),)) + bytes(length - 1)

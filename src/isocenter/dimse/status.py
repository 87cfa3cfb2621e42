"""Status values of DIMSE responses and what they mean for the sender of the request.

References
----------
PS3.7 Annex C; PS3.4 Annexes B.2.3 (storage), C.4 (query and retrieve), J (storage commitment)
"""

from enum import Enum, IntEnum

__all__ = ["Status", "StatusCategory", "categorize_status"]


class Status(IntEnum):
    """Status values that have one meaning; some services add text of their own."""

    SUCCESS = 0x0000
    # General failures and warnings, PS3.7 Annex C.
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    CLASS_INSTANCE_CONFLICT = 0x0119
    DUPLICATE_SOP_INSTANCE = 0x0111
    DUPLICATE_INVOCATION = 0x0210
    INVALID_ARGUMENT_VALUE = 0x0115
    INVALID_OBJECT_INSTANCE = 0x0117
    MISSING_ATTRIBUTE = 0x0120
    MISSING_ATTRIBUTE_VALUE = 0x0121
    MISTYPED_ARGUMENT = 0x0212
    NO_SUCH_ARGUMENT = 0x0114
    NO_SUCH_ATTRIBUTE = 0x0105
    NO_SUCH_EVENT_TYPE = 0x0113
    NO_SUCH_SOP_INSTANCE = 0x0112
    NO_SUCH_SOP_CLASS = 0x0118
    NO_SUCH_ACTION_TYPE = 0x0123
    NOT_AUTHORIZED = 0x0124
    PROCESSING_FAILURE = 0x0110
    RESOURCE_LIMITATION = 0x0213
    UNRECOGNIZED_OPERATION = 0x0211
    INVALID_ATTRIBUTE_VALUE = 0x0106
    ATTRIBUTE_LIST_ERROR = 0x0107
    ATTRIBUTE_VALUE_OUT_OF_RANGE = 0x0116
    REQUESTED_OPTIONAL_ATTRIBUTES_NOT_SUPPORTED = 0x0001
    # Storage, query and retrieve, PS3.4 Tables B.2-1, C.4-1, C.4-2, C.4-3.
    OUT_OF_RESOURCES = 0xA700
    CANNOT_CALCULATE_MATCHES = 0xA701
    CANNOT_PERFORM_SUBOPERATIONS = 0xA702
    MOVE_DESTINATION_UNKNOWN = 0xA801
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    CANNOT_UNDERSTAND = 0xC000
    COERCION_OF_DATA_ELEMENTS = 0xB000
    ELEMENTS_DISCARDED = 0xB006
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS_WARNING = 0xB007
    CANCEL = 0xFE00
    PENDING = 0xFF00
    PENDING_WITHOUT_OPTIONAL_KEYS = 0xFF01


class StatusCategory(Enum):
    """The five kinds of status (PS3.7 Annex C)."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    CANCEL = "cancel"
    PENDING = "pending"


_CATEGORIES: dict[int, StatusCategory] = {
    0x0000: StatusCategory.SUCCESS,
    0x0001: StatusCategory.WARNING,
    0x0107: StatusCategory.WARNING,
    0x0116: StatusCategory.WARNING,
    0xFE00: StatusCategory.CANCEL,
    0xFF00: StatusCategory.PENDING,
    0xFF01: StatusCategory.PENDING,
}


def categorize_status(status: int) -> StatusCategory:
    """Tell what a status means; unknown values are failures.

    References
    ----------
    PS3.7 Annex C: Bxxx are warnings of a service class.
    """
    category = _CATEGORIES.get(status)
    if category is not None:
        return category
    return StatusCategory.WARNING if status & 0xF000 == 0xB000 else StatusCategory.FAILURE

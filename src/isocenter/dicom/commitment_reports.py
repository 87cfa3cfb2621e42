"""The data sets of storage commitment as its user writes and reads them.

References
----------
PS3.4 Tables J.3-1 and J.3-2
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from isocenter.dicom.data_set_writer import encode_data_set
from isocenter.dicom.data_sets import DataSet, Element, get_layout, get_text
from isocenter.errors import BadRequestError

__all__ = ["CommitmentReport", "build_commitment_request", "parse_commitment_report"]

_SOP_CLASS, _SOP_INSTANCE = 0x00081150, 0x00081155
_TRANSACTION_UID = 0x00081195
_FAILURE_REASON = 0x00081197
_FAILED_SEQUENCE, _SEQUENCE = 0x00081198, 0x00081199
_PROCESSING_FAILURE = 0x0110


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """What a provider says of a request.

    Attributes
    ----------
    kept
        SOP class and SOP instance UIDs of what it keeps.
    failed
        The same of what it does not keep, with its reason (PS3.3 Table C.14-1).
    """

    transaction_uid: str
    kept: tuple[tuple[str, str], ...]
    failed: tuple[tuple[tuple[str, str], int], ...]


def build_commitment_request(
    transaction_uid: str, references: Iterable[tuple[str, str]], *, transfer_syntax_uid: str
) -> bytes:
    """Encode the data set of an N-ACTION.

    Parameters
    ----------
    references
        SOP class and SOP instance UIDs.
    """
    items: list[DataSet] = [
        {
            _SOP_CLASS: Element("UI", sop_class_uid),
            _SOP_INSTANCE: Element("UI", sop_instance_uid),
        }
        for sop_class_uid, sop_instance_uid in references
    ]
    request: DataSet = {
        _TRANSACTION_UID: Element("UI", transaction_uid),
        _SEQUENCE: Element("SQ", items),
    }
    return encode_data_set(request, get_layout(transfer_syntax_uid))


def parse_commitment_report(data_set: Mapping[int, Element]) -> CommitmentReport:
    """Read the data set of an N-EVENT-REPORT.

    Raises
    ------
    BadRequestError
        If something of it is missing.
    """
    transaction_uid = get_text(data_set, _TRANSACTION_UID).strip()
    if not transaction_uid:
        raise BadRequestError("TransactionUID is missing")
    failed = tuple(
        (_read_reference(item), _read_reason(item))
        for item in _get_items(data_set, _FAILED_SEQUENCE)
    )
    kept = tuple(_read_reference(item) for item in _get_items(data_set, _SEQUENCE))
    return CommitmentReport(transaction_uid, kept, failed)


def _get_items(data_set: Mapping[int, Element], tag: int) -> list[DataSet]:
    element = data_set.get(tag)
    return element.value if element is not None and isinstance(element.value, list) else []


def _read_reference(item: Mapping[int, Element]) -> tuple[str, str]:
    reference = get_text(item, _SOP_CLASS).strip(), get_text(item, _SOP_INSTANCE).strip()
    if not all(reference):
        raise BadRequestError("an item of a report lacks a UID")
    return reference


def _read_reason(item: Mapping[int, Element]) -> int:
    text = get_text(item, _FAILURE_REASON).strip()
    return int(text) if text.isdecimal() and len(text) <= 5 else _PROCESSING_FAILURE

"""The data sets of storage commitment: what is asked for, and what is reported.

References
----------
PS3.4 Tables J.3-1 and J.3-2
"""

from collections.abc import Iterable, Mapping

from isocenter.dicom.data_set_writer import encode_data_set
from isocenter.dicom.data_sets import DataSet, Element, get_layout, get_text
from isocenter.errors import BadRequestError

__all__ = ["build_report", "parse_commitment_request"]

_SOP_CLASS, _SOP_INSTANCE = 0x00081150, 0x00081155
_TRANSACTION_UID = 0x00081195
_FAILURE_REASON = 0x00081197
_FAILED_SEQUENCE, _SEQUENCE = 0x00081198, 0x00081199


def parse_commitment_request(
    data_set: Mapping[int, Element],
) -> tuple[str, list[tuple[str, str]]]:
    """Read the transaction UID, and the SOP class and SOP instance UID of each instance.

    Raises
    ------
    BadRequestError
        If something of it is missing.
    """
    transaction_uid = get_text(data_set, _TRANSACTION_UID).strip()
    sequence = data_set.get(_SEQUENCE)
    if not transaction_uid or sequence is None or not isinstance(sequence.value, list):
        raise BadRequestError("TransactionUID or ReferencedSOPSequence is missing")
    references = [
        (get_text(item, _SOP_CLASS).strip(), get_text(item, _SOP_INSTANCE).strip())
        for item in sequence.value
    ]
    if not all(all(reference) for reference in references):
        raise BadRequestError("an item of ReferencedSOPSequence lacks a UID")
    return transaction_uid, references


def build_report(
    transaction_uid: str,
    kept: Iterable[tuple[str, str]],
    failed: Iterable[tuple[tuple[str, str], int]],
    *,
    transfer_syntax_uid: str,
) -> bytes:
    """Encode the data set of an N-EVENT-REPORT.

    Parameters
    ----------
    kept
        SOP class and SOP instance UID of what is kept.
    failed
        The same of what is not, and the reason.
    """
    report: DataSet = {
        _TRANSACTION_UID: Element("UI", transaction_uid),
        _SEQUENCE: Element("SQ", [_build_item(*one) for one in kept]),
    }
    failures = [
        _build_item(*one) | {_FAILURE_REASON: Element("US", str(reason))} for one, reason in failed
    ]
    if failures:
        report[_FAILED_SEQUENCE] = Element("SQ", failures)
    return encode_data_set(report, get_layout(transfer_syntax_uid))


def _build_item(sop_class_uid: str, sop_instance_uid: str) -> DataSet:
    return {
        _SOP_CLASS: Element("UI", sop_class_uid),
        _SOP_INSTANCE: Element("UI", sop_instance_uid),
    }

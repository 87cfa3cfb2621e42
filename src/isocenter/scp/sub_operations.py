"""C-STORE sub-operations of a C-MOVE or C-GET: their count, and what is answered of it.

References
----------
PS3.4 §C.4.2.1, §C.4.3.1, Tables C.4-2 and C.4-3; PS3.7 §9.1.3, §9.1.4
"""

import logging

from isocenter.dicom.data_set_writer import encode_data_set
from isocenter.dicom.data_sets import Element, get_layout
from isocenter.dimse.commands import SubOperationCounters
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.status import Status, StatusCategory, categorize_status

__all__ = ["SubOperations"]

_log = logging.getLogger(__name__)

_FAILED_SOP_INSTANCE_UID_LIST = 0x00080058
# The value has 16 bits of length in explicit encoding (PS3.5 §7.1.2).
_LONGEST_LIST = 65_000


class SubOperations:
    """Counts what became of the instances of one request, and tells the requestor.

    Parameters
    ----------
    total
        Number of instances.
    """

    def __init__(self, association: DimseAssociation, message: Message, total: int) -> None:
        self._association = association
        self._message = message
        self.remaining = total
        self._completed = self._failed = self._warning = 0
        self._total = total
        self._first_reason = ""
        self._failed_uids: list[str] = []
        self._list_length = 0

    @property
    def is_wanted(self) -> bool:
        """Whether the requestor still waits."""
        return not self._message.is_cancelled

    def note(self, status: int, sop_instance_uid: str) -> None:
        """Note the status of one sub-operation."""
        self.remaining -= 1
        category = categorize_status(status)
        if category is StatusCategory.SUCCESS:
            self._completed += 1
        elif category is StatusCategory.WARNING:
            self._warning += 1
        else:
            self._count_failure(sop_instance_uid, f"refused with status {status:04X}H")

    def note_failure(self, sop_instance_uid: str, reason: str) -> None:
        """Note that an instance could not be sent."""
        self.remaining -= 1
        self._count_failure(sop_instance_uid, reason)

    def _count_failure(self, sop_instance_uid: str, reason: str) -> None:
        self._failed += 1
        self._first_reason = self._first_reason or reason
        if self._list_length + len(sop_instance_uid) < _LONGEST_LIST and sop_instance_uid:
            self._failed_uids.append(sop_instance_uid)
            self._list_length += len(sop_instance_uid) + 1

    async def send_pending(self) -> None:
        """Tell how far it is."""
        counters = SubOperationCounters(
            self.remaining, self._completed, self._failed, self._warning
        )
        response = self._message.command.build_response(Status.PENDING, counters=counters)
        await self._association.send_response(self._message.context.context_id, response)

    async def send_final(self) -> None:
        """Tell the end, with the list of what failed; the log is told once, whatever the number."""
        status = self._choose_status()
        if self._failed:
            _log.warning(
                "instances could not be sent",
                extra={
                    "remote_aet": self._association.calling_ae_title,
                    "destination": self._message.command.move_destination,
                    "failed": self._failed,
                    "total": self._total,
                    "reason": self._first_reason,
                },
            )
        is_over = status is not Status.CANCEL
        counters = SubOperationCounters(
            None if is_over else self.remaining, self._completed, self._failed, self._warning
        )
        response = self._message.command.build_response(status, counters=counters)
        context = self._message.context
        failed = self._build_list(context.transfer_syntax_uid)
        await self._association.send_response(context.context_id, response, failed)

    def _choose_status(self) -> Status:
        if self.remaining and self._message.is_cancelled:
            return Status.CANCEL
        if self._failed and not self._completed and not self._warning:
            return Status.CANNOT_PERFORM_SUBOPERATIONS
        if self._failed or self._warning:
            return Status.COERCION_OF_DATA_ELEMENTS
        return Status.SUCCESS

    def _build_list(self, transfer_syntax_uid: str) -> bytes | None:
        if not self._failed_uids:
            return None
        failed = {_FAILED_SOP_INSTANCE_UID_LIST: Element("UI", "\\".join(self._failed_uids))}
        return encode_data_set(failed, get_layout(transfer_syntax_uid))

"""The storage service: C-STORE.

References
----------
PS3.4 Annex B, PS3.7 §9.1.1; Orthanc: C-STORE (behaviour manual §25.2)
"""

from isocenter.archive.acceptance import Acceptance
from isocenter.archive.incoming import DiscardingSink, Incoming, build_origin
from isocenter.dimse.commands import Command
from isocenter.dimse.data_sink import DataSink, Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import PresentationContext
from isocenter.dimse.status import Status

__all__ = ["StorageSCP"]


class StorageSCP:
    """Stores what remote modalities send.

    Parameters
    ----------
    acceptance
        What is stored.
    """

    def __init__(self, incoming: Incoming, acceptance: Acceptance) -> None:
        self._incoming = incoming
        self._acceptance = acceptance

    def open_sink(
        self, association: DimseAssociation, context: PresentationContext, command: Command
    ) -> DataSink:
        """Prepare to receive the data set of a C-STORE request."""
        if self._is_refused(context, command):
            return DiscardingSink()
        return self._incoming.open_sink(association.calling_ae_title, context, command)

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Store the instance of a C-STORE request and answer it."""
        if self._is_refused(message.context, message.command):
            response = message.command.build_response(Status.SOP_CLASS_NOT_SUPPORTED)
        else:
            stored = await self._incoming.store(message, build_origin(association))
            response = message.command.build_response(stored.status, error_comment=stored.comment)
        await association.send_response(message.context.context_id, response)

    def _is_refused(self, context: PresentationContext, command: Command) -> bool:
        """Tell whether a request names another SOP class than was negotiated, one not accepted.

        References
        ----------
        PS3.7 §9.1.1.1.9 (SOP class not supported)
        """
        named = command.affected_sop_class_uid
        return (
            named is not None
            and named != context.abstract_syntax
            and not self._acceptance.is_stored(named)
        )

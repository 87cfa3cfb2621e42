"""The storage service: C-STORE.

References
----------
PS3.4 Annex B, PS3.7 §9.1.1; Orthanc: C-STORE (behaviour manual §25.2)
"""

from isocenter.archive.incoming import Incoming, build_origin
from isocenter.dimse.commands import Command
from isocenter.dimse.data_sink import DataSink, Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import PresentationContext

__all__ = ["StorageSCP"]


class StorageSCP:
    """Stores what remote modalities send."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    def open_sink(
        self, association: DimseAssociation, context: PresentationContext, command: Command
    ) -> DataSink:
        """Prepare to receive the data set of a C-STORE request."""
        return self._incoming.open_sink(association.calling_ae_title, context, command)

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Store the instance of a C-STORE request and answer it."""
        stored = await self._incoming.store(message, build_origin(association))
        response = message.command.build_response(stored.status, error_comment=stored.comment)
        await association.send_response(message.context.context_id, response)

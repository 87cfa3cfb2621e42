"""The verification service: C-ECHO.

References
----------
PS3.4 Annex A, PS3.7 §9.1.5
"""

from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.status import Status

__all__ = ["handle_echo"]


async def handle_echo(association: DimseAssociation, message: Message) -> None:
    """Answer that we are here."""
    response = message.command.build_response(Status.SUCCESS)
    await association.send_response(message.context.context_id, response)

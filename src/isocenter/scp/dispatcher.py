"""Associations and their requests, each handed to the service that it asks for."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.data_sink import DataSink, MemorySink, Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import (
    REJECT_CALLED_AE_TITLE,
    REJECT_CALLING_AE_TITLE,
    AssociateAcceptance,
    Preference,
    PresentationContext,
    negotiate_contexts,
)
from isocenter.dimse.pdu import AssociateReject, AssociateRequest
from isocenter.dimse.status import Status
from isocenter.dimse.transport import PeerAddress
from isocenter.dimse.user_information import RoleSelection, UserIdentity
from isocenter.scp.permissions import Operation, Permissions
from isocenter.scp.storage import StorageSCP
from isocenter.scp.supported import VERIFICATION, SupportedSyntaxes
from isocenter.scp.verification import handle_echo

__all__ = ["Dispatcher", "LocalTitle"]

_log = logging.getLogger(__name__)

# User names are taken note of, tickets and assertions are not (PS3.7 §D.3.3.7).
_CONFIRMED_IDENTITIES = {1, 2}

Service = Callable[[DimseAssociation, Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LocalTitle:
    """Our own AE title, and whether callers must know it (option ``DicomCheckCalledAet``)."""

    ae_title: str
    is_checked: bool


class Dispatcher:
    """Decides about associations and serves requests; an `AssociationHandler` of ``dimse``."""

    def __init__(
        self,
        local: LocalTitle,
        permissions: Permissions,
        syntaxes: SupportedSyntaxes,
        storage: StorageSCP,
    ) -> None:
        self._local = local
        self._permissions = permissions
        self._syntaxes = syntaxes
        self._storage = storage
        self._services: Mapping[int, tuple[Operation, Service]] = {
            CommandField.C_ECHO_RQ: (Operation.ECHO, handle_echo),
            CommandField.C_STORE_RQ: (Operation.STORE, storage.handle),
        }

    def negotiate(
        self, request: AssociateRequest, peer: PeerAddress
    ) -> AssociateAcceptance | AssociateReject:
        """Accept or reject an association (PS3.8 §7.1.1)."""
        called, calling = request.called_ae_title, request.calling_ae_title
        if self._local.is_checked and not self._permissions.are_same_title(
            called, self._local.ae_title
        ):
            return REJECT_CALLED_AE_TITLE
        if not self._permissions.may_associate(calling, peer.host):
            return REJECT_CALLING_AE_TITLE
        information = request.user_information
        return AssociateAcceptance(
            contexts=negotiate_contexts(
                request.contexts, self._syntaxes.lookup, preference=Preference.ACCEPTOR
            ),
            # The requestor of an association is the user of our services, never their provider.
            roles=tuple(
                RoleSelection(role.sop_class_uid, is_scu=role.is_scu, is_scp=False)
                for role in information.roles
            ),
            user_identity_response=_confirm(information.user_identity),
        )

    def open_data_sink(
        self, association: DimseAssociation, context: PresentationContext, command: Command
    ) -> DataSink:
        """Choose where the data set of a request goes."""
        if command.command_field == CommandField.C_STORE_RQ and self._may(association, command):
            return self._storage.open_sink(association, context, command)
        return MemorySink()

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Serve a request; what the caller may not do ends the association.

        References
        ----------
        Orthanc: who may do what, rule 5 (behaviour manual §25.1)
        """
        command = message.command
        entry = self._services.get(command.command_field)
        if entry is None or not self._is_in_context(message):
            response = command.build_response(Status.UNRECOGNIZED_OPERATION)
            await association.send_response(message.context.context_id, response)
            return
        if not self._may(association, command):
            _log.warning(
                "a request is not allowed; the association is aborted",
                extra={"remote_aet": association.calling_ae_title, "operation": entry[0].name},
            )
            association.abort()
            return
        _log.debug(
            "a request is served",
            extra={"remote_aet": association.calling_ae_title, "operation": entry[0].name},
        )
        await entry[1](association, message)

    def _may(self, association: DimseAssociation, command: Command) -> bool:
        operation, _ = self._services[command.command_field]
        return self._permissions.may(operation, association.calling_ae_title, association.peer.host)

    def _is_in_context(self, message: Message) -> bool:
        """Tell whether a request came in a context of its service (PS3.7 §9.3)."""
        is_echo = message.command.command_field == CommandField.C_ECHO_RQ
        return is_echo == (message.context.abstract_syntax == VERIFICATION)


def _confirm(identity: UserIdentity | None) -> bytes | None:
    """Confirm a user name, which everybody may give as nobody needs one."""
    if identity is not None and identity.identity_type in _CONFIRMED_IDENTITIES:
        return b""
    return None

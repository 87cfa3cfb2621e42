"""Associations and their requests, each handed to the service that it asks for."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from types import MappingProxyType

from isocenter.dimse.commands import Command
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
from isocenter.dimse.pdu import (
    AssociateReject,
    AssociateRequest,
    NegotiatedContext,
    ProposedContext,
)
from isocenter.dimse.status import Status
from isocenter.dimse.transport import PeerAddress
from isocenter.dimse.user_information import RoleSelection, UserIdentity
from isocenter.measures import LongestDuration
from isocenter.scp.answering import LARGEST_IDENTIFIER
from isocenter.scp.extended_negotiation import answer_extended_negotiations
from isocenter.scp.permissions import Operation, Permissions
from isocenter.scp.supported import ServiceKind, SupportedSyntaxes

__all__ = ["Dispatcher", "LocalTitle", "Service", "Services"]

_log = logging.getLogger(__name__)

# User names are taken note of, tickets and assertions are not (PS3.7 §D.3.3.7).
_CONFIRMED_IDENTITIES = {1, 2}
# Services of which we may be the user on an association that somebody else has opened.
_USED_KINDS = {ServiceKind.STORAGE, ServiceKind.COMMITMENT}


@dataclass(frozen=True, slots=True)
class Service:
    """One operation on the SOP classes of one kind.

    Attributes
    ----------
    operation
        What a caller must be allowed to do.
    handle
        Serves a request and answers it.
    open_sink
        Chooses where its data set goes; ``None`` for the memory.
    """

    operation: Operation
    handle: Callable[[DimseAssociation, Message], Awaitable[None]]
    open_sink: Callable[[DimseAssociation, PresentationContext, Command], DataSink] | None = None


Services = Mapping[tuple[ServiceKind, int], Service]
"""Kind of SOP class and command field of a request to the service that answers it."""


@dataclass(frozen=True, slots=True)
class LocalTitle:
    """Our own AE title, and whether callers must know it (option ``DicomCheckCalledAet``)."""

    ae_title: str
    is_checked: bool


class Dispatcher:
    """Decides about associations and serves requests; an `AssociationHandler` of ``dimse``.

    Parameters
    ----------
    durations
        Where the durations of operations are noted, of those that are measured.
    """

    def __init__(
        self,
        local: LocalTitle,
        permissions: Permissions,
        syntaxes: SupportedSyntaxes,
        services: Services,
        durations: Mapping[Operation, LongestDuration] = MappingProxyType({}),
    ) -> None:
        self._local = local
        self._permissions = permissions
        self._syntaxes = syntaxes
        self._services = services
        self._durations = durations

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
            contexts=self._negotiate_contexts(request),
            roles=self._grant_roles(information.roles),
            extended_negotiations=answer_extended_negotiations(information.extended_negotiations),
            user_identity_response=_confirm(information.user_identity),
        )

    def _negotiate_contexts(self, request: AssociateRequest) -> tuple[NegotiatedContext, ...]:
        """Answer each proposed context.

        What we receive comes best with the value representations of private elements, so our order
        counts. What the requestor is to receive by C-GET comes as it likes it best.
        """
        provided = {role.sop_class_uid for role in request.user_information.roles if role.is_scp}

        def negotiate(context: ProposedContext) -> NegotiatedContext:
            is_received = context.abstract_syntax not in provided
            preference = Preference.ACCEPTOR if is_received else Preference.REQUESTOR
            return negotiate_contexts([context], self._syntaxes.lookup, preference=preference)[0]

        return tuple(map(negotiate, request.contexts))

    def _grant_roles(self, asked: Iterable[RoleSelection]) -> tuple[RoleSelection, ...]:
        """Grant the role of the provider where we may become the user.

        That is of storage during a C-GET, and of storage commitment where we have asked for it; all
        other services are ours (PS3.4 §C.5.3.1, §J.3.3).
        """
        return tuple(
            RoleSelection(
                role.sop_class_uid,
                is_scu=role.is_scu,
                is_scp=self._syntaxes.lookup_kind(role.sop_class_uid) in _USED_KINDS,
            )
            for role in asked
        )

    def open_data_sink(
        self, association: DimseAssociation, context: PresentationContext, command: Command
    ) -> DataSink:
        """Choose where the data set of a request goes."""
        service = self._lookup(context, command)
        is_allowed = service is not None and self._may(association, service)
        if service is None or service.open_sink is None or not is_allowed:
            return MemorySink(limit_bytes=LARGEST_IDENTIFIER)
        return service.open_sink(association, context, command)

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Serve a request; what the caller may not do ends the association.

        References
        ----------
        Orthanc: who may do what, rule 5 (behaviour manual §25.1)
        """
        service = self._lookup(message.context, message.command)
        if service is None:
            response = message.command.build_response(Status.UNRECOGNIZED_OPERATION)
            await association.send_response(message.context.context_id, response)
            return
        described = {
            "remote_aet": association.calling_ae_title,
            "operation": service.operation.name,
        }
        if not self._may(association, service):
            _log.warning("a request is not allowed; the association is aborted", extra=described)
            association.abort()
            return
        _log.debug("a request is served", extra=described)
        started_at = perf_counter()
        try:
            await service.handle(association, message)
        finally:
            if service.operation in self._durations:
                self._durations[service.operation].note_since(started_at)

    def _lookup(self, context: PresentationContext, command: Command) -> Service | None:
        """Find the service of a request in the context in which it came (PS3.7 §9.3)."""
        kind = self._syntaxes.lookup_kind(context.abstract_syntax)
        return self._services.get((kind, command.command_field))

    def _may(self, association: DimseAssociation, service: Service) -> bool:
        calling, address = association.calling_ae_title, association.peer.host
        return self._permissions.may(service.operation, calling, address)


def _confirm(identity: UserIdentity | None) -> bytes | None:
    """Confirm a user name, which everybody may give as nobody needs one."""
    if identity is not None and identity.identity_type in _CONFIRMED_IDENTITIES:
        return b""
    return None

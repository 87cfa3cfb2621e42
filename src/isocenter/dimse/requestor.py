"""The calling side: opens an association with a remote modality.

References
----------
PS3.8 §7.1 (association establishment)
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from isocenter.dimse.association import AssociationMachine, Role
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.indications import (
    AssociationAborted,
    AssociationAccepted,
    AssociationRejected,
    Indication,
)
from isocenter.dimse.negotiation import describe_rejection
from isocenter.dimse.pdu import AssociateRequest, ProposedContext
from isocenter.dimse.serving import RequestHandler
from isocenter.dimse.transport import AssociationTransport, Timeouts
from isocenter.dimse.user_information import (
    DEFAULT_MAXIMUM_LENGTH,
    ExtendedNegotiation,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from isocenter.errors import (
    AssociationAbortedError,
    AssociationRejectedError,
    DeadlineExceededError,
    NoPresentationContextError,
    RemoteError,
    ServerError,
)

__all__ = ["AssociationProposal", "AssociationTarget", "open_association"]

_RELEASE_TIMEOUT_S = 5.0
# PS3.8 Table 9-21.
_REJECTED_PERMANENT = 1


@dataclass(frozen=True, slots=True)
class AssociationTarget:
    """Whom to call and how.

    Parameters
    ----------
    host, port
        Network address of the remote modality.
    called_ae_title, calling_ae_title
        Its title and ours.
    timeout_s
        For the connection, for the answer to the association request and for each response;
        ``None`` for no limit.
    maximum_length
        Longest P-DATA-TF variable field that the peer may send.
    ssl_context
        For TLS; the host is checked only if the context says so.
    """

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    timeout_s: float | None = 10.0
    maximum_length: int = DEFAULT_MAXIMUM_LENGTH
    ssl_context: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class AssociationProposal:
    """What to propose, see `AssociateRequest`."""

    contexts: Sequence[ProposedContext]
    roles: Sequence[RoleSelection] = ()
    extended_negotiations: Sequence[ExtendedNegotiation] = ()
    user_identity: UserIdentity | None = None


@asynccontextmanager
async def open_association(
    target: AssociationTarget,
    proposal: AssociationProposal,
    *,
    handler: RequestHandler | None = None,
) -> AsyncIterator[DimseAssociation]:
    """Open an association; it is released at the end, or aborted after an exception.

    Parameters
    ----------
    target
        Whom to call.
    proposal
        What to propose.
    handler
        Serves requests that the peer sends during the association, e.g. C-STORE for a C-GET.

    Raises
    ------
    RemoteError
        If no connection can be made.
    AssociationRejectedError, AssociationAbortedError
        If the peer does not want the association.
    NoPresentationContextError
        If it accepts none of the presentation contexts.
    DeadlineExceededError
        If it does not answer in time.
    """
    association = await _RequestorSession(target, handler).establish(
        _build_request(target, proposal)
    )
    try:
        _require_contexts(association)
        yield association
    except BaseException:
        association.abort()
        association.stop()
        raise
    finally:
        await association.release()


def _require_contexts(association: DimseAssociation) -> None:
    if not association.contexts:
        raise NoPresentationContextError(
            f"{association.called_ae_title} accepted none of the proposed presentation contexts"
        )


def _build_request(target: AssociationTarget, proposal: AssociationProposal) -> AssociateRequest:
    information = UserInformation(
        maximum_length=target.maximum_length,
        roles=tuple(proposal.roles),
        extended_negotiations=tuple(proposal.extended_negotiations),
        user_identity=proposal.user_identity,
    )
    return AssociateRequest(
        target.called_ae_title, target.calling_ae_title, tuple(proposal.contexts), information
    )


class _RequestorSession:
    """One connection until its association is established."""

    is_waiting_for_peer = False

    def __init__(self, target: AssociationTarget, handler: RequestHandler | None) -> None:
        self._target = target
        self._handler = handler
        self._name = f"{target.called_ae_title} at {target.host}:{target.port}"
        self._transport: AssociationTransport | None = None
        self._answer: asyncio.Future[DimseAssociation] = asyncio.get_running_loop().create_future()

    async def establish(self, request: AssociateRequest) -> DimseAssociation:
        """Connect and associate within the time limit."""
        is_given = False
        try:
            async with asyncio.timeout(self._target.timeout_s):
                association = await self._associate(request)
                is_given = True
                return association
        except TimeoutError as error:
            raise DeadlineExceededError(f"{self._name} did not answer in time") from error
        except (OSError, ValueError) as error:
            # A host that can be no name is a ValueError, or its subclass UnicodeError.
            raise RemoteError(f"no connection to {self._name}: {error}") from error
        finally:
            if not is_given:
                self._give_up()

    def _give_up(self) -> None:
        """Close the connection; the answer may have come in the very turn in which time ran out."""
        if self._has_association:
            self._answer.result().stop()
        elif self._transport is not None:
            self._transport.close()

    async def _associate(self, request: AssociateRequest) -> DimseAssociation:
        target = self._target
        machine = AssociationMachine(Role.REQUESTOR, maximum_length=target.maximum_length)
        machine.request_association(request)
        timeouts = Timeouts(artim_s=_RELEASE_TIMEOUT_S, silence_s=target.timeout_s)
        await asyncio.get_running_loop().create_connection(
            lambda: AssociationTransport(machine, self, timeouts),
            target.host,
            target.port,
            ssl=target.ssl_context,
        )
        return await self._answer

    @property
    def _has_association(self) -> bool:
        answer = self._answer
        return answer.done() and not answer.cancelled() and answer.exception() is None

    def connection_opened(self, transport: AssociationTransport) -> None:
        self._transport = transport

    def receive_indication(self, indication: Indication) -> None:
        if isinstance(indication, AssociationAccepted):
            self._accept()
        elif isinstance(indication, AssociationRejected):
            details = describe_rejection(indication.reject)
            is_permanent = indication.reject.result == _REJECTED_PERMANENT
            self._fail(
                AssociationRejectedError(f"{self._name}: {details}", is_permanent=is_permanent)
            )
        elif isinstance(indication, AssociationAborted):
            self._fail(AssociationAbortedError(f"{self._name}: {indication.details}"))

    def silence_exceeded(self) -> None:
        """Do nothing: `establish` has a time limit of its own."""

    def connection_ended(self) -> None:
        self._fail(AssociationAbortedError(f"{self._name} closed the connection"))

    def _accept(self) -> None:
        if self._transport is not None and not self._answer.done():
            self._answer.set_result(DimseAssociation(self._transport, self._handler))

    def _fail(self, error: ServerError) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)

"""The job kind ``OrthancPeerStore``: files are sent to a peer by HTTP, one request for each.

References
----------
Orthanc REST: POST /peers/{id}/store (behaviour manual §27), job types (§17)
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from isocenter.archive.outgoing import OutgoingInstance, OutgoingPlan
from isocenter.archive.peer_calls import PeerCalls
from isocenter.archive.remotes import Remotes
from isocenter.archive.transcoding import Target, describe_target, parse_target
from isocenter.config.peers import Peer, identify_peer
from isocenter.errors import (
    BackendError,
    BadFileFormatError,
    CodecTimeoutError,
    FullStorageError,
    PeerRefusalError,
    ServerError,
    TranscodingError,
)
from isocenter.jobs.records import Apply, FailedItem, Job, NewJob, Step
from isocenter.peers.client import MOST_CONNECTIONS, PeerClient
from isocenter.tasks.retries import RetryPolicy
from isocenter.tasks.routed import build_withdrawal
from isocenter.tasks.sending import Sender
from isocenter.tasks.sending_orders import SendingOrder, build_sending_job, build_sending_retry

__all__ = ["PeerOrder", "PeerStoreKind", "build_peer_job"]

_KIND = "OrthancPeerStore"
# Why a file could not be made ready, whatever the peer does; the others perhaps can.
_OF_A_FILE = (
    BackendError,
    BadFileFormatError,
    CodecTimeoutError,
    FullStorageError,
    TranscodingError,
)


@dataclass(frozen=True, slots=True)
class PeerOrder(SendingOrder):
    """How to send to a peer.

    Attributes
    ----------
    peer
        Symbolic name of the receiver.
    is_compressed
        Send each file with gzip.
    target
        What files are brought into, if that is possible.
    """

    peer: str
    is_compressed: bool = False
    target: Target | None = None


def build_peer_job(plan: OutgoingPlan, order: PeerOrder, peer: Peer | None) -> NewJob:
    """Build a job that sends instances.

    Parameters
    ----------
    peer
        As it is known now; the job asks again when it runs.
    """
    new = build_sending_job(_KIND, plan, order, order.peer)
    transcoding = {} if order.target is None else describe_target(order.target)
    return replace(
        new,
        arguments={
            **new.arguments,
            **transcoding,
            "Peer": order.peer,
            "Compress": order.is_compressed,
        },
        content={
            **new.content,
            **transcoding,
            "Compress": order.is_compressed,
            "Peer": [] if peer is None else identify_peer(peer),
            "Size": "0",
            "SizeMB": 0,
        },
    )


class PeerStoreKind:
    """Sends files, some at once (see `Sender`)."""

    name = _KIND

    def __init__(self, remotes: Remotes, policy: RetryPolicy) -> None:
        self._remotes = remotes
        self._sender = Sender(remotes.outgoing, policy)

    async def run(self, job: Job) -> AsyncIterator[Step]:
        """Send what was not sent yet (see `JobKind.run`)."""
        async with aclosing(self._sender.run(job, lambda: self._open_courier(job))) as steps:
            async for step in steps:
                yield step

    @asynccontextmanager
    async def _open_courier(self, job: Job) -> AsyncIterator["_PeerCourier"]:
        calls = self._remotes.peer_calls
        peer = await self._remotes.peers.get_known(job.arguments["Peer"])
        async with calls.calling.open_client(peer) as client:
            yield _PeerCourier(
                calls,
                client,
                is_compressed=bool(job.arguments["Compress"]),
                target=parse_target(job.arguments),
            )

    def abandon(self, job: Job) -> Apply | None:
        """Let a routing rule send it anew when it comes again (see `JobKind.abandon`)."""
        return build_withdrawal(job)

    def build_retry(self, job: Job, failed: list[FailedItem]) -> NewJob:
        """Build a job that sends what failed (see `JobKind.build_retry`)."""
        new = build_sending_retry(job, failed)
        return replace(new, content={**new.content, "Size": "0", "SizeMB": 0})


class _PeerCourier:
    """Sends by POST /instances (see `Courier`)."""

    most_at_once = MOST_CONNECTIONS

    def __init__(
        self, calls: PeerCalls, client: PeerClient, *, is_compressed: bool, target: Target | None
    ) -> None:
        self._calls = calls
        self._client = client
        self._is_compressed = is_compressed
        self._target = target

    def expect(self, instances: Iterable[OutgoingInstance]) -> None:
        """Nothing is negotiated."""

    async def send(
        self,
        instance: OutgoingInstance,
        following: OutgoingInstance | None,  # noqa: ARG002 - the protocol's signature
    ) -> int:
        """Send a file and wait for the answer."""
        return await self._calls.store(
            self._client, instance, is_compressed=self._is_compressed, target=self._target
        )

    def is_single(self, error: ServerError) -> bool:
        """Tell whether the file is to blame, or what the peer thinks of it."""
        if isinstance(error, PeerRefusalError):
            return not error.is_general
        return isinstance(error, _OF_A_FILE)

"""What the archive needs to deal with remote systems."""

import ssl
from dataclasses import dataclass

from isocenter.archive.arrivals import Arrivals
from isocenter.archive.commitment_reports import CommitmentReports
from isocenter.archive.deletion import Deleter
from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.modalities import Calling, Modalities, build_calling
from isocenter.archive.outgoing import Outgoing
from isocenter.archive.peer_calls import PeerCalls
from isocenter.archive.peers import Peers, build_peer_calling
from isocenter.archive.queries import Queries
from isocenter.archive.remote_calls import RemoteCalls
from isocenter.archive.routing import Destinations, Routing
from isocenter.archive.settings import Settings
from isocenter.archive.transcoding import TranscodedFiles, Transcoder
from isocenter.archive.workers import Workers
from isocenter.config.configuration import Configuration
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.tags import TagDictionary
from isocenter.index.port import Database
from isocenter.index.remote_queries import QueryLimits
from isocenter.scu.association_pool import AssociationPool
from isocenter.storage.port import Storage

__all__ = ["RemoteParts", "Remotes", "build_remotes"]


@dataclass(frozen=True, slots=True)
class RemoteParts:
    """What they are built on."""

    workers: Workers
    database: Database
    storage: Storage
    deleter: Deleter
    buffers: FileBuffers
    dictionary: TagDictionary
    main_tags: MainTags
    settings: Settings
    transcoder: Transcoder


@dataclass(frozen=True, slots=True)
class Remotes:
    """Use cases that concern remote systems.

    Attributes
    ----------
    calling
        How to call remote modalities.
    modalities
        Which are known.
    peers, peer_calls
        Servers with our REST API, and what is asked of them.
    outgoing
        What is sent to modalities and peers.
    associations
        Open ones of theirs, to be used again.
    calls
        Short calls of them.
    queries
        What they answered.
    arrivals
        Who waits for what they send.
    commitment_reports
        What they promise to keep.
    routing
        Rules by which they are sent what arrives.
    """

    calling: Calling
    modalities: Modalities
    peers: Peers
    peer_calls: PeerCalls
    outgoing: Outgoing
    associations: AssociationPool
    calls: RemoteCalls
    queries: Queries
    arrivals: Arrivals
    commitment_reports: CommitmentReports
    routing: Routing

    async def start(self) -> None:
        """Begin the work that they do by themselves."""
        await self.modalities.start()
        await self.peers.start()
        await self.routing.start()

    async def stop(self) -> None:
        """End that work."""
        await self.routing.stop()
        await self.peers.stop()
        await self.modalities.stop()
        await self.associations.close()


def build_remotes(
    configuration: Configuration, parts: RemoteParts, *, calling_tls: ssl.SSLContext | None
) -> Remotes:
    """Put them together as the configuration asks.

    Raises
    ------
    ConfigurationError
        If a rule of routing is wrong, or the certificates for a peer cannot be read.
    """
    workers, is_shared = parts.workers, not parts.database.is_exclusive
    calling = build_calling(configuration, calling_tls)
    modalities = Modalities(
        workers,
        configuration.remote_modalities,
        is_kept=configuration.boolean("DicomModalitiesInDatabase"),
        is_shared=is_shared,
    )
    peers = Peers(
        workers,
        configuration.peers,
        is_kept=configuration.boolean("OrthancPeersInDatabase"),
        is_shared=is_shared,
    )
    outgoing = Outgoing(workers, parts.storage, parts.buffers)
    queries = _build_queries(configuration, parts, modalities, calling)
    associations = AssociationPool(configuration.number("DicomAssociationCloseDelay"))
    kept = configuration.integer("StorageCommitmentReportsSize")
    return Remotes(
        calling=calling,
        modalities=modalities,
        peers=peers,
        peer_calls=PeerCalls(
            workers,
            build_peer_calling(configuration, workers),
            outgoing,
            TranscodedFiles(workers, parts.buffers, parts.transcoder),
        ),
        outgoing=outgoing,
        associations=associations,
        calls=RemoteCalls(calling, outgoing, queries, associations),
        queries=queries,
        arrivals=Arrivals(),
        commitment_reports=CommitmentReports(workers, outgoing, parts.deleter, kept=kept),
        routing=Routing(
            workers,
            Destinations(modalities, peers),
            configuration.routing_rules,
            dictionary=parts.dictionary,
            main_tags=parts.main_tags,
            is_shared=is_shared,
        ),
    )


def _build_queries(
    configuration: Configuration, parts: RemoteParts, modalities: Modalities, calling: Calling
) -> Queries:
    return Queries(
        parts.workers,
        modalities,
        calling,
        dictionary=parts.dictionary,
        settings=parts.settings,
        limits=QueryLimits(
            count=configuration.integer("QueryRetrieveSize"),
            age_us=configuration.integer("Isocenter.QueryRetrieveAge") * 1_000_000,
        ),
    )

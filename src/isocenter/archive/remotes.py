"""What the archive needs to deal with remote systems."""

import ssl
from dataclasses import dataclass

from isocenter.archive.arrivals import Arrivals
from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.modalities import Calling, Modalities, build_calling
from isocenter.archive.outgoing import Outgoing
from isocenter.archive.queries import Queries
from isocenter.archive.remote_calls import RemoteCalls
from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.config.configuration import Configuration
from isocenter.dicom.tags import TagDictionary
from isocenter.index.port import Database
from isocenter.index.remote_queries import QueryLimits
from isocenter.storage.port import Storage

__all__ = ["FileReading", "Remotes", "build_remotes"]


@dataclass(frozen=True, slots=True)
class FileReading:
    """What reading files and data sets needs."""

    storage: Storage
    buffers: FileBuffers
    dictionary: TagDictionary
    settings: Settings


@dataclass(frozen=True, slots=True)
class Remotes:
    """Use cases that concern remote systems.

    Attributes
    ----------
    calling
        How to call remote modalities.
    modalities
        Which are known.
    outgoing
        What is sent to them.
    calls
        Short calls of them.
    queries
        What they answered.
    arrivals
        Who waits for what they send.
    """

    calling: Calling
    modalities: Modalities
    outgoing: Outgoing
    calls: RemoteCalls
    queries: Queries
    arrivals: Arrivals

    async def start(self) -> None:
        """Begin the work that they do by themselves."""
        await self.modalities.start()

    async def stop(self) -> None:
        """End that work."""
        await self.modalities.stop()


def build_remotes(
    configuration: Configuration,
    workers: Workers,
    database: Database,
    *,
    reading: FileReading,
    calling_tls: ssl.SSLContext | None,
) -> Remotes:
    """Put them together as the configuration asks."""
    calling = build_calling(configuration, calling_tls)
    modalities = Modalities(
        workers,
        configuration.remote_modalities,
        is_kept=configuration.boolean("DicomModalitiesInDatabase"),
        is_shared=not database.is_exclusive,
    )
    outgoing = Outgoing(workers, reading.storage, reading.buffers)
    queries = Queries(
        workers,
        modalities,
        calling,
        dictionary=reading.dictionary,
        settings=reading.settings,
        limits=QueryLimits(
            count=configuration.integer("QueryRetrieveSize"),
            age_us=configuration.integer("Isocenter.QueryRetrieveAge") * 1_000_000,
        ),
    )
    return Remotes(
        calling=calling,
        modalities=modalities,
        outgoing=outgoing,
        calls=RemoteCalls(calling, outgoing, queries),
        queries=queries,
        arrivals=Arrivals(),
    )

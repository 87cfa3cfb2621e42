"""What the archive needs to deal with remote systems."""

import ssl
from dataclasses import dataclass

from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.modalities import Calling, Modalities, build_calling
from isocenter.archive.outgoing import Outgoing
from isocenter.archive.workers import Workers
from isocenter.config.configuration import Configuration
from isocenter.index.port import Database
from isocenter.storage.port import Storage

__all__ = ["Remotes", "build_remotes"]


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
    """

    calling: Calling
    modalities: Modalities
    outgoing: Outgoing

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
    storage: Storage,
    *,
    buffers: FileBuffers,
    calling_tls: ssl.SSLContext | None,
) -> Remotes:
    """Put them together as the configuration asks."""
    return Remotes(
        calling=build_calling(configuration, calling_tls),
        modalities=Modalities(
            workers,
            configuration.remote_modalities,
            is_kept=configuration.boolean("DicomModalitiesInDatabase"),
            is_shared=not database.is_exclusive,
        ),
        outgoing=Outgoing(workers, storage, buffers),
    )

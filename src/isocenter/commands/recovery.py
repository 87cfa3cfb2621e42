"""What a command that opens the archive alone does first: to complete what a killed server left."""

import asyncio

from isocenter.archive.archive import build_archive
from isocenter.config.configuration import Configuration
from isocenter.index.port import Database
from isocenter.storage.port import Storage

__all__ = ["redo"]


def redo(configuration: Configuration, database: Database, storage: Storage) -> None:
    """Complete what a killed server has acknowledged, as the next one would.

    Raises
    ------
    ServerError
        If the index or the storage cannot be written.
    """
    archive = build_archive(configuration, database, storage)
    try:
        archive.redo()
    finally:
        asyncio.run(archive.stop())

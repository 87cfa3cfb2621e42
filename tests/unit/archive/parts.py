"""What the use cases of an archive are made of, for tests of one of them."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.dicom_files import EXPLICIT_LITTLE, Elements, build_instance, encode_element

from isocenter.archive.ingest import Ingest, IngestOptions
from isocenter.archive.received import Origin, OriginKind, StoreOutcome
from isocenter.archive.uploads import UploadOptions, Uploads
from isocenter.archive.workers import Workers
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_main_tags
from isocenter.index.reading import find_removals, lookup_resource
from isocenter.index.records import ResourceRow
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Storage
from isocenter.storage.spool import SpooledContent

__all__ = ["PIXEL_DATA", "REST", "Parts", "build_numbered", "wait_until"]

REST = Origin(OriginKind.REST_API, remote_ip="127.0.0.1", http_username="")
PIXEL_DATA = 0x7FE00010

_LARGE = 4096


def build_numbered(number: int, extra: Elements | None = None, *, pixels: int = 64) -> bytes:
    """Build the instance of a number: all of them share a series."""
    tail = encode_element(PIXEL_DATA, "OW", bytes(pixels), syntax=EXPLICIT_LITTLE)
    numbered = {0x00200013: ("IS", str(number)), **(extra or {})}
    return build_instance(numbered, instance=f"1.2.3.9.{number}", tail=tail)


async def wait_until(condition: Callable[[], object]) -> None:
    """Give way to the loop until a condition holds."""
    async with asyncio.timeout(10):
        # What happens in a worker thread has no event that a test could wait for.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Parts:
    """The lower layers, and the use cases on them."""

    database: SQLiteDatabase
    storage: MemoryStorage
    workers: Workers
    folder: Path

    def new_ingest(
        self,
        *,
        storage: Storage | None = None,
        on_removals: Callable[[], None] | None = None,
        **options: Any,
    ) -> Ingest:
        """Build the pipeline; ``options`` are those of `IngestOptions`."""
        chosen = IngestOptions(main_tags=build_main_tags(), **options)
        return Ingest(
            self.workers, self.database, storage or self.storage, chosen, on_removals=on_removals
        )

    def new_uploads(self, ingest: Ingest | None = None, **limits: int) -> Uploads:
        """Build the reception of bodies; ``limits`` are those of `UploadOptions`."""
        values = {"spool_threshold": _LARGE, "largest_body": 0, "largest_entry": 1 << 20, **limits}
        options = UploadOptions(spool_folder=self.folder, **values)
        return Uploads(self.workers, ingest or self.new_ingest(), options)

    def new_content(self, data: bytes, threshold: int = 0) -> SpooledContent:
        """Build a content that was received in pieces."""
        content = SpooledContent(self.folder, threshold)
        for start in range(0, len(data), 1000):
            content.append(data[start : start + 1000])
        return content

    async def store(self, data: bytes, **options: Any) -> StoreOutcome:
        """Store a file as if a REST client had sent it."""
        return await self.new_ingest(**options).store(data, REST)

    def get(self, level: Level, public_id: str) -> ResourceRow:
        """Read a resource that must be there."""
        row = self.database.read(lambda tx: lookup_resource(tx, level, public_id))
        assert row is not None
        return row

    def get_metadata(self, level: Level, public_id: str) -> dict[int, str]:
        """Read the metadata of a resource by their codes."""
        document: dict[str, str] = json.loads(self.get(level, public_id).metadata)
        return {int(code): value for code, value in document.items()}

    def list_blobs(self) -> list[bytes]:
        """Read all blobs."""
        return [self.storage.read(name) for name in self.storage.iter_uuids()]

    def list_temporary(self) -> list[str]:
        """List what contents have left in their folder."""
        return [
            path.name for path in self.folder.iterdir() if re.fullmatch("[0-9a-f]{32}", path.name)
        ]

    def list_removals(self) -> list[str]:
        """List the blobs that are still to be removed."""
        return self.database.read(lambda tx: find_removals(tx, 1000))

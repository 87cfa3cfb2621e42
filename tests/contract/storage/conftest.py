"""The implementations that every test of this folder runs against."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isocenter.measures import Measures
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.journaled import JournaledStorage
from isocenter.storage.measured import MeasuredStorage
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Storage

_JOURNAL_BYTES = 2 * 1024 * 1024

_IMPLEMENTATIONS: dict[str, Callable[[Path], Storage]] = {
    "memory": lambda _: MemoryStorage(),
    "measured": lambda folder: MeasuredStorage(FileSystemStorage(folder / "storage"), Measures()),
    "filesystem": lambda folder: FileSystemStorage(folder / "storage"),
    "filesystem-unsynced": lambda folder: FileSystemStorage(folder / "storage", sync=False),
    "journaled": lambda folder: JournaledStorage(folder / "storage", journal_bytes=_JOURNAL_BYTES),
    "journaled-shared": lambda folder: JournaledStorage(
        folder / "storage", journal_bytes=_JOURNAL_BYTES, is_shared=True
    ),
}


@pytest.fixture(params=_IMPLEMENTATIONS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    storage = _IMPLEMENTATIONS[request.param](tmp_path)
    yield storage
    storage.close()

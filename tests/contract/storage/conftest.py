"""The implementations that every test of this folder runs against."""

from collections.abc import Callable
from pathlib import Path

import pytest

from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Storage

_IMPLEMENTATIONS: dict[str, Callable[[Path], Storage]] = {
    "memory": lambda _: MemoryStorage(),
    "filesystem": lambda folder: FileSystemStorage(folder / "storage"),
    "filesystem-unsynced": lambda folder: FileSystemStorage(folder / "storage", sync=False),
}


@pytest.fixture(params=_IMPLEMENTATIONS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return _IMPLEMENTATIONS[request.param](tmp_path)

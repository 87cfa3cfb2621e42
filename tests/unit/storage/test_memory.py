from pathlib import Path

import pytest

from isocenter.errors import StorageUnavailableError
from isocenter.storage.memory import MemoryStorage

UUID = "0123abcd-0000-4000-8000-000000000001"


def test_write_buffer_changed_later_keeps_blob() -> None:
    storage = MemoryStorage()
    content = bytearray(b"before")

    storage.write(UUID, content)
    content[:] = b"after!"

    assert storage.read(UUID) == b"before"


def test_adopt_unreadable_file_raises(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailableError):
        MemoryStorage().adopt(UUID, tmp_path)

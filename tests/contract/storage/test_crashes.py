import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.storage import crashing

from isocenter.storage.filesystem import FileSystemStorage

_MOST_CALLS = 60


def iter_crashes(operation: str, folder: Path) -> Iterator[Path]:
    """Run an operation in processes that die before their first, second, … call."""
    for number in range(1, _MOST_CALLS):
        root = folder / str(number)
        done = subprocess.run(
            [sys.executable, crashing.__file__, operation, root, str(number)],
            capture_output=True,
            check=False,
            text=True,
        )
        if done.stdout == "survived":
            return
        assert done.returncode == -signal.SIGKILL, done.stderr
        yield root
    pytest.fail("the operation never came to its end")


@pytest.mark.parametrize("operation", crashing.OPERATIONS)
def test_killed_process_leaves_whole_blob_or_temporary_file(operation: str, tmp_path: Path) -> None:
    whole = 0
    for root in iter_crashes(operation, tmp_path):
        storage = FileSystemStorage(root)

        blobs = list(storage.iter_uuids())
        removed = storage.remove_temporary(0)

        assert blobs in ([], [crashing.UUID])
        assert all(storage.read(name) == crashing.CONTENT for name in blobs)
        assert removed <= 1
        assert [path.name for path in root.rglob("*") if path.is_file()] == blobs
        storage.write(crashing.UUID, crashing.CONTENT)
        assert storage.read(crashing.UUID) == crashing.CONTENT
        whole += len(blobs)
    assert whole >= 2

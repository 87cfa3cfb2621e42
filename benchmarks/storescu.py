"""C-STORE with DCMTK's ``storescu``, the client that Orthanc's users have at hand."""

import os
import subprocess
from pathlib import Path

from benchmarks.failures import BenchmarkError, find_program
from benchmarks.servers import HOST, NO_DELAY
from benchmarks.timing import Stopwatch, timed

_TIMEOUT_S = 900.0


def store_folders(port: int, folders: list[Path], *, is_no_delay: bool) -> Stopwatch:
    """Send all files of each folder over an association of its own, all at the same time.

    Parameters
    ----------
    port
        DICOM port of the server.
    folders
        Folders of DICOM files, one per association.
    is_no_delay
        Whether ``storescu`` runs with ``TCP_NODELAY=1``; a stock ``storescu`` keeps Nagle's
        algorithm on.

    Returns
    -------
    Stopwatch
        From the start of the first ``storescu`` to the end of the last.

    Raises
    ------
    BenchmarkError
        If a ``storescu`` fails or takes more than a quarter of an hour.

    References
    ----------
    PS3.4 §B.2
    """
    # -xs offers JPEG lossless beside the uncompressed transfer syntaxes.
    command = [find_program("storescu"), "-xs", "+sd", HOST, str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    if is_no_delay:
        environment |= NO_DELAY
    with timed() as watch:
        clients = [
            subprocess.Popen(
                [*command, str(folder)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for folder in folders
        ]
        complaints = [_await_client(client) for client in clients]
    if any(complaints) or any(client.returncode for client in clients):
        raise BenchmarkError(f"storescu failed: {' '.join(complaints).strip()[-1000:]}")
    return watch


def _await_client(client: subprocess.Popen[bytes]) -> str:
    """Wait for a ``storescu`` and return what it complained about."""
    try:
        return client.communicate(timeout=_TIMEOUT_S)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:
        client.kill()
        client.communicate()
        return "no end after a quarter of an hour"

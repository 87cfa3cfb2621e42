"""A third server: an Orthanc that both of the others talk to, started for one measurement."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.servers import NO_DELAY, Server, find_orthanc, run_server
from benchmarks.stage import Stage

THIRD_TITLE = "THIRD"
"""Its AE title."""


@contextmanager
def run_third_server(stage: Stage) -> Iterator[Server]:
    """Run an Orthanc that is open to anybody, in an empty folder."""
    folder = stage.folder / "third"
    overrides = {"DicomAet": THIRD_TITLE}
    with run_server(find_orthanc(), folder, environment=NO_DELAY, overrides=overrides) as server:
        stage.running.append(server)
        try:
            yield server
        finally:
            stage.running.remove(server)
    shutil.rmtree(folder)

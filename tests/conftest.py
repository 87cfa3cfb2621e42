"""What every test may ask for."""

import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from pynetdicom.dimse import DIMSEServiceProvider
from tests.support.forks import LOG_BYTES
from tests.support.postgresql import new_schema, run_postgresql

from isocenter.index import sqlite

# A busy machine is no failure.
settings.register_profile("isocenter", deadline=None)
settings.load_profile("isocenter")

_SLOW_FIRST = ("interop", "integration", "web", "contract", "property", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the folders whose modules take longest come first, so that no worker ends alone."""
    root = Path(__file__).parent
    items.sort(key=lambda item: _SLOW_FIRST.index(item.path.relative_to(root).parts[0]))


def pytest_collection_finish() -> None:
    """Keep the many tests themselves out of what garbage is searched for."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _short_log() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "_LOG_BYTES", LOG_BYTES)
        yield


@pytest.fixture(autouse=True)
def _same_log_levels() -> Iterator[None]:
    """Forget the levels of the log that a test has chosen: they belong to the whole process."""
    yield
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("isocenter") and isinstance(logger, logging.Logger) and logger.level:
            logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session", autouse=True)
def _patient_pynetdicom() -> Iterator[None]:
    """Keep a thread of pynetdicom from taking the answer to a request.

    Whoever sends pauses the thread first, but may find the mark of its pause when it has just gone
    on, and on a busy machine the answer comes before its look for messages.
    """
    get_message = DIMSEServiceProvider.get_msg

    def get(self: Any, block: bool = False) -> Any:
        is_paused = not self.assoc._reactor_checkpoint.is_set()
        return (None, None) if is_paused and not block else get_message(self, block)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DIMSEServiceProvider, "get_msg", get)
        yield


@pytest.fixture(scope="session")
def postgresql_uri() -> Iterator[str]:
    """Give the URI of a PostgreSQL server; one for all tests of a process."""
    with run_postgresql() as uri:
        yield uri


@pytest.fixture
def postgresql_schema(postgresql_uri: str) -> Iterator[str]:
    """Name a PostgreSQL schema of this test's own."""
    with new_schema(postgresql_uri) as schema:
        yield schema

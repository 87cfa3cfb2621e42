"""What every test may ask for."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from tests.support.postgresql import new_schema, run_postgresql

# A busy machine is no failure.
settings.register_profile("isocenter", deadline=None)
settings.load_profile("isocenter")


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

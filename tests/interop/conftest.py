"""The servers that are compared."""

from collections.abc import Iterator

import pytest
from tests.interop.synthetic import build_all
from tests.support.orthanc import Pair, run_pair
from tests.support.samples import list_samples


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker run what needs the servers, so that they start once."""
    for item in items:
        if "loaded_pair" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("interop"))


@pytest.fixture(scope="session")
def loaded_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers with all synthetic files and samples; for reading only."""
    with run_pair(tmp_path_factory.mktemp("loaded") / "pair") as pair:
        pair.load([*build_all(), *(path.read_bytes() for path in list_samples())])
        yield pair

import subprocess
import sys
import uuid

import pytest

from isocenter.errors import BadParameterError
from isocenter.storage.names import check_uuid, is_uuid, new_uuid


def test_is_uuid_fresh_uuid_is_true() -> None:
    assert is_uuid(str(uuid.uuid4()))


@pytest.mark.parametrize(
    "name",
    ["", "index", "0123ABCD-0000-4000-8000-000000000001", "{0123abcd-0000-4000-8000-000000000001}"],
)
def test_is_uuid_other_text_is_false(name: str) -> None:
    assert not is_uuid(name)
    with pytest.raises(BadParameterError):
        check_uuid(name)


def test_new_uuid_is_random_and_of_version_4() -> None:
    names = [new_uuid() for _ in range(1000)]

    assert len(set(names)) == 1000
    for name in names:
        parsed = uuid.UUID(name)
        assert str(parsed) == name
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)


_FORK = """
import os
from isocenter.storage.names import new_uuid
is_child = os.fork() == 0
if not is_child:
    os.wait()
print(new_uuid(), flush=True)
if is_child:
    os._exit(0)
"""


def test_new_uuid_differs_in_a_forked_process() -> None:
    # In a process without threads, where forking is safe.
    output = subprocess.run([sys.executable, "-c", _FORK], capture_output=True, check=True).stdout

    assert len(set(output.split())) == 2

import uuid

import pytest

from isocenter.errors import BadParameterError
from isocenter.storage.names import check_uuid, is_uuid


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

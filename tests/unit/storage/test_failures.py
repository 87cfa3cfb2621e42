import errno
import os

import pytest

from isocenter.errors import FullStorageError, ServerError, StorageUnavailableError
from isocenter.storage.failures import build_storage_error, storage_errors


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, FullStorageError),
        (errno.EDQUOT, FullStorageError),
        (errno.EROFS, StorageUnavailableError),
        (errno.EACCES, StorageUnavailableError),
        (errno.EIO, StorageUnavailableError),
        (errno.EMFILE, StorageUnavailableError),
    ],
)
def test_storage_errors_system_error_is_translated(
    number: int, expected: type[ServerError]
) -> None:
    error = OSError(number, os.strerror(number), "/secret/path")

    with pytest.raises(expected) as caught, storage_errors():
        raise error

    assert caught.value.__cause__ is error
    assert os.strerror(number) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_storage_errors_other_error_passes() -> None:
    with pytest.raises(ValueError, match="other"), storage_errors():
        raise ValueError("other")


def test_build_storage_error_without_message_names_its_kind() -> None:
    assert "OSError" in str(build_storage_error(OSError()))

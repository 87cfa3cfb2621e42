from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.dicom_files import build_instance, encode_element

from isocenter.archive import file_headers
from isocenter.archive.file_headers import open_header
from isocenter.errors import CorruptedBlobError, MissingFileError
from isocenter.index.records import Attachment, DicomAttachment
from isocenter.storage.compression import compress
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Storage

NAME = "12345678-1234-4234-8234-123456789abc"
HEAD = build_instance()
DATA = HEAD + encode_element(0x7FE00010, "OW", bytes(range(256)) * 4000)


@pytest.fixture(params=["memory", "filesystem"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    opened: Storage = (
        MemoryStorage() if request.param == "memory" else FileSystemStorage(tmp_path, sync=False)
    )
    yield opened
    opened.close()


def store(storage: Storage, *, is_packed: bool, offset: int | None = len(HEAD)) -> DicomAttachment:
    stored = compress(DATA) if is_packed else DATA
    storage.write(NAME, stored)
    attachment = Attachment(1, NAME, int(is_packed), len(stored), len(DATA), "", "")
    return DicomAttachment(attachment, 0, offset)


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("small", [0, 1 << 20])
def test_header_ends_with_that_of_the_pixel_data(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, *, is_packed: bool, small: int
) -> None:
    monkeypatch.setattr(file_headers, "_SMALL", small)
    with open_header(storage, store(storage, is_packed=is_packed)) as buffer:
        assert bytes(buffer) == DATA[: len(HEAD) + 12]


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("small", [0, 2 << 20])
def test_file_without_offset_is_opened_whole(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, *, is_packed: bool, small: int
) -> None:
    monkeypatch.setattr(file_headers, "_SMALL", small)
    found = store(storage, is_packed=is_packed, offset=None)
    with open_header(storage, found) as buffer:
        assert bytes(buffer) == DATA


def test_packed_header_reads_no_more_than_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_headers, "_PIECE", 256)
    storage = MemoryStorage()
    found = store(storage, is_packed=True)
    # What follows is damaged, and nobody looks at it.
    stored = storage.read(NAME)
    storage.write(NAME, stored[: len(stored) // 2])
    with open_header(storage, found) as buffer:
        assert bytes(buffer) == DATA[: len(HEAD) + 12]
    whole = DicomAttachment(found.attachment, 0, None)
    with pytest.raises(CorruptedBlobError), open_header(storage, whole):
        pass


def test_file_that_is_gone_is_missing(storage: Storage) -> None:
    found = store(storage, is_packed=False)
    storage.remove(NAME)
    with pytest.raises(MissingFileError), open_header(storage, found):
        pass

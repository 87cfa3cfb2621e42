"""See also ``tests/integration/test_power_failure.py``."""

import uuid

import pytest
from tests.unit.archive.parts import REST, Parts, build_numbered

from isocenter.archive import redo as redo_module
from isocenter.archive.memo import Memo
from isocenter.archive.redo import redo_rows, remove_revenants
from isocenter.dicom.levels import Level
from isocenter.errors import FullStorageError
from isocenter.index.reading import get_statistics, list_public_ids
from isocenter.index.records import Overwrite
from isocenter.storage.memory import MemoryStorage

RECEIVED_AT = 1_700_000_000
MEMO = Memo(REST, RECEIVED_AT, Overwrite.NEVER, has_md5=True)


class CrashedStorage(MemoryStorage):
    """Holds blobs whose rows may be missing."""

    def __init__(self) -> None:
        super().__init__()
        self.memos: list[tuple[str, bytes]] = []

    def add(self, content: bytes, memo: Memo = MEMO) -> str:
        name = str(uuid.uuid4())
        self.write(name, content)
        self.memos.append((name, memo.encode()))
        return name

    def list_memos(self) -> list[tuple[str, bytes]]:
        return list(self.memos)

    def forget_memos(self) -> None:
        self.memos = []


def redo(parts: Parts, storage: CrashedStorage) -> int:
    return redo_rows(parts.database, storage, parts.new_ingest(storage=storage))


def test_redo_writes_rows_as_they_were(parts: Parts) -> None:
    storage = CrashedStorage()
    storage.add(build_numbered(1))

    assert redo(parts, storage) == 1

    [public_id] = parts.database.read(lambda tx: list_public_ids(tx, Level.INSTANCE))
    row = parts.get(Level.INSTANCE, public_id)
    assert row.last_update == RECEIVED_AT
    assert '"RestApi"' in row.metadata
    # A client may have seen the numbers 1 to 5.
    assert parts.database.read(get_statistics).last_change == 9
    assert storage.memos == []
    assert redo(parts, storage) == 0


def test_redo_leaves_alone_what_is_there(parts: Parts) -> None:
    storage = CrashedStorage()
    storage.add(build_numbered(1))
    memos = list(storage.memos)
    redo(parts, storage)
    last = parts.database.read(get_statistics).last_change

    storage.memos = memos
    assert redo(parts, storage) == 0

    assert parts.database.read(get_statistics).last_change == last


def test_redo_removes_what_was_refused(parts: Parts) -> None:
    storage = CrashedStorage()
    storage.add(b"no DICOM")
    storage.add(build_numbered(1))
    twice = storage.add(build_numbered(1))

    assert redo(parts, storage) == 2

    assert parts.database.read(get_statistics).instances == 1
    assert twice not in storage.iter_uuids()
    assert len(list(storage.iter_uuids())) == 1
    assert storage.memos == []


def test_redo_that_cannot_write_keeps_the_memos(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = CrashedStorage()
    name = storage.add(build_numbered(1))
    write = parts.database.write

    def refuse(*arguments: object, can_be_redone: bool = False) -> object:
        if can_be_redone:
            raise FullStorageError
        return write(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(parts.database, "write", refuse)
        with pytest.raises(FullStorageError):
            redo(parts, storage)

    assert [one for one, _ in storage.memos] == [name]
    assert storage.read(name) == build_numbered(1)
    assert redo(parts, storage) == 1


class RestoredStorage(MemoryStorage):
    """Holds blobs that came back from a journal."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names = names
        for name in names:
            self.write(name, b"content")

    def list_restored(self) -> list[str]:
        return self.names


async def test_what_came_back_and_is_not_used_is_removed(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redo_module, "_ASKED_AT_ONCE", 2)
    await parts.store(build_numbered(1))
    [public_id] = parts.database.read(lambda tx: list_public_ids(tx, Level.INSTANCE))
    used = parts.get(Level.INSTANCE, public_id).attachment_uuid
    assert used is not None
    storage = RestoredStorage([str(uuid.uuid4()), str(uuid.uuid4()), used, str(uuid.uuid4())])

    assert remove_revenants(parts.database, storage) == 3

    assert list(storage.iter_uuids()) == [used]

import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isocenter.errors import StorageUnavailableError
from isocenter.storage.journal import Journal
from isocenter.storage.segment import Record, Segment

SIZE = 512 * 1024
BLOCK = 4096


def open_journal(folder: Path, sync: Callable[[], None] = lambda: None) -> Journal:
    journal = Journal(folder / "journal", SIZE, sync)
    journal.replay(lambda _, __: None)
    journal.begin()
    return journal


def append(journal: Journal, *blobs: tuple[str, bytes]) -> Segment | None:
    return journal.append([Record(name, content) for name, content in blobs])


def crash(journal: Journal) -> None:
    """Leave the journal as a power failure would: nothing is settled, the lock is gone."""
    journal.close(is_complete=False)


def replayed(folder: Path) -> dict[str, bytes]:
    journal = Journal(folder / "journal", SIZE, lambda: None)
    found: dict[str, bytes] = {}
    journal.replay(lambda name, content: found.__setitem__(name, bytes(content)))
    journal.begin()
    journal.close(is_complete=True)
    return found


def new_name() -> str:
    return str(uuid.uuid4())


def test_replay_after_crash_gives_every_blob(tmp_path: Path) -> None:
    blobs = {new_name(): bytes([n]) * n * 1000 for n in range(20)}
    journal = open_journal(tmp_path)
    for name, content in blobs.items():
        assert append(journal, (name, content)) is not None
    crash(journal)
    assert replayed(tmp_path) == blobs


def test_replay_after_clean_end_gives_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    append(journal, (new_name(), b"content"))
    journal.close(is_complete=True)
    assert replayed(tmp_path) == {}


def test_replay_of_replayed_journal_gives_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    append(journal, (new_name(), b"content"))
    crash(journal)
    assert len(replayed(tmp_path)) == 1
    assert replayed(tmp_path) == {}


def test_replay_skips_torn_record_but_not_those_behind_it(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    torn, whole = new_name(), new_name()
    append(journal, (torn, b"t" * 10_000), (whole, b"w" * 10_000))
    crash(journal)
    segment = tmp_path / "journal" / "0" / "segment-0"
    content = bytearray(segment.read_bytes())
    content[BLOCK + 5000] ^= 1
    segment.write_bytes(content)
    assert replayed(tmp_path) == {whole: b"w" * 10_000}


def test_replay_skips_record_forged_inside_of_a_blob(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    append(journal, (new_name(), b"x" * 100))
    crash(journal)
    own_record = (tmp_path / "journal" / "0" / "segment-0").read_bytes()[BLOCK : 2 * BLOCK]
    assert replayed(tmp_path) != {}
    # The same bytes, but of a generation that is over, at the beginning of a block.
    head = struct.calcsize("<8sQQ16sIII")
    forged = bytes(BLOCK - head) + own_record
    journal = open_journal(tmp_path)
    name = new_name()
    append(journal, (name, forged))
    crash(journal)
    assert replayed(tmp_path) == {name: forged}


def test_replay_skips_erased_blob(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    erased, kept = new_name(), new_name()
    append(journal, (erased, b"e"), (kept, b"k"))
    journal.erase(erased)
    journal.erase(new_name())
    crash(journal)
    assert replayed(tmp_path) == {kept: b"k"}


def test_append_without_room_is_refused_until_blobs_have_files(tmp_path: Path) -> None:
    synced = []
    journal = open_journal(tmp_path, lambda: synced.append(True))
    syncs_at_start = len(synced)
    appended = []
    while (segment := append(journal, (new_name(), b"c" * 50_000))) is not None:
        appended.append(segment)
    assert len(appended) == 8
    for segment in appended:
        journal.settle(segment)
    wait_until(lambda: append(journal, (new_name(), b"c" * 50_000)) is not None)
    assert len(synced) > syncs_at_start
    journal.close(is_complete=True)


def test_append_of_blob_larger_than_a_segment_is_refused(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert append(journal, (new_name(), b"c" * SIZE)) is None
    journal.close(is_complete=True)


def test_freed_segment_is_not_replayed(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    old = []
    for _ in range(5):
        name = new_name()
        segment = append(journal, (name, b"o" * 50_000))
        assert segment is not None
        old.append(name)
        journal.settle(segment)
    wait_until(lambda: journal._segments[0].is_free)
    crash(journal)
    assert set(replayed(tmp_path)) == {old[-1]}


def test_replay_gives_memos_in_the_order_of_append(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    first, second = journal._segments

    def write(number: int) -> Segment:
        record = Record(new_name(), b"c" * 50_000, str(number).encode())
        segment = journal.append([record], has_rows=True)
        assert segment is not None
        return segment

    for number in range(5):
        journal.settle(write(number), 2)
    wait_until(lambda: first.is_free)
    used = [write(number) for number in range(5, 10)]
    crash(journal)

    # The first segment of the folder is the last one in use.
    assert used == [second] * 3 + [first] * 2
    journal = Journal(tmp_path / "journal", SIZE, lambda: None)
    memos = [int(memo) for _, memo in journal.replay(lambda _, __: None)]
    assert memos == [4, 5, 6, 7, 8, 9]
    journal.close(is_complete=True)
    # Nobody has said that they are of no use any more.
    journal = Journal(tmp_path / "journal", SIZE, lambda: None)
    assert len(journal.replay(lambda _, __: None)) == 6
    journal.close(is_complete=True)


def test_failing_sync_keeps_the_blobs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    is_broken = False

    def sync() -> None:
        if is_broken:
            raise OSError(5, "Input/output error")

    journal = open_journal(tmp_path, sync)
    is_broken = True
    names = [new_name() for _ in range(5)]
    for name in names:
        segment = append(journal, (name, b"o" * 50_000))
        assert segment is not None
        journal.settle(segment)
    wait_until(lambda: "cannot be synced" in caplog.text)
    journal.close(is_complete=True)
    assert set(replayed(tmp_path)) == set(names)


def test_failed_write_of_a_segment_is_never_followed_by_a_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(tmp_path)
    with monkeypatch.context() as patch:

        def fail(*_: object) -> int:
            raise OSError(5, "Input/output error")

        patch.setattr("os.pwrite", fail)
        with pytest.raises(StorageUnavailableError):
            append(journal, (new_name(), b"lost"))
    assert append(journal, (new_name(), b"next")) is None
    with pytest.raises(OSError, match="Input/output error"):
        journal._segments[0].erase(BLOCK)
    journal.close(is_complete=True)


def test_second_server_takes_a_journal_of_its_own(tmp_path: Path) -> None:
    first, second = open_journal(tmp_path), open_journal(tmp_path)
    append(first, (new_name(), b"first"))
    append(second, (new_name(), b"second"))
    crash(second)
    crash(first)
    assert sorted(replayed(tmp_path).values()) == [b"first", b"second"]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=3000), position=st.integers(0, SIZE // 2 - 1))
def test_replay_of_damaged_journal_gives_only_whole_blobs(
    tmp_path: Path, data: bytes, position: int
) -> None:
    blobs = {new_name(): bytes([n]) * 9000 for n in range(6)}
    journal = open_journal(tmp_path)
    append(journal, *blobs.items())
    crash(journal)
    segment = tmp_path / "journal" / "0" / "segment-0"
    content = bytearray(segment.read_bytes())
    content[position : position + len(data)] = data
    segment.write_bytes(content[: SIZE // 2])
    for name, found in replayed(tmp_path).items():
        assert blobs[name] == found


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread brings about."""
    import threading

    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail("what was waited for did not happen within 10 s")

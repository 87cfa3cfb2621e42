import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from isocenter.errors import MissingFileError
from isocenter.storage.port import Storage

THREADS = 8
# All of these fall into one folder, which is made and removed all the time.
NEIGHBORS = [f"0123abcd-0000-4000-8000-{number:012x}" for number in range(THREADS)]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


def test_write_many_threads_keeps_all(storage: Storage, threads: ThreadPoolExecutor) -> None:
    contents = {str(uuid.uuid4()): bytes([number]) * number for number in range(200)}

    list(threads.map(storage.write, contents, contents.values()))

    assert set(storage.iter_uuids()) == set(contents)
    assert all(storage.read(name) == content for name, content in contents.items())


def test_write_beside_removal_never_fails(storage: Storage, threads: ThreadPoolExecutor) -> None:
    def write_and_remove(name: str) -> None:
        for number in range(100):
            content = f"{name} {number}".encode()
            storage.write(name, content)
            assert storage.read(name) == content
            storage.remove(name)

    list(threads.map(write_and_remove, NEIGHBORS))

    assert list(storage.iter_uuids()) == []


def test_write_same_name_many_threads_is_one_of_them(
    storage: Storage, threads: ThreadPoolExecutor
) -> None:
    contents = [bytes([number]) * 100_000 for number in range(32)]

    list(threads.map(lambda content: storage.write(NEIGHBORS[0], content), contents))

    assert storage.read(NEIGHBORS[0]) in contents
    assert storage.remove_temporary(0) == 0


def test_read_beside_replacement_is_whole(storage: Storage, threads: ThreadPoolExecutor) -> None:
    contents = [bytes([number]) * 10_000 * (1 + number) for number in range(4)]
    storage.write(NEIGHBORS[0], contents[0])

    def replace() -> None:
        for _ in range(20):
            for content in contents:
                storage.write(NEIGHBORS[0], content)

    writing = threads.submit(replace)
    while not writing.done():
        assert storage.read(NEIGHBORS[0]) in contents
    writing.result()


def test_iter_uuids_beside_changes_lists_what_stays(
    storage: Storage, threads: ThreadPoolExecutor
) -> None:
    staying = [str(uuid.uuid4()) for _ in range(50)]
    for name in staying:
        storage.write(name, b"")

    def change() -> None:
        for _ in range(100):
            name = str(uuid.uuid4())
            storage.write(name, b"")
            storage.remove(name)

    changing = [threads.submit(change) for _ in range(2)]
    while not all(change.done() for change in changing):
        assert set(staying) <= set(storage.iter_uuids())
    for done in changing:
        done.result()


def test_read_at_many_threads_reads_own_range(
    storage: Storage, threads: ThreadPoolExecutor
) -> None:
    content = bytes(range(256)) * 100
    storage.write(NEIGHBORS[0], content)

    with storage.open_reader(NEIGHBORS[0]) as reader:
        starts = range(0, len(content), 97)
        found = list(threads.map(lambda at: reader.read_at(at, min(97, len(content) - at)), starts))

    assert b"".join(found) == content


def test_remove_many_threads_same_name_never_fails(
    storage: Storage, threads: ThreadPoolExecutor
) -> None:
    storage.write(NEIGHBORS[0], b"")

    list(threads.map(storage.remove, NEIGHBORS[:1] * 50))

    with pytest.raises(MissingFileError):
        storage.read(NEIGHBORS[0])

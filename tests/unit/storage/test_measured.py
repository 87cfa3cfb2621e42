"""What is noted of a storage; that it passes everything on is tested by the contract suite."""

import uuid
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest

from isocenter.errors import MissingFileError
from isocenter.measures import LongestDuration, Measures
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.measured import MeasuredStorage

CONTENT = b"x" * 1000


@pytest.fixture
def measures() -> Measures:
    return Measures()


@pytest.fixture
def storage(tmp_path: Path, measures: Measures) -> MeasuredStorage:
    return MeasuredStorage(FileSystemStorage(tmp_path / "storage", sync=False), measures)


def new_name() -> str:
    return str(uuid.uuid4())


def was_noted(longest: LongestDuration) -> bool:
    return longest.get_ms(perf_counter()) > 0


def write_in_pieces(storage: MeasuredStorage) -> None:
    with storage.open_writer(new_name()) as writer:
        writer.write(CONTENT[:400])
        writer.write(CONTENT[400:])
        writer.commit()


def adopt(storage: MeasuredStorage) -> None:
    assert storage.spool_folder is not None
    path = storage.spool_folder / "finished"
    path.write_bytes(CONTENT)
    storage.adopt(new_name(), path)


WAYS_TO_WRITE: dict[str, Callable[[MeasuredStorage], object]] = {
    "whole": lambda storage: storage.write(new_name(), CONTENT),
    "many": lambda storage: storage.write_many(
        [(new_name(), CONTENT[:300]), (new_name(), CONTENT[300:])]
    ),
    "in pieces": write_in_pieces,
    "adopted": adopt,
}


@pytest.mark.parametrize("way", WAYS_TO_WRITE)
def test_written_bytes_are_noted_whatever_the_way(
    storage: MeasuredStorage, measures: Measures, way: str
) -> None:
    WAYS_TO_WRITE[way](storage)
    assert measures.storage_written_bytes.value == len(CONTENT)
    assert was_noted(measures.storage_create)


def test_what_was_not_committed_is_not_noted(storage: MeasuredStorage, measures: Measures) -> None:
    with storage.open_writer(new_name()) as writer:
        writer.write(CONTENT)
    assert measures.storage_written_bytes.value == 0
    assert not was_noted(measures.storage_create)


def read_in_pieces(storage: MeasuredStorage, name: str) -> None:
    with storage.open_reader(name) as reader:
        assert reader.size_bytes == len(CONTENT)
        reader.read_at(0, 60)
        reader.read_at(60, 40)


WAYS_TO_READ: dict[str, Callable[[MeasuredStorage, str], object]] = {
    "range": lambda storage, name: storage.read(name, 100, 200),
    "cached": lambda storage, name: storage.read_cached(name, 100, 200),
    "in pieces": read_in_pieces,
}


@pytest.mark.parametrize("way", WAYS_TO_READ)
def test_read_bytes_are_noted_whatever_the_way(
    storage: MeasuredStorage, measures: Measures, way: str
) -> None:
    name = new_name()
    storage.write(name, CONTENT)
    WAYS_TO_READ[way](storage, name)
    assert measures.storage_read_bytes.value == 100
    # What is at hand takes no time worth telling.
    assert was_noted(measures.storage_read) == (way != "cached")


def test_removal_is_noted(storage: MeasuredStorage, measures: Measures) -> None:
    storage.remove(new_name())
    assert was_noted(measures.storage_remove)


def test_failed_read_is_not_noted(storage: MeasuredStorage, measures: Measures) -> None:
    with pytest.raises(MissingFileError):
        storage.read(new_name())
    assert storage.read_cached(new_name(), 0, 1) is None
    assert not was_noted(measures.storage_read)
    assert measures.storage_read_bytes.value == 0


def test_nothing_is_noted_while_metrics_are_off(
    storage: MeasuredStorage, measures: Measures
) -> None:
    measures.is_enabled = False
    for write in WAYS_TO_WRITE.values():
        write(storage)
    name = new_name()
    storage.write(name, CONTENT)
    for read in WAYS_TO_READ.values():
        read(storage, name)
    storage.remove(name)
    assert measures.storage_written_bytes.value == measures.storage_read_bytes.value == 0
    for longest in (measures.storage_create, measures.storage_read, measures.storage_remove):
        assert not was_noted(longest)

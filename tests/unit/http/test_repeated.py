"""Which answers are given again, and until when."""

import mmap

import pytest

from isocenter.http.exchange import DirectRequest, DirectResponse, FileRange
from isocenter.http.repeated import Repeatable, RepeatedAnswers

_CLIENT = "127.0.0.1"
_REQUEST = b"GET / HTTP/1.1\r\n\r\n"
_CAPACITY = 200_000


class Index:
    """Stands for the database, whose generation grows."""

    generation = 0

    def get_generation(self) -> int:
        return self.generation


def _repeatable(answer: bytes = b"answer") -> Repeatable:
    req = DirectRequest("/", "", headers={}, remote_addr=_CLIENT)
    return Repeatable(req, DirectResponse(), answer)


@pytest.fixture
def index() -> Index:
    return Index()


@pytest.fixture
def repeated(index: Index) -> RepeatedAnswers:
    return RepeatedAnswers(index.get_generation, most_bytes=_CAPACITY, most_file_bytes=_CAPACITY)


def _add(repeated: RepeatedAnswers, request: bytes = _REQUEST, answer: bytes = b"answer") -> None:
    repeated.add(_CLIENT, request, _repeatable(answer), generation=repeated.begin())


def test_answer_is_found_for_the_same_bytes_of_the_same_client(repeated: RepeatedAnswers) -> None:
    _add(repeated)
    found = repeated.lookup(_CLIENT, _REQUEST)
    assert found is not None
    assert found.answer == b"answer"
    assert repeated.lookup(_CLIENT, _REQUEST + b" ") is None
    assert repeated.lookup("192.0.2.1", _REQUEST) is None


def test_answer_is_forgotten_when_the_index_changes(
    repeated: RepeatedAnswers, index: Index
) -> None:
    _add(repeated)
    index.generation += 1
    assert repeated.lookup(_CLIENT, _REQUEST) is None
    _add(repeated, b"other")
    assert repeated.lookup(_CLIENT, _REQUEST) is None


def test_answer_is_not_kept_if_the_index_changed_while_it_was_made(
    repeated: RepeatedAnswers, index: Index
) -> None:
    generation = repeated.begin()
    index.generation += 1
    repeated.add(_CLIENT, _REQUEST, _repeatable(), generation=generation)
    assert repeated.lookup(_CLIENT, _REQUEST) is None


def test_long_answer_is_not_kept(repeated: RepeatedAnswers) -> None:
    _add(repeated, answer=bytes(64 * 1024 + 1))
    assert repeated.lookup(_CLIENT, _REQUEST) is None


def test_all_answers_are_forgotten_when_the_room_is_full(repeated: RepeatedAnswers) -> None:
    for number in range(4):
        _add(repeated, b"%d" % number, bytes(60_000))
    kept = [repeated.lookup(_CLIENT, b"%d" % number) is not None for number in range(4)]
    assert kept == [False, False, False, True]


class File:
    """Stands for an open file."""

    descriptor = -1

    def __init__(self, *, is_cached: bool = True) -> None:
        self.pages = mmap.mmap(-1, 1)
        self._is_cached = is_cached

    def is_cached(self, _: int, __: int) -> bool:
        return self._is_cached


def _add_file(repeated: RepeatedAnswers, request: bytes, size: int, file: File) -> None:
    base = _repeatable()
    answer = Repeatable(base.req, base.resp, b"head", FileRange(file, 0, size))
    repeated.add(_CLIENT, request, answer, generation=repeated.begin())


def test_answer_with_a_file_is_found_while_the_page_cache_holds_it(
    repeated: RepeatedAnswers,
) -> None:
    _add_file(repeated, b"cached", 1000, File())
    _add_file(repeated, b"cold", 1000, File(is_cached=False))
    assert repeated.lookup(_CLIENT, b"cached") is not None
    assert repeated.lookup(_CLIENT, b"cold") is None


def test_files_have_a_room_of_their_own(repeated: RepeatedAnswers) -> None:
    _add_file(repeated, b"1", 150_000, File())
    assert repeated.lookup(_CLIENT, b"1") is not None
    _add_file(repeated, b"2", 150_000, File())
    assert repeated.lookup(_CLIENT, b"1") is None
    _add_file(repeated, b"3", 300_000, File())
    assert repeated.lookup(_CLIENT, b"3") is None
    assert repeated.lookup(_CLIENT, b"2") is not None

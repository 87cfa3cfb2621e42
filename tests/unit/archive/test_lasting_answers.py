import pytest
from tests.support.dicom_files import build_instance
from tests.unit.archive.parts import Parts

from isocenter.archive import lasting_answers
from isocenter.archive.lasting_answers import LastingAnswers
from isocenter.archive.workers import Workers


def test_answer_is_kept_for_its_question_on_its_path(parts: Parts) -> None:
    answers = LastingAnswers(parts.workers)

    answers.add("/a", b"question", b"answer", generation=answers.begin())

    assert answers.lookup("/a", b"question") == b"answer"
    assert answers.lookup("/b", b"question") is None
    assert answers.lookup("/a", b"another") is None


async def test_answer_is_forgotten_when_the_index_changes(parts: Parts) -> None:
    answers = LastingAnswers(parts.workers)
    answers.add("/a", b"question", b"answer", generation=answers.begin())

    await parts.store(build_instance())

    assert answers.lookup("/a", b"question") is None


async def test_answer_that_a_transaction_has_overtaken_is_not_kept(parts: Parts) -> None:
    answers = LastingAnswers(parts.workers)
    generation = answers.begin()
    await parts.store(build_instance())

    answers.add("/a", b"question", b"older", generation=generation)

    assert answers.lookup("/a", b"question") is None


def test_long_questions_and_answers_are_not_kept(parts: Parts) -> None:
    answers = LastingAnswers(parts.workers)

    answers.add("/a", b"q" * 2049, b"", generation=answers.begin())
    answers.add("/a", b"q", b"a" * 65537, generation=answers.begin())

    assert answers.lookup("/a", b"q" * 2049) is None
    assert answers.lookup("/a", b"q") is None


def test_answers_that_fill_the_room_are_all_forgotten(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting_answers, "_MOST_BYTES", 1000)
    answers = LastingAnswers(parts.workers)

    for number in range(4):
        answers.add("/a", b"%d" % number, b"answer", generation=answers.begin())

    assert answers.lookup("/a", b"2") is None
    assert answers.lookup("/a", b"3") == b"answer"


def test_nothing_is_kept_where_others_write_the_index(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workers, "reads_inline", property(lambda _: False))
    answers = LastingAnswers(parts.workers)

    answers.add("/a", b"question", b"answer", generation=answers.begin())

    assert answers.lookup("/a", b"question") is None

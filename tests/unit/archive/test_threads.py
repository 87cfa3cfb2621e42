import asyncio
import threading
from collections.abc import Iterator

import pytest

from isocenter.archive.threads import Job, JobThreads, call_on_loop
from isocenter.errors import FullStorageError, InternalError

DEADLINE_S = 10


@pytest.fixture
def threads() -> Iterator[JobThreads]:
    threads = JobThreads(2, "test")
    yield threads
    threads.close()


def test_job_gives_its_result_to_all_who_wait(threads: JobThreads) -> None:
    job = Job(lambda: 42)
    threads.call(job.run)
    assert [job.result(), job.wait(), job.result()] == [42, None, 42]


def test_job_that_fails_raises_for_all_who_wait(threads: JobThreads) -> None:
    def fail() -> None:
        raise FullStorageError

    job = Job(fail)
    threads.call(job.run)
    assert isinstance(job.wait(), FullStorageError)
    for _ in range(2):
        with pytest.raises(FullStorageError):
            job.result()


def test_calls_beyond_the_number_of_threads_wait_for_one(threads: JobThreads) -> None:
    may_go_on, running, most = threading.Event(), [0], [0]
    lock = threading.Lock()

    def work() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        assert may_go_on.wait(DEADLINE_S)
        with lock:
            running[0] -= 1

    jobs = [Job(work) for _ in range(6)]
    for job in jobs:
        threads.call(job.run)
    may_go_on.set()
    assert [job.wait() for job in jobs] == [None] * 6
    assert most[0] <= 2


def test_lone_calls_are_made_by_one_thread(threads: JobThreads) -> None:
    names = set()
    for _ in range(20):
        job = Job(lambda: names.add(threading.current_thread().name))
        threads.call(job.run)
        job.wait()
        while not threads._idle:
            pass
    assert names == {"test_0"}


def test_close_waits_for_what_was_begun_and_takes_nothing_more() -> None:
    threads, done = JobThreads(1, "test"), []
    for number in range(5):
        threads.call(lambda number=number: done.append(number))  # type: ignore[misc]
    threads.close()
    threads.close()
    assert done == [0, 1, 2, 3, 4]
    with pytest.raises(InternalError):
        threads.call(lambda: None)


async def test_call_on_loop_runs_there() -> None:
    loop, called = asyncio.get_running_loop(), asyncio.Event()
    thread = threading.Thread(target=call_on_loop, args=(loop, called.set))
    thread.start()
    async with asyncio.timeout(DEADLINE_S):
        await called.wait()
    thread.join()


def test_call_on_loop_that_has_ended_does_nothing() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    call_on_loop(loop, pytest.fail)

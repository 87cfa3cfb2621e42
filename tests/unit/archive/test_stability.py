import pytest
from tests.unit.archive.parts import Parts, build_numbered, wait_until

from isocenter.archive import stability as stability_module
from isocenter.archive.stability import Stability
from isocenter.index.change_log import find_changes
from isocenter.index.records import ChangeType

STABLE = {ChangeType.STABLE_PATIENT, ChangeType.STABLE_STUDY, ChangeType.STABLE_SERIES}


class Clock:
    """Stands still until it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1_000_000
        for module in ("ingest", "stability"):
            monkeypatch.setattr(f"isocenter.archive.{module}.now", lambda: self.seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def list_stable(parts: Parts) -> list[ChangeType]:
    changes = parts.database.read(lambda tx: find_changes(tx, since=0, until=None, limit=1000))
    return [change.change_type for change in changes if change.change_type in STABLE]


async def test_settle_after_quiet_age_logs_once(parts: Parts, clock: Clock) -> None:
    stability = Stability(parts.workers, parts.database, 60)
    await parts.store(build_numbered(1))

    clock.seconds += 59
    assert stability.settle_some() == 0
    clock.seconds += 1
    assert stability.settle_some() == 3
    clock.seconds += 1000
    assert stability.settle_some() == 0

    assert set(list_stable(parts)) == STABLE


async def test_settle_new_instance_restarts_the_countdown(parts: Parts, clock: Clock) -> None:
    stability = Stability(parts.workers, parts.database, 60)
    await parts.store(build_numbered(1))
    clock.seconds += 50
    await parts.store(build_numbered(2))

    clock.seconds += 59
    assert stability.settle_some() == 0
    clock.seconds += 1
    assert stability.settle_some() == 3


async def test_settle_again_after_another_quiet_period(parts: Parts, clock: Clock) -> None:
    stability = Stability(parts.workers, parts.database, 60)
    for number in range(2):
        await parts.store(build_numbered(number))
        clock.seconds += 60
        stability.settle_some()

    assert len(list_stable(parts)) == 6


async def test_settle_after_restart_forgets_nothing(parts: Parts, clock: Clock) -> None:
    await parts.store(build_numbered(1))
    clock.seconds += 60

    assert Stability(parts.workers, parts.database, 60).settle_some() == 3


async def test_start_more_than_a_batch_settles_all(
    parts: Parts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stability_module, "_AT_ONCE", 2)
    await parts.store(build_numbered(1))
    clock.seconds += 60
    stability = Stability(parts.workers, parts.database, 60)

    stability.start()
    await wait_until(lambda: len(list_stable(parts)) == 3)
    await stability.stop()

    assert set(list_stable(parts)) == STABLE

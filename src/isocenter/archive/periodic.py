"""Work that the server repeats by itself."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from isocenter.errors import ServerError

__all__ = ["Periodic"]

_log = logging.getLogger(__name__)


class Periodic:
    """Calls an operation again and again, at an interval or when woken.

    Parameters
    ----------
    name
        What the log calls it.
    interval_s
        Seconds from the end of a call to the next one.
    operation
        Returns true if there is more to do at once.
    """

    def __init__(
        self, name: str, interval_s: float, operation: Callable[[], Awaitable[bool]]
    ) -> None:
        self._name = name
        self._interval_s = interval_s
        self._operation = operation
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with a first call at once."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    def wake(self) -> None:
        """Ask for a call now instead of after the interval."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            has_more = False
            try:
                has_more = await self._operation()
            except ServerError as error:
                _log.warning(
                    "a periodic operation failed and will be tried again",
                    extra={"operation": self._name, "error": str(error)},
                )
            except Exception:  # noqa: BLE001 - a bug must not end the repetition
                _log.exception("a periodic operation broke", extra={"operation": self._name})
            if not has_more:
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._interval_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def stop(self) -> None:
        """End after the call that is under way has come to its next await."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

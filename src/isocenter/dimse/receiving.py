"""The data set that is arriving: from the connection into its sink, with back pressure."""

import asyncio
import logging
from collections.abc import Callable

from isocenter.dimse.data_sink import DataSink
from isocenter.dimse.indications import DataReceived
from isocenter.dimse.transport import AssociationTransport

__all__ = ["DataSetReceiver", "close_sink"]

_logger = logging.getLogger(__name__)


def close_sink(sink: DataSink | None) -> None:
    """Close a sink; a failure is logged and hides nothing else."""
    if sink is None:
        return
    try:
        sink.close()
    except Exception:
        _logger.exception("closing a data sink failed")


class DataSetReceiver:
    """Writes the fragments of one data set after the other into their sinks.

    Parameters
    ----------
    transport
        Held while a sink is saturated.
    on_failure
        Called after a sink raised; it has to abort the association, and with it `abandon` this.
    """

    def __init__(self, transport: AssociationTransport, on_failure: Callable[[], None]) -> None:
        self._transport = transport
        self._on_failure = on_failure
        self._on_complete: Callable[[], None] | None = None
        self._sink: DataSink | None = None
        self._drain_task: asyncio.Task[None] | None = None

    @property
    def is_receiving(self) -> bool:
        """Whether the end of a data set is awaited."""
        return self._sink is not None

    def begin(self, sink: DataSink, on_complete: Callable[[], None]) -> None:
        """Expect a data set; ``on_complete`` takes over the sink."""
        self._sink = sink
        self._on_complete = on_complete

    def receive(self, indication: DataReceived) -> None:
        """Write one fragment."""
        sink, on_complete = self._sink, self._on_complete
        if sink is None or on_complete is None:
            return
        try:
            sink.write(indication.fragment)
            is_saturated = sink.is_saturated
        except Exception:
            _logger.exception("a data sink failed")
            self._on_failure()
            return
        if indication.is_last:
            self._sink = self._on_complete = None
            on_complete()
        elif is_saturated:
            self._wait_for(sink)

    def abandon(self) -> None:
        """Give up the data set that is arriving and close its sink."""
        sink, self._sink = self._sink, None
        if self._drain_task is None:
            close_sink(sink)
        else:
            # A sink must not be closed under its own feet.
            self._drain_task.cancel()
            self._drain_task.add_done_callback(lambda _: close_sink(sink))

    def _wait_for(self, sink: DataSink) -> None:
        self._transport.hold()
        self._drain_task = asyncio.get_running_loop().create_task(sink.drain())
        self._drain_task.add_done_callback(self._drained)

    def _drained(self, task: asyncio.Task[None]) -> None:
        self._drain_task = None
        if not task.cancelled() and task.exception() is not None:
            _logger.error("a data sink failed", exc_info=task.exception())
            self._on_failure()
        self._transport.resume()

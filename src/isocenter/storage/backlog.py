"""Blobs that are durable in the journal and whose files are written when nobody is in a hurry.

Making a file costs as much processor time as receiving and indexing a small instance. While
instances arrive one after the other that time is better spent on them; a moment later it is free.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isocenter.errors import ServerError

__all__ = ["Backlog"]

_log = logging.getLogger(__name__)

# Files are written once nothing was added for that long, or if more waits than that.
_QUIET_S = 0.1
_CALM_BYTES = 32 * 1024 * 1024
_RETRY_S = 10.0


@dataclass(slots=True, eq=False)
class _Group:
    """Blobs that were added together."""

    remaining: int
    on_written: Callable[[], None]


@dataclass(slots=True, eq=False)
class _Entry:
    content: bytes
    group: _Group
    # Somebody is just writing its file.
    is_taken: bool = False


class Backlog:
    """Keeps blobs in memory until their files are written. Thread-safe.

    Parameters
    ----------
    write_file
        Writes the file of a blob.
    most_bytes
        The most to keep.
    """

    def __init__(self, write_file: Callable[[str, bytes], None], *, most_bytes: int) -> None:
        self._write_file = write_file
        self._most_bytes = most_bytes
        self._changed = threading.Condition()
        # Oldest first. The condition guards all of it; reading one entry needs no lock.
        self._entries: dict[str, _Entry] = {}
        self._bytes = 0
        self._last_added = 0.0
        self._not_before = 0.0
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def add(self, blobs: Sequence[tuple[str, bytes]], on_written: Callable[[], None]) -> bool:
        """Keep some blobs for later.

        Parameters
        ----------
        on_written
            Called, in some thread, when all of them have their files or were dropped; it must not
            call back.

        Returns
        -------
        bool
            False if there are too many already; then nothing was kept.
        """
        size = sum(len(content) for _, content in blobs)
        group = _Group(len(blobs), on_written)
        with self._changed:
            if self._bytes + size > self._most_bytes:
                return False
            for name, _ in blobs:
                self._replace(name)
            # Waking a thread for each blob would cost what the wait is to save.
            is_news = not self._entries or self._bytes <= _CALM_BYTES < self._bytes + size
            self._bytes += size
            self._entries.update((name, _Entry(content, group)) for name, content in blobs)
            self._last_added = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="filing", daemon=True)
                self._thread.start()
            elif is_news:
                self._changed.notify_all()
        return True

    def _replace(self, name: str) -> None:
        """Take out the older blob of a name; needs the lock.

        Names are not used again as a rule, so it is not worth more than waiting for its file.
        """
        while (entry := self._entries.get(name)) is not None:
            if entry.is_taken:
                self._changed.wait()
            else:
                self._remove(name, entry)

    def lookup(self, name: str) -> bytes | None:
        """Give the content of a blob that has no file yet."""
        entry = self._entries.get(name)
        return None if entry is None else entry.content

    def finish(self, name: str) -> None:
        """Write the file of one blob now, if it has none yet.

        Raises
        ------
        FullStorageError, StorageUnavailableError
            If that fails; the blob stays here.
        """
        with self._changed:
            while (entry := self._entries.get(name)) is not None and entry.is_taken:
                self._changed.wait()
            if entry is None:
                return
            entry.is_taken = True
        self._write(name, entry)

    def finish_all(self) -> None:
        """Write the files of all blobs that are here now; failures are logged."""
        for name in list(self._entries):
            self._write_quietly(name)

    def drop(self, name: str) -> None:
        """Forget a blob that is removed; if its file is just being written, wait for that."""
        with self._changed:
            while (entry := self._entries.get(name)) is not None and entry.is_taken:
                self._changed.wait()
            if entry is None:
                return
            entry.is_taken = True
        self._forget(name, entry)

    def close(self) -> bool:
        """Write all files; tell whether that succeeded. Nothing may be added afterwards."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self.finish_all()
        return not self._entries

    def _run(self) -> None:
        while (name := self._await_work()) is not None:
            self._write_quietly(name)

    def _await_work(self) -> str | None:
        """Wait until a file is to be written; ``None`` at the end."""
        with self._changed:
            while not self._is_closing:
                name = next((n for n, entry in self._entries.items() if not entry.is_taken), None)
                pause = None if name is None else self._compute_pause()
                if pause is not None and pause <= 0:
                    return name
                self._changed.wait(pause)
        return None

    def _compute_pause(self) -> float:
        start = self._not_before
        if self._bytes <= _CALM_BYTES:
            start = max(start, self._last_added + _QUIET_S)
        return start - time.monotonic()

    def _write_quietly(self, name: str) -> None:
        try:
            self.finish(name)
        except ServerError:
            _log.exception("a file cannot be written yet")
            with self._changed:
                self._not_before = time.monotonic() + _RETRY_S

    def _write(self, name: str, entry: _Entry) -> None:
        try:
            self._write_file(name, entry.content)
        except BaseException:
            with self._changed:
                entry.is_taken = False
                self._changed.notify_all()
            raise
        self._forget(name, entry)

    def _forget(self, name: str, entry: _Entry) -> None:
        with self._changed:
            self._remove(name, entry)
            self._changed.notify_all()

    def _remove(self, name: str, entry: _Entry) -> None:
        """Take out a blob that has its file or needs none; needs the lock."""
        del self._entries[name]
        self._bytes -= len(entry.content)
        entry.group.remaining -= 1
        if not entry.group.remaining:
            entry.group.on_written()

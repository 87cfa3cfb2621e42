"""A cache of byte strings, bounded by their size."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["ByteCache", "CacheStatistics"]

K = TypeVar("K")

# A single value may take this part of the room, lest it drive out all others.
_LARGEST_SHARE = 8


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """How a cache is doing, for the metrics.

    Attributes
    ----------
    count, size_bytes
        What is kept now.
    largest_size_bytes
        The most that was kept at once.
    capacity_bytes
        Room for the values.
    hits, misses
        Look-ups that found something, and that did not.

    References
    ----------
    Orthanc REST: metrics of caches (behaviour manual §36.3)
    """

    count: int
    size_bytes: int
    largest_size_bytes: int
    capacity_bytes: int
    hits: int
    misses: int


class ByteCache(Generic[K]):
    """Keeps the values used last. Thread-safe; no call waits for anything but another one.

    Parameters
    ----------
    capacity_bytes
        Room for the values.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        # Guards all that follows.
        self._lock = threading.Lock()
        self._size_bytes = 0
        self._largest_size_bytes = 0
        self._hits = 0
        self._misses = 0
        self._values: OrderedDict[K, bytes] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Room that is taken."""
        return self._size_bytes

    def has_room_for(self, size_bytes: int) -> bool:
        """Tell whether a value of a size would be kept."""
        return size_bytes <= self._capacity_bytes // _LARGEST_SHARE

    def lookup(self, key: K) -> bytes | None:
        """Find a value, which thereby becomes the one used last."""
        with self._lock:
            value = self._values.get(key)
            if value is None:
                self._misses += 1
            else:
                self._hits += 1
                self._values.move_to_end(key)
            return value

    def add(self, key: K, value: bytes) -> None:
        """Keep a value, dropping those not used for longest."""
        if not self.has_room_for(len(value)):
            return
        with self._lock:
            replaced = self._values.pop(key, None)
            self._size_bytes += len(value) - len(replaced or b"")
            self._values[key] = value
            while self._size_bytes > self._capacity_bytes:
                _, dropped = self._values.popitem(last=False)
                self._size_bytes -= len(dropped)
            self._largest_size_bytes = max(self._largest_size_bytes, self._size_bytes)

    def clear(self) -> None:
        """Forget all values."""
        with self._lock:
            self._values.clear()
            self._size_bytes = 0

    def get_statistics(self) -> CacheStatistics:
        """Tell how the cache is doing."""
        with self._lock:
            return CacheStatistics(
                count=len(self._values),
                size_bytes=self._size_bytes,
                largest_size_bytes=self._largest_size_bytes,
                capacity_bytes=self._capacity_bytes,
                hits=self._hits,
                misses=self._misses,
            )

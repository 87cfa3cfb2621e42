"""A cache of byte strings, bounded by their size."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["ByteCache", "CacheUse"]

K = TypeVar("K")

# A single value may take this part of the room, lest it drive out all others.
_LARGEST_SHARE = 8


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How a cache is used, for the metrics.

    Attributes
    ----------
    hits, misses
        Values that were asked for and found, or not.
    """

    count: int
    size_bytes: int
    hits: int
    misses: int


class ByteCache(Generic[K]):
    """Keeps the values used last. For the event loop's thread only.

    Parameters
    ----------
    capacity_bytes
        Room for the values.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._size_bytes = 0
        self._hits = self._misses = 0
        self._values: OrderedDict[K, bytes] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Room that is taken."""
        return self._size_bytes

    @property
    def use(self) -> CacheUse:
        """How the cache is used."""
        return CacheUse(len(self._values), self._size_bytes, self._hits, self._misses)

    def clear(self) -> None:
        """Drop all values."""
        self._values.clear()
        self._size_bytes = 0

    def lookup(self, key: K) -> bytes | None:
        """Find a value, which thereby becomes the one used last."""
        value = self._values.get(key)
        if value is None:
            self._misses += 1
            return None
        self._hits += 1
        self._values.move_to_end(key)
        return value

    def add(self, key: K, value: bytes) -> None:
        """Keep a value, dropping those not used for longest."""
        if len(value) > self._capacity_bytes // _LARGEST_SHARE:
            return
        replaced = self._values.pop(key, None)
        self._size_bytes += len(value) - len(replaced or b"")
        self._values[key] = value
        while self._size_bytes > self._capacity_bytes:
            _, dropped = self._values.popitem(last=False)
            self._size_bytes -= len(dropped)

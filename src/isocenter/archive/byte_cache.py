"""A cache of byte strings, bounded by their size."""

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["ByteCache"]

K = TypeVar("K")

# A single value may take this part of the room, lest it drive out all others.
_LARGEST_SHARE = 8


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
        self._values: OrderedDict[K, bytes] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Room that is taken."""
        return self._size_bytes

    def lookup(self, key: K) -> bytes | None:
        """Find a value, which thereby becomes the one used last."""
        value = self._values.get(key)
        if value is not None:
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

"""What the parts of the server note of their own work, for the metrics to show."""

from threading import Lock
from time import perf_counter

__all__ = ["LongestDuration", "Measures", "Tally"]

_WINDOW_S = 10


class LongestDuration:
    """The longest of the durations that were noted within the last ten seconds. Thread-safe.

    References
    ----------
    Orthanc REST: metrics, timings (behaviour manual §36.3)
    """

    __slots__ = ("_lock", "_longest_s", "_seconds")

    def __init__(self) -> None:
        self._lock = Lock()
        # One slot for each of the last seconds: which second it holds, and the longest of it.
        self._seconds = [-_WINDOW_S] * _WINDOW_S
        self._longest_s = [0.0] * _WINDOW_S

    def note(self, duration_s: float, ended_at: float) -> None:
        """Note a duration.

        Parameters
        ----------
        ended_at
            What `time.perf_counter` said at its end.
        """
        second = int(ended_at)
        slot = second % _WINDOW_S
        # Most are not the longest, and cost no lock: what is there already can only grow.
        if self._longest_s[slot] >= duration_s and self._seconds[slot] == second:
            return
        with self._lock:
            if self._seconds[slot] != second:
                self._seconds[slot] = second
                self._longest_s[slot] = duration_s
            elif duration_s > self._longest_s[slot]:
                self._longest_s[slot] = duration_s

    def note_since(self, started_at: float) -> None:
        """Note a duration that ends now."""
        ended_at = perf_counter()
        self.note(ended_at - started_at, ended_at)

    def get_ms(self, instant: float) -> float:
        """Tell the longest one in milliseconds, 0 if nothing was noted lately.

        Parameters
        ----------
        instant
            What `time.perf_counter` says now.
        """
        oldest = int(instant) - _WINDOW_S
        with self._lock:
            slots = zip(self._seconds, self._longest_s, strict=True)
            return 1000 * max((longest for second, longest in slots if second > oldest), default=0)


class Tally:
    """A number that only grows. Thread-safe."""

    __slots__ = ("_lock", "_value")

    def __init__(self) -> None:
        self._lock = Lock()
        self._value = 0

    def add(self, count: int) -> None:
        """Let it grow."""
        with self._lock:
            self._value += count

    @property
    def value(self) -> int:
        """The number so far."""
        return self._value


class Measures:
    """What is noted, wherever in the server it happens.

    Attributes
    ----------
    is_enabled
        Whoever notes something asks this first, so that nothing is spent on unwanted numbers.
    storage_create, storage_read, storage_remove
        Durations of operations of the storage.
    store_dicom
        From a complete file to its durable rows.
    find_scp, move_scp, get_scp
        From a complete C-FIND, C-MOVE or C-GET request to its last response.
    rest_api
        From a request whose head is complete to an answer that is ready to be sent.
    storage_read_bytes, storage_written_bytes
        Bytes as they lie in the storage, compressed or not.

    References
    ----------
    Orthanc REST: metrics (behaviour manual §36.3); Orthanc configuration: ``MetricsEnabled``
    """

    def __init__(self, *, is_enabled: bool = True) -> None:
        self.is_enabled = is_enabled
        self.storage_create = LongestDuration()
        self.storage_read = LongestDuration()
        self.storage_remove = LongestDuration()
        self.store_dicom = LongestDuration()
        self.find_scp = LongestDuration()
        self.move_scp = LongestDuration()
        self.get_scp = LongestDuration()
        self.rest_api = LongestDuration()
        self.storage_read_bytes = Tally()
        self.storage_written_bytes = Tally()

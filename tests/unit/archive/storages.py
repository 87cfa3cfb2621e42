"""Storages that show how they are used, for tests of what reads."""

from isocenter.storage.memory import MemoryBlobReader, MemoryStorage

__all__ = ["ColdStorage", "CountingStorage"]


class CountingStorage(MemoryStorage):
    """Notes which ranges are read; ``None`` as the end stands for a blob that was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[int, int | None]] = []

    @property
    def reads(self) -> int:
        """How often something was read."""
        return len(self.ranges)

    def read(self, attachment_uuid: str, start: int = 0, stop: int | None = None) -> bytes:
        self.ranges.append((start, stop))
        return super().read(attachment_uuid, start, stop)

    def read_cached(self, attachment_uuid: str, start: int, stop: int) -> bytes | None:
        self.ranges.append((start, stop))
        return super().read_cached(attachment_uuid, start, stop)

    def open_reader(self, attachment_uuid: str) -> MemoryBlobReader:
        self.ranges.append((0, None))
        return super().open_reader(attachment_uuid)


class ColdStorage(MemoryStorage):
    """Has nothing at hand without waiting for the disk."""

    def read_cached(self, attachment_uuid: str, start: int, stop: int) -> None:
        return None

"""What a door hands to the ingest pipeline, and what it gets back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from isocenter.dicom.identifiers import PublicIds
from isocenter.storage.port import Buffer
from isocenter.storage.spool import SpooledContent

__all__ = [
    "Content",
    "Origin",
    "OriginKind",
    "StoreOutcome",
    "StoreStatus",
    "close_content",
    "open_buffer",
]

Content = bytes | SpooledContent
"""The bytes of a DICOM file: in memory if small, else collected in a temporary file."""


@contextmanager
def open_buffer(content: Content) -> Iterator[Buffer]:
    """Open a content as contiguous bytes. Blocks."""
    if isinstance(content, SpooledContent):
        with content.buffer() as buffer:
            yield buffer
    else:
        yield content


def close_content(content: Content) -> None:
    """Drop a content."""
    if isinstance(content, SpooledContent):
        content.close()


class OriginKind(StrEnum):
    """Values of the metadata `Origin` (Orthanc REST: behaviour manual §8.3)."""

    DICOM_PROTOCOL = "DicomProtocol"
    REST_API = "RestApi"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an instance came from.

    Attributes
    ----------
    http_username
        The authenticated user, empty without authentication; ``None`` unless it came by HTTP.
    called_aet
        ``None`` unless it came by DICOM.
    """

    kind: OriginKind
    remote_ip: str | None = None
    remote_aet: str | None = None
    called_aet: str | None = None
    http_username: str | None = None


class StoreStatus(StrEnum):
    """What became of a received instance (Orthanc REST: POST /instances).

    ``STORAGE_FULL`` is said of a file of an archive only; alone, it is an error.
    """

    SUCCESS = "Success"
    ALREADY_STORED = "AlreadyStored"
    STORAGE_FULL = "StorageFull"


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """What a door tells its client."""

    status: StoreStatus
    public_ids: PublicIds

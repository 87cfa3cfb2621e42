"""Files as answers: ranges, entity tags, names, streaming."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import quote

from isocenter.errors import BadRangeError
from isocenter.http.entity_tags import is_unchanged
from isocenter.http.exchange import DirectResponse, FileRange, OpenFile, Request, Response

__all__ = ["AnswerableFile", "answer_file", "format_disposition", "parse_range"]

# A shorter file is copied into the answer, which costs less than the calls to send it.
_SHORTEST_SENT = 64 * 1024
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_FORBIDDEN_IN_NAMES = re.compile(r'[\x00-\x1f\x7f"\\]')


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from ``start`` to before ``stop``, both counted from 0."""

    start: int
    stop: int


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Read the header ``Range``.

    Returns
    -------
    ByteRange or None
        ``None`` if the whole content is wanted: no header, another unit, or several ranges, which
        a server may ignore.

    Raises
    ------
    BadRangeError
        If the content has no such bytes.

    References
    ----------
    RFC 9110 §14.2; Orthanc REST: ranges (behaviour manual §12, quirk 42)
    """
    if header is None or "," in header or not header.startswith("bytes="):
        return None
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[0] == "bytes=-":
        raise BadRangeError(f"cannot read the range of {size} bytes")
    if not match[1]:
        start, stop = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        stop = min(size, int(match[2]) + 1) if match[2] else size
    if start >= stop:
        raise BadRangeError(f"the content has {size} bytes")
    return ByteRange(start, stop)


class AnswerableFile(Protocol):
    """A content that can be answered.

    Attributes
    ----------
    entity_tag
        What changes whenever the bytes do.
    """

    media_type: str
    size_bytes: int

    @property
    def entity_tag(self) -> str:
        """What changes whenever the bytes do."""

    async def read_small(self, start: int, stop: int) -> bytes | bytearray | None:
        """Read a range at once, or ``None`` if it is too long for that."""

    def open_cached(self, start: int, stop: int) -> OpenFile | None:
        """Open the file if a range of it can be read at once."""

    def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read a range in pieces."""


async def answer_file(
    req: Request, resp: Response, file: AnswerableFile, *, file_name: str | None
) -> None:
    """Answer a stored file, a range of it, or that the client has it already.

    Parameters
    ----------
    file_name
        Name for saving, unless the argument ``filename`` gives another one; ``None`` names none.
    """
    etag = file.entity_tag
    if is_unchanged(req, resp, etag.strip('"')):
        return
    part = None
    # A range of another version than the client has is of no use to it (RFC 9110 §13.1.5).
    if req.get_header("If-Range", default=etag) == etag:
        try:
            part = parse_range(req.get_header("Range"), file.size_bytes)
        except BadRangeError:
            resp.set_header("Content-Range", f"bytes */{file.size_bytes}")
            raise
    resp.set_header("Accept-Ranges", "bytes")
    if part is None:
        resp.content_type = file.media_type
        if file_name is not None:
            name = clean_name(req.get_param("filename") or "") or file_name
            resp.set_header("Content-Disposition", format_disposition(name))
        part = ByteRange(0, file.size_bytes)
    else:
        resp.status = 206
        resp.content_type = "application/octet-stream"
        content_range = f"bytes {part.start}-{part.stop - 1}/{file.size_bytes}"
        resp.set_header("Content-Range", content_range)
    await _write(req, resp, file, part)


def clean_name(name: str) -> str:
    """Leave out of a file name what would end it, or the header it stands in."""
    return _FORBIDDEN_IN_NAMES.sub("", name)


def format_disposition(name: str) -> str:
    """Write ``Content-Disposition``, which is ASCII whatever the name (RFC 6266 §4.3).

    What would end the name or the header is left out.
    """
    name = clean_name(name)
    if name.isascii():
        return f'filename="{name}"'
    plain = name.encode("ascii", "replace").decode()
    return f"filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _write(req: Request, resp: Response, file: AnswerableFile, part: ByteRange) -> None:
    length = part.stop - part.start
    if req.method == "HEAD":
        resp.content_length = length
        return
    if isinstance(resp, DirectResponse) and length >= _SHORTEST_SENT:
        opened = file.open_cached(part.start, part.stop)
        if opened is not None:
            resp.file = FileRange(opened, part.start, part.stop)
            return
    data = await file.read_small(part.start, part.stop)
    if data is not None:
        # Falcon only passes it on; a copy to make it `bytes` would cost as much as reading it.
        resp.data = cast(bytes, data)
        return
    resp.content_length = length
    resp.stream = file.stream(part.start, part.stop)

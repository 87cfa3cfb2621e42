"""New instances of tags, images and documents.

References
----------
Orthanc REST: POST /tools/create-dicom (behaviour manual §21); Decision 0019
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from isocenter.archive.created_files import SPECIFIC_CHARACTER_SET, FileBuilder, Inherited
from isocenter.archive.creation_requests import CreationRequest, parse_creation
from isocenter.archive.file_headers import open_header
from isocenter.archive.ingest import Ingest
from isocenter.archive.received import Content, Origin, StoreOutcome
from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.clock import now
from isocenter.dicom.levels import Level
from isocenter.dicom.modules import MODULE_TAGS
from isocenter.dicom.portable import read_elements
from isocenter.dicom.tags import TagDictionary
from isocenter.errors import (
    BadRequestError,
    BodyTooLargeError,
    InstanceAsParentError,
    UnknownParentError,
)
from isocenter.index.files import lookup_first_file
from isocenter.index.port import Transaction
from isocenter.index.records import DicomAttachment
from isocenter.index.relatives import find_rows
from isocenter.storage.port import Storage
from isocenter.storage.spool import SpooledContent

__all__ = ["LARGEST_CREATION_BYTES", "Created", "CreationOptions", "Creator"]

LARGEST_CREATION_BYTES = 256 * 1024 * 1024
"""Of a request body, which is held in memory while it is worked on."""

# Requests that are worked on at the same time; each may take several times its body.
_AT_ONCE = 2
# Files of one request: small compressed images may become very large ones.
_LARGEST_RESULT_BYTES = 2 * 1024 * 1024 * 1024
_LONGEST_ID = 64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class CreationOptions:
    """How to write tags.

    Attributes
    ----------
    settings
        Tell the character set of files that name none.
    dictionary
        Names and value representations.
    private_creator
        Who has defined the private tags, if a request does not say so.
    """

    settings: Settings
    dictionary: TagDictionary
    private_creator: str = ""


@dataclass(frozen=True, slots=True)
class Created:
    """What was made of a request.

    Attributes
    ----------
    outcomes
        One for each instance, in the order of the request.
    is_series
        The client asked for a series.
    """

    outcomes: Sequence[StoreOutcome]
    is_series: bool


@dataclass(frozen=True, slots=True)
class _Parent:
    level: Level
    file: DicomAttachment


class Creator:
    """Creates instances and stores them as if they had been uploaded.

    Parameters
    ----------
    new_content
        Makes an empty content that moves to disk when it grows.
    """

    def __init__(
        self,
        workers: Workers,
        storage: Storage,
        ingest: Ingest,
        new_content: Callable[[], SpooledContent],
        options: CreationOptions,
    ) -> None:
        self._workers = workers
        self._storage = storage
        self._ingest = ingest
        self._new_content = new_content
        self._options = options
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def create(self, body: Content, origin: Origin) -> Created:
        """Create the instances of a request: all of them or, if one is refused, none.

        Parameters
        ----------
        body
            Its JSON; closed in any case.

        Raises
        ------
        RequestError
            If the request is wrong; see the errors with the numbers from 2019 on.
        FullStorageError
            If no room is left.
        """
        try:
            async with self._turns:
                return await self._create(body, origin)
        finally:
            if isinstance(body, SpooledContent):
                body.close()

    async def _create(self, body: Content, origin: Origin) -> Created:
        request = await self._workers.run(self._parse, body)
        parent = None
        if request.parent is not None:
            parent = await self._find_parent(request.parent)
        contents = await self._workers.run(self._build, request, parent)
        if len(contents) == 1:
            return Created([await self._ingest.store(contents[0], origin)], request.is_series)
        outcomes = await self._ingest.store_jointly(contents, origin)
        return Created(outcomes, request.is_series)

    def _parse(self, body: Content) -> CreationRequest:
        text = body if isinstance(body, bytes) else b"".join(body.iter_chunks())
        try:
            value = _decode(text.removeprefix(_BYTE_ORDER_MARK))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequestError("the body must be a JSON object") from error
        if not isinstance(value, dict):
            raise BadRequestError("the body must be a JSON object")
        return parse_creation(
            value,
            private_creator=self._options.private_creator,
            dictionary=self._options.dictionary,
        )

    async def _find_parent(self, public_id: str) -> _Parent:
        # PostgreSQL takes no NUL as text, and no resource has one in its name.
        if len(public_id) > _LONGEST_ID or "\0" in public_id:
            raise UnknownParentError

        def query(tx: Transaction) -> tuple[Level, DicomAttachment | None] | None:
            found = find_rows(tx, [public_id]).get(public_id)
            if found is None:
                return None
            level = found[1]
            return level, lookup_first_file(tx, level, public_id)

        found = await self._workers.read(query)
        if found is None:
            raise UnknownParentError
        level, file = found
        if level is Level.INSTANCE:
            raise InstanceAsParentError
        if file is None:
            raise UnknownParentError("the parent has no file that its tags could be read from")
        return _Parent(level, file)

    def _read_parent(self, parent: _Parent) -> Inherited:
        """Read what the instances inherit from one of the parent's files."""
        levels = [level for level in Level if level <= parent.level]
        tags = frozenset().union(*(MODULE_TAGS[level] for level in levels))
        with open_header(self._storage, parent.file) as buffer:
            elements = read_elements(
                buffer,
                tags | {SPECIFIC_CHARACTER_SET},
                default_encoding=self._options.settings.default_encoding,
                dictionary=self._options.dictionary,
            )
        named = elements.pop(SPECIFIC_CHARACTER_SET, None)
        value = named.value if named is not None and isinstance(named.value, bytes) else b""
        return Inherited(elements, tags, value.decode("ascii", "replace").strip(" \0"))

    def _build(self, request: CreationRequest, parent: _Parent | None) -> list[SpooledContent]:
        """Build all files, on the disk where they are large."""
        builder = FileBuilder(
            request,
            None if parent is None else self._read_parent(parent),
            dictionary=self._options.dictionary,
            default_encoding=self._options.settings.default_encoding,
            created_at=now(),
        )
        contents: list[SpooledContent] = []
        size = 0
        try:
            for pieces in builder.iter_files():
                contents.append(self._spool(pieces))
                size += contents[-1].size_bytes
                _check_result(size)
        except BaseException:
            for content in contents:
                content.close()
            raise
        return contents

    def _spool(self, pieces: Sequence[bytes]) -> SpooledContent:
        content = self._new_content()
        for piece in pieces:
            content.append(piece)
        content.flush_pending()
        return content


def _check_result(size: int) -> None:
    if size > _LARGEST_RESULT_BYTES:
        raise BodyTooLargeError(f"the new files may have {_LARGEST_RESULT_BYTES} bytes at most")

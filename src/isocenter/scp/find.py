"""The query service: C-FIND of patient root and study root.

References
----------
PS3.4 §C.4.1; PS3.7 §9.1.2; Orthanc: C-FIND (behaviour manual §25.3)
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from isocenter.archive.browse import Browse
from isocenter.archive.find import Finder
from isocenter.archive.lasting_answers import LastingAnswers
from isocenter.archive.records import Part
from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.dicom.answer_writer import AnswerWriter
from isocenter.dicom.data_set_writer import AnswerEncoding
from isocenter.dicom.data_sets import DataSet, Element, get_layout
from isocenter.dicom.find_request import (
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    FindRequest,
    NameRule,
    parse_find_request,
)
from isocenter.dicom.query import Query
from isocenter.dicom.tags import is_private_creator
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.errors import ServerError
from isocenter.scp.answering import get_content, read_identifier, refuse, send_answers
from isocenter.scp.query_log import QueryLog

__all__ = ["FindOptions", "FindSCP", "Searching"]

Keep = Callable[[Sequence[bytes]], None]

_decode = msgspec.msgpack.Decoder(list[bytes]).decode

# Answers of a page: few at first, since these are read and encoded on the event loop.
_FIRST_PAGE = 50
_PAGE = 200
# So many values may be encoded on the event loop.
_FEW_VALUES = 1000


@dataclass(frozen=True, slots=True)
class FindOptions:
    """What the configuration says of queries.

    Attributes
    ----------
    ae_title
        Ours: where what is found can be retrieved.
    rule
        Whether the case of letters counts.
    """

    ae_title: str
    rule: NameRule = field(default_factory=NameRule)


@dataclass(frozen=True, slots=True)
class Searching:
    """The use cases that find and describe resources, and what they have answered before."""

    finder: Finder
    browse: Browse
    lasting_answers: LastingAnswers


class FindSCP:
    """Answers queries page by page, so memory does not depend on the number of answers.

    Each page takes the same number of statements. The next one is read when the peer has taken the
    one before.
    """

    def __init__(
        self,
        searching: Searching,
        workers: Workers,
        *,
        settings: Settings,
        options: FindOptions,
        log: QueryLog,
    ) -> None:
        self._finder = searching.finder
        self._browse = searching.browse
        self._lasting_answers = searching.lasting_answers
        self._workers = workers
        self._settings = settings
        self._options = options
        self._log = log

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Answer a C-FIND request."""
        try:
            identifier = await read_identifier(message, self._settings, self._workers)
            self._log.add(association, "C-FIND", identifier)
            pages = await self._begin(message, identifier)
        except ServerError as error:
            await refuse(association, message, error)
            return
        await send_answers(association, message, pages)

    async def _begin(
        self, message: Message, identifier: Mapping[int, Element]
    ) -> AsyncGenerator[Sequence[bytes], None]:
        """Find what was asked for; what was answered before is taken from there."""
        path = f"C-FIND {message.context.transfer_syntax_uid} {self._settings.default_encoding}"
        question = get_content(message)
        known = self._lasting_answers.lookup(path, question)
        if known is not None:
            return _iter_known(known)
        generation = self._lasting_answers.begin()
        request = parse_find_request(identifier, self._options.rule)
        query = Query(request.level, request.criteria)
        rows = (await self._finder.find_rows(query)).rows
        keep: Keep | None = None
        if len(rows) <= _FIRST_PAGE and self._finder.is_indexed(query):
            keep = partial(self._keep, path, question, generation)
        return self._iter_pages(message, request, rows, keep)

    def _keep(self, path: str, question: bytes, generation: int, page: Sequence[bytes]) -> None:
        self._lasting_answers.add(path, question, _pack(page), generation=generation)

    async def _iter_pages(
        self, message: Message, request: FindRequest, rows: Sequence[int], keep: "Keep | None"
    ) -> AsyncGenerator[Sequence[bytes], None]:
        tags = [t for t in request.keys if t != RETRIEVE_AE_TITLE and not is_private_creator(t)]
        encoding = AnswerEncoding.choose(
            get_layout(message.context.transfer_syntax_uid),
            request.character_set,
            self._settings.default_encoding,
        )
        writer = AnswerWriter(encoding, request.keys, self._get_fixed(request))
        start, size = 0, _FIRST_PAGE
        while start < len(rows):
            found = await self._browse.describe(
                request.level, rows[start : start + size], Part(0), tags
            )
            values = [one.requested or {} for one in found]
            is_short = len(found) <= _FIRST_PAGE and len(found) * len(tags) <= _FEW_VALUES
            if is_short and not encoding.is_slow:
                page = writer.write_all(values)
            else:
                page = await self._workers.run(
                    lambda all_of: list(map(writer.write, all_of)), values
                )
            # A value that is missing could not be read from its file now.
            if keep is not None and all(tag in one for one in values for tag in tags):
                keep(page)
            yield page
            start, size = start + size, _PAGE

    def _get_fixed(self, request: FindRequest) -> DataSet:
        return {
            QUERY_RETRIEVE_LEVEL: Element("CS", request.level_name),
            RETRIEVE_AE_TITLE: Element("AE", self._options.ae_title),
        }


def _pack(page: Sequence[bytes]) -> bytes:
    return msgspec.msgpack.encode(page)


async def _iter_known(packed: bytes) -> AsyncGenerator[Sequence[bytes], None]:
    yield _decode(packed)

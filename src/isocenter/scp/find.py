"""The query service: C-FIND of patient root and study root.

References
----------
PS3.4 §C.4.1; PS3.7 §9.1.2; Orthanc: C-FIND (behaviour manual §25.3)
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from isocenter.archive.browse import Browse, Described
from isocenter.archive.find import Finder
from isocenter.archive.records import Part
from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.dicom.data_set_writer import AnswerEncoding, build_element
from isocenter.dicom.data_sets import DataSet, Element, get_layout
from isocenter.dicom.find_request import (
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    FindRequest,
    NameRule,
    parse_find_request,
    select_keys,
)
from isocenter.dicom.query import Query
from isocenter.dicom.tags import is_private_creator
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.errors import ServerError
from isocenter.scp.answering import read_identifier, refuse, send_answers
from isocenter.scp.query_log import QueryLog

__all__ = ["FindOptions", "FindSCP"]

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


class FindSCP:
    """Answers queries page by page, so memory does not depend on the number of answers.

    Each page takes the same number of statements. The next one is read when the peer has taken the
    one before.
    """

    def __init__(
        self,
        finder: Finder,
        browse: Browse,
        workers: Workers,
        *,
        settings: Settings,
        options: FindOptions,
        log: QueryLog,
    ) -> None:
        self._finder = finder
        self._browse = browse
        self._workers = workers
        self._settings = settings
        self._options = options
        self._log = log

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Answer a C-FIND request."""
        try:
            identifier = await read_identifier(message, self._settings, self._workers)
            self._log.add(association, "C-FIND", identifier)
            request = parse_find_request(identifier, self._options.rule)
            rows = (await self._finder.find_rows(Query(request.level, request.criteria))).rows
        except ServerError as error:
            await refuse(association, message, error)
            return
        await send_answers(association, message, self._iter_pages(message, request, rows))

    async def _iter_pages(
        self, message: Message, request: FindRequest, rows: Sequence[int]
    ) -> AsyncGenerator[list[bytes], None]:
        encoding = AnswerEncoding.choose(
            get_layout(message.context.transfer_syntax_uid),
            request.character_set,
            self._settings.default_encoding,
        )
        tags = [t for t in request.keys if t != RETRIEVE_AE_TITLE and not is_private_creator(t)]
        encode = self._build_encoder(request, encoding)
        start, size = 0, _FIRST_PAGE
        while start < len(rows):
            page = rows[start : start + size]
            found = await self._browse.describe(request.level, page, Part(0), tags)
            is_short = len(found) <= _FIRST_PAGE and len(found) * len(tags) <= _FEW_VALUES
            if is_short and not encoding.is_slow:
                yield list(map(encode, found))
            else:
                yield await self._workers.run(lambda page: list(map(encode, page)), found)
            start, size = start + size, _PAGE

    def _build_encoder(
        self, request: FindRequest, encoding: AnswerEncoding
    ) -> Callable[[Described], bytes]:
        fixed: DataSet = {
            QUERY_RETRIEVE_LEVEL: Element("CS", request.level_name),
            RETRIEVE_AE_TITLE: Element("AE", self._options.ae_title),
        }

        def encode(found: Described) -> bytes:
            return encoding.encode(_build_answer(request, found.requested or {}) | fixed)

        return encode


def _build_answer(request: FindRequest, values: Mapping[int, object]) -> DataSet:
    """Answer each key; one that nothing is known of is empty."""
    answer: DataSet = {}
    for tag, key in request.keys.items():
        if is_private_creator(tag):
            answer[tag] = key  # It belongs to the keys of its block.
            continue
        element = build_element(tag, values.get(tag), key.vr)
        answer[tag] = select_keys(element, key)
    return answer

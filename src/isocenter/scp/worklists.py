"""The modality worklist service: C-FIND.

References
----------
PS3.4 §K; Orthanc: worklists (behaviour manual §29)
"""

from collections.abc import AsyncGenerator, Mapping, Sequence

from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.archive.worklists import Worklists
from isocenter.dicom.data_set_writer import AnswerEncoding
from isocenter.dicom.data_sets import DataSet, Element, get_layout, get_text
from isocenter.dicom.find_request import select_keys
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.errors import ServerError
from isocenter.scp.answering import read_identifier, refuse, send_answers
from isocenter.scp.query_log import QueryLog

__all__ = ["WorklistSCP"]

_SPECIFIC_CHARACTER_SET = 0x00080005
# Answers that are encoded in one hop to a thread.
_PAGE = 100


class WorklistSCP:
    """Answers worklist queries."""

    def __init__(
        self, worklists: Worklists, settings: Settings, workers: Workers, log: QueryLog
    ) -> None:
        self._worklists = worklists
        self._settings = settings
        self._workers = workers
        self._log = log

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Answer a C-FIND request."""
        try:
            identifier = await read_identifier(message, self._settings, self._workers)
            self._log.add(association, "C-FIND of worklists", identifier)
            found = await self._worklists.find(identifier, association.calling_ae_title)
        except ServerError as error:
            await refuse(association, message, error)
            return
        await send_answers(association, message, self._iter_pages(message, identifier, found))

    async def _iter_pages(
        self, message: Message, identifier: Mapping[int, Element], found: Sequence[DataSet]
    ) -> AsyncGenerator[list[bytes], None]:
        encoding = AnswerEncoding.choose(
            get_layout(message.context.transfer_syntax_uid),
            get_text(identifier, _SPECIFIC_CHARACTER_SET),
            self._settings.default_encoding,
        )

        def encode(page: Sequence[DataSet]) -> list[bytes]:
            return [encoding.encode(_build_answer(identifier, entry)) for entry in page]

        for start in range(0, len(found), _PAGE):
            yield await self._workers.run(encode, found[start : start + _PAGE])


def _build_answer(identifier: Mapping[int, Element], entry: DataSet) -> DataSet:
    """Answer each key; one that the entry lacks is empty (PS3.4 §K.6.1.2.2, type 2)."""
    answer: DataSet = {}
    for tag, key in identifier.items():
        if not tag & 0xFFFF or tag == _SPECIFIC_CHARACTER_SET:
            continue
        known = entry.get(tag)
        if known is None:
            known = Element(key.vr, [] if isinstance(key.value, list) else "")
        answer[tag] = select_keys(known, key)
    return answer

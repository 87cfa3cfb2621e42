"""Queries to remote modalities, and handles on their answers.

References
----------
Orthanc REST: query/retrieve handles (behaviour manual §24)
"""

import base64
import uuid
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from isocenter.archive.modalities import Calling, CallOptions, Modalities
from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.clock import now_us
from isocenter.config.remote_modalities import RemoteModality
from isocenter.dicom.character_sets import DEFAULT_ENCODINGS
from isocenter.dicom.file_meta import build_file_meta
from isocenter.dicom.json_forms import Shape, build_tags_json
from isocenter.dicom.levels import Level
from isocenter.dicom.reader import read_values
from isocenter.dicom.remote_query import (
    Values,
    adapt_to_manufacturer,
    complete_query,
    encode_identifier,
    normalize_query,
)
from isocenter.dicom.tags import TagDictionary
from isocenter.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from isocenter.errors import (
    BadFileFormatError,
    BadParameterError,
    RemoteError,
    UnknownResourceError,
)
from isocenter.index.remote_queries import (
    QueryLimits,
    StoredQuery,
    add_query,
    delete_query,
    list_answers,
    list_queries,
    lookup_query,
)
from isocenter.scu.find import (
    MODALITY_WORKLIST_FIND,
    PATIENT_ROOT_FIND,
    STUDY_ROOT_FIND,
    FoundIdentifier,
    iter_found,
)

__all__ = ["Queries", "Question", "RemoteQuery"]

_PAGE = 1_000
_CHARACTER_SET = {Shape.FULL: "0008,0005", Shape.SHORT: "0008,0005"}
_CHARACTER_SET_NAME = "SpecificCharacterSet"
_CHARACTER_SET_TAG = 0x00080005

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask a remote modality.

    Attributes
    ----------
    values
        Patterns by tags.
    is_normalized
        Leave out keys that do not belong to the level, and write wildcards as the manufacturer of
        the modality understands them.
    """

    level: Level
    values: Values
    is_normalized: bool = True


@dataclass(frozen=True, slots=True)
class RemoteQuery:
    """A query that was asked.

    Attributes
    ----------
    modality
        Symbolic name.
    level
        What the answers are.
    values
        What was asked for, as the client gave it.
    count
        Number of answers.
    """

    query_id: str
    modality: str
    level: Level
    values: Values
    count: int

    def check_index(self, index: int) -> int:
        """Return the number of an answer.

        Raises
        ------
        BadParameterError
            If there is no such answer.
        """
        if not 0 <= index < self.count:
            raise BadParameterError(f"the query has {self.count} answers, counted from 0")
        return index


class Queries:
    """Asks remote modalities, and keeps what they answered."""

    def __init__(
        self,
        workers: Workers,
        modalities: Modalities,
        calling: Calling,
        *,
        dictionary: TagDictionary,
        settings: Settings,
        limits: QueryLimits,
    ) -> None:
        self._workers = workers
        self._modalities = modalities
        self._calling = calling
        self._dictionary = dictionary
        self._settings = settings
        self._limits = limits

    async def ask(self, modality: str, question: Question, options: CallOptions) -> str:
        """Ask a remote modality and keep its answers.

        Returns
        -------
        str
            The identifier of the query.

        Raises
        ------
        UnknownItemError
            If there is no such modality.
        RequestError
            If a value does not fit its tag.
        RemoteError, DeadlineExceededError, LimitError
            If asking fails, see `iter_found`.
        """
        known = await self._modalities.get_known(modality)
        answers = await self._find(known, question, options)
        document = {
            "Modality": modality,
            "Level": int(question.level),
            "Values": {str(tag): value for tag, value in question.values.items()},
        }
        stored = StoredQuery(str(uuid.uuid4()), _encode(document).decode(), len(answers))
        encoded = [_pack(answer) for answer in answers]
        await self._workers.write(
            lambda tx: add_query(tx, stored, encoded, self._limits, now_us=now_us())
        )
        return stored.query_id

    async def find(
        self, modality: str, question: Question, options: CallOptions, shape: Shape
    ) -> list[dict[str, Any]]:
        """Ask a remote modality and describe its answers, without keeping them."""
        known = await self._modalities.get_known(modality)
        answers = await self._find(known, question, options)
        contents = [_wrap(answer) for answer in answers]
        return await self._workers.run(self._describe, contents, shape)

    async def _find(
        self, modality: RemoteModality, question: Question, options: CallOptions
    ) -> list[FoundIdentifier]:
        level, values = question.level, question.values
        if question.is_normalized:
            values = normalize_query(level, values)
            values = adapt_to_manufacturer(values, modality.manufacturer, self._dictionary)
        values = complete_query(level, values, modality.manufacturer)
        sop_class_uid = PATIENT_ROOT_FIND if level is Level.PATIENT else STUDY_ROOT_FIND
        return await self.call(modality, sop_class_uid, values, options)

    async def call(
        self, modality: RemoteModality, sop_class_uid: str, values: Values, options: CallOptions
    ) -> list[FoundIdentifier]:
        """Send one C-FIND and collect the answers."""
        target = self._calling.build_target(modality, options)
        identifier = await self.encode(values)
        async with aclosing(iter_found(target, sop_class_uid, identifier)) as answers:
            found = [answer async for answer in answers]
        await self._workers.run(self._check, found)
        return found

    def _check(self, answers: Sequence[FoundIdentifier]) -> None:
        """Make sure that answers can be read, now that their sender is known."""
        try:
            for answer in answers:
                build_tags_json(_wrap(answer), Shape.SHORT)
        except BadFileFormatError as error:
            raise RemoteError(
                "the remote modality has sent an answer that is no data set"
            ) from error

    async def find_worklist(
        self, modality: str, values: Values, options: CallOptions, shape: Shape
    ) -> list[dict[str, Any]]:
        """Ask for worklist items and describe them.

        Raises
        ------
        UnknownItemError, RequestError, RemoteError, DeadlineExceededError, LimitError
            As by `ask`.

        References
        ----------
        PS3.4 Annex K; Orthanc REST: POST /modalities/{id}/find-worklist (behaviour manual §23.2)
        """
        known = await self._modalities.get_known(modality)
        answers = await self.call(known, MODALITY_WORKLIST_FIND, values, options)
        contents = [_wrap(answer) for answer in answers]
        return await self._workers.run(self._write_json, contents, shape)

    async def encode(self, values: Values) -> dict[str, bytes]:
        """Encode an identifier in each transfer syntax in which it may be asked for.

        Raises
        ------
        RequestError
            If a value does not fit its tag.
        """
        return await self._workers.run(
            encode_identifier,
            values,
            self._dictionary,
            default_encoding=self._settings.default_encoding,
        )

    async def list_ids(self) -> list[str]:
        """List the identifiers of the queries that are kept."""
        return await self._workers.read_long(list_queries)

    async def get(self, query_id: str) -> RemoteQuery:
        """Find a query.

        Raises
        ------
        UnknownResourceError
            If there is none, or it was forgotten.
        """
        stored = await self._workers.read(lambda tx: lookup_query(tx, query_id))
        if stored is None:
            raise UnknownResourceError("there is no such query, or it was forgotten")
        document = _decode(stored.document)
        return RemoteQuery(
            query_id,
            document["Modality"],
            Level(document["Level"]),
            {int(tag): value for tag, value in document["Values"].items()},
            stored.count,
        )

    async def delete(self, query_id: str) -> None:
        """Forget a query; it is no error if there is none."""
        await self._workers.write(lambda tx: delete_query(tx, query_id))

    async def describe_answers(self, query: RemoteQuery, shape: Shape) -> list[dict[str, Any]]:
        """Write all answers as JSON."""
        described: list[dict[str, Any]] = []
        for since in range(0, query.count, _PAGE):
            contents = await self._read(query, since, _PAGE)
            described += await self._workers.run(self._describe, contents, shape)
        return described

    async def describe_answer(self, query: RemoteQuery, index: int, shape: Shape) -> dict[str, Any]:
        """Write one answer as JSON.

        Raises
        ------
        BadParameterError
            If there is no such answer.
        """
        contents = await self._read(query, query.check_index(index), 1)
        return (await self._workers.run(self._describe, contents, shape))[0]

    async def describe_question(self, query: RemoteQuery, shape: Shape) -> dict[str, Any]:
        """Write what was asked as JSON."""
        encoded = await self.encode(query.values)
        answer = FoundIdentifier(EXPLICIT_VR_LITTLE_ENDIAN, encoded[EXPLICIT_VR_LITTLE_ENDIAN])
        described = (await self._workers.run(self._describe, [_wrap(answer)], shape))[0]
        if _CHARACTER_SET_TAG not in query.values:
            described.pop(_CHARACTER_SET.get(shape, _CHARACTER_SET_NAME), None)
        return described

    async def read_values(
        self, query: RemoteQuery, tags: Sequence[int], *, since: int = 0, limit: int | None = None
    ) -> list[dict[int, str]]:
        """Read some values of the answers from a number on; what an answer lacks is left out."""
        found: list[dict[int, str]] = []
        stop = query.count if limit is None else min(query.count, since + limit)
        read = partial(_read_values, wanted=frozenset(tags))
        for start in range(since, stop, _PAGE):
            contents = await self._read(query, start, min(_PAGE, stop - start))
            found += await self._workers.run(read, contents, self._settings.default_encoding)
        return found

    async def _read(self, query: RemoteQuery, since: int, limit: int) -> list[bytes]:
        packed = await self._workers.read_long(
            lambda tx: list_answers(tx, query.query_id, since=since, limit=limit)
        )
        return [base64.b64decode(content) for content in packed]

    def _describe(self, contents: Sequence[bytes], shape: Shape) -> list[dict[str, Any]]:
        term = DEFAULT_ENCODINGS.get(self._settings.default_encoding, "")
        described = self._write_json(contents, shape)
        return [_add_character_set(answer, shape, term) for answer in described]

    def _write_json(self, contents: Sequence[bytes], shape: Shape) -> list[dict[str, Any]]:
        encoding = self._settings.default_encoding
        return [
            build_tags_json(content, shape, default_encoding=encoding, dictionary=self._dictionary)
            for content in contents
        ]


def _add_character_set(described: dict[str, Any], shape: Shape, term: str) -> dict[str, Any]:
    """Say in which character set an answer that names none was read (behaviour manual §24)."""
    key = _CHARACTER_SET.get(shape, _CHARACTER_SET_NAME)
    if key in described:
        return described
    value: Any = term
    if shape is Shape.FULL:
        value = {"Name": _CHARACTER_SET_NAME, "Type": "String", "Value": term}
    return {key: value, **described}


def _wrap(answer: FoundIdentifier) -> bytes:
    """Make a file of an answer, so that it can be read by itself."""
    header = build_file_meta("", "", transfer_syntax_uid=answer.transfer_syntax_uid)
    return header + answer.content


def _pack(answer: FoundIdentifier) -> str:
    return base64.b64encode(_wrap(answer)).decode()


def _read_values(
    contents: Sequence[bytes], default_encoding: str, *, wanted: frozenset[int]
) -> list[dict[int, str]]:
    found = []
    for content in contents:
        values: Mapping[int, str] = read_values(
            content, wanted=wanted, default_encoding=default_encoding
        ).values
        found.append({tag: values[tag] for tag in wanted if tag in values})
    return found

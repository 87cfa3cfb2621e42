"""Searching what is stored: the index first, then the files for what it does not hold.

References
----------
Orthanc REST: POST /tools/find, POST /tools/count-resources (behaviour manual §15.1, §15.2)
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from isocenter.archive.browse import Described
from isocenter.archive.file_headers import open_header
from isocenter.archive.settings import Settings
from isocenter.archive.warning_log import WarningCode, WarningLog
from isocenter.archive.workers import Workers
from isocenter.dicom.data_sets import read_file_elements
from isocenter.dicom.elements import Buffer
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import DEFAULT_MAIN_TAGS, MainTags
from isocenter.dicom.matching import build_element_matcher, build_matcher
from isocenter.dicom.query import Criterion, Items, Query
from isocenter.dicom.reader import read_values
from isocenter.errors import BadRequestError, DeadlineExceededError, ServerError
from isocenter.index.places import lookup_place
from isocenter.index.port import NotBriefError, Transaction
from isocenter.index.reading import lookup_resources
from isocenter.index.records import DicomAttachment, Part
from isocenter.index.relatives import find_samples
from isocenter.index.searching import (
    Check,
    count_resources,
    find_public_ids,
    find_rows,
    has_outdated,
    list_public_ids_of,
)
from isocenter.index.sql_builder import list_file_criteria
from isocenter.storage.port import Storage

__all__ = ["FindOptions", "Finder", "Found"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

# A search that takes longer, in seconds, is given up.
_DEADLINE_S = 300.0
# So often a search on the event loop may look at the clock before it goes on in a thread.
_BRIEF_CHECKS = 4
# A search for more texts is not even begun on the event loop.
_FEW_TEXTS = 100
# So few resources, with so few children, are described together with being found.
_SHORT_LIST = 50
_FEW_CHILDREN = 1000
# The files of so many resources are looked up at once: few at first, as few may be wanted.
_FIRST_PAGE = 64
_LARGEST_PAGE = 1024
# The files of a page are read in hops of so many, so many hops at a time.
_FILES_OF_A_HOP = 64
_HOPS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class FindOptions:
    """What the configuration says about searches.

    Attributes
    ----------
    main_tags
        The tags that the index holds.
    may_open_files
        Whether files are read for criteria on other tags (option ``StorageAccessOnFind``).
    settings
        Tell the character set of files that name none.
    most_results, most_instances
        Most patients, studies or series that a search finds, and most instances; 0 for no limit.
    """

    main_tags: MainTags
    may_open_files: bool
    settings: Settings
    most_results: int = 0
    most_instances: int = 0

    def limit(self, query: Query) -> Query:
        """Cap the number of resources that are asked for."""
        most = self.most_instances if query.level is Level.INSTANCE else self.most_results
        if not most or (query.limit is not None and query.limit <= most):
            return query
        return replace(query, limit=most)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes
    ----------
    rows
        Keys of the resources, in their order.
    described
        The resources themselves, if they are few and were asked for.
    """

    rows: Sequence[int]
    described: Sequence[Described] | None = None


class Finder:
    """Runs searches.

    One statement selects the resources; what it cannot decide is tested while its rows come. If a
    criterion needs files, the resources that are left are taken page by page, with one statement
    for each page.
    """

    def __init__(
        self, workers: Workers, storage: Storage, options: FindOptions, warnings: WarningLog
    ) -> None:
        self._workers = workers
        self._storage = storage
        self._options = options
        self._warnings = warnings
        # Levels and tags of which all stored resources are known to be up to date.
        self._current: set[tuple[Level, int]] = set()

    async def find_rows(self, query: Query, parts: Part | None = None) -> Found:
        """Find the rows of the resources, in the order that is asked for.

        Parameters
        ----------
        parts
            What to read of the resources at once if these are few; ``None`` for nothing.

        Raises
        ------
        BadRequestError
            If the search needs files and these may not be opened, or if it also skips results; or
            if the order follows a tag that the index does not hold.
        DeadlineExceededError
            If it takes too long.
        """
        query, deadline = self._options.limit(query), _Deadline()
        main_tags = await self._choose_main_tags(query)
        wanted = self._list_file_criteria(query, main_tags)
        if wanted:
            return Found(await self._search_files(query, wanted, main_tags, deadline))

        def search(tx: Transaction, check: Check) -> Found:
            rows = find_rows(tx, query, main_tags, check=check)
            if parts is None or len(rows) > _SHORT_LIST:
                return Found(rows)
            resources = lookup_resources(tx, rows, parts)
            if sum(len(row.children) for row in resources) > _FEW_CHILDREN:
                return Found(rows)
            return Found(rows, [Described(row) for row in resources])

        return await self._read(query, search, deadline)

    async def find_public_ids(self, query: Query, *, is_limited: bool = True) -> list[str]:
        """Find the public identifiers of the resources, otherwise as `find_rows`.

        Parameters
        ----------
        is_limited
            Whether the configured limits of searches apply.
        """
        query, deadline = self._options.limit(query) if is_limited else query, _Deadline()
        main_tags = await self._choose_main_tags(query)
        wanted = self._list_file_criteria(query, main_tags)
        if wanted:
            rows = await self._search_files(query, wanted, main_tags, deadline)
            return await self._workers.read_long(lambda tx: list_public_ids_of(tx, rows))
        return await self._read(
            query, lambda tx, check: find_public_ids(tx, query, main_tags, check=check), deadline
        )

    def is_indexed(self, query: Query) -> bool:
        """Tell whether the index alone answers a search."""
        return not list_file_criteria(query, self._options.main_tags)

    async def count(self, query: Query) -> int:
        """Count what a search finds, whatever the limits are.

        Raises
        ------
        BadRequestError
            If the search needs files.
        DeadlineExceededError
            If it takes too long.
        """
        deadline = _Deadline()
        main_tags = await self._choose_main_tags(query)
        if list_file_criteria(query, main_tags):
            message = "resources cannot be counted by tags that are not in the index"
            raise BadRequestError(message)
        return await self._read(
            query, lambda tx, check: count_resources(tx, query, main_tags, check=check), deadline
        )

    async def _choose_main_tags(self, query: Query) -> MainTags:
        """Leave out main tags that resources lack because these were stored before them.

        Such tags are read from the files, until the resources are reconstructed.

        References
        ----------
        Orthanc configuration: ``ExtraMainDicomTags`` (behaviour manual §4.2)
        """
        main_tags = self._options.main_tags
        if not self._options.may_open_files or not main_tags.has_extra:
            return main_tags
        outdated = set()
        for criterion in query.criteria:
            place = lookup_place(criterion.tag, query.level, main_tags)
            if place is None or place.tag in DEFAULT_MAIN_TAGS[place.home]:
                continue
            if place.tag not in self._options.main_tags.by_level[place.home]:
                continue
            if await self._is_outdated(place.home, place.tag):
                outdated.add(place.tag)
        if not outdated:
            return main_tags
        self._warnings.add(WarningCode.INCONSISTENT_TAGS, outdated)
        return main_tags.without(outdated)

    async def _is_outdated(self, level: Level, tag: int) -> bool:
        if (level, tag) in self._current:
            return False
        is_outdated = await self._workers.read_long(lambda tx: has_outdated(tx, level, tag))
        if not is_outdated:
            # What is stored from now on has the tag.
            self._current.add((level, tag))
        return is_outdated

    def _list_file_criteria(self, query: Query, main_tags: MainTags) -> tuple[Criterion, ...]:
        wanted = list_file_criteria(query, main_tags)
        if not wanted:
            return ()
        if not self._options.may_open_files:
            message = "StorageAccessOnFind forbids to search by tags that are not in the index"
            raise BadRequestError(message)
        if query.since:
            message = "no results can be skipped in a search by tags that are not in the index"
            raise BadRequestError(message)
        self._warnings.add(WarningCode.TAGS_READ_FROM_FILES, [c.tag for c in wanted])
        return wanted

    async def _read(
        self, query: Query, operation: Callable[[Transaction, Check], T], deadline: "_Deadline"
    ) -> T:
        """Run a search where it is cheapest."""
        if not self._workers.reads_inline or query.texts > _FEW_TEXTS:
            return await self._workers.read_long(lambda tx: operation(tx, deadline.check))
        return await self._workers.read_soon(
            lambda tx: operation(tx, deadline.check),
            brief=lambda tx: operation(tx, _Brevity().check),
        )

    # Files

    async def _search_files(
        self,
        query: Query,
        wanted: Sequence[Criterion],
        main_tags: MainTags,
        deadline: "_Deadline",
    ) -> list[int]:
        everything = replace(query, limit=None)
        rows = await self._workers.read_long(
            lambda tx: find_rows(tx, everything, main_tags, check=deadline.check)
        )
        reader = _FileTester(self._storage, wanted, self._options.settings.default_encoding)
        found: list[int] = []
        # Only a limit makes it likely that the first few are enough.
        first = _LARGEST_PAGE if query.limit is None else _FIRST_PAGE
        for page in _iter_pages(rows, first):
            deadline.check()
            found += await self._test_page(query.level, page, reader)
            if query.limit is not None and len(found) >= query.limit:
                return found[: query.limit]
        return found

    async def _test_page(
        self, level: Level, page: Sequence[int], reader: "_FileTester"
    ) -> list[int]:
        samples = await self._workers.read_long(lambda tx: find_samples(tx, level, page))
        hops = [page[i : i + _FILES_OF_A_HOP] for i in range(0, len(page), _FILES_OF_A_HOP)]
        found: list[int] = []
        for start in range(0, len(hops), _HOPS_AT_ONCE):
            for kept in await asyncio.gather(
                *(
                    self._workers.run(reader.select, hop, samples)
                    for hop in hops[start : start + _HOPS_AT_ONCE]
                )
            ):
                found += kept
        return found


class _Deadline:
    """Ends a search that takes too long."""

    def __init__(self) -> None:
        self._end = time.monotonic() + _DEADLINE_S

    def check(self) -> None:
        """Raise if there is no time left."""
        if time.monotonic() > self._end:
            raise DeadlineExceededError(f"the search took more than {_DEADLINE_S:.0f} s")


class _Brevity:
    """Ends a search on the event loop that has more rows to test than it should."""

    def __init__(self) -> None:
        self._left = _BRIEF_CHECKS

    def check(self) -> None:
        """Raise if the search is to go on in a thread."""
        if not self._left:
            raise NotBriefError
        self._left -= 1


class _FileTester:
    """Tests criteria on files; for worker threads."""

    def __init__(
        self, storage: Storage, criteria: Sequence[Criterion], default_encoding: str
    ) -> None:
        self._storage = storage
        self._default_encoding = default_encoding
        texts = [c for c in criteria if not isinstance(c.test, Items)]
        sequences = [c for c in criteria if isinstance(c.test, Items)]
        self._tags = frozenset(criterion.tag for criterion in texts)
        self._matchers = [(criterion.tag, build_matcher(criterion)) for criterion in texts]
        self._sequence_tags = frozenset(criterion.tag for criterion in sequences)
        self._sequences = [(c.tag, build_element_matcher(c)) for c in sequences]

    def select(self, rows: Sequence[int], samples: Mapping[int, DicomAttachment]) -> list[int]:
        """Keep the rows whose file fulfils all criteria; the samples are one file for each."""
        return [row for row in rows if row in samples and self._test(samples[row])]

    def _test(self, found: DicomAttachment) -> bool:
        try:
            with open_header(self._storage, found) as header:
                return self._matches(header)
        except ServerError as error:
            # No stack of calls: whoever deletes while others search is no cause for alarm.
            about = {"attachment": found.attachment.attachment_uuid, "error": str(error)}
            _log.warning("a file cannot be searched", extra=about)
            return False

    def _matches(self, header: Buffer) -> bool:
        if self._matchers:
            values = read_values(
                header, wanted=self._tags, default_encoding=self._default_encoding
            ).values
            if not all(matches(values.get(tag)) for tag, matches in self._matchers):
                return False
        if not self._sequences:
            return True
        elements = read_file_elements(
            header, wanted=self._sequence_tags, default_encoding=self._default_encoding
        )
        return all(matches(elements.get(tag)) for tag, matches in self._sequences)


def _iter_pages(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    start = 0
    while start < len(rows):
        yield rows[start : start + size]
        start += size
        size = min(2 * size, _LARGEST_PAGE)

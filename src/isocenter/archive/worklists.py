"""The modality worklist: entries of a folder, and entries that clients keep in the index.

References
----------
PS3.4 §K; Orthanc: worklists (behaviour manual §29)
"""

import logging
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isocenter.archive.periodic import Periodic
from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.archive.worklist_folder import LARGEST_ENTRY_BYTES, WorklistFolder
from isocenter.clock import now_us
from isocenter.dicom.data_sets import DataSet, Element, get_text, read_data_set
from isocenter.dicom.file_meta import read_file_meta
from isocenter.dicom.find_request import NameRule, parse_conditions
from isocenter.dicom.json_forms import Shape, build_tags_json
from isocenter.dicom.matching import build_element_matcher
from isocenter.dicom.tags import TagDictionary
from isocenter.dicom.worklist_entries import build_worklist_entry
from isocenter.errors import BadParameterError
from isocenter.index.port import Transaction
from isocenter.index.worklists import (
    WorklistRow,
    count_worklists,
    delete_done_worklists,
    delete_old_worklists,
    delete_worklist,
    list_worklists,
    put_worklist,
    read_worklists,
)

__all__ = ["WorklistOptions", "Worklists"]

_log = logging.getLogger(__name__)

_MOST_ENTRIES = 20_000
_SCHEDULED_STEPS = 0x00400100
_STATION_AE_TITLE = 0x00400001


@dataclass(frozen=True, slots=True)
class WorklistOptions:
    """What the configuration says of worklists.

    Attributes
    ----------
    folder
        Of files that others write; ``None`` if there is none.
    is_for_caller_only
        Show a station its own entries only.
    limit
        Most answers; 0 for no limit.
    sets_study_instance_uid
        Invent a Study Instance UID where there is none.
    drops_done, age_us
        When entries are deleted: with their study, and at an age (0 for never).
    logs_matches
        Log what matched.
    """

    is_enabled: bool = False
    folder: Path | None = None
    is_for_caller_only: bool = False
    limit: int = 0
    sets_study_instance_uid: bool = True
    drops_done: bool = True
    age_us: int = 0
    interval_s: float = 60
    logs_matches: bool = False


class Worklists:
    """Answers questions for entries, and keeps those of clients."""

    def __init__(
        self,
        workers: Workers,
        options: WorklistOptions,
        *,
        settings: Settings,
        dictionary: TagDictionary,
        rule: NameRule,
    ) -> None:
        self._workers = workers
        self._settings = settings
        self._dictionary = dictionary
        self._rule = rule
        self._folder = None if options.folder is None else WorklistFolder(options.folder)
        # Entries of clients as they were read last. The lock is held by worker threads.
        self._known: dict[str, tuple[int, DataSet]] = {}
        self._lock = threading.Lock()
        self._periodic = Periodic("worklists", options.interval_s, self._clean_up)
        self.options = options

    def start(self) -> None:
        """Begin to delete what is done or old."""
        if self.options.is_enabled and (self.options.drops_done or self.options.age_us):
            self._periodic.start()

    async def stop(self) -> None:
        """End that."""
        await self._periodic.stop()

    # For modalities.

    async def find(self, identifier: Mapping[int, Element], calling_ae_title: str) -> list[DataSet]:
        """Find the entries that an identifier asks for.

        Raises
        ------
        RequestError
            If it asks for something impossible.

        References
        ----------
        PS3.4 §K.4.1.1; ``Worklists.FilterIssuerAet``, ``Worklists.LimitAnswers``
        """
        criteria = parse_conditions(identifier, self._rule)
        matchers = [(c.tag, build_element_matcher(c)) for c in criteria]

        def matches(entry: DataSet) -> bool:
            if self.options.is_for_caller_only and not _is_for(entry, calling_ae_title):
                return False
            return all(test(entry.get(tag)) for tag, test in matchers)

        def find(tx: Transaction) -> dict[str, DataSet]:
            return {name: entry for name, entry in self._read_all(tx).items() if matches(entry)}

        found = await self._workers.read_long(find)
        limit = self.options.limit or len(found)
        names = list(found)[:limit]
        if self.options.logs_matches:
            _log.info("entries of the worklist match", extra={"worklists": ",".join(names)})
        return [found[name] for name in names]

    def _read_all(self, tx: Transaction) -> dict[str, DataSet]:
        """Read all entries: two statements, and the files that have changed."""
        with self._lock:
            current = list_worklists(tx)
            changed = [n for n, mark in current.items() if self._known.get(n, (-1,))[0] != mark]
            if changed:
                for row in read_worklists(tx, changed).values():
                    self._known[row.worklist_id] = row.updated_at, _parse(row.content)
            self._known = {n: known for n, known in self._known.items() if n in current}
            entries = {name: self._known[name][1] for name in current if name in self._known}
            if self._folder is not None:
                entries |= self._folder.read(self._settings.default_encoding)
        return entries

    # For clients.

    async def list_tags(self, shape: Shape) -> dict[str, dict[str, Any]]:
        """Read the tags of all entries, those of the folder included."""

        def read(tx: Transaction) -> dict[str, dict[str, Any]]:
            rows = read_worklists(tx, list_worklists(tx))
            contents = {name: row.content for name, row in rows.items()}
            if self._folder is not None:
                with self._lock:
                    contents |= self._folder.read_contents(self._settings.default_encoding)
            return {name: self._write(contents[name], shape) for name in sorted(contents)}

        return await self._workers.read_long(read)

    async def lookup_tags(self, worklist_id: str, shape: Shape) -> dict[str, Any] | None:
        """Read the tags of an entry, or ``None`` if there is none."""

        def read(tx: Transaction) -> dict[str, Any] | None:
            row = read_worklists(tx, [worklist_id]).get(worklist_id)
            if row is not None:
                return self._write(row.content, shape)
            if self._folder is None:
                return None
            with self._lock:
                contents = self._folder.read_contents(self._settings.default_encoding)
            content = contents.get(worklist_id)
            return None if content is None else self._write(content, shape)

        return await self._workers.read_long(read)

    async def put(self, tags: Any, worklist_id: str = "") -> str:
        """Create an entry, or replace the one of that identifier; give the identifier.

        Raises
        ------
        RequestError
            If the tags are wrong, or there are too many entries.
        """
        name = worklist_id or str(uuid.uuid4())
        content, study_instance_uid = await self._workers.run(self._build, tags)
        row = WorklistRow(name, now_us(), content)

        def write(tx: Transaction) -> None:
            if count_worklists(tx) >= _MOST_ENTRIES and not read_worklists(tx, [name]):
                raise BadParameterError(f"the worklist may have {_MOST_ENTRIES} entries at most")
            put_worklist(tx, row, study_instance_uid)

        await self._workers.write(write)
        return name

    async def delete(self, worklist_id: str) -> bool:
        """Delete an entry of a client; tell whether there was one."""
        return await self._workers.write(lambda tx: delete_worklist(tx, worklist_id))

    def _build(self, tags: Any) -> tuple[bytes, str]:
        content, study_instance_uid = build_worklist_entry(
            tags,
            self._dictionary,
            sets_study_instance_uid=self.options.sets_study_instance_uid,
        )
        if len(content) > LARGEST_ENTRY_BYTES:
            raise BadParameterError(f"an entry may have {LARGEST_ENTRY_BYTES} bytes at most")
        return content, study_instance_uid

    def _write(self, content: bytes, shape: Shape) -> dict[str, Any]:
        return build_tags_json(
            content,
            shape,
            default_encoding=self._settings.default_encoding,
            dictionary=self._dictionary,
        )

    async def _clean_up(self) -> bool:
        """Delete what is done or old (see `Periodic`)."""

        def clean(tx: Transaction) -> int:
            count = delete_done_worklists(tx) if self.options.drops_done else 0
            if self.options.age_us:
                count += delete_old_worklists(tx, now_us() - self.options.age_us)
            return count

        # A transaction of its own costs a sync, so nothing is written if there is nothing to do.
        if await self._workers.read(count_worklists):
            count = await self._workers.write(clean)
            if count:
                _log.info("entries of the worklist are dropped", extra={"count": count})
        return False


def _parse(content: bytes) -> DataSet:
    meta = read_file_meta(content)
    return read_data_set(content, meta.layout, start=meta.data_set_offset)


def _is_for(entry: DataSet, ae_title: str) -> bool:
    """Tell whether one of the steps is scheduled for a station."""
    steps = entry.get(_SCHEDULED_STEPS)
    if steps is None or not isinstance(steps.value, list):
        return False
    titles = (get_text(step, _STATION_AE_TITLE).split("\\") for step in steps.value)
    return any(ae_title == title.strip() for one in titles for title in one)

"""Requested tags: where they are found, and at what cost."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from tests.support.dicom_files import build_instance, encode_element
from tests.support.instances import CountingTransaction
from tests.unit.archive.parts import REST, Parts

from isocenter.archive import requested_tags
from isocenter.archive.browse import Page
from isocenter.archive.requested_tags import RequestedTagOptions, RequestedTagReader
from isocenter.archive.warning_log import WarningCode, WarningLog
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_main_tags
from isocenter.index.port import Transaction
from isocenter.index.reading import list_internal_ids, lookup_resources
from isocenter.storage.memory import MemoryStorage

ROWS = 0x00280010
PATIENT_NAME = 0x00100010
MODALITY = 0x00080060
STUDY_DATE = 0x00080020
COMPUTED = (0x00080061, 0x00080062, 0x00201206, 0x00201208)


class RecordingWarnings(WarningLog):
    """Keeps what was warned about."""

    def __init__(self) -> None:
        super().__init__({})
        self.seen: list[tuple[WarningCode, tuple[int, ...], int]] = []

    def add(self, code: WarningCode, tags: Any = (), *, resources: int = 0) -> None:
        self.seen.append((code, tuple(sorted(tags)), resources))


async def store_studies(parts: Parts, count: int, *, series: int = 1) -> None:
    """Store studies of some series, each with an instance."""
    ingest = parts.new_ingest()
    pixels = encode_element(0x7FE00010, "OW", bytes(64))
    for number in range(count):
        for at in range(series):
            data = build_instance(
                {MODALITY: ("CS", "CT"), ROWS: ("US", bytes((number, 1)))},
                patient_id=f"P{number}",
                study=f"1.2.{number}",
                series=f"1.2.{number}.{at}",
                instance=f"1.2.{number}.{at}.1",
                tail=pixels,
            )
            await ingest.store(data, REST)


async def describe(parts: Parts, level: Level, tags: Sequence[int], **options: Any) -> list[Any]:
    browse = parts.new_browse(**options)
    rows = await browse.list_rows(level, Page())
    return [one.requested for one in await browse.describe(level, rows, tags=tags)]


@pytest.mark.parametrize("level", list(Level))
async def test_number_of_statements_does_not_depend_on_that_of_resources(
    parts: Parts, level: Level
) -> None:
    await store_studies(parts, 20, series=2)
    options = RequestedTagOptions(build_main_tags())
    reader = RequestedTagReader(parts.workers, parts.storage, options, WarningLog({}))
    tags = (ROWS, PATIENT_NAME, MODALITY, STUDY_DATE, *COMPUTED, 0x00201200, 0x00201209)

    def count(limit: int) -> int:
        def query(tx: Transaction) -> int:
            ids = list_internal_ids(tx, level, limit=limit)
            rows = lookup_resources(tx, ids, RequestedTagReader.parts)
            counting = CountingTransaction(tx)
            reader.find(counting, level, rows, tags)
            return counting.count

        return parts.database.read(query)

    assert count(1) == count(20) <= 11


@pytest.mark.parametrize(
    ("level", "tags", "most"),
    [
        (Level.STUDY, (STUDY_DATE,), 0),
        (Level.STUDY, (PATIENT_NAME,), 1),
        (Level.SERIES, (MODALITY,), 0),
        (Level.INSTANCE, (MODALITY,), 1),
        (Level.INSTANCE, (0x00080056,), 0),
        (Level.SERIES, (0x00201209,), 1),
        (Level.PATIENT, (0x00201206,), 0),
    ],
)
async def test_index_is_asked_for_no_more_than_is_needed(
    parts: Parts, level: Level, tags: tuple[int, ...], most: int
) -> None:
    await store_studies(parts, 2)
    options = RequestedTagOptions(build_main_tags())
    reader = RequestedTagReader(parts.workers, parts.storage, options, WarningLog({}))

    def query(tx: Transaction) -> int:
        rows = lookup_resources(tx, list_internal_ids(tx, level), RequestedTagReader.parts)
        counting = CountingTransaction(tx)
        findings = reader.find(counting, level, rows, tags)
        assert findings.samples == {}
        return counting.count

    assert parts.database.read(query) == most


async def test_nothing_is_read_of_no_resource(parts: Parts) -> None:
    assert await parts.new_browse().describe(Level.STUDY, [], tags=(ROWS, *COMPUTED)) == []


async def test_files_are_read_a_few_at_once(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    await store_studies(parts, 12)
    monkeypatch.setattr(requested_tags, "_FILES_OF_A_HOP", 1)
    most, now, lock = 0, 0, threading.Lock()
    read = MemoryStorage.read

    def counting(storage: MemoryStorage, *arguments: Any) -> bytes:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        try:
            return read(storage, *arguments)
        finally:
            with lock:
                now -= 1

    monkeypatch.setattr(MemoryStorage, "read", counting)
    found = await describe(parts, Level.STUDY, (ROWS,))
    assert sorted(int(one[ROWS]) for one in found) == [256 + number for number in range(12)]
    assert 1 <= most <= requested_tags._HOPS_AT_ONCE


async def test_requests_at_once_share_the_limit(parts: Parts) -> None:
    await store_studies(parts, 40)
    browse = parts.new_browse()
    rows = await browse.list_rows(Level.STUDY, Page())
    answers = await asyncio.gather(
        *(browse.describe(Level.STUDY, rows, tags=(ROWS,)) for _ in range(8))
    )
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize(
    ("level", "tags", "warned"),
    [
        (Level.STUDY, (STUDY_DATE, PATIENT_NAME), []),
        (Level.STUDY, (ROWS,), [(WarningCode.TAGS_READ_FROM_FILES, (ROWS,), 2)]),
        (
            Level.STUDY,
            (MODALITY, ROWS),
            [
                (WarningCode.TAG_OF_LOWER_LEVEL, (MODALITY,), 2),
                (WarningCode.TAGS_READ_FROM_FILES, (MODALITY, ROWS), 2),
            ],
        ),
        (Level.SERIES, (MODALITY,), []),
    ],
)
async def test_warnings_name_tags_and_numbers(
    parts: Parts, level: Level, tags: tuple[int, ...], warned: list[Any]
) -> None:
    await store_studies(parts, 2)
    warnings = RecordingWarnings()
    options = RequestedTagOptions(build_main_tags())
    reader = RequestedTagReader(parts.workers, parts.storage, options, warnings)

    def query(tx: Transaction) -> None:
        rows = lookup_resources(tx, list_internal_ids(tx, level), RequestedTagReader.parts)
        reader.find(tx, level, rows, tags)

    parts.database.read(query)
    assert warnings.seen == warned


@pytest.mark.parametrize(
    ("metadata", "code"),
    [("{}", WarningCode.NO_SIGNATURE), ('{"15":"0020,000d"}', WarningCode.INCONSISTENT_TAGS)],
)
async def test_missing_or_old_signature_lets_the_file_answer(
    parts: Parts, metadata: str, code: WarningCode
) -> None:
    await store_studies(parts, 1)
    warnings = RecordingWarnings()
    options = RequestedTagOptions(build_main_tags({Level.STUDY: [ROWS]}))
    reader = RequestedTagReader(parts.workers, parts.storage, options, warnings)

    def query(tx: Transaction) -> Any:
        [row] = lookup_resources(tx, list_internal_ids(tx, Level.STUDY), RequestedTagReader.parts)
        return reader.find(tx, Level.STUDY, [replace(row, metadata=metadata)], (ROWS,))

    findings = parts.database.read(query)
    [values] = (await reader.complete(findings)).values()
    assert values == {ROWS: "256"}
    assert (code, (), 1) in warnings.seen


@pytest.mark.parametrize("switches", [{}, {"W001": True}, {"W001": False}])
def test_warning_is_logged_unless_it_is_silenced(
    caplog: pytest.LogCaptureFixture, switches: dict[str, bool]
) -> None:
    WarningLog(switches).add(WarningCode.TAGS_READ_FROM_FILES, [ROWS, PATIENT_NAME], resources=3)
    WarningLog(switches).add(WarningCode.NO_SIGNATURE)
    assert [text[:4] for text in caplog.messages] == (
        ["W004"] if switches == {"W001": False} else ["W001", "W004"]
    )
    if len(caplog.records) == 2:
        assert caplog.records[0].__dict__["tags"] == "0010,0010,0028,0010"
        assert caplog.records[0].__dict__["resources"] == 3

"""The log of exports."""

import pytest
from tests.unit.archive.parts import Parts, build_numbered

from isocenter.archive.exports import ExportLog
from isocenter.dicom.levels import Level


async def test_exports_are_logged_only_if_asked(parts: Parts) -> None:
    patient = (await parts.store(build_numbered(1))).public_ids.patient
    silent = ExportLog(parts.workers, is_enabled=False)
    log = ExportLog(parts.workers, is_enabled=True)

    await silent.add([(Level.PATIENT, patient)], remote_modality="PACS")
    await log.add([], remote_modality="PACS")
    assert (await log.find_last()).entries == []

    await log.add([(Level.PATIENT, patient)], remote_modality="PACS")
    assert [entry.public_id for entry in (await silent.find_last()).entries] == [patient]


@pytest.mark.parametrize(
    ("since", "limit", "seqs", "is_done", "last"),
    [
        (0, 100, [1, 2, 3], True, 3),
        (0, 2, [1, 2], False, 2),
        (1, 2, [2, 3], True, 3),
        (3, 10, [], True, 3),
        (9, 10, [], True, 9),
        (0, 0, [], False, 0),
        (3, 0, [], True, 3),
        (0, 1000, [1, 2, 3], True, 3),
    ],
)
async def test_exports_are_read_in_pages(
    parts: Parts, since: int, limit: int, seqs: list[int], is_done: bool, last: int
) -> None:
    public_ids = (await parts.store(build_numbered(1))).public_ids
    log = ExportLog(parts.workers, is_enabled=True)
    await log.add([(level, public_ids[level]) for level in list(Level)[:3]], remote_modality="X")

    page = await log.find(since=since, limit=limit)

    assert [entry.seq for entry in page.entries] == seqs
    assert (page.is_done, page.last) == (is_done, last)

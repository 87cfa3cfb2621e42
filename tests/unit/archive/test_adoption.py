"""Adopting a synthetic archive of another server into ours."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.dicom_files import EXPLICIT_LITTLE, encode_element
from tests.support.orthanc_archive import DATE, OrthancArchive, snapshot
from tests.support.server import SyntheticFile, build_synthetic

from isocenter.archive import adoption
from isocenter.archive.adopted_rows import read_start_summary
from isocenter.archive.adoption import Adoption, AdoptionOptions
from isocenter.archive.adoption_trial import AdoptionReport, Finding, run_trial
from isocenter.clock import format_timestamp
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_main_tags
from isocenter.errors import BackendError, DatabaseUnavailableError
from isocenter.index.orthanc import OrthancIndex
from isocenter.index.reading import get_statistics, lookup_dicom_attachment, lookup_resource
from isocenter.index.records import ResourceRow
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.storage.compression import decompress
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.taking import FileTaker, Way

NAME = 0x00100010
DESCRIPTION = 0x00081030


class Ours:
    """Our side: a small index and a folder."""

    def __init__(self, folder: Path, source: OrthancArchive) -> None:
        self.folder = folder
        self.source = source
        self.storage = FileSystemStorage(folder, sync=False)
        self.database = SQLiteDatabase(folder / "index", is_durable=False)
        self.findings: list[Finding] = []

    def adopt(self, way: Way = Way.EITHER) -> AdoptionReport:
        self.findings.clear()
        with OrthancIndex(self.source.folder) as index:
            return Adoption(
                index,
                FileTaker(self.source.folder, self.folder, way),
                self.database,
                AdoptionOptions(build_main_tags(), "Latin1"),
                on_finding=self.findings.append,
            ).run()

    def try_out(self) -> AdoptionReport:
        self.findings.clear()
        with OrthancIndex(self.source.folder) as index:
            files = FileTaker(self.source.folder, self.folder, Way.EITHER)
            return run_trial(index, files, on_finding=self.findings.append)

    def get(self, level: Level, public_id: str) -> ResourceRow:
        row = self.database.read(lambda tx: lookup_resource(tx, level, public_id))
        assert row is not None
        return row

    def sql(self, statement: str) -> list[Any]:
        return self.database.read(lambda tx: tx._execute(statement).fetchall())  # type: ignore[attr-defined]


@pytest.fixture
def source(tmp_path: Path) -> OrthancArchive:
    return OrthancArchive(tmp_path / "theirs", is_newer=True)


@pytest.fixture
def ours(tmp_path: Path, source: OrthancArchive) -> Iterator[Ours]:
    made = Ours(tmp_path / "ours", source)
    yield made
    made.database.close()


def build(name: str = "Test^Name", **uids: str) -> SyntheticFile:
    pixels = encode_element(0x7FE00010, "OW", bytes(200), syntax=EXPLICIT_LITTLE)
    tags = {NAME: ("PN", name), DESCRIPTION: ("LO", "What"), 0x00200013: ("IS", "3")}
    return build_synthetic({**tags}, tail=pixels, **uids)


def test_archive_is_adopted_with_everything(source: OrthancArchive, ours: Ours) -> None:
    first = build(patient_id="A")
    second = build(patient_id="A", study=first.uids[0])
    other = build(patient_id="B")
    source.add(first, second)
    source.add(other, is_compressed=True)
    source.set_metadata(first.study, {1024: "mine", 5: "modified-from"}, revision=3)
    source.attach(first.study, 1030, b"pdf" * 50, is_compressed=True, revision=2)
    source.attach(first.patient, 1031, b"note")
    source.attach(first.instance, 3, b"header")
    source.add_label(first.study, "seen")
    source.protect(other.patient)
    source.log(first.series, 14, 3)
    before = snapshot(source.folder)

    assert ours.try_out().damaged == 0
    report = ours.adopt()

    assert snapshot(source.folder) == before
    assert ours.findings == []
    assert dict(report.counts) == {
        Level.PATIENT: 2,
        Level.STUDY: 2,
        Level.SERIES: 3,
        Level.INSTANCE: 3,
    }
    assert (report.attachments, report.linked, report.changes) == (6, 6, 11)
    study = ours.get(Level.STUDY, first.study)
    assert (study.labels, study.parent) == (["seen"], first.patient)
    assert json.loads(study.metadata)["5"] == "modified-from"
    assert format_timestamp(study.last_update) == DATE
    instance = ours.get(Level.INSTANCE, first.instance)
    metadata = json.loads(instance.metadata)
    assert metadata["2"] == DATE
    assert metadata["3"] == "SENDER"
    assert metadata["8"] == "DicomProtocol"
    assert metadata["11"] == "::1"
    assert metadata["14"].isdecimal()
    assert instance.index_in_series == 3
    assert ours.sql("SELECT code, value, revision FROM metadata") == [(1024, "mine", 3)]
    assert sorted(
        ours.sql("SELECT content_type, compression, revision FROM attachments WHERE content_type>1")
    ) == [(3, 0, 0), (1030, 1, 2), (1031, 0, 0)]
    assert sorted(
        ours.sql("SELECT public_id, recycling_order FROM resources WHERE level = 0")
    ) == sorted([(first.patient, 1), (other.patient, None)])
    found = ours.database.read(lambda tx: lookup_dicom_attachment(tx, other.instance))
    assert found is not None
    assert found.attachment.compression == 1
    stored = ours.storage.read(found.attachment.attachment_uuid)
    assert decompress(stored, 10_000) == other.content
    sizes = ours.sql("SELECT SUM(compressed_size), SUM(uncompressed_size) FROM attachments")[0]
    statistics = ours.database.read(get_statistics)
    assert (statistics.disk_size, statistics.uncompressed_size) == sizes


def test_ancestors_keep_the_tags_that_they_had_and_get_those_that_lack(
    source: OrthancArchive, ours: Ours
) -> None:
    file = build("From^File", patient_id="A")
    source.add(file)
    source.insert(
        "INSERT INTO MainDicomTags VALUES (?, 16, 16, ?)",
        (source.ids[file.patient], "From^Index"),
        (source.ids[file.study], "From^Index"),
    )
    ours.adopt()
    patient = json.loads(ours.get(Level.PATIENT, file.patient).main_tags)
    assert patient == {"PatientID": "A", "PatientName": "From^Index"}
    study = ours.get(Level.STUDY, file.study)
    assert json.loads(study.main_tags)["StudyDescription"] == "What"
    assert json.loads(study.patient_tags or "")["PatientName"] == "From^Index"
    assert ("from^index",) in ours.sql("SELECT value FROM search WHERE tag = 1048592")


def test_instance_keeps_its_identifier_even_if_we_would_make_another(
    source: OrthancArchive, ours: Ours
) -> None:
    file = build()
    source.add(file)
    other = "01234567-" * 4 + "89abcdef"
    source.execute(f"UPDATE Resources SET publicId='{other}' WHERE publicId='{file.instance}'")  # noqa: S608
    report = ours.adopt()
    assert ours.get(Level.INSTANCE, other).main_tags
    [finding] = ours.findings
    assert (finding.is_damage, finding.resource) == (False, f"/instances/{other}")
    assert (report.noted, report.damaged) == (1, 0)


def test_instance_whose_header_cannot_be_read_has_the_tags_of_the_index(
    source: OrthancArchive, ours: Ours
) -> None:
    file = build(patient_id="A")
    source.add(file)
    source.set_metadata(file.instance, {14: "1234", 10: "1.2.3"})
    row = "UPDATE AttachedFiles SET compressedSize = 7, uncompressedSize = 7"
    source.execute(row)
    [path] = (path for path in source.folder.glob("??/??/*"))
    path.write_bytes(b"garbage")
    report = ours.adopt()
    assert (report.counts[Level.INSTANCE], report.noted, report.damaged) == (1, 1, 0)
    instance = ours.get(Level.INSTANCE, file.instance)
    assert json.loads(instance.main_tags) == {"SOPInstanceUID": file.uids[2]}
    metadata = json.loads(instance.metadata)
    assert (metadata["14"], metadata["9"]) == ("1234", "1.2.840.10008.1.2.1")
    assert json.loads(ours.get(Level.PATIENT, file.patient).main_tags) == {"PatientID": "A"}


def test_damaged_files_are_found_by_the_trial_and_left_out(
    source: OrthancArchive, ours: Ours
) -> None:
    good, missing, short = build(patient_id="A"), build(patient_id="A"), build(patient_id="C")
    source.add(good)
    for file in (missing, short):
        source.add(file)
    paths = {path.read_bytes(): path for path in source.folder.glob("??/??/*")}
    paths[missing.content].unlink()
    paths[short.content].write_bytes(short.content[:-1])
    source.attach(good.study, 1030, b"pdf").unlink()

    trial = ours.try_out()
    assert (trial.attachments, trial.damaged) == (4, 3)
    told = {finding.resource: finding.reason for finding in ours.findings}
    assert told == {
        f"/instances/{missing.instance}": "the file is missing",
        f"/instances/{short.instance}": f"the file has {len(short.content) - 1} bytes instead of"
        f" {len(short.content)}",
        f"/studies/{good.study}": "the file is missing",
    }

    report = ours.adopt()
    assert report.damaged == 3
    assert {finding.resource for finding in ours.findings} == set(told)
    statistics = ours.database.read(get_statistics)
    assert (statistics.patients, statistics.studies, statistics.instances) == (1, 1, 1)
    assert len(list(ours.folder.glob("??/??/*"))) == 1


def test_file_of_a_storage_plugin_is_told(source: OrthancArchive, ours: Ours) -> None:
    source.add(build())
    source.execute("UPDATE AttachedFiles SET customData = x'0102'")
    assert ours.try_out().damaged == 1
    assert "storage plugin" in ours.findings[0].reason


def test_instance_without_any_file_is_adopted(source: OrthancArchive, ours: Ours) -> None:
    source.add(build())
    source.execute("DELETE FROM AttachedFiles")
    report = ours.adopt()
    assert (report.counts[Level.INSTANCE], report.attachments, report.noted) == (1, 0, 1)


def test_second_adoption_takes_what_is_new(source: OrthancArchive, ours: Ours) -> None:
    first = build(patient_id="A")
    source.add(first)
    ours.adopt()
    second = build(patient_id="A", study=first.uids[0])
    source.add(second)
    source.add_label(first.study, "later")
    source.attach(first.study, 1040, b"more")
    report = ours.adopt()
    assert (report.present, report.counts[Level.INSTANCE], report.attachments) == (1, 1, 2)
    assert report.changes == 2
    assert ours.get(Level.STUDY, first.study).labels == ["later"]
    assert ours.sql("SELECT COUNT(*), MAX(seq) FROM changes") == [(6, 6)]
    again = ours.adopt()
    assert (again.present, sum(again.counts.values()), again.changes) == (2, 0, 0)


@pytest.mark.parametrize("step", range(4))
def test_adoption_that_was_cut_off_goes_on(
    source: OrthancArchive, ours: Ours, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [build(patient_id=f"P{n % 3}") for n in range(8)]
    source.add(*files)
    monkeypatch.setattr(adoption, "_BATCH", 3)
    write, count = ours.database.write, 0

    def fail(change: Any) -> Any:
        nonlocal count
        count += 1
        if count == step + 1:
            raise DatabaseUnavailableError
        return write(change)

    monkeypatch.setattr(ours.database, "write", fail)
    with pytest.raises(DatabaseUnavailableError):
        ours.adopt()
    monkeypatch.setattr(ours.database, "write", write)
    report = ours.adopt()
    assert report.present + report.counts[Level.INSTANCE] == 8
    statistics = ours.database.read(get_statistics)
    assert (statistics.patients, statistics.instances) == (3, 8)
    assert ours.sql("SELECT COUNT(*), MAX(seq) FROM changes") == [(27, 27)]
    assert len(list(ours.folder.glob("??/??/*"))) == 8


def test_orthanc_that_starts_meanwhile_ends_the_adoption(
    source: OrthancArchive, ours: Ours
) -> None:
    source.add(build())
    with OrthancIndex(source.folder) as index:
        files = FileTaker(source.folder, ours.folder, Way.EITHER)
        source.add(build())
        options = AdoptionOptions(build_main_tags(), "Latin1")
        with pytest.raises(DatabaseUnavailableError, match="changed while"):
            Adoption(index, files, ours.database, options, on_finding=print).run()


def test_older_index_is_adopted(tmp_path: Path, ours: Ours) -> None:
    ours.source = OrthancArchive(tmp_path / "older")
    file = build()
    ours.source.add(file)
    ours.source.set_metadata(file.study, {1024: "x"})
    report = ours.adopt()
    assert (report.counts[Level.INSTANCE], report.damaged) == (1, 0)
    assert ours.sql("SELECT value, revision FROM metadata") == [("x", 0)]


def test_nonsense_is_left_out(source: OrthancArchive, ours: Ours) -> None:
    file = build()
    source.add(file)
    source.set_metadata(file.study, {500: "unknown", 70000: "beyond", -3: "negative", 7: "never"})
    for label in ("", "two words", "x" * 65, "ä", "good-1"):
        source.add_label(file.study, label)
    ours.adopt()
    study = ours.get(Level.STUDY, file.study)
    assert study.labels == ["good-1"]
    assert set(json.loads(study.metadata)) == {"15"}
    assert format_timestamp(study.last_update) == DATE
    assert ours.sql("SELECT * FROM metadata") == []


def test_orphaned_instance_is_damage(source: OrthancArchive, ours: Ours) -> None:
    file = build()
    source.add(file)
    source.execute("UPDATE Resources SET parentId = NULL WHERE resourceType = 3")
    report = ours.adopt()
    assert (report.damaged, sum(report.counts.values())) == (1, 0)


def test_identifier_that_occurs_twice_is_damage(source: OrthancArchive, ours: Ours) -> None:
    file, other = build(), build()
    source.add(file, other)
    row = (file.instance, other.instance)
    source.insert("UPDATE Resources SET publicId = ? WHERE publicId = ?", row)
    report = ours.adopt()
    assert (report.damaged, report.counts[Level.INSTANCE]) == (1, 1)


def test_file_of_two_attachments_is_refused(source: OrthancArchive, ours: Ours) -> None:
    source.add(build(), build())
    source.execute("UPDATE AttachedFiles SET uuid = 'same'")
    with pytest.raises(BackendError, match="the same file"):
        ours.try_out()


@pytest.mark.parametrize("size", [10, 70_000, 1_500_000])
def test_header_of_any_length_is_read_from_its_pieces(size: int) -> None:
    comment = encode_element(0x00204000, "UT", "x" * size)
    pixels = encode_element(0x7FE00010, "OW", bytes(100), length=10_000_000)
    content = build_synthetic(tail=comment + pixels).content
    pieces = (content[start : start + 65_536] for start in range(0, len(content), 65_536))
    summary = read_start_summary(pieces, wanted=build_main_tags().wanted, default_encoding="Latin1")
    assert summary is not None
    assert summary.pixel_data_offset is not None

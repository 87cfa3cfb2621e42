"""Instances that a job prepares unseen and publishes together, on both databases."""

import uuid
from functools import partial
from typing import Any

import pytest
from tests.support.instances import (
    NOON,
    CountingTransaction,
    IndexCase,
    build_new_instance,
    change,
    store,
)

from isocenter.dicom.levels import Level
from isocenter.errors import (
    FullStorageError,
    ServerError,
    SourceChangedError,
    UnstorableInstanceError,
)
from isocenter.index.annotations import Address
from isocenter.index.batch import Batch
from isocenter.index.deletion import delete_resource
from isocenter.index.jobs import DatabaseJobs
from isocenter.index.labels import add_label, find_labels
from isocenter.index.metadata import find_metadata
from isocenter.index.port import Transaction
from isocenter.index.reading import (
    find_existing_attachments,
    find_removals,
    get_statistics,
    list_public_ids,
    lookup_resource,
)
from isocenter.index.records import (
    Attachment,
    MetadataCode,
    NewInstance,
    NewResource,
    Overwrite,
    Quota,
    Rules,
)
from isocenter.index.staging import (
    Publication,
    Source,
    Staged,
    add_staged,
    discard_staged,
    find_sources,
    list_staged,
    publish_staged,
)
from isocenter.jobs.claims import Limits
from isocenter.jobs.port import Recovery
from isocenter.jobs.records import NewJob

_LATER = NOON + 100
_CODE = MetadataCode.MODIFIED_FROM


def _split(path: str) -> tuple[str, str, str, str]:
    patient, study, series, instance = path.split("/")
    return patient, study, series, instance


def _stage(source: NewInstance, path: str, *, name: str = "new") -> Staged:
    """Prepare a copy with the identifiers of a path."""
    assert source.dicom is not None
    public_ids = _split(path)
    rows = {
        int(level): NewResource(
            public_ids[level].upper(),
            f'{{"Name":"{name}"}}',
            f'{{"{int(_CODE)}":"{source.public_ids[level]}"}}',
            patient_tags="{}" if level is Level.STUDY else None,
            search=() if level is Level.INSTANCE else ((1, name),),
        )
        for level in Level
    }
    attachment = Attachment(1, str(uuid.uuid4()), 0, 100, 100, "", "")
    return Staged(
        source.public_ids, source.dicom.attachment_uuid, public_ids, attachment, rows, _LATER
    )


def _begin(index: IndexCase, staged: list[Staged], job_id: str = "job") -> None:
    DatabaseJobs(index.database, history=10).insert(job_id, NewJob("Kind", {}))
    index.database.write(lambda tx: add_staged(tx, job_id, enumerate(staged)))


def _publish(index: IndexCase, level: Level = Level.STUDY, **options: Any) -> None:
    publication = Publication(level, _CODE, **options)
    index.database.write(lambda tx: publish_staged(tx, "job", publication, published_at=_LATER))


def _list(index: IndexCase, level: Level) -> list[str]:
    return index.database.read(lambda tx: list_public_ids(tx, level))


def _metadata(index: IndexCase, level: Level, public_id: str) -> dict[int, str]:
    return index.database.read(lambda tx: find_metadata(tx, Address(level, public_id)))


def _removals(index: IndexCase) -> set[str]:
    return set(index.database.read(lambda tx: find_removals(tx, 100)))


def _snapshot(index: IndexCase) -> object:
    statistics = index.database.read(get_statistics)
    return statistics, [_list(index, level) for level in Level], _removals(index)


def _names(staged: list[Staged]) -> set[str]:
    return {one.attachment.attachment_uuid for one in staged}


def test_staged_instances_are_seen_by_nobody_but_their_files_are_known(index: IndexCase) -> None:
    source = build_new_instance("p/t/r/i")
    store(index.database, source)
    before = _snapshot(index)
    staged = [_stage(source, "p/t2/r2/i2")]

    _begin(index, staged)

    assert _snapshot(index) == before
    assert index.database.read(lambda tx: list_staged(tx, "job")) == list(enumerate(staged))
    names = sorted(_names(staged))
    assert index.database.read(lambda tx: find_existing_attachments(tx, names)) == set(names)


def test_publishing_makes_instances_with_their_sources_in_the_metadata(index: IndexCase) -> None:
    source = build_new_instance("p/t/r/i")
    store(index.database, source)
    _begin(index, [_stage(source, "p/t2/r2/i2")])

    _publish(index)

    assert _list(index, Level.PATIENT) == ["p"]
    assert _list(index, Level.STUDY) == ["t", "t2"]
    assert _list(index, Level.INSTANCE) == ["i", "i2"]
    assert _metadata(index, Level.STUDY, "t2")[_CODE] == "t"
    assert _metadata(index, Level.INSTANCE, "i2")[_CODE] == "i"
    assert _CODE not in _metadata(index, Level.PATIENT, "p")
    assert index.database.read(lambda tx: list_staged(tx, "job")) == []
    assert _removals(index) == set()


def test_published_parents_take_their_rows_from_whoever_has_them(index: IndexCase) -> None:
    sources = [build_new_instance(f"p/t/r/i{number}") for number in range(3)]
    store(index.database, *sources)
    first, *others = (_stage(one, f"p/t2/r2/n{n}") for n, one in enumerate(sources))
    only = {int(Level.INSTANCE): first.rows[int(Level.INSTANCE)]}
    bare = [
        Staged(o.source_ids, o.source_attachment, o.public_ids, o.attachment, only, o.stored_at)
        for o in others
    ]
    _begin(index, [first, *bare])

    _publish(index)

    assert _list(index, Level.INSTANCE) == ["i0", "i1", "i2", "n0", "n1", "n2"]


def _label(address: Address, batch: Batch) -> None:
    add_label(batch, address, f"of-{address.public_id}")


def _delete(tx: Transaction) -> None:
    delete_resource(tx, Level.INSTANCE, "i", deleted_at=_LATER)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_publishing_refuses_if_a_source_is_not_what_it_was(
    index: IndexCase, is_replaced: bool
) -> None:
    source = build_new_instance("p/t/r/i")
    store(index.database, source, build_new_instance("p/t/r/other"))
    staged = [_stage(source, "p/t2/r2/i2")]
    _begin(index, staged)
    if is_replaced:
        store(index.database, build_new_instance("p/t/r/i", overwrite=Overwrite.ALWAYS))
    else:
        index.database.write(_delete)
    before = _snapshot(index)

    with pytest.raises(SourceChangedError, match="instance i "):
        _publish(index)

    assert _snapshot(index) == before
    index.database.write(lambda tx: discard_staged(tx, "job"))
    assert _removals(index) >= _names(staged)


def test_discarding_leaves_nothing_and_may_be_repeated(index: IndexCase) -> None:
    source = build_new_instance("p/t/r/i")
    store(index.database, source)
    staged = [_stage(source, "p/t2/r2/i2")]
    _begin(index, staged)
    unsaved = [str(uuid.uuid4())]

    for _ in range(2):
        index.database.write(lambda tx: discard_staged(tx, "job", unsaved))

    assert index.database.read(lambda tx: list_staged(tx, "job")) == []
    assert _removals(index) == _names(staged) | set(unsaved)


def test_forgotten_job_takes_its_staged_instances_with_it(index: IndexCase) -> None:
    source = build_new_instance("p/t/r/i")
    store(index.database, source)
    staged = [_stage(source, "p/t2/r2/i2")]
    _begin(index, staged)
    jobs = DatabaseJobs(index.database, history=10)
    jobs.claim("dead", 1, Limits())
    jobs.recover("other", Recovery.FORGET)

    assert jobs.lookup("job") is None
    assert _removals(index) == _names(staged)


def test_sources_go_in_the_same_transaction(index: IndexCase) -> None:
    sources = [build_new_instance(f"p/t/r/i{number}") for number in range(2)]
    store(index.database, *sources, build_new_instance("p/t/r/failed"))
    _begin(index, [_stage(one, f"p/t2/r2/n{n}") for n, one in enumerate(sources)])

    _publish(index, keep_source=False)

    # What was not staged, because it could not be edited, stays.
    assert _list(index, Level.INSTANCE) == ["failed", "n0", "n1"]
    assert _removals(index) == {one.dicom.attachment_uuid for one in sources if one.dicom}


def test_last_source_takes_its_parents_with_it(index: IndexCase) -> None:
    source = build_new_instance("p/t/r/i")
    store(index.database, source)
    _begin(index, [_stage(source, "p2/t2/r2/i2")])

    _publish(index, level=Level.PATIENT, keep_source=False)

    assert [_list(index, level) for level in Level] == [["p2"], ["t2"], ["r2"], ["i2"]]


@pytest.mark.parametrize("targets", [("p/t2/r2/same", "p/t2/r2/same"), ("p/t/r/there", "p/t/r/n")])
def test_sources_without_a_copy_are_not_deleted(index: IndexCase, targets: list[str]) -> None:
    sources = [build_new_instance(f"p/t/r/i{number}") for number in range(2)]
    store(index.database, *sources, build_new_instance("p/t/r/there"))
    _begin(index, [_stage(one, path) for one, path in zip(sources, targets, strict=True)])
    before = _snapshot(index)

    with pytest.raises(UnstorableInstanceError):
        _publish(index, keep_source=False, allows_existing=True)

    assert _snapshot(index) == before


def test_what_exists_already_stays_and_its_new_file_goes(index: IndexCase) -> None:
    source = build_new_instance("p/t/r/i")
    store(index.database, source, build_new_instance("p/t2/r2/there"))
    staged = [_stage(source, "p/t2/r2/there")]
    _begin(index, staged)
    with pytest.raises(UnstorableInstanceError, match="there"):
        _publish(index)

    _publish(index, allows_existing=True)

    assert _removals(index) == _names(staged)
    assert _list(index, Level.INSTANCE) == ["i", "there"]


def test_instance_that_replaces_its_source_is_not_deleted(index: IndexCase) -> None:
    source = build_new_instance("p/t/r/i")
    store(index.database, source)
    _begin(index, [_stage(source, "p/t/r/i")])

    _publish(index, keep_source=False, overwrite=Overwrite.ALWAYS)

    assert _list(index, Level.INSTANCE) == ["i"]
    assert source.dicom is not None
    assert _removals(index) == {source.dicom.attachment_uuid}


def test_existing_parents_are_described_anew_at_and_below_the_level(index: IndexCase) -> None:
    source = build_new_instance("p/t/r/i")
    store(index.database, source, build_new_instance("p/t/r2/there"))
    _begin(index, [_stage(source, "p/t/r2/i2")])

    _publish(index, level=Level.SERIES)

    def get_tags(level: Level, public_id: str) -> str:
        row = index.database.read(lambda tx: lookup_resource(tx, level, public_id))
        assert row is not None
        return row.main_tags

    assert get_tags(Level.SERIES, "r2") == '{"Name":"new"}'
    assert get_tags(Level.STUDY, "t") == '{"Name":"t"}'
    assert _metadata(index, Level.SERIES, "r2")[_CODE] == "r"
    assert _CODE not in _metadata(index, Level.STUDY, "t")


def test_labels_are_copied_at_all_levels_if_wanted(index: IndexCase) -> None:
    source = build_new_instance("p/t/r/i")
    store(index.database, source)
    for level, public_id in zip(Level, source.public_ids, strict=True):
        change(index.database, partial(_label, Address(level, public_id)))
    _begin(index, [_stage(source, "p/t2/r2/i2")])

    _publish(index, keep_labels=True)

    def get_labels(level: Level, public_id: str) -> list[str]:
        return index.database.read(lambda tx: find_labels(tx, Address(level, public_id)))

    assert get_labels(Level.STUDY, "t2") == ["of-t"]
    assert get_labels(Level.SERIES, "r2") == ["of-r"]
    assert get_labels(Level.INSTANCE, "i2") == ["of-i"]
    assert get_labels(Level.PATIENT, "p") == ["of-p"]


def test_full_storage_undoes_all(index: IndexCase) -> None:
    source = build_new_instance("p/t/r/i", size=1000)
    store(index.database, source)
    _begin(index, [_stage(source, f"p/t2/r2/n{n}") for n in range(5)])
    before = _snapshot(index)
    quota = Quota(maximum_disk_size=800, is_recycling=False)

    with pytest.raises(FullStorageError):
        _publish(index, rules=Rules(quota=quota))

    assert _snapshot(index) == before


def test_statements_of_publishing_do_not_depend_on_the_number(index: IndexCase) -> None:
    def count(job_id: str, number: int) -> int:
        sources = [build_new_instance(f"p/t{job_id}/r{job_id}/{job_id}{n}") for n in range(number)]
        store(index.database, *sources)
        _begin(
            index,
            [_stage(s, f"p/n{job_id}/x{job_id}/new-{job_id}{n}") for n, s in enumerate(sources)],
            job_id,
        )

        def publish(tx: Transaction) -> int:
            counting = CountingTransaction(tx)
            publication = Publication(Level.STUDY, _CODE, keep_source=False, keep_labels=True)
            publish_staged(counting, job_id, publication, published_at=_LATER)
            return counting.count

        return index.database.write(publish)

    count("first", 1)

    assert count("a", 2) == count("b", 40)


def test_sources_of_resources_come_in_a_stable_order_with_their_lineage(index: IndexCase) -> None:
    instances = [build_new_instance(path) for path in ("p/t/r/b", "p/t/r/a", "p/t/q/c", "x/y/z/w")]
    store(index.database, *instances)

    found = index.database.read(lambda tx: find_sources(tx, ["r", "t", "c"], limit=10))

    assert [source.public_ids for source in found] == [
        ("p", "t", "q", "c"),
        ("p", "t", "r", "b"),
        ("p", "t", "r", "a"),
    ]
    assert found[1] == Source(("p", "t", "r", "b"), ("T", "R", "B"), instances[0].dicom)
    assert index.database.read(lambda tx: find_sources(tx, ["p"], limit=2)) == found[:2]


def test_sources_of_an_unknown_resource_are_an_error(index: IndexCase) -> None:
    with pytest.raises(ServerError):
        index.database.read(lambda tx: find_sources(tx, ["nothing"], limit=10))

"""Which instances are kept, by their SOP instance UIDs."""

from tests.support.instances import CountingTransaction, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_index_value
from isocenter.index.commitment import find_kept_sop_classes
from isocenter.index.port import Database, Transaction
from isocenter.index.records import NewInstance, NewResource


def build(path: str, uid: str, sop_class: str) -> NewInstance:
    row = NewResource(
        identifier=build_index_value(uid),
        main_tags=f'{{"SOPInstanceUID":"{uid}"}}',
        metadata=f'{{"10":"{sop_class}"}}',
        patient_tags=None,
    )
    return build_new_instance(path, rows={Level.INSTANCE: row})


def test_sop_classes_of_kept_instances_are_found(database: Database) -> None:
    store(
        database,
        build("p/t/r/i1", "1.2.1", "ct"),
        build("p/t/r/i2", "1.2.2", "mr"),
        # Another patient with the same UID; a UID with a letter.
        build("q/u/s/i3", "1.2.1", "us"),
        build("q/u/s/i4", "1.a", "ct"),
    )

    def find(tx: Transaction) -> dict[str, set[str]]:
        counting = CountingTransaction(tx)
        found = find_kept_sop_classes(counting, ["1.2.1", "1.2.2", "1.A", "nothing", ""])
        assert counting.count == 1
        return found

    assert database.read(find) == {"1.2.1": {"ct", "us"}, "1.2.2": {"mr"}}

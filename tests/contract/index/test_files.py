"""The DICOM files below resources."""

import pytest
from tests.support.instances import CountingTransaction, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.index.files import find_files_below, lookup_first_file
from isocenter.index.port import Database, Transaction
from isocenter.index.reading import lookup_dicom_attachment
from isocenter.index.records import MetadataCode, NewResource

IDS = ("p", "t", "r", "i")


def test_files_below_are_those_of_all_instances_in_order(database: Database) -> None:
    store(
        database,
        *(
            build_new_instance(f"p/{t}/{t}r{r}/{t}r{r}i{i}")
            for t in "ba"
            for r in "21"
            for i in "21"
        ),
        build_new_instance("q/t9/r9/i9"),
    )

    def find(level: Level, public_id: str) -> list[str]:
        return [
            name for name, _ in database.read(lambda tx: find_files_below(tx, level, public_id))
        ]

    of_a = ["ar1i1", "ar1i2", "ar2i1", "ar2i2"]
    assert find(Level.PATIENT, "p") == [*of_a, "br1i1", "br1i2", "br2i1", "br2i2"]
    assert find(Level.STUDY, "a") == of_a
    assert find(Level.SERIES, "ar2") == of_a[2:]
    assert find(Level.INSTANCE, "ar2i1") == ["ar2i1"]
    assert find(Level.PATIENT, "nobody") == []
    assert find(Level.STUDY, "p") == []


def test_files_below_come_in_pages(database: Database) -> None:
    store(database, *(build_new_instance(f"p/t/r/i{n}") for n in range(5)))

    def find(after: str) -> list[str]:
        return database.read(
            lambda tx: [
                name for name, _ in find_files_below(tx, Level.PATIENT, "p", after=after, limit=2)
            ]
        )

    assert [find(""), find("i1"), find("i3"), find("i4")] == [
        ["i0", "i1"],
        ["i2", "i3"],
        ["i4"],
        [],
    ]


@pytest.mark.parametrize("level", list(Level))
def test_first_file_is_that_of_the_first_child_at_each_level(
    database: Database, level: Level
) -> None:
    metadata = f'{{"{int(MetadataCode.PIXEL_DATA_OFFSET)}":"1234"}}'
    row = NewResource("I", "{}", metadata)
    store(
        database,
        build_new_instance("p/t2/r0/i0"),
        build_new_instance("p/t/r2/i00"),
        build_new_instance("p/t/r/i2"),
        build_new_instance("p/t/r/i", rows={Level.INSTANCE: row}),
    )

    found = database.read(lambda tx: lookup_first_file(tx, level, IDS[level]))

    assert found == database.read(lambda tx: lookup_dicom_attachment(tx, "i"))
    assert found is not None
    assert found.pixel_data_offset == 1234
    assert database.read(lambda tx: lookup_first_file(tx, level, "nobody")) is None


def test_files_need_one_statement_whatever_their_number(database: Database) -> None:
    store(database, *(build_new_instance(f"p/t/r/i{n}") for n in range(100)))

    def count(tx: Transaction) -> list[int]:
        counting = CountingTransaction(tx)
        find_files_below(counting, Level.PATIENT, "p")
        lookup_first_file(counting, Level.PATIENT, "p")
        return [counting.count]

    assert database.read(count) == [2]

"""What goes onto a medium, under which names, with which places."""

import json

import pytest

from isocenter.archive.packaging import list_media_files
from isocenter.dicom.levels import Level
from isocenter.index.packaging import Folder, Package, PackagedInstance
from isocenter.index.records import Attachment

_ATTACHMENT = Attachment(1, "u", 0, 10, 10, "", "")


def _instance(public_id: str, series: int, number: str = "", **metadata: str) -> PackagedInstance:
    codes = {"received": "2", "offset": "14"}
    return PackagedInstance(
        public_id=public_id,
        series=series,
        main_tags=json.dumps({"InstanceNumber": number}),
        metadata=json.dumps({codes[name]: value for name, value in metadata.items()}),
        index_in_series=None,
        last_update=86_400,
        attachment=_ATTACHMENT,
    )


def _package(*instances: PackagedInstance) -> Package:
    """Build a patient with two studies, of which the second one has two series."""
    folders = {
        1: Folder(Level.PATIENT, None, "p", "{}"),
        2: Folder(Level.STUDY, 1, "s1", "{}"),
        3: Folder(Level.STUDY, 1, "s2", "{}"),
        4: Folder(Level.SERIES, 2, "e1", "{}"),
        5: Folder(Level.SERIES, 3, "e3", "{}"),
        6: Folder(Level.SERIES, 3, "e2", "{}"),
    }
    return Package(list(instances), folders)


def test_files_are_numbered_in_the_order_of_identifiers_and_instance_numbers() -> None:
    package = _package(
        _instance("d", 5), _instance("a", 4, "2"), _instance("b", 4, "1"), _instance("c", 6)
    )
    files = list_media_files(package)
    assert [(file.name, file.public_id) for file in files] == [
        ("IMAGES/IM0", "b"),
        ("IMAGES/IM1", "a"),
        ("IMAGES/IM2", "c"),
        ("IMAGES/IM3", "d"),
    ]
    places = [file.place for file in files if file.place is not None]
    assert [(place.lineage, place.numbers) for place in places] == [
        (("p", "s1", "e1"), (1, 1, 1)),
        (("p", "s1", "e1"), (1, 1, 2)),
        (("p", "s2", "e2"), (2, 1, 1)),
        (("p", "s2", "e3"), (2, 2, 1)),
    ]


@pytest.mark.parametrize(
    ("metadata", "received", "offset"),
    [
        ({"received": "20260102T030405", "offset": "77"}, ("20260102", "030405"), 77),
        # What users have put there is no moment and no offset.
        ({"received": "yesterday", "offset": "-1"}, ("19700102", "000000"), None),
        ({"received": "20260102", "offset": "9" * 30}, ("19700102", "000000"), None),
        ({}, ("19700102", "000000"), None),
    ],
)
def test_reception_and_offset_come_from_the_metadata(
    metadata: dict[str, str], received: tuple[str, str], offset: int | None
) -> None:
    (file,) = list_media_files(_package(_instance("a", 4, **metadata)))
    assert file.place is not None
    assert (file.place.received, file.place.pixel_data_offset) == (received, offset)


def test_names_have_eight_characters_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isocenter.archive.packaging._FILES_OF_A_FOLDER", 2)
    files = list_media_files(_package(*(_instance(str(n), 4, str(n)) for n in range(5))))
    assert [file.name for file in files] == [
        "IMAGES/IM0",
        "IMAGES/IM1",
        "IMAGES1/IM0",
        "IMAGES1/IM1",
        "IMAGES2/IM0",
    ]

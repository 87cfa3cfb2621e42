"""Elements of the option ``Dictionary``."""

from collections.abc import Sequence
from typing import Any

import pytest

from isocenter.dicom.configured_elements import iter_configured_elements
from isocenter.dicom.dictionary import Definition
from isocenter.dicom.tags import TagDictionary


@pytest.mark.parametrize(
    ("tag", "number"),
    [
        ("00e1,10c2", 0x00E110C2),
        ("00E1-10C2", 0x00E110C2),
        ("00e110c2", 0x00E110C2),
        ("e1,c2", 0x00E100C2),
        ("e110c2", 0x00E110C2),
        ("10", 0x10),
    ],
)
def test_tag_is_read_in_each_form(tag: str, number: int) -> None:
    [element] = iter_configured_elements({tag: ["LO", "Name"]})
    assert element.tag == number


@pytest.mark.parametrize(
    ("entry", "definition", "creator"),
    [
        (["LO", "Name"], Definition("LO", "1", "Name"), None),
        (["LO", "Name", 2], Definition("LO", "2-1", "Name"), None),
        (["LO", "Name", 1, 1], Definition("LO", "1", "Name"), None),
        (["LO", "Name", 1, 0], Definition("LO", "1-n", "Name"), None),
        (["LO", "Name", 1, 3, ""], Definition("LO", "1-3", "Name"), None),
        (("US", "A Name", 2, 2, "ME"), Definition("US", "2", "A Name"), "ME"),
    ],
)
def test_entry_is_read_with_its_defaults(
    entry: Sequence[Any], definition: Definition, creator: str | None
) -> None:
    [element] = iter_configured_elements({"0009,1001": entry})
    assert (element.definition, element.creator) == (definition, creator)


def test_private_element_is_known_in_every_block_of_its_creator() -> None:
    entries: dict[str, list[Any]] = {
        "0009,1001": ["US", "Dose", 1, 1, "ME"],
        "0009,1002": ["DS", "Anyone"],
    }
    dictionary = TagDictionary(iter_configured_elements(entries))
    assert dictionary.get_name(0x00091101, "ME") == "Dose"
    assert dictionary.lookup_vr(0x00091101, "ME") == "US"
    assert dictionary.get_name(0x00091001, "OTHER") != "Dose"
    assert dictionary.get_name(0x00091002, "OTHER") == "Anyone"
    assert dictionary.parse_tag("Dose") == 0x00091001


def test_published_private_elements_can_be_unknown() -> None:
    known, unknown = TagDictionary(), TagDictionary(knows_private=False)
    assert known.lookup(0x00091001, "GEMS_IDEN_01") is not None
    assert unknown.lookup(0x00091001, "GEMS_IDEN_01") is None
    assert unknown.get_name(0x00090010) == "PrivateCreator"
    assert unknown.get_name(0x00100010) == "PatientName"

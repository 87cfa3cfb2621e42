"""Public identifiers."""

import pytest

from isocenter.dicom.identifiers import build_public_ids, is_public_id


def test_public_ids_of_known_instance_match_the_published_vectors() -> None:
    ids = build_public_ids(
        "ozp00SjY2xG",
        "1.2.840.113619.2.176.2025.1499492.7391.1171285944.390",
        "1.2.840.113619.2.176.2025.1499492.7391.1171285944.388",
        "1.2.840.113619.2.176.2025.1499492.7040.1171286241.719",
    )
    assert ids.patient == "6816cb19-844d5aee-85245eba-28e841e6-2414fae2"
    assert ids.study == "b9c08539-26f93bde-c81ab0d7-bffaf2cb-a4d0bdd0"


@pytest.mark.parametrize(
    ("patient_id", "public_id"),
    [
        ("5Yp0E", "16738bc3-e47ed42a-43ce044c-a3414a45-cb069bd0"),
        ("", "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"),
    ],
)
def test_public_id_of_patient_is_the_sum_of_its_identifier(patient_id: str, public_id: str) -> None:
    assert build_public_ids(patient_id, "1", "2", "3").patient == public_id


def test_public_ids_are_well_formed_and_indexed_by_level() -> None:
    ids = build_public_ids("Müller", "1", "2", "3")
    assert ids == (ids.patient, ids.study, ids.series, ids.instance)
    assert len(set(ids)) == 4
    assert all(is_public_id(public_id) for public_id in ids)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "studies",
        "16738bc3-e47ed42a-43ce044c-a3414a45-cb069bd",
        "16738BC3-e47ed42a-43ce044c-a3414a45-cb069bd0",
        "16738bc3-e47ed42a-43ce044c-a3414a45-cb069bd0\n",
    ],
)
def test_other_texts_are_no_public_ids(text: str) -> None:
    assert not is_public_id(text)

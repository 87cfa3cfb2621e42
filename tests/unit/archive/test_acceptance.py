"""Which instances are taken."""

import pytest

from isocenter.archive.acceptance import Acceptance, build_acceptance
from isocenter.config.configuration import Configuration
from isocenter.dicom.sop_classes import STORAGE_SOP_CLASSES
from isocenter.dicom.transfer_syntaxes import TRANSFER_SYNTAXES

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
PRIVATE = "1.2.3.4.5"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
JPEG = "1.2.840.10008.1.2.4.50"


def build(**options: object) -> Acceptance:
    return build_acceptance(Configuration.defaults().with_values(options))


def test_everything_known_is_accepted_by_default_and_nothing_else() -> None:
    syntaxes = build()
    assert all(syntaxes.is_stored(uid) for uid in STORAGE_SOP_CLASSES)
    assert set(syntaxes.transfer_syntaxes) == set(TRANSFER_SYNTAXES)
    for uid in (PRIVATE, FIND, "", "1.2.840.10008.5.1.4.1.1"):
        assert not syntaxes.is_stored(uid)


def test_explicit_and_implicit_little_endian_are_preferred_in_this_order() -> None:
    assert list(build().transfer_syntaxes)[:2] == [EXPLICIT, IMPLICIT]


def test_accepted_classes_replace_the_list() -> None:
    syntaxes = build(AcceptedSopClasses=[CT, PRIVATE])
    assert syntaxes.is_stored(CT)
    assert syntaxes.is_stored(PRIVATE)
    assert not syntaxes.is_stored(MR)


def test_rejected_classes_are_taken_from_the_list() -> None:
    syntaxes = build(RejectedSopClasses=[CT])
    assert not syntaxes.is_stored(CT)
    assert syntaxes.is_stored(MR)
    assert not build(AcceptedSopClasses=[CT], RejectedSopClasses=[CT]).is_stored(CT)


def test_unknown_classes_are_stored_if_asked_but_never_other_services() -> None:
    syntaxes = build(UnknownSopClassAccepted=True, RejectedSopClasses=[CT])
    assert syntaxes.is_stored(PRIVATE)
    assert syntaxes.is_stored("1.2.840.10008.5.1.4.1.1.999")
    for uid in (
        FIND,
        "1.2.840.10008.5.1.4.1.2.1.2",  # Patient Root C-MOVE
        "1.2.840.10008.5.1.4.31",  # Modality Worklist
        "1.2.840.10008.1.20.1",  # Storage Commitment
        "1.2.840.10008.3.1.2.3.3",  # Modality Performed Procedure Step
        "1.2.840.10008.5.1.1.9",  # Basic Grayscale Print
        CT,
    ):
        assert not syntaxes.is_stored(uid), uid


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([EXPLICIT], {EXPLICIT}),
        (["1.2.840.10008.1.2.4.5?"], {f"1.2.840.10008.1.2.4.{n}" for n in range(50, 60)}),
        (["1.2.840.10008.1.2.5*"], {"1.2.840.10008.1.2.5"}),
        (["1.2.3.4"], {"1.2.3.4"}),
        ([], set()),
    ],
)
def test_transfer_syntaxes_are_named_by_patterns(patterns: list[str], expected: set[str]) -> None:
    accepted = set(build(AcceptedTransferSyntaxes=patterns).transfer_syntaxes)
    assert accepted == expected & (set(TRANSFER_SYNTAXES) | {"1.2.3.4"})


def test_dot_of_a_pattern_is_a_dot() -> None:
    # As a regular expression this would name 1.2.840.10008.1.2.4.50.
    assert not build(AcceptedTransferSyntaxes=["1.2.8.0*"]).transfer_syntaxes


@pytest.mark.parametrize(
    ("option", "uid"),
    [
        ("DeflatedTransferSyntaxAccepted", "1.2.840.10008.1.2.1.99"),
        ("JpegTransferSyntaxAccepted", JPEG),
        ("JpegLosslessTransferSyntaxAccepted", "1.2.840.10008.1.2.4.70"),
        ("Jpeg2000TransferSyntaxAccepted", "1.2.840.10008.1.2.4.90"),
        ("RleTransferSyntaxAccepted", "1.2.840.10008.1.2.5"),
        ("Mpeg2TransferSyntaxAccepted", "1.2.840.10008.1.2.4.100"),
    ],
)
def test_older_options_switch_a_family(option: str, uid: str) -> None:
    assert uid not in (build(**{option: False}).transfer_syntaxes)
    only = build(**{option: True, "AcceptedTransferSyntaxes": [EXPLICIT]}).transfer_syntaxes
    assert {uid, EXPLICIT} <= set(only)
    assert JPEG in (build(**{option: False}).transfer_syntaxes) or uid == JPEG


def test_transfer_syntaxes_can_be_changed_and_keep_their_order() -> None:
    acceptance = build()
    acceptance.accept_transfer_syntaxes([JPEG, IMPLICIT, "1.2.840.10008.1.2.1*"])
    assert list(acceptance.transfer_syntaxes) == [
        EXPLICIT,
        IMPLICIT,
        "1.2.840.10008.1.2.1.99",
        JPEG,
    ]
    acceptance.accept_transfer_syntaxes([])
    assert list(acceptance.transfer_syntaxes) == []

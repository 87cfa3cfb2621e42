"""What is negotiated."""

from isocenter.archive.acceptance import build_acceptance
from isocenter.config.configuration import Configuration
from isocenter.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.scp.supported import VERIFICATION, WORKLIST_FIND, ServiceKind, SupportedSyntaxes

CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
JPEG = "1.2.840.10008.1.2.4.50"


def build(**options: object) -> SupportedSyntaxes:
    kinds = frozenset({ServiceKind.VERIFICATION, ServiceKind.FIND})
    acceptance = build_acceptance(Configuration.defaults().with_values(options))
    return SupportedSyntaxes(acceptance, kinds)


def test_stored_classes_get_all_accepted_syntaxes_and_others_none() -> None:
    syntaxes = build()
    assert set(syntaxes.lookup(CT) or ()) == set(TRANSFER_SYNTAXES)
    assert set(syntaxes.lookup(FIND) or ()) == {EXPLICIT, IMPLICIT, "1.2.840.10008.1.2.2"}


def test_service_that_is_not_offered_is_not_stored_either() -> None:
    assert build(UnknownSopClassAccepted=True).lookup(WORKLIST_FIND) is None


def test_verification_is_offered_uncompressed_whatever_is_stored() -> None:
    syntaxes = build(AcceptedTransferSyntaxes=[JPEG], RejectedSopClasses=[VERIFICATION])
    assert set(syntaxes.lookup(VERIFICATION) or ()) == {
        EXPLICIT,
        IMPLICIT,
        "1.2.840.10008.1.2.2",
    }


def test_change_of_what_is_accepted_counts_at_once() -> None:
    syntaxes = build()
    syntaxes.acceptance.accept_transfer_syntaxes([JPEG])
    assert list(syntaxes.lookup(CT) or ()) == [JPEG]
    assert syntaxes.lookup("1.2.3.4") is None
    syntaxes.acceptance.has_unknown_classes = True
    assert list(syntaxes.lookup("1.2.3.4") or ()) == [JPEG]

"""The page docs/conformance.md says what the tables of the code say."""

import re
from pathlib import Path

import pytest

from isocenter.config.options import OPTIONS
from isocenter.dicom.character_sets import DEFINED_TERMS
from isocenter.dicom.sop_classes import STORAGE_SOP_CLASSES
from isocenter.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.dimse.negotiation import MAXIMUM_CONTEXTS
from isocenter.dimse.pdu import APPLICATION_CONTEXT_NAME
from isocenter.dimse.status import Status
from isocenter.dimse.user_information import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
)
from isocenter.scp.conformance import (
    COMMITMENT_STATUSES,
    FIND_STATUSES,
    RETRIEVE_STATUSES,
    STORE_STATUSES,
)
from isocenter.scp.supported import PLAIN_SYNTAXES, SERVICE_CLASSES, ServiceKind

PAGE = (Path(__file__).parents[3] / "docs" / "conformance.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (.+?) \| `([0-9.]+)` \|$", re.MULTILINE)
_STATUS = re.compile(r"^\| `([0-9A-F]{4})` \| (.+?) \|$", re.MULTILINE)


def read_section(title: str) -> str:
    """Give what stands below a title, up to the next one."""
    found = re.search(rf"(?ms)^###? {re.escape(title)}\n(.*?)(?=^###? |\Z)", PAGE)
    assert found is not None, title
    return found[1]


def test_storage_classes_and_transfer_syntaxes_are_those_of_the_code() -> None:
    classes = {
        uid: name for name, uid in _ROW.findall(read_section("Annex A: storage SOP classes"))
    }
    assert classes == STORAGE_SOP_CLASSES
    listed = _ROW.findall(read_section("Annex B: transfer syntaxes of storage"))
    assert listed == [(syntax.name, uid) for uid, syntax in TRANSFER_SYNTAXES.items()]
    plain = _ROW.findall(read_section("3.2 Application entity"))
    assert tuple(uid for _, uid in plain if uid.startswith("1.2.840.10008.1.2")) == PLAIN_SYNTAXES


@pytest.mark.parametrize(
    ("title", "kinds"),
    [
        ("3.3 Verification", {ServiceKind.VERIFICATION}),
        ("3.5 Query", {ServiceKind.FIND}),
        ("3.6 Retrieve", {ServiceKind.MOVE, ServiceKind.GET}),
        ("3.7 Modality worklist", {ServiceKind.WORKLIST}),
        ("3.8 Storage commitment", {ServiceKind.COMMITMENT}),
    ],
)
def test_services_have_the_classes_of_the_code(title: str, kinds: set[ServiceKind]) -> None:
    expected = [(name, uid) for uid, (kind, name) in SERVICE_CLASSES.items() if kind in kinds]
    assert _ROW.findall(read_section(title)) == expected


def test_every_service_of_the_code_has_a_section() -> None:
    assert {kind for kind, _ in SERVICE_CLASSES.values()} == set(ServiceKind) - {
        ServiceKind.STORAGE
    }


@pytest.mark.parametrize(
    ("title", "statuses"),
    [
        ("3.4 Storage", STORE_STATUSES),
        ("3.5 Query", FIND_STATUSES),
        ("3.6 Retrieve", RETRIEVE_STATUSES),
        ("3.7 Modality worklist", FIND_STATUSES),
        ("3.8 Storage commitment", COMMITMENT_STATUSES),
    ],
)
def test_statuses_are_those_of_the_code(
    title: str, statuses: tuple[tuple[Status, str], ...]
) -> None:
    listed = _STATUS.findall(read_section(title).partition("| Failure reason |")[0])
    assert listed == [(f"{status.value:04X}", meaning) for status, meaning in statuses]


def test_names_and_numbers_are_those_of_the_code() -> None:
    section = read_section("3.2 Application entity")
    for text in (
        APPLICATION_CONTEXT_NAME,
        IMPLEMENTATION_CLASS_UID,
        IMPLEMENTATION_VERSION_NAME,
        f"up to {MAXIMUM_CONTEXTS}",
        f"({OPTIONS['DicomThreadsCount'].default})",
        f"({OPTIONS['MaximumPduLength'].default} bytes)",
    ):
        assert text in section
    # Annex A follows a title of its own level.
    sets = re.search(r"(?s)^## 5 Character sets\n(.*?)^## 6", PAGE, re.MULTILINE)
    assert sets is not None
    assert all(f"`{term}`" in sets[1] for term in DEFINED_TERMS)


def test_options_that_are_named_exist() -> None:
    named = set(re.findall(r"`((?:Dicom|Isocenter\.|Worklists\.|Overwrite)\w+)`", PAGE))
    assert named - {"DicomModalities"} <= set(OPTIONS)
    assert len(named) > 10

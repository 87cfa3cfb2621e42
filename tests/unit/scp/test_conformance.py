"""The conformance statement says what the tables say."""

import re

import pytest

from isocenter.archive.acceptance import build_acceptance
from isocenter.config.configuration import Configuration
from isocenter.dicom.sop_classes import STORAGE_SOP_CLASSES
from isocenter.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.scp.conformance import ConformanceStatement


def build(**options: object) -> str:
    configuration = Configuration.defaults().with_values(options)
    return ConformanceStatement(configuration, build_acceptance(configuration)).format()


def read_section(text: str, title: str) -> str:
    """Give what stands below a title, up to the next one."""
    pattern = rf"(?ms)^{re.escape(title)}\n-+\n\n(.*?)(?=^[^\n]+\n-+$|\Z)"
    found = re.search(pattern, text)
    assert found is not None, text
    return found[1]


def test_statement_is_plain_text_of_short_lines() -> None:
    text = build()
    assert text.isascii()
    assert text.startswith("DICOM Conformance Statement of Isocenter\n====")
    assert all(len(line) <= 120 and line == line.rstrip() for line in text.split("\n"))


def test_stored_classes_are_listed_with_their_names() -> None:
    section = read_section(build(), "Storage service as SCP (C-STORE)")
    listed = re.findall(r"^  (.+?) +\| ([0-9.]+)$", section, re.MULTILINE)
    assert {uid: name for name, uid in listed} == STORAGE_SOP_CLASSES
    only = build(AcceptedSopClasses=["1.2.3.4"], UnknownSopClassAccepted=True)
    section = read_section(only, "Storage service as SCP (C-STORE)")
    assert re.findall(r"\| ([0-9.]+)$", section, re.MULTILINE) == ["1.2.3.4"]
    assert "Any other storage SOP class" in section


def test_transfer_syntaxes_are_listed_in_the_order_of_preference() -> None:
    title = "Transfer syntaxes of the storage service"
    listed = re.findall(r"\| ([0-9.]+)$", read_section(build(), title), re.MULTILINE)
    assert listed[:2] == ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
    assert sorted(listed) == sorted(TRANSFER_SYNTAXES)


def test_statuses_of_storage_are_those_of_the_standard() -> None:
    # PS3.4 Table B.2-1; PS3.7 Annex C for 0211H.
    section = read_section(build(), "Storage service as SCP (C-STORE)")
    listed = re.findall(r"^  ([0-9A-F]{4})H \| ", section, re.MULTILINE)
    assert listed == ["0000", "A700", "A900", "C000", "0211"]


@pytest.mark.parametrize(
    ("title", "statuses"),
    [
        # PS3.4 Tables C.4-1 to C.4-3; PS3.7 Annex C.
        ("Query service as SCP (C-FIND)", ["FF00", "0000", "FE00", "A700", "C000"]),
        (
            "Retrieval services as SCP (C-MOVE, C-GET)",
            ["FF00", "0000", "B000", "FE00", "A700", "A702", "A801", "C000"],
        ),
        (
            "Storage commitment service as SCP (N-ACTION, N-EVENT-REPORT)",
            ["0000", "0110", "0112", "0115", "0123"],
        ),
    ],
)
def test_statuses_of_services_are_those_of_the_standard(title: str, statuses: list[str]) -> None:
    section = read_section(build(), title)
    assert re.findall(r"^  ([0-9A-F]{4})H \| ", section, re.MULTILINE) == statuses


def test_worklists_are_offered_if_switched_on() -> None:
    title = "Modality worklist service as SCP (C-FIND)"
    assert "1.2.840.10008.5.1.4.31" not in read_section(build(), title)
    enabled = build(**{"Worklists.Enable": True})
    assert "1.2.840.10008.5.1.4.31" in read_section(enabled, title)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"DicomAet": "ARCHIVE"}, r"AE Title +\| ARCHIVE"),
        ({"DicomPort": 104}, r"TCP Port +\| 104"),
        ({"MaximumPduLength": 32768}, r"Maximum PDU length received +\| 32768 bytes"),
        ({"DicomThreadsCount": 3}, r"Simultaneous associations +\| 3"),
        ({"DicomScpTimeout": 0}, r"Silence before an abort +\| not limited"),
        ({"DicomCheckCalledAet": True}, r"Called AE title +\| checked"),
        ({"DicomTlsEnabled": True}, r".*peers need a certificate\."),
        ({}, r"Connections are not encrypted.*"),
    ],
)
def test_options_are_told(options: dict[str, object], line: str) -> None:
    assert re.search(rf"^ *{line}$", build(**options), re.MULTILINE)

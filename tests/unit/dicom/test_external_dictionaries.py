"""Dictionaries in DCMTK's format: what each form of a line means."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.dicom import external_dictionaries
from isocenter.dicom.external_dictionaries import parse_dictionary, read_dictionary
from isocenter.dicom.tags import TagDictionary
from isocenter.errors import ConfigurationError

TEXT = b"""# a comment
(0010,0010)\tPN\tComponentName\t1\tDICONDE

(0029,"ACME 1.0",01)\tLO\tAcmeText\t1-n\tPrivate
(0031,"ACME 1.0",1234)\tSH\tAcmeFixed\t1\tPrivate
(0033,1001)\tDS\tOddNumber\t2-2n
(4010,1001)\tox\tNewPixels\t1\tX
(7001-o-7003,"ACME 1.0",02)\tUS\tAcmeGroup\t1\tPrivate
(7005,"ACME 1.0",10-u-1f)\tUS\tAcmeElement\t1\tPrivate
(4020-402f,1010)\txs\tEvenGroup\t1\tX
(4031-u-4033,1010-1012)\tUL\tAnyGroup\t1\tX
"""


def build(text: bytes = TEXT) -> TagDictionary:
    return TagDictionary(parse_dictionary(text))


@pytest.mark.parametrize(
    ("tag", "creator", "name", "vr"),
    [
        (0x00100010, None, "ComponentName", "PN"),
        (0x00100020, None, "PatientID", "LO"),
        (0x00291001, "ACME 1.0", "AcmeText", "LO"),
        (0x00294501, "ACME 1.0", "AcmeText", "LO"),
        (0x00291001, "OTHER", "Unknown Tag & Data", "UN"),
        (0x00311234, "ACME 1.0", "AcmeFixed", "SH"),
        (0x00331001, None, "OddNumber", "DS"),
        (0x00331001, "ANY", "OddNumber", "DS"),
        (0x40101001, None, "NewPixels", "OW"),
        (0x70011002, "ACME 1.0", "AcmeGroup", "US"),
        (0x70031002, "ACME 1.0", "AcmeGroup", "US"),
        (0x70051015, "ACME 1.0", "AcmeElement", "US"),
        (0x70051020, "ACME 1.0", "Unknown Tag & Data", "UN"),
        (0x402E1010, None, "EvenGroup", "US"),
        (0x402D1010, None, "Unknown Tag & Data", "UN"),
        (0x40321011, None, "AnyGroup", "UL"),
        (0x40331012, None, "AnyGroup", "UL"),
        (0x40331013, None, "Unknown Tag & Data", "UN"),
    ],
)
def test_line_describes_its_elements(tag: int, creator: str | None, name: str, vr: str) -> None:
    dictionary = build()
    assert (dictionary.get_name(tag, creator), dictionary.lookup_vr(tag, creator)) == (name, vr)


def test_names_lead_to_tags() -> None:
    dictionary = build()
    assert dictionary.lookup_tag("ComponentName") == 0x00100010
    assert dictionary.lookup_tag("PatientName") == 0x00100010
    assert dictionary.lookup_tag("AcmeText") == 0x00291001
    assert dictionary.lookup_tag("AcmeFixed") == 0x00311234


def test_later_entry_wins() -> None:
    dictionary = build(b"(0029,1001)\tLO\tFirst\t1\n(0029,1001)\tSH\tSecond\t1\r\n")
    assert dictionary.lookup_vr(0x00291001) == "SH"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"0010,0010\tPN\tA\t1", "is no tag"),
        (b"(0010,00xx)\tPN\tA\t1", "is no tag"),
        (b"(00100,0010)\tPN\tA\t1", "is no tag"),
        (b"(0010,0010) PN A 1", "tabs in between"),
        (b"(0010,0010)\tPN\tA", "tabs in between"),
        (b"(0010,0010)\tPN\tA\t1\tX\tY", "tabs in between"),
        (b"(0010,0010)\tZZ\tA\t1", "no value representation"),
        (b"(0010,0010)\tPN\t\xff\t1", "no name"),
        (b"(0010,0010)\tPN\tA\tmany", "no multiplicity"),
        (b'(0028,"C",01)\tPN\tA\t1', "odd group"),
        (b"(0012-0010,0010)\tPN\tA\t1", "ends before"),
        (b"(0011-0011,0010)\tPN\tA\t1", "holds no number"),
    ],
)
def test_wrong_line_is_told_with_its_number(line: bytes, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^line 3: .*{reason}"):
        list(parse_dictionary(b"#\n\n" + line))


def test_limits_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    line = b"(0010,0010)\tPN\tA\t1\n"
    monkeypatch.setattr(external_dictionaries, "_MOST_ENTRIES", 3)
    assert len(list(parse_dictionary(line * 3))) == 3
    with pytest.raises(ConfigurationError, match="line 4: there are too many"):
        list(parse_dictionary(line * 4))
    monkeypatch.setattr(external_dictionaries, "_LARGEST_BYTES", 10)
    path = tmp_path / "large.dic"
    path.write_bytes(line)
    with pytest.raises(ConfigurationError, match="larger"):
        read_dictionary(path)


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.dic cannot be read"):
        read_dictionary(tmp_path / "nowhere.dic")


@pytest.mark.parametrize("name", ["dicom.dic", "private.dic", "diconde.dic"])
def test_dictionaries_of_dcmtk_are_understood(name: str) -> None:
    paths = [*Path("/usr/share").glob(f"libdcmtk*/{name}"), *Path("/usr/share/dcmtk").glob(name)]
    if not paths:
        pytest.skip(f"DCMTK's {name} is not installed")
    dictionary = TagDictionary(read_dictionary(paths[0]), knows_private=False)
    assert dictionary.get_name(0x00080060) == "Modality"


@given(st.binary(max_size=200) | st.text(alphabet='(0129af,-oun"C)\tPNLO\n ', max_size=200))
def test_any_bytes_are_a_dictionary_or_refused(data: bytes | str) -> None:
    try:
        entries = list(parse_dictionary(data if isinstance(data, bytes) else data.encode()))
    except ConfigurationError:
        return
    TagDictionary(entries).get_name(0x00291001, "C")

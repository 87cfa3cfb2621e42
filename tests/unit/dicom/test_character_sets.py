"""From bytes to text. The examples are those of PS3.5 annexes H to K and of the manual."""

import pytest
from tests.support.samples import sample

from isocenter.dicom.character_sets import (
    DEFAULT_ENCODINGS,
    build_character_set,
    strip_padding,
)
from isocenter.dicom.json_forms import Shape, build_tags_json


@pytest.mark.parametrize(
    ("term", "data", "text"),
    [
        ("ISO_IR 6", b"Adams^John", "Adams^John"),
        ("ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
        ("ISO_IR 101", b"W\xb3a\xb6ciwy", "Właściwy"),
        ("ISO_IR 109", b"\xaa", "Ş"),
        ("ISO_IR 110", b"\xa2", "ĸ"),
        ("ISO_IR 144", b"\xbb\xee\xda", "Люк"),
        ("ISO_IR 127", b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"),
        ("ISO_IR 126", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
        ("ISO_IR 138", b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
        ("ISO_IR 148", b"\xdd", "İ"),
        ("ISO_IR 166", b"\xca\xc1\xaa\xd2\xc2", "สมชาย"),
        ("ISO_IR 203", b"\xa4", "€"),
        ("ISO_IR 13", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東"),
        ("GB18030", "Wang=王^小东".encode("gb18030"), "Wang=王^小东"),
        ("GBK", "Wang=王^小东".encode("gbk"), "Wang=王^小东"),
        (
            "\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            "ISO 2022 IR 13\\ISO 2022 IR 87",
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
        ),
        ("\\ISO 2022 IR 159", b"\x1b$(D\x30\x21\x1b(B^a", "丂^a"),
        (
            "\\ISO 2022 IR 149",
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
        ("\\ISO 2022 IR 58", b"Zhang=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Zhang=张^小东"),
        (
            "ISO 2022 IR 100\\ISO 2022 IR 144\\ISO 2022 IR 126",
            b"Buc^J\xe9r\xf4me=\x1b-F\xc4\xe9\xef\xed=\x1b-L\xbb\xee\xda",
            "Buc^Jérôme=Διον=Люк",
        ),
    ],
)
def test_name_in_character_set_is_decoded(term: str, data: bytes, text: str) -> None:
    assert build_character_set(term).decode(data, is_person_name=True) == text


@pytest.mark.parametrize(
    ("term", "data", "text"),
    [
        # A delimiter ends the code extension, and only names have ^ and =.
        ("\\ISO 2022 IR 126", b"\x1b-F\xc4=\xeb\\a\xc4", "Δ=λ\\a"),
        ("ISO 2022 IR 100\\ISO 2022 IR 126", b"\x1b-F\xc4\r\n\xe9", "Δ\r\né"),
        # An unknown escape sequence falls back to the initial set.
        ("ISO 2022 IR 100\\ISO 2022 IR 126", b"\x1b-Z\xe9", "é"),
        # Escape sequences mean nothing without code extensions.
        ("ISO_IR 100", b"\x1b$B;3", "\x1b$B;3"),
    ],
)
def test_code_extension_ends_where_the_standard_says(term: str, data: bytes, text: str) -> None:
    assert build_character_set(term).decode(data) == text


@pytest.mark.parametrize(
    ("term", "data", "text"),
    [
        ("ISO_IR 6", b"ab\xe9d", "abd"),
        ("ISO_IR 999", b"ab\xe9d", "abd"),
        ("nonsense", b"ab\xe9d", "abd"),
        ("ISO_IR 127", b"a\xffb", "ab"),
        ("ISO_IR 192", b"ab\xff\xe9d", "ab\ufffd\ufffdd"),
        ("ISO 2022 IR 149", b"ab\xb0", "ab"),
        ("\\ISO 2022 IR 87", b"\x1b$B;", ""),
    ],
)
def test_bytes_outside_the_character_set_never_raise(term: str, data: bytes, text: str) -> None:
    assert build_character_set(term).decode(data) == text


@pytest.mark.parametrize("term", [None, "", "  "])
def test_file_without_character_set_uses_the_default_encoding(term: str | None) -> None:
    assert build_character_set(term).decode(b"\xe9") == "é"
    assert build_character_set(term, "Greek").decode(b"\xc4") == "Δ"
    assert build_character_set(term, "Windows1251").decode(b"\xcb") == "Л"
    assert build_character_set(term, "Nonsense").decode(b"\xe9") == "é"


@pytest.mark.parametrize("name", DEFAULT_ENCODINGS)
def test_every_default_encoding_decodes_ascii(name: str) -> None:
    assert build_character_set(None, name).decode(b"Doe^Jane") == "Doe^Jane"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"ab  ", b"ab"),
        (b"  ab", b"  ab"),
        (b"ab\0", b"ab"),
        (b"a\0b\0", b"a"),
        (b"ab \0", b"ab "),
        (b"\0a", b""),
        (b"", b""),
    ],
)
def test_padding_is_stripped_as_observed(data: bytes, text: bytes) -> None:
    assert strip_padding(data) == text


@pytest.mark.parametrize(
    ("name", "patient_name"),
    [
        ("SCSARAB", "قباني^لنزار"),
        ("SCSH31", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("SCSI2", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("SCSX1", "Wang^XiaoDong=王^小東="),
        ("Lena-greek.dcm", "Test-Θ"),
    ],
)
def test_name_of_sample_file_is_readable(name: str, patient_name: str) -> None:
    tags = build_tags_json(sample(f"charsets/{name}").read_bytes(), Shape.HUMAN)
    assert tags["PatientName"] == patient_name

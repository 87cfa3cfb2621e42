"""Archives that other programs read."""

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.archive import zip_format
from isocenter.archive.zip_format import ZipEntry, ZipFormat, compress_entry

_NOON = 1_767_268_800


def _build(*files: tuple[str, bytes], is_streamed: bool = False) -> bytes:
    writer = ZipFormat()
    pieces: list[bytes] = []
    for name, content in files:
        if is_streamed:
            chunks = [content[i : i + 7] for i in range(0, len(content), 7)]
            pieces += writer.stream(name, chunks, modified_at=_NOON)
        else:
            pieces += writer.add(*compress_entry(name, content, modified_at=_NOON))
    pieces += writer.finish()
    assert writer.offset == sum(len(piece) for piece in pieces)
    return b"".join(pieces)


def _read(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\\:"), min_size=1)


@given(
    st.dictionaries(_NAMES, st.binary(max_size=300), max_size=5),
    st.booleans(),
)
def test_archive_is_read_by_the_standard_library(
    files: dict[str, bytes], is_streamed: bool
) -> None:
    assert _read(_build(*files.items(), is_streamed=is_streamed)) == files


@pytest.mark.parametrize("is_streamed", [False, True])
def test_entry_has_its_time_and_mode(*, is_streamed: bool) -> None:
    archive = _build(("a/b.dcm", b"x" * 100), is_streamed=is_streamed)
    (info,) = zipfile.ZipFile(io.BytesIO(archive)).infolist()
    assert info.date_time == (2026, 1, 1, 12, 0, 0)
    assert info.external_attr >> 16 == 0o100644
    assert (info.file_size, info.compress_type) == (100, zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize("modified_at", [0, -1, 2**40])
def test_time_that_the_format_does_not_know_is_the_first_day(modified_at: int) -> None:
    entry, data = compress_entry("a", b"x", modified_at=modified_at)
    writer = ZipFormat()
    archive = b"".join([*writer.add(entry, data), *writer.finish()])
    (info,) = zipfile.ZipFile(io.BytesIO(archive)).infolist()
    assert info.date_time == (1980, 1, 1, 0, 0, 0)


def test_archive_goes_on_where_another_writer_stopped() -> None:
    first = ZipFormat()
    begun = b"".join(first.add(*compress_entry("a", b"1")))
    second = ZipFormat(first.offset, first.entries)
    rest = b"".join([*second.add(*compress_entry("b", b"2")), *second.finish()])
    assert _read(begun + rest) == {"a": b"1", "b": b"2"}


def test_more_entries_than_16_bits_count() -> None:
    writer, archive = ZipFormat(), io.BytesIO()
    for number in range(70_000):
        archive.writelines(writer.add(ZipEntry(str(number), 0, 2, 0), b"\3\0"))
    archive.writelines(writer.finish())
    with zipfile.ZipFile(archive) as opened:
        assert len(opened.namelist()) == 70_000
        assert opened.read("69999") == b""


def test_sizes_and_offsets_beyond_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is large is a matter of one constant; files of 4 GB would say the same more slowly.
    monkeypatch.setattr(zip_format, "_FULL_32", 50)
    entry, data = compress_entry("a", bytes(range(256)))
    writer = ZipFormat(1000)
    local, content = writer.add(entry, data)
    assert content == data
    assert local[18:26] == b"\x32\0\0\0" * 2
    assert local[-16:] == (256).to_bytes(8, "little") + len(data).to_bytes(8, "little")
    central, end_64, locator, _ = writer.finish()
    assert central[-24:-8] == local[-16:]
    assert central[-8:] == (1000).to_bytes(8, "little")
    assert (end_64[:4], locator[:4]) == (b"PK\6\6", b"PK\6\7")

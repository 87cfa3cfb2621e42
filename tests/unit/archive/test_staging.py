"""How much of a new file is read to describe it."""

from collections.abc import Sequence

import pytest
from tests.support.dicom_files import EXPLICIT_LITTLE, encode_element
from tests.support.server import build_synthetic

from isocenter.archive import staging
from isocenter.archive.pieces import join_start
from isocenter.archive.settings import Settings
from isocenter.archive.staging import StagingOptions, summarize_pieces
from isocenter.dicom.main_tags import DEFAULT_MAIN_TAGS, MainTags
from isocenter.dicom.rewriting import Piece


@pytest.mark.parametrize("header_bytes", [0, 40_000, 600_000])
def test_long_header_makes_nobody_read_the_pixels(
    monkeypatch: pytest.MonkeyPatch, header_bytes: int
) -> None:
    lengths: list[int] = []

    def observed(pieces: Sequence[Piece], length: int) -> bytes:
        lengths.append(length)
        return join_start(pieces, length)

    monkeypatch.setattr(staging, "join_start", observed)
    long = encode_element(0x00204000, "UT", b" " * header_bytes, syntax=EXPLICIT_LITTLE)
    pixels = encode_element(0x7FE00010, "OB", bytes(1 << 20), syntax=EXPLICIT_LITTLE)
    content = build_synthetic(tail=long).content
    pieces: list[Piece] = [content, pixels, *[bytes(1 << 20)] * 8]

    options = StagingOptions(MainTags(DEFAULT_MAIN_TAGS), Settings())
    summary = summarize_pieces(pieces, options)

    assert summary.pixel_data_offset == len(content)
    assert lengths[-1] <= 8 * max(header_bytes, 32 * 1024)

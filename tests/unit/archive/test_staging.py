"""How much of a new file is read to describe it, and which rows are built of it."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.dicom_files import EXPLICIT_LITTLE, encode_element
from tests.support.server import build_synthetic

from isocenter.archive import staging
from isocenter.archive.blobs import Blobs
from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.pieces import join_short, join_start
from isocenter.archive.received import Origin, OriginKind
from isocenter.archive.settings import Settings
from isocenter.archive.staging import Authorship, EditTask, Stager, StagingOptions, summarize_pieces
from isocenter.dicom.editing import Edit
from isocenter.dicom.main_tags import DEFAULT_MAIN_TAGS, MainTags
from isocenter.dicom.pseudonyms import Pseudonyms
from isocenter.dicom.rewriting import Piece
from isocenter.dicom.tag_paths import TagPath
from isocenter.index.records import Attachment, MetadataCode
from isocenter.index.staging import Source
from isocenter.storage.filesystem import FileSystemStorage


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
    summary = summarize_pieces(pieces, options, options.main_tags.wanted)

    assert summary.pixel_data_offset == len(content)
    assert lengths[-1] <= 8 * max(header_bytes, 32 * 1024)


def test_short_neighbors_become_one_piece_and_long_ones_stay() -> None:
    source = bytes(range(256)) * 200
    long = memoryview(source)[:20_000]
    view = memoryview(source)[7:9]
    pieces: list[Piece] = [b"ab", view, long, b"c", long, long, b"d", b"e"]
    whole = b"".join(pieces)

    joined = join_short(pieces)

    assert b"".join(joined) == whole
    assert [len(piece) for piece in joined] == [4, 20_000, 1, 20_000, 20_000, 2]
    with pytest.raises(ValueError, match="released"):
        view.tobytes()


def test_parents_are_described_by_the_first_of_their_files(tmp_path: Path) -> None:
    storage = FileSystemStorage(tmp_path)
    buffers = FileBuffers(storage, cache_bytes=1 << 20, temporary_folder=storage.spool_folder)
    options = StagingOptions(MainTags(DEFAULT_MAIN_TAGS), Settings())
    blobs = Blobs(storage, has_md5=True, is_compressed=False)
    stager = Stager(storage, buffers, blobs, options)
    edit = Edit(Pseudonyms(bytes(32)), replace={TagPath((), 0x00081030): "new"})
    authorship = Authorship(Origin(OriginKind.REST_API), MetadataCode.MODIFIED_FROM, 1)
    tasks = []
    for number, series in enumerate(["1.3", "1.3", "1.4"]):
        made = build_synthetic(
            {0x00200013: ("IS", str(number))},
            study="1.2",
            series=series,
            instance=f"1.5.{number}",
            patient_id="P",
        )
        name = str(uuid.uuid4())
        storage.write(name, made.content)
        size = len(made.content)
        source = Source(
            (made.patient, made.study, made.series, made.instance),
            made.uids,
            Attachment(1, name, 0, size, size, "", ""),
        )
        tasks.append(EditTask(number, str(uuid.uuid4()), source, edit))

    together = stager.edit([tasks], authorship).staged
    alone = [
        stager.edit([[replace(t, name=str(uuid.uuid4()))]], authorship).staged[0] for t in tasks
    ]
    blobs.close()

    assert [set(one.rows) for _, one in together] == [{0, 1, 2, 3}, {3}, {2, 3}]
    assert [one.rows[3] for _, one in together] == [one.rows[3] for _, one in alone]

"""Files in other transfer syntaxes: the same pixels, and a header that fits."""

import io
import mmap
import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pydicom
import pytest
from tests.support.dicom_files import build_instance, encode_element, encode_sequence
from tests.support.pixels import (
    LOSSLESS,
    LOSSY,
    NATIVE,
    InlineCoder,
    build_image,
    build_samples,
)

from isocenter.errors import BadFileFormatError, TranscodingError
from isocenter.pixels.frames import FrameResult, FrameTask, recode_frame
from isocenter.pixels.transcoding import TranscodeOrder, open_transcoded

_BASE = "1.2.840.10008.1.2"
_EXPLICIT, _BIG, _RLE = f"{_BASE}.1", f"{_BASE}.2", f"{_BASE}.5"
_COUNT = 12 * 20


def _transcode(data: bytes, target: str, **order: Any) -> bytes:
    with open_transcoded(data, TranscodeOrder(target, **order), InlineCoder()) as result:
        return b"".join(result.pieces)


def _read(data: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(io.BytesIO(data))


def _decode(data: bytes) -> bytes:
    """Bring any file back to explicit little endian and give its pixels."""
    pixels: bytes = _read(_transcode(data, _EXPLICIT)).PixelData
    return pixels


_GRAY = [
    pytest.param(8, 8, False, id="8 bits"),
    pytest.param(8, 8, True, id="8 bits, signed"),
    pytest.param(8, 5, False, id="5 of 8 bits"),
    pytest.param(16, 16, False, id="16 bits"),
    pytest.param(16, 16, True, id="16 bits, signed"),
    pytest.param(16, 12, False, id="12 of 16 bits"),
    pytest.param(16, 12, True, id="12 of 16 bits, signed"),
]


@pytest.mark.parametrize("target", [*NATIVE, *LOSSLESS])
@pytest.mark.parametrize(("allocated", "stored", "is_signed"), _GRAY)
def test_gray_comes_back_bit_by_bit(
    target: str, allocated: int, stored: int, is_signed: bool
) -> None:
    size = allocated // 8
    pixels = build_samples(_COUNT, bits=stored, signed=is_signed, size=size)
    data = build_image(pixels, allocated=allocated, stored=stored, is_signed=is_signed)
    result = _transcode(data, target)
    file = _read(result)
    assert file.file_meta.TransferSyntaxUID == target
    assert file.SOPInstanceUID == "1.2.3.1.1.1"
    assert (file.BitsAllocated, file.BitsStored) == (allocated, stored)
    assert "LossyImageCompression" not in file
    assert _decode(result) == pixels


@pytest.mark.parametrize("target", LOSSLESS)
def test_bits_above_the_stored_ones_survive(target: str) -> None:
    pixels = build_samples(_COUNT, bits=16)
    data = build_image(pixels, stored=10)
    assert _decode(_transcode(data, target)) == pixels


@pytest.mark.parametrize("target", [*NATIVE, *LOSSLESS])
@pytest.mark.parametrize("planar", [0, 1])
def test_colors_come_back_bit_by_bit(target: str, planar: int) -> None:
    pixels = build_samples(3 * _COUNT, bits=8, size=1)
    data = build_image(pixels, allocated=8, samples=3, photometric="RGB", planar=planar)
    result = _transcode(data, target)
    file = _read(_transcode(result, _EXPLICIT))
    assert file.PhotometricInterpretation == "RGB"
    interleaved = pixels
    if planar and target not in NATIVE:
        planes = [pixels[start : start + _COUNT] for start in (0, _COUNT, 2 * _COUNT)]
        interleaved = bytes(sample for pixel in zip(*planes, strict=True) for sample in pixel)
    assert file.PlanarConfiguration == (planar if target in NATIVE else 0)
    assert file.PixelData == interleaved


@pytest.mark.parametrize(
    ("target", "photometric"),
    [("4.90", "YBR_RCT"), ("4.91", "YBR_ICT"), ("4.201", "YBR_RCT"), ("4.50", "YBR_FULL_422")],
)
def test_transformed_colors_are_named(target: str, photometric: str) -> None:
    pixels = build_samples(3 * _COUNT, bits=8, size=1)
    data = build_image(pixels, allocated=8, samples=3, photometric="RGB", planar=1)
    file = _read(_transcode(data, f"{_BASE}.{target}"))
    assert file.PhotometricInterpretation == photometric
    assert file.PlanarConfiguration == 0


@pytest.mark.parametrize("target", LOSSLESS)
def test_palettes_are_compressed_without_losses(target: str) -> None:
    pixels = build_samples(_COUNT, bits=8, size=1)
    data = build_image(pixels, allocated=8, photometric="PALETTE COLOR")
    result = _transcode(data, target)
    assert _read(result).PhotometricInterpretation == "PALETTE COLOR"
    assert _decode(result) == pixels


@pytest.mark.parametrize("target", [*NATIVE, *LOSSLESS])
def test_every_source_is_read(target: str) -> None:
    pixels = build_samples(_COUNT, bits=16)
    once = _transcode(build_image(pixels), target)
    assert _decode(_transcode(once, _RLE)) == pixels
    assert _decode(_transcode(once, _BIG)) == pixels


def test_rle_is_what_others_read() -> None:
    for allocated, samples, photometric in ((8, 3, "RGB"), (16, 1, "MONOCHROME2")):
        pixels = build_samples(_COUNT * samples, bits=allocated, size=allocated // 8)
        planar = 0 if samples > 1 else None
        data = build_image(
            pixels, allocated=allocated, samples=samples, photometric=photometric, planar=planar
        )
        file = _read(_transcode(data, _RLE))
        assert file.pixel_array.tobytes() == pixels


def test_big_endian_is_what_others_read() -> None:
    pixels = build_samples(_COUNT, bits=16)
    file = _read(_transcode(_transcode(build_image(pixels), _RLE), _BIG))
    assert file.pixel_array.astype("<u2").tobytes() == pixels


def test_frames_are_fragments_with_an_offset_table() -> None:
    frames = [build_samples(_COUNT + index, bits=16)[: 2 * _COUNT] for index in range(3)]
    data = build_image(b"".join(frames), frames=3)
    result = _transcode(data, _RLE)
    file = _read(result)
    assert file.pixel_array.tobytes() == b"".join(frames)
    (length,) = struct.unpack_from("<I", file.PixelData, 4)
    assert length == 12
    assert struct.unpack_from("<I", file.PixelData, 8) == (0,)
    assert _decode(result) == b"".join(frames)


def test_many_frames_go_through_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.pixels.frame_spool._MEMORY_BYTES", 700)
    pixels = build_samples(5 * _COUNT, bits=16)
    data = build_image(pixels, frames=5)
    for target in (f"{_BASE}.4.80", _RLE):
        packed = _transcode(data, target, folder=tmp_path)
        with open_transcoded(packed, TranscodeOrder(_EXPLICIT), InlineCoder()) as result:
            assert any(isinstance(piece, memoryview) for piece in result.pieces[-3:])
            assert _read(b"".join(result.pieces)).PixelData == pixels
    assert list(tmp_path.iterdir()) == []


def test_extended_offset_table_is_read_and_not_kept() -> None:
    pixels = build_samples(2 * _COUNT, bits=16)
    packed = _read(_transcode(build_image(pixels, frames=2), _RLE))
    pieces = list(pydicom.encaps.generate_fragments(packed.PixelData))
    halves = [pieces[-2][:40], pieces[-2][40:], pieces[-1]]
    offsets = (0, len(pieces[-2]) + 16)
    extended: dict[int, tuple[str, bytes | str]] = {
        0x7FE00001: ("OV", struct.pack("<2Q", *offsets)),
        0x7FE00002: ("OV", struct.pack("<2Q", len(pieces[-2]), len(pieces[-1]))),
    }
    data = build_image([b"", *halves], frames=2, syntax=_RLE, elements=extended)
    file = _read(_transcode(data, _EXPLICIT))
    assert file.PixelData == pixels
    assert 0x7FE00001 not in file
    assert 0x7FE00002 not in file


@pytest.mark.parametrize("target", LOSSY)
def test_losses_are_told_in_the_header(target: str) -> None:
    pixels = build_samples(_COUNT, bits=8, size=1)
    elements: dict[int, tuple[str, bytes | str]] = {
        0x00080008: ("CS", "ORIGINAL\\PRIMARY\\AXIAL"),
        0x00082111: ("ST", "Cropped"),
        0x00282112: ("DS", "2.5"),
        0x00282114: ("CS", "ISO_10918_1"),
    }
    file = _read(_transcode(build_image(pixels, allocated=8, elements=elements), target))
    assert list(file.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    assert file.LossyImageCompression == "01"
    assert float(file.LossyImageCompressionRatio[0]) == 2.5
    assert float(file.LossyImageCompressionRatio[1]) > 0
    assert file.LossyImageCompressionMethod[0] == "ISO_10918_1"
    assert file.DerivationDescription.endswith(" [Cropped]")
    assert file.DerivationCodeSequence[0].CodeValue == "113040"
    assert file.SOPInstanceUID == file.file_meta.MediaStorageSOPInstanceUID != "1.2.3.1.1.1"
    assert file.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.1.1.1"


_DESCRIPTIONS = [
    pytest.param("ISO_IR 192", "\u00e9" * 1024, "utf-8", id="1024 characters of UTF-8"),
    pytest.param("ISO_IR 192", "a" + "\u65e5" * 2000, "utf-8", id="longer than allowed"),
    pytest.param("ISO_IR 192", "a" * 60_000, "utf-8", id="much longer"),
    pytest.param("ISO_IR 144", "\u0416" * 1024, "iso8859_5", id="one byte"),
    pytest.param("GB18030", "\u65e5" * 1024, "gb18030", id="two bytes"),
    pytest.param("", "\u00e9" * 1024, "latin-1", id="no character set"),
    pytest.param(
        "\\ISO 2022 IR 87", "a" * 400 + "\u65e5" * 700, "iso2022_jp", id="escape sequences"
    ),
]


@pytest.mark.parametrize(("term", "description", "codec"), _DESCRIPTIONS)
def test_old_description_is_cut_between_characters(term: str, description: str, codec: str) -> None:
    elements: dict[int, tuple[str, bytes | str]] = {
        0x00080005: ("CS", term),
        0x00082111: ("ST", description.encode(codec)),
    }
    pixels = build_samples(_COUNT, bits=8, size=1)
    image = build_image(pixels, allocated=8, elements=elements)
    packed = _transcode(image, f"{_BASE}.4.50", keeps_uid=True)
    value = _read(packed).get_item(0x00082111).value
    text = value.strip().decode(codec)
    start, rest = text.split(" [", 1)
    assert start.startswith("Lossy compression with JPEG")
    assert rest.endswith("]")
    kept = rest[:-1]
    assert description.startswith(kept)
    assert len(kept) == (400 if codec == "iso2022_jp" else 1024 - len(start) - 3)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, ["DERIVED", "SECONDARY"]),
        ("", ["DERIVED", "SECONDARY"]),
        ("ORIGINAL", ["DERIVED", "SECONDARY"]),
        ("ORIGINAL\\\\AXIAL", ["DERIVED", "SECONDARY", "AXIAL"]),
        ("DERIVED\\PRIMARY", ["DERIVED", "PRIMARY"]),
    ],
)
def test_image_type_has_its_two_values(before: str | None, after: list[str]) -> None:
    elements: dict[int, tuple[str, bytes | str]] = (
        {} if before is None else {0x00080008: ("CS", before)}
    )
    pixels = build_samples(_COUNT, bits=8, size=1)
    image = build_image(pixels, allocated=8, elements=elements)
    assert list(_read(_transcode(image, f"{_BASE}.4.50")).ImageType) == after


@pytest.mark.parametrize(
    ("target", "method"),
    [
        ("4.50", "ISO_10918_1"),
        ("4.51", "ISO_10918_1"),
        ("4.81", "ISO_14495_1"),
        ("4.91", "ISO_15444_1"),
        ("4.203", "ISO_15444_15"),
    ],
)
def test_losses_are_small_and_named(target: str, method: str) -> None:
    pixels = build_samples(_COUNT, bits=8, size=1)
    packed = _transcode(build_image(pixels, allocated=8), f"{_BASE}.{target}", quality=95)
    assert _read(packed).LossyImageCompressionMethod == method
    pairs = zip(_decode(packed), pixels, strict=True)
    errors = [abs(a - b) for a, b in pairs]
    assert 0 < sum(errors) / len(errors) < 5


@pytest.mark.parametrize("is_signed", [False, True])
def test_near_lossless_stays_within_its_bound_and_the_stored_bits(is_signed: bool) -> None:
    pixels = build_samples(_COUNT, bits=12, signed=is_signed)
    data = build_image(pixels, stored=12, is_signed=is_signed)
    decoded = _decode(_transcode(data, f"{_BASE}.4.81"))
    kind = "h" if is_signed else "H"
    before, after = (struct.unpack(f"<{_COUNT}{kind}", some) for some in (pixels, decoded))
    least = -2048 if is_signed else 0
    assert all(least <= value < least + 4096 for value in after)
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= 4


def test_new_uid_follows_from_what_was_done() -> None:
    def derive(suffix: str, quality: int, name: str) -> str:
        pixels = build_samples(_COUNT, bits=8, size=1)
        data = build_image(pixels, allocated=8, name=name)
        uid = str(_read(_transcode(data, f"{_BASE}.{suffix}", quality=quality)).SOPInstanceUID)
        assert re.fullmatch(r"2\.25\.[1-9][0-9]{1,38}", uid)
        return uid

    asked = [("4.50", 90, "1.2"), ("4.50", 91, "1.2"), ("4.51", 90, "1.2"), ("4.50", 90, "1.3")]
    assert len({derive(*one) for one in asked}) == len(asked)
    assert derive(*asked[0]) == derive(*asked[0])


def test_a_chosen_uid_is_kept() -> None:
    pixels = build_samples(_COUNT, bits=8, size=1)
    data = build_image(pixels, allocated=8)
    file = _read(_transcode(data, f"{_BASE}.4.50", keeps_uid=True))
    assert file.SOPInstanceUID == "1.2.3.1.1.1"
    assert file.LossyImageCompression == "01"
    assert "SourceImageSequence" not in file


@pytest.mark.parametrize("target", [_EXPLICIT, _RLE])
@pytest.mark.parametrize("source", [*LOSSLESS, *LOSSY])
def test_what_was_lost_stays_lost(source: str, target: str) -> None:
    """The frames tell, whatever the header says."""
    pixels = build_samples(_COUNT, bits=8, size=1)
    packed = _transcode(build_image(pixels, allocated=8), source, keeps_uid=True)
    bare = packed.replace(encode_element(0x00282110, "CS", "01"), b"")
    file = _read(_transcode(bare, target))
    assert file.get("LossyImageCompression") == ("01" if source in LOSSY else None)


def test_target_that_is_the_source_copies_the_bytes() -> None:
    data = build_image(build_samples(_COUNT), stored=12)
    assert _transcode(data, _EXPLICIT) == data


@pytest.mark.parametrize("target", [*NATIVE, *LOSSLESS, *LOSSY])
def test_without_pixels_only_the_encoding_changes(target: str) -> None:
    private = encode_element(0x00091001, "LO", "secret")
    data = build_instance({0x00090010: ("LO", "MAKER")}, tail=b"")
    data = data.replace(
        encode_element(0x00090010, "LO", "MAKER"),
        encode_element(0x00090010, "LO", "MAKER") + private,
    )
    file = _read(_transcode(data, target))
    assert file.file_meta.TransferSyntaxUID == target
    assert file.SOPInstanceUID == "1.2.3.1.1.1"
    value = file[0x00091001].value
    assert value in {"secret", b"secret"}


def test_elements_behind_the_pixels_are_kept() -> None:
    data = build_image(build_samples(_COUNT)) + encode_element(0xFFFCFFFC, "OB", b"\0\0")
    for target in (_BASE, _BIG, _RLE):
        assert _read(_transcode(data, target))[0xFFFCFFFC].value == b"\0\0"


def _build_with_icon() -> bytes:
    icon = encode_element(0x7FE00010, "OB", b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0")
    icon = icon[:8] + b"\xff\xff\xff\xff" + icon[12:]
    packed = _transcode(build_image(build_samples(_COUNT)), _RLE)
    start = packed.rindex(b"\xe0\x7f\x10\x00OB")
    return packed[:start] + encode_sequence(0x00880200, [icon]) + packed[start:]


def test_compressed_icon_refuses() -> None:
    with pytest.raises(TranscodingError):
        _transcode(_build_with_icon(), _EXPLICIT)


class _FailingCoder:
    def recode(self, task: FrameTask) -> FrameResult:
        recode_frame(task)
        raise TranscodingError("no")


_FRAMES = build_image(build_samples(3 * _COUNT), frames=3)


@pytest.mark.parametrize(
    ("data", "target"),
    [
        pytest.param(_FRAMES, _RLE, id="coder fails"),
        pytest.param(_FRAMES[:-9], _RLE, id="cut"),
        pytest.param(_FRAMES + b"\0\0", _BASE, id="rest"),
        pytest.param(_FRAMES[:251], _RLE, id="cut header"),
        pytest.param(_build_with_icon(), _EXPLICIT, id="icon"),
        pytest.param(_build_with_icon(), _BASE, id="icon, implicit"),
        pytest.param(build_image([b""] * 2, frames=3, syntax=_RLE), _BASE, id="fragments missing"),
        pytest.param(build_image([b"abc"], syntax=_RLE), _BASE, id="table damaged"),
    ],
)
def test_failure_lets_go_of_a_mapped_file(tmp_path: Path, data: bytes, target: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with (
        path.open("rb") as file,
        pytest.raises((BadFileFormatError, TranscodingError)),
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as buffer,
        open_transcoded(buffer, TranscodeOrder(target), _FailingCoder()),
    ):
        pass


@pytest.mark.parametrize("target", [*NATIVE, *LOSSLESS])
def test_success_lets_go_of_a_mapped_file(tmp_path: Path, target: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(_FRAMES)
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as buffer,
        open_transcoded(buffer, TranscodeOrder(target), InlineCoder()) as result,
    ):
        assert sum(map(len, result.pieces)) > 0


def test_rle_segments_of_unequal_lengths_are_refused() -> None:
    """A short one must not be filled up from the next one."""
    segments = [b"\x81a" * 2, b"\x81b" * 2, b"\x81c" * 2]
    longer = [b"\x81a\x81a\x81a", *segments[1:]]
    shorter = [b"\x81a", *longer[:1], *segments[1:2]]
    for some, is_sound in ((segments, True), (longer, True), (shorter, False)):
        starts = [64, 64 + len(some[0]), 64 + len(some[0]) + len(some[1])]
        frame = struct.pack("<16I", 3, *starts, *([0] * 12)) + b"".join(some)
        data = build_image(
            [b"", frame],
            allocated=8,
            samples=3,
            photometric="RGB",
            planar=0,
            syntax=_RLE,
        )
        if is_sound:
            assert _read(_transcode(data, _EXPLICIT)).PixelData == b"abc" * _COUNT
        else:
            with pytest.raises(TranscodingError):
                _transcode(data, _EXPLICIT)


def _build_with_overlay(group: int, *, bit: int, has_data: bool) -> bytes:
    elements: dict[int, tuple[str, bytes | str]] = {
        group + 0x0100: ("US", struct.pack("<H", 16)),
        group + 0x0102: ("US", struct.pack("<H", bit)),
    }
    if has_data:
        elements[group + 0x3000] = ("OW", bytes(30))
    return build_image(build_samples(_COUNT, bits=16), stored=12, elements=elements)


@pytest.mark.parametrize("group", [0x60000000, 0x601E0000])
def test_overlays_above_the_pixels_are_never_lost(group: int) -> None:
    data = _build_with_overlay(group, bit=12, has_data=False)
    for target in LOSSLESS:
        assert _decode(_transcode(data, target)) == _read(data).PixelData
    for target in LOSSY[1:]:
        with pytest.raises(TranscodingError):
            _transcode(data, target)


def test_overlays_of_their_own_do_not_hinder() -> None:
    for bit, has_data in ((0, True), (0, False), (12, True)):
        data = _build_with_overlay(0x60000000, bit=bit, has_data=has_data)
        assert _read(_transcode(data, LOSSY[-1])).LossyImageCompression == "01"


def test_overlays_in_samples_with_losses_are_refused() -> None:
    """What was lost there nobody knows, and it must not be clipped to the stored bits."""
    packed = _transcode(build_image(build_samples(_COUNT, bits=12)), f"{_BASE}.4.81")
    start = packed.rindex(b"\xe0\x7f\x10\0")
    position = encode_element(0x60000102, "US", struct.pack("<H", 12))
    with pytest.raises(TranscodingError):
        _transcode(packed[:start] + position + packed[start:], _EXPLICIT)


@pytest.mark.parametrize(("tag", "vr"), [(0x7FE00008, "OF"), (0x7FE00009, "OD")])
def test_floating_point_pixels_are_not_called_compressed(tag: int, vr: str) -> None:
    data = build_instance({tag: (vr, bytes(64))})
    for target in (*LOSSLESS, *LOSSY):
        with pytest.raises(TranscodingError):
            _transcode(data, target)
    for target in NATIVE:
        assert _read(_transcode(data, target))[tag].value == bytes(64)


@pytest.mark.parametrize(
    ("text", "is_number"),
    [
        *(("2", True), ("+2", True), (" 2 ", True), ("++2", False), ("-2", False)),
        *(("2e0", False), ("0", False), ("0000000002", False), ("\u0662", False)),
    ],
)
def test_number_of_frames_is_a_number_or_refused(text: str, is_number: bool) -> None:
    elements: dict[int, tuple[str, bytes | str]] = {0x00280008: ("IS", text.encode("utf-8"))}
    pixels = build_samples(2 * _COUNT, bits=16)
    data = build_image(pixels, elements=elements)
    if is_number:
        assert _decode(_transcode(data, _RLE)) == pixels
    else:
        with pytest.raises(TranscodingError):
            _transcode(data, _RLE)


_DAMAGED_RLE = struct.pack("<16I", 2, 64, 1 << 30, *([0] * 13)) + b"\0" * 8


@pytest.mark.parametrize(
    ("data", "target"),
    [
        pytest.param(build_image(bytes(2 * _COUNT), stored=16), "4.50", id="too many bits"),
        pytest.param(build_image(bytes(2 * _COUNT), stored=16), "4.51", id="more than 12 bits"),
        pytest.param(build_image(bytes(2 * _COUNT)), "4.100", id="video as target"),
        pytest.param(build_image([b"", b"\0\0"], syntax=f"{_BASE}.4.100"), "1", id="video"),
        pytest.param(build_image(bytes(2 * _COUNT - 2)), "5", id="pixels cut"),
        pytest.param(build_image(bytes(2 * _COUNT), frames=2), "5", id="frames missing"),
        pytest.param(build_image(bytes(_COUNT), allocated=1), "5", id="bits"),
        pytest.param(build_image(bytes(2 * _COUNT), rows=0), "5", id="no rows"),
        pytest.param(build_image(bytes(2 * _COUNT), samples=2), "5", id="two samples"),
        pytest.param(build_image(bytes(2), rows=65535, columns=65535), "5", id="too large"),
        pytest.param(
            build_image(bytes(_COUNT), allocated=8, photometric="PALETTE COLOR"),
            "4.50",
            id="palette with losses",
        ),
        pytest.param(
            build_image(bytes(_COUNT), allocated=8, is_signed=True), "4.50", id="signed JPEG"
        ),
        pytest.param(build_image([b"", _DAMAGED_RLE], syntax=_RLE), "1", id="segment outside"),
        pytest.param(build_image([b"", b"\0\0"], syntax=_RLE), "1", id="RLE cut"),
        pytest.param(build_image(bytes(4), syntax=_RLE), "1", id="not encapsulated"),
        *(
            pytest.param(build_image([b"", junk], syntax=f"{_BASE}.{syntax}"), "1", id=syntax)
            for syntax in ("4.50", "4.70", "4.80", "4.90", "4.201")
            for junk in (b"\xff\xd8\xff\xc0\0\4\0\0", b"\xff\x4f\xff\x51" + bytes(60))
        ),
    ],
)
def test_what_is_impossible_is_refused(data: bytes, target: str) -> None:
    with pytest.raises(TranscodingError):
        _transcode(data, f"{_BASE}.{target}")


@pytest.mark.parametrize("target", [_EXPLICIT, _RLE])
def test_frame_of_another_size_is_refused(target: str) -> None:
    packed = _transcode(build_image(build_samples(_COUNT)), f"{_BASE}.4.80")
    lying = packed.replace(
        encode_element(0x00280010, "US", struct.pack("<H", 12)),
        encode_element(0x00280010, "US", struct.pack("<H", 13)),
    )
    with pytest.raises(TranscodingError):
        _transcode(lying, target)


@pytest.mark.parametrize("suffix", ["4.50", "4.70", "4.80", "4.90", "4.201", "5"])
def test_frame_that_is_cut_is_refused_not_filled_up(suffix: str) -> None:
    pixels = build_samples(_COUNT, bits=8, size=1)
    packed = _transcode(build_image(pixels, allocated=8), f"{_BASE}.{suffix}", keeps_uid=True)
    [frame] = list(pydicom.encaps.generate_fragments(_read(packed).PixelData))[1:]
    photometric = str(_read(packed).PhotometricInterpretation)
    for length in range(len(frame) // 2, len(frame) - 3, 11):
        data = build_image(
            [b"", frame[:length]],
            allocated=8,
            photometric=photometric,
            syntax=f"{_BASE}.{suffix}",
        )
        with pytest.raises(TranscodingError):
            _transcode(data, _EXPLICIT)


@pytest.mark.parametrize("suffix", ["4.50", "4.70", "4.80", "4.90", "4.201", "5"])
def test_cut_and_damaged_files_are_refused_or_read(suffix: str) -> None:
    pixels = build_samples(_COUNT, bits=8, size=1)
    packed = _transcode(build_image(pixels, allocated=8), f"{_BASE}.{suffix}", keeps_uid=True)
    start = packed.rindex(b"\xe0\x7f\x10\x00OB") + 4
    for length in range(start, len(packed), 37):
        with pytest.raises((BadFileFormatError, TranscodingError)):
            _transcode(packed[:length], _RLE if suffix != "5" else _EXPLICIT)
    for position in range(len(packed) - 1, len(packed) - 200, -13):
        damaged = bytearray(packed)
        damaged[position] ^= 0x55
        # It may be decoded to something else, too.
        with suppress(BadFileFormatError, TranscodingError):
            _transcode(bytes(damaged), _RLE if suffix != "5" else _EXPLICIT)

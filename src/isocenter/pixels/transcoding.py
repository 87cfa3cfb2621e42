"""Files brought into another transfer syntax.

What is no pixel stays as it is, but for the encoding of the elements. Frames go one by one through
a coder, so memory is bounded whatever the number of frames.

References
----------
PS3.5 §10, §A; Orthanc: transcoding (behaviour manual §28); Decision 0022
"""

import struct
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isocenter.dicom.data_sets import get_layout
from isocenter.dicom.deflate import deflate_data_set
from isocenter.dicom.elements import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    PIXEL_DATA,
    SEQUENCE_DELIMITATION,
    UNDEFINED_LENGTH,
    Buffer,
)
from isocenter.dicom.file_meta import build_file_meta, read_file_meta
from isocenter.dicom.new_elements import NewElement, NewItems
from isocenter.dicom.recoding import recode_data_set
from isocenter.dicom.rewriting import Piece, rewrite_data_set
from isocenter.dicom.transfer_syntaxes import DEFLATED, EXPLICIT_VR_BIG_ENDIAN, is_encapsulated
from isocenter.dicom.uids import derive_uid
from isocenter.errors import BadFileFormatError, TranscodingError
from isocenter.pixels.codecs import (
    NATIVE,
    Codec,
    can_encode,
    check_format,
    get_encoder,
    lookup_family,
)
from isocenter.pixels.derivation import HeaderRules, LossOfPixels, build_number, describe_loss
from isocenter.pixels.effort import Patience, check_decoded_size
from isocenter.pixels.file_parts import (
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    FileParts,
    PixelElement,
    check_size,
    open_parts,
)
from isocenter.pixels.formats import PixelFormat
from isocenter.pixels.fragments import (
    Fragments,
    build_offset_tables,
    group_frames,
    read_fragments,
)
from isocenter.pixels.frame_spool import FrameSpool, build_item
from isocenter.pixels.frames import FrameTask
from isocenter.pixels.pool import FrameCoder

__all__ = ["TranscodeOrder", "Transcoded", "estimate_size", "open_transcoded"]

_SOURCE_AE_TITLE = 0x00020016
_PHOTOMETRIC = 0x00280004
_PLANAR = 0x00280006
_LOSSY = 0x00282110
_OFFSETS, _LENGTHS, _TOTAL = 0x7FE00001, 0x7FE00002, 0x7FE00003
_OF_ENCAPSULATION = frozenset({_OFFSETS, _LENGTHS, _TOTAL})
_PIXEL_DATA_TAG = struct.pack("<HH", PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF)
_END = struct.pack("<HHI", SEQUENCE_DELIMITATION >> 16, SEQUENCE_DELIMITATION & 0xFFFF, 0)
_LARGEST_VALUE = UNDEFINED_LENGTH - 1
# What no coding makes of a frame: twice as much as it was, and headers.
_MOST_TIMES = 2
_SLACK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TranscodeOrder:
    """What is to be done.

    Attributes
    ----------
    target
        Transfer syntax UID of the result.
    quality
        Of codings with losses, 1 to 100.
    keeps_uid
        The caller has chosen the SOP instance UID; else a result with losses gets a new one.
    folder
        For temporary files.
    patience
        Asked between frames.
    """

    target: str
    quality: int = 90
    keeps_uid: bool = False
    folder: Path | None = None
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True, eq=False)
class Transcoded:
    """A new file.

    Attributes
    ----------
    pieces
        Of the file, one after the other; views of the source among them. The file meta information
        is the first one.
    """

    pieces: list[Piece]

    @property
    def data_set(self) -> list[Piece]:
        """What follows the file meta information."""
        return self.pieces[1:]


@contextmanager
def open_transcoded(
    buffer: Buffer, order: TranscodeOrder, coder: FrameCoder
) -> Iterator[Transcoded]:
    """Bring a file into another transfer syntax; the result is of use in the context only.

    Parameters
    ----------
    buffer
        A whole file, which stays as it is meanwhile. Blocks.

    Raises
    ------
    TranscodingError
        If that is not possible: videos, pixels that the target cannot hold, damaged frames.
    BadFileFormatError
        If the file is damaged.
    CodecTimeoutError
        If the coder is too busy, the file takes too long, or nobody waits for it.
    """
    if not can_encode(order.target):
        raise TranscodingError(f"files cannot be brought into the transfer syntax {order.target}")
    meta = read_file_meta(buffer)
    if meta.transfer_syntax_uid == order.target and meta.has_meta_header:
        with memoryview(buffer) as view:
            start = meta.data_set_offset
            with view[:start] as header, view[start:] as data_set:
                yield Transcoded([header, data_set])
        return
    with ExitStack() as stack:
        try:
            parts = open_parts(buffer)
            stack.callback(parts.view.release)
            result = _Transcoding(parts, order, coder, stack).build()
        except Exception as error:
            _let_go(error)
            raise
        stack.callback(_release, result.pieces)
        yield result


def estimate_size(buffer: Buffer) -> int:
    """Estimate from the header of a file how large it is in any transfer syntax, in bytes.

    One that cannot be transcoded stays as large as it is.
    """
    try:
        parts = open_parts(buffer)
        with parts.view:
            pixels = 0 if parts.pixels is None else parts.read_format().frame_bytes
            return max(len(buffer), pixels * parts.read_frames())
    except (TranscodingError, BadFileFormatError) as error:
        _let_go(error)
        return len(buffer)


def _let_go(error: BaseException | None) -> None:
    """Forget the views of a failed attempt: a mapped file can be closed only without them."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _release(pieces: list[Piece]) -> None:
    for piece in pieces:
        if isinstance(piece, memoryview):
            piece.release()


class _Transcoding:
    """One file."""

    def __init__(
        self, parts: FileParts, order: TranscodeOrder, coder: FrameCoder, stack: ExitStack
    ) -> None:
        self._parts = parts
        self._order = order
        self._coder = coder
        self._stack = stack
        # What is written in memory first, if the target is deflated or in big endian.
        is_plain = order.target not in {DEFLATED, EXPLICIT_VR_BIG_ENDIAN}
        self._layout = get_layout(order.target) if is_plain else EXPLICIT_LITTLE
        self._uid = parts.get_text(SOP_INSTANCE_UID)
        self._was_lossy = False

    def build(self) -> Transcoded:
        parts = self._parts
        if parts.has_floats and self._order.target not in NATIVE:
            raise TranscodingError("floating point pixels cannot be compressed")
        is_between_plain = parts.meta.transfer_syntax_uid in NATIVE and self._order.target in NATIVE
        if parts.pixels is None or (is_between_plain and not parts.pixels.is_encapsulated):
            pieces = list(self._recode(parts.start, len(parts.view)))
        else:
            pieces = self._recode_pixels(parts.pixels)
        pieces = self._finish(pieces)
        source_ae_title = parts.meta.elements.get(_SOURCE_AE_TITLE, ("AE", b""))[1]
        meta = build_file_meta(
            parts.get_text(SOP_CLASS_UID),
            self._uid,
            transfer_syntax_uid=self._order.target,
            source_ae_title=source_ae_title.decode("latin-1").strip(" \0") or None,
        )
        return Transcoded([meta, *pieces])

    def _finish(self, pieces: list[Piece]) -> list[Piece]:
        """Deflate a data set, or turn it to big endian."""
        if self._order.target == DEFLATED:
            check_size(sum(map(len, pieces)))
            return [deflate_data_set(pieces)]
        if self._order.target == EXPLICIT_VR_BIG_ENDIAN:
            check_size(sum(map(len, pieces)))
            whole = memoryview(b"".join(pieces))
            return list(recode_data_set(whole, 0, EXPLICIT_LITTLE, EXPLICIT_BIG))
        return pieces

    def _recode(self, start: int, stop: int) -> Iterator[Piece]:
        """Bring elements into the new encoding."""
        source = self._parts.layout
        view = self._parts.view[start:stop]
        if source is self._layout:
            yield view
            return
        self._stack.callback(view.release)
        yield from recode_data_set(view, 0, source, self._layout)

    def _recode_pixels(self, pixels: PixelElement) -> list[Piece]:
        parts, order = self._parts, self._order
        source_uid = parts.meta.transfer_syntax_uid
        if pixels.is_encapsulated != is_encapsulated(source_uid):
            raise TranscodingError("the pixel data do not fit the transfer syntax")
        if lookup_family(source_uid) is None:
            raise TranscodingError(
                f"pixel data in the transfer syntax {source_uid} cannot be decoded"
            )
        fmt = parts.read_format()
        check_format(fmt)
        codec = None if order.target in NATIVE else get_encoder(order.target)
        frames = self._iter_frames(pixels, fmt)
        if codec is not None and codec.is_lossy:
            self._check_overlays()
        spool = self._stack.enter_context(
            FrameSpool(order.folder, is_encapsulated=codec is not None)
        )
        photometric = self._code(frames, fmt, spool)
        if self._was_lossy:
            self._check_overlays()
        changes = self._list_changes(fmt, photometric, codec, spool)
        if codec is None:
            body = self._write_native(spool)
        else:
            body = self._write_encapsulated(spool, changes)
        header = self._rewrite_header(changes)
        return [*header, *body, *self._recode(pixels.stop, len(parts.view))]

    def _check_overlays(self) -> None:
        """Refuse losses in bits that are overlay planes."""
        if self._parts.has_embedded_overlays:
            raise TranscodingError("overlays in the bits above the pixels would be lost")

    def _code(self, frames: Iterator[Piece], fmt: PixelFormat, spool: FrameSpool) -> str:
        """Code all frames anew, and tell what their colors are."""
        source = self._parts.meta.transfer_syntax_uid
        named: str | None = None
        for frame in frames:
            self._order.patience.check()
            task = FrameTask(
                source, self._order.target, fmt, self._order.quality, memoryview(frame)
            )
            result = self._coder.recode(task)
            if named not in {None, result.photometric}:
                raise TranscodingError("the frames differ in their colors")
            named = result.photometric
            self._was_lossy = self._was_lossy or result.is_lossy
            spool.add(result.data)
            if not spool.lengths and spool.size > _LARGEST_VALUE:
                raise TranscodingError("a file without compression may have 4 GB of pixels")
        return named or fmt.photometric

    def _iter_frames(self, pixels: PixelElement, fmt: PixelFormat) -> Iterator[Piece]:
        parts = self._parts
        count = parts.read_frames()
        if not pixels.is_encapsulated:
            size = fmt.bits // 8
            if count * size > pixels.stop - pixels.value:
                raise TranscodingError("the pixel data are shorter than the header says")
            for index in range(count):
                start = pixels.value + index * size
                with parts.view[start : start + size] as frame:
                    yield frame
            return
        check_decoded_size(count * fmt.frame_bytes, len(parts.view))
        fragments = read_fragments(parts.view[: pixels.stop], pixels.value)
        most = _MOST_TIMES * fmt.frame_bytes + _SLACK_BYTES
        for group in group_frames(parts.view, fragments, count, parts.read_extended_offsets()):
            yield self._join(fragments, group, most)

    def _join(self, fragments: Fragments, group: range, most: int) -> bytes:
        view = self._parts.view
        size = sum(fragments.lengths[index] for index in group)
        if size > most:
            raise TranscodingError("a compressed frame is too long")
        spans = ((fragments.starts[index], fragments.lengths[index]) for index in group)
        return b"".join(bytes(view[start : start + length]) for start, length in spans)

    def _list_changes(
        self, fmt: PixelFormat, photometric: str, codec: Codec | None, spool: FrameSpool
    ) -> dict[int, NewElement | NewItems]:
        changes: dict[int, NewElement | NewItems] = {}
        if photometric != fmt.photometric:
            changes[_PHOTOMETRIC] = NewElement("CS", photometric.encode("latin-1"))
        if fmt.is_color:
            changes[_PLANAR] = build_number(0, self._layout)
        if codec is not None and codec.is_lossy:
            changes |= self._describe_loss(fmt, codec, spool)
        elif self._was_lossy:
            # Once lost, always lost (PS3.3 §C.7.6.1.1.5).
            changes[_LOSSY] = NewElement("CS", b"01")
        return changes

    def _describe_loss(
        self, fmt: PixelFormat, codec: Codec, spool: FrameSpool
    ) -> Mapping[int, NewElement | NewItems]:
        parts, order = self._parts, self._order
        source = (parts.get_text(SOP_CLASS_UID), self._uid)
        # Whoever sends a file again gets no second copy of it.
        derived = derive_uid(self._uid, order.target, str(order.quality))
        new_uid = None if order.keeps_uid else derived
        loss = LossOfPixels(
            codec.method,
            fmt.rows * fmt.columns * fmt.samples * fmt.bits_allocated * parts.read_frames() // 8,
            spool.size,
            f"Lossy compression with {codec.family.value}, quality {order.quality}",
            new_uid,
        )
        old = {tag: parts.get_text(tag) for tag in parts.values}
        self._uid = new_uid or self._uid
        return describe_loss(loss, old, source, self._layout)

    def _rewrite_header(self, changes: Mapping[int, NewElement | NewItems]) -> list[Piece]:
        parts = self._parts
        removed = _OF_ENCAPSULATION - changes.keys()
        rules = HeaderRules(changes, frozenset(removed))
        if parts.layout is self._layout:
            view = parts.view[: parts.header_end]
            self._stack.callback(view.release)
            return rewrite_data_set(view, parts.start, self._layout, rules)
        whole = b"".join(self._recode(parts.start, parts.header_end))
        return rewrite_data_set(whole, 0, self._layout, rules)

    def _write_native(self, spool: FrameSpool) -> list[Piece]:
        length = spool.size + spool.size % 2
        vr = b"OW\0\0" if self._layout.is_explicit else b""
        header = _PIXEL_DATA_TAG + vr + length.to_bytes(4, "little")
        return [header, *spool.finish(), b"\0" * (spool.size % 2)]

    def _write_encapsulated(
        self, spool: FrameSpool, changes: dict[int, NewElement | NewItems]
    ) -> list[Piece]:
        tables = build_offset_tables(spool.lengths)
        if tables.offsets:
            changes[_OFFSETS] = NewElement("OV", tables.offsets)
            changes[_LENGTHS] = NewElement("OV", tables.lengths)
        header = _PIXEL_DATA_TAG + b"OB\0\0" + UNDEFINED_LENGTH.to_bytes(4, "little")
        item = build_item(len(tables.basic))
        return [header, item, tables.basic, *spool.finish(), _END]

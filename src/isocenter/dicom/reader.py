"""The hot scanner: what storing an instance must know of its header.

Elements that nobody asked for cost one ``struct`` call and two set look-ups. The scan ends at the
pixel data; these are only checked for being complete.

References
----------
PS3.5 §7, PS3.10 §7.1; Orthanc REST: POST /instances (refused files by observation)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

from isocenter.dicom.character_sets import CharacterSet, build_character_set, strip_padding
from isocenter.dicom.deflate import read_inflated
from isocenter.dicom.elements import (
    IMPLICIT_LITTLE,
    MAXIMUM_NESTED,
    PIXEL_DATA,
    UNDEFINED_LENGTH,
    Buffer,
    Layout,
    measure_fragments,
    measure_within,
    read_element_header,
    read_long_header,
    too_many,
    truncated,
)
from isocenter.dicom.file_meta import FileMeta, choose_layout, read_file_meta
from isocenter.dicom.identifiers import PublicIds, build_public_ids
from isocenter.dicom.json_forms import build_items_json
from isocenter.dicom.tags import DEFAULT_DICTIONARY, format_tag, is_private
from isocenter.dicom.transfer_syntaxes import is_encapsulated, lookup_transfer_syntax
from isocenter.dicom.values import NUMBER_VRS, TEXT_VRS, format_numbers, format_text, format_unknown
from isocenter.errors import BadFileFormatError, MissingTagError

__all__ = [
    "MAXIMUM_TOP_LEVEL",
    "MAXIMUM_VALUE_BYTES",
    "FileSummary",
    "FileValues",
    "Hit",
    "Identity",
    "build_identity",
    "build_summary",
    "check_pixel_data",
    "find_character_set",
    "lookup_vr",
    "read_located",
    "read_summary",
    "read_text",
    "read_values",
    "summarize",
]

_SPECIFIC_CHARACTER_SET = 0x00080005
_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_PATIENT_ID = 0x00100020
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E

_IDENTIFIERS = frozenset(
    {_SOP_INSTANCE_UID, _PATIENT_ID, _STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID}
)

MAXIMUM_VALUE_BYTES = 64 * 1024
"""A longer value is passed over, as if it were absent; identifiers are read however long."""

MAXIMUM_TOP_LEVEL = 1 << 18
"""The most elements outside of sequences, padding aside."""

# Padding is looked through in pieces of this size.
_PADDING_BYTES = 1 << 20

_ALWAYS_READ = frozenset(
    {
        _SPECIFIC_CHARACTER_SET,
        _SOP_CLASS_UID,
        _SOP_INSTANCE_UID,
        _PATIENT_ID,
        _STUDY_INSTANCE_UID,
        _SERIES_INSTANCE_UID,
        PIXEL_DATA,
    }
)


@dataclass(frozen=True, slots=True)
class FileSummary:
    r"""What storing an instance must know of its header.

    Parameters
    ----------
    transfer_syntax_uid
        As declared, or that of the guessed encoding.
    sop_class_uid
        ``None`` if the data set has none.
    values
        Text of the wanted elements that are there, always with the four identifiers, the SOP class
        and the character set; multiple values joined with a backslash, empty values as ``""``.
        Binary values are left out.
    sequences
        Items of the wanted sequences in the human shape of JSON.
    pixel_data_offset
        Offset of the pixel data element (of its tag) in the buffer; ``None`` if there is none or
        the data set is deflated.
    pixel_data_vr
        Its VR as found; ``OW`` in implicit encoding.
    has_meta_header
        Whether the buffer holds file meta information.
    specific_character_set
        Value of (0008,0005), or ``None``.
    """

    transfer_syntax_uid: str
    sop_class_uid: str | None
    values: Mapping[int, str]
    sequences: Mapping[int, list[dict[str, Any]]]
    pixel_data_offset: int | None
    pixel_data_vr: str | None
    has_meta_header: bool
    specific_character_set: str | None


class FileValues(NamedTuple):
    """The wanted elements of a header: text by tag, and the items of sequences by tag."""

    values: Mapping[int, str]
    sequences: Mapping[int, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Identity:
    """The four DICOM identifiers of an instance and the public identifiers made of them."""

    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    public_ids: PublicIds


Hit: TypeAlias = tuple[int, str | None, int, int]
"""A wanted element: tag, VR (None in implicit encoding), start and end of its value."""

T = TypeVar("T")


class _Question(NamedTuple):
    """What is to be read of a file."""

    wanted: frozenset[int]
    default_encoding: str
    is_whole: bool


class _Scan(NamedTuple):
    """What one walk over a data set found; ``pixel_data`` is the offset of that element."""

    hits: list[Hit]
    pixel_data: int | None


def read_summary(
    buffer: Buffer,
    *,
    wanted: frozenset[int],
    default_encoding: str = "Latin1",
    transfer_syntax_uid: str | None = None,
    is_whole: bool = True,
) -> FileSummary:
    """Read what storing an instance needs, in one pass up to the pixel data.

    Parameters
    ----------
    buffer
        A whole DICOM file, or a bare data set.
    wanted
        Tags of the elements to read.
    default_encoding
        Character set of a file that names none, see ``character_sets.DEFAULT_ENCODINGS``.
    transfer_syntax_uid
        Given for a bare data set whose encoding is known, as in C-STORE.
    is_whole
        False if the buffer ends with the header of the pixel data; these are then not checked.

    Raises
    ------
    BadFileFormatError
        If the buffer is no DICOM, or a length contradicts the size of the data, pixel data
        included.

    References
    ----------
    PS3.10 §7, PS3.5 §7; Orthanc REST: POST /instances (behaviour manual §8.1)
    """
    if transfer_syntax_uid is None:
        meta = read_file_meta(buffer)
    else:
        meta = _describe_bare_data_set(transfer_syntax_uid)
    return summarize(
        buffer, meta, wanted=wanted, default_encoding=default_encoding, is_whole=is_whole
    )


def summarize(
    buffer: Buffer,
    meta: FileMeta,
    *,
    wanted: frozenset[int],
    default_encoding: str,
    is_whole: bool,
) -> FileSummary:
    """Read a summary as `read_summary` does, of a file whose meta information was read before.

    Raises
    ------
    BadFileFormatError
        See there.
    """
    question = _Question(wanted, default_encoding, is_whole)
    if meta.is_deflated:
        return read_inflated(
            buffer,
            meta.data_set_offset,
            lambda data: _summarize(data, 0, meta, question),
        )
    return _summarize(buffer, meta.data_set_offset, meta, question)


def read_values(
    buffer: Buffer, *, wanted: frozenset[int], default_encoding: str = "Latin1"
) -> FileValues:
    """Read some elements of a file.

    Parameters
    ----------
    buffer
        A DICOM file, or its beginning up to and including the header of the pixel data.
    wanted
        Tags of the elements to read; more may come back. Those behind the pixel data are not found.
    default_encoding
        Character set of a file that names none.

    Raises
    ------
    BadFileFormatError
        If the buffer is no DICOM file or ends inside an element before the pixel data.

    References
    ----------
    Orthanc REST: requested tags (behaviour manual §4.4)
    """
    meta = read_file_meta(buffer)

    def read(data: Buffer, start: int) -> FileValues:
        scan = _scan(data, start, meta.layout, wanted)
        return _read_hits(data, scan.hits, meta.layout, default_encoding)

    if meta.is_deflated:
        return read_inflated(buffer, meta.data_set_offset, lambda data: read(data, 0))
    return read(buffer, meta.data_set_offset)


def read_located(
    buffer: Buffer,
    read: Callable[[Buffer, FileMeta, Sequence[Hit]], T],
    *,
    wanted: frozenset[int],
) -> T:
    """Find some elements of a file, and give their places to a function.

    Parameters
    ----------
    buffer
        A DICOM file, or its beginning up to and including the header of the pixel data.
    read
        Gets the data set (the inflated one if it is deflated), the file meta information and the
        elements in the order of the file; ends are checked.
    wanted
        Tags of the elements to find; more may come. Those behind the pixel data are not found.

    Raises
    ------
    BadFileFormatError
        If the buffer is no DICOM file or ends inside an element before the pixel data.

    References
    ----------
    PS3.10 §7, PS3.5 §7
    """
    meta = read_file_meta(buffer)

    def locate(data: Buffer, start: int) -> T:
        return read(data, meta, _scan(data, start, meta.layout, wanted).hits)

    if meta.is_deflated:
        return read_inflated(buffer, meta.data_set_offset, lambda data: locate(data, 0))
    return locate(buffer, meta.data_set_offset)


def build_identity(summary: FileSummary) -> Identity:
    """Take the identifiers of an instance and compute its public identifiers.

    Raises
    ------
    MissingTagError
        If the Study, Series or SOP Instance UID is absent.
    BadFileFormatError
        If one of them is empty.

    References
    ----------
    Orthanc REST: identifier recipe (behaviour manual §1.2)
    """
    study, series, instance = (
        _get_identifier(summary, tag)
        for tag in (_STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID, _SOP_INSTANCE_UID)
    )
    patient = summary.values.get(_PATIENT_ID, "")
    return Identity(
        patient_id=patient,
        study_instance_uid=study,
        series_instance_uid=series,
        sop_instance_uid=instance,
        public_ids=build_public_ids(patient, study, series, instance),
    )


def _get_identifier(summary: FileSummary, tag: int) -> str:
    value = summary.values.get(tag)
    if value is None:
        raise MissingTagError(f"The DICOM data set lacks ({format_tag(tag)})")
    if not value:
        raise BadFileFormatError(f"The DICOM data set has an empty ({format_tag(tag)})")
    return value


def _describe_bare_data_set(transfer_syntax_uid: str) -> FileMeta:
    syntax = lookup_transfer_syntax(transfer_syntax_uid)
    return FileMeta(
        transfer_syntax_uid=transfer_syntax_uid,
        layout=choose_layout(transfer_syntax_uid),
        is_deflated=syntax is not None and syntax.is_deflated,
        data_set_offset=0,
        has_meta_header=False,
        elements={},
    )


def _summarize(buffer: Buffer, start: int, meta: FileMeta, question: _Question) -> FileSummary:
    scan = _scan(buffer, start, meta.layout, question.wanted)
    pixel_data, pixel_data_vr = check_pixel_data(
        buffer, scan.pixel_data, meta, is_whole=question.is_whole
    )
    read = _read_hits(buffer, scan.hits, meta.layout, question.default_encoding)
    return build_summary(meta, read, pixel_data, pixel_data_vr)


def build_summary(
    meta: FileMeta, read: FileValues, pixel_data: int | None, pixel_data_vr: str | None
) -> FileSummary:
    """Put together what was read of a file.

    Parameters
    ----------
    pixel_data, pixel_data_vr
        What `check_pixel_data` gives.
    """
    return FileSummary(
        transfer_syntax_uid=meta.transfer_syntax_uid,
        sop_class_uid=read.values.get(_SOP_CLASS_UID),
        values=read.values,
        sequences=read.sequences,
        pixel_data_offset=pixel_data,
        pixel_data_vr=pixel_data_vr,
        has_meta_header=meta.has_meta_header,
        specific_character_set=read.values.get(_SPECIFIC_CHARACTER_SET),
    )


def _scan(buffer: Buffer, start: int, layout: Layout, wanted: frozenset[int]) -> _Scan:
    keys = _build_keys(wanted, layout)
    if layout.is_explicit:
        return _scan_explicit(buffer, start, layout, keys)
    return _scan_implicit(buffer, start, layout, keys)


def _read_hits(
    buffer: Buffer, hits: list[Hit], layout: Layout, default_encoding: str
) -> FileValues:
    """Turn the elements that were found into text and JSON; binary ones are left out."""
    values: dict[int, str] = {}
    sequences: dict[int, list[dict[str, Any]]] = {}
    character_set = find_character_set(buffer, hits, default_encoding)
    for tag, vr, value, stop in hits:
        if tag in values or tag in sequences:
            continue  # Of equal tags the first one counts.
        if stop - value > MAXIMUM_VALUE_BYTES and tag not in _IDENTIFIERS:
            continue
        known_vr = lookup_vr(tag, values) if vr is None or vr == "UN" else vr
        if vr == "SQ" or (vr is None and known_vr == "SQ"):
            sequences[tag] = build_items_json(
                buffer, value, stop, layout=layout, character_set=character_set
            )
            continue
        data = bytes(buffer[value:stop])
        text = read_text(vr or known_vr, data, known_vr, layout, character_set)
        if text is not None:
            values[tag] = text
    return FileValues(values, sequences)


def lookup_vr(tag: int, values: Mapping[int, str]) -> str:
    """Find the VR of an element in the dictionary; private creators stand before their blocks."""
    creator = values.get(_build_creator(tag)) if is_private(tag) else None
    return DEFAULT_DICTIONARY.lookup_vr(tag, creator)


def _build_creator(tag: int) -> int:
    """Build the tag of the private creator that reserves the block of an element."""
    return tag & 0xFFFF0000 | tag >> 8 & 0xFF


@lru_cache(maxsize=64)
def _build_keys(wanted: frozenset[int], layout: Layout) -> dict[int, int]:
    """Map the raw keys of the elements to read to their tags."""
    creators = {_build_creator(tag) for tag in wanted if is_private(tag)}
    return {layout.encode_key(tag): tag for tag in wanted | creators | _ALWAYS_READ}


def _scan_explicit(buffer: Buffer, start: int, layout: Layout, keys: dict[int, int]) -> _Scan:
    unpack, short_vrs = layout.unpack_key, layout.short_vrs
    end = len(buffer)
    last = end - 8
    hits: list[Hit] = []
    position = start
    left = MAXIMUM_NESTED
    for _ in range(MAXIMUM_TOP_LEVEL):
        if position > last:
            break
        key, vr, length = unpack(buffer, position)
        if vr in short_vrs:
            value = position + 8
            stop = value + length
            name: str | None = None
        else:
            if keys.get(key) == PIXEL_DATA:
                return _Scan(hits, position)
            name, value, length = read_long_header(buffer, position, vr, layout)
            stop = value + length
            if length == UNDEFINED_LENGTH:
                items = IMPLICIT_LITTLE if name == "UN" else layout
                stop, left = measure_within(buffer, value, end, items, left)
        if key in keys:
            tag = keys[key]
            if tag == PIXEL_DATA:
                return _Scan(hits, position)
            hits.append((tag, name or layout.vr_names[vr], value, stop))
        position = stop
    else:
        position = _pass_padding(buffer, position)
    if position != end:
        raise truncated()
    return _Scan(hits, None)


def _scan_implicit(buffer: Buffer, start: int, layout: Layout, keys: dict[int, int]) -> _Scan:
    unpack = layout.unpack_key
    end = len(buffer)
    last = end - 8
    hits: list[Hit] = []
    position = start
    left = MAXIMUM_NESTED
    for _ in range(MAXIMUM_TOP_LEVEL):
        if position > last:
            break
        key, length = unpack(buffer, position)
        value = position + 8
        if keys.get(key) == PIXEL_DATA:
            return _Scan(hits, position)
        if length == UNDEFINED_LENGTH:
            stop, left = measure_within(buffer, value, end, layout, left)
        else:
            stop = value + length
        if key in keys:
            hits.append((keys[key], None, value, stop))
        position = stop
    else:
        position = _pass_padding(buffer, position)
    if position != end:
        raise truncated()
    return _Scan(hits, None)


def _pass_padding(buffer: Buffer, position: int) -> int:
    """Go to the end of zeros, as there are behind files of a medium with blocks.

    Raises
    ------
    BadFileFormatError
        If something else follows: more elements than are read.
    """
    end = len(buffer)
    for start in range(position, end, _PADDING_BYTES):
        piece = bytes(buffer[start : start + _PADDING_BYTES])
        if piece.count(0) != len(piece):
            raise too_many(MAXIMUM_TOP_LEVEL)
    # Zeros are empty elements of 8 bytes.
    return end - (end - position) % 8


def check_pixel_data(
    buffer: Buffer, position: int | None, meta: FileMeta, *, is_whole: bool
) -> tuple[int | None, str | None]:
    """Find the VR of the pixel data and check that they are complete.

    Pixel data that are encapsulated by the transfer syntax and yet have a length are refused, as
    by Orthanc (measured).
    """
    if position is None:
        return None, None
    end = len(buffer)
    _, vr, value, length = read_element_header(buffer, position, end, meta.layout)
    if meta.is_deflated:
        return None, vr or "OW"
    if not is_whole:
        return position, vr or "OW"
    if length == UNDEFINED_LENGTH:
        measure_fragments(buffer, value, end)
    elif value + length > end:
        raise truncated()
    elif is_encapsulated(meta.transfer_syntax_uid):
        raise BadFileFormatError("The pixel data should be encapsulated and are not")
    return position, vr or "OW"


def find_character_set(buffer: Buffer, hits: list[Hit], default_encoding: str) -> CharacterSet:
    """Find the character set among the elements that were found (PS3.3 §C.12.1.1.2)."""
    for tag, _, value, stop in hits:
        if tag == _SPECIFIC_CHARACTER_SET:
            text = strip_padding(bytes(buffer[value:stop])).decode("ascii", "ignore")
            return build_character_set(text, default_encoding)
    return build_character_set(None, default_encoding)


def read_text(
    vr: str, data: bytes, known_vr: str, layout: Layout, character_set: CharacterSet
) -> str | None:
    """Turn a value into text, or into ``None`` if it is binary.

    Parameters
    ----------
    vr
        As found, or what the dictionary says in implicit encoding.
    known_vr
        What the dictionary says of an element that is ``UN``.
    """
    if vr in TEXT_VRS:
        return format_text(data, vr, character_set)
    if vr in NUMBER_VRS:
        return format_numbers(data, vr, layout.byte_order)
    if vr == "UN" and known_vr in TEXT_VRS:
        return format_unknown(data, known_vr, character_set)
    return None

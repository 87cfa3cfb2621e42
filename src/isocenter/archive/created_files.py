"""From a request and its parent to DICOM files.

References
----------
Orthanc REST: POST /tools/create-dicom (behaviour manual §21); PS3.3 §A.8.1 (Secondary Capture),
§A.45.1 (Encapsulated PDF), §C.7.6.3 (pixels), §C.7.6.1.1.5 (lossy compression)
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from isocenter.archive.creation_requests import (
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    CreationItem,
    CreationRequest,
    decode_data_uri,
)
from isocenter.clock import format_timestamp
from isocenter.dicom.character_sets import DEFAULT_ENCODINGS, normalize_character_set
from isocenter.dicom.elements import EXPLICIT_LITTLE
from isocenter.dicom.encoding import DataURIs, Encoder, TextCodec, iter_texts
from isocenter.dicom.new_elements import NewElement, NewItems
from isocenter.dicom.new_files import JPEG_BASELINE, Pixels, build_file
from isocenter.dicom.portable import PortableElement
from isocenter.dicom.tags import TagDictionary, is_private, is_private_creator
from isocenter.dicom.uids import build_uid
from isocenter.errors import (
    BadFileFormatError,
    BadParameterError,
    OverriddenTagError,
    ParentEncodingError,
)
from isocenter.pixels.images import (
    Image,
    decode_jpeg,
    decode_pam,
    decode_png,
    read_jpeg_header,
)

__all__ = ["SPECIFIC_CHARACTER_SET", "FileBuilder", "Inherited"]

SPECIFIC_CHARACTER_SET = 0x00080005
_SOP_CLASS_UID = 0x00080016
_MODALITY = 0x00080060
_CONVERSION_TYPE = 0x00080064
_PATIENT_ID = 0x00100020
_INSTANCE_NUMBER = 0x00200013
_NUMBER_OF_TEMPORAL_POSITIONS = 0x00200105
_IMAGES_IN_ACQUISITION = 0x00201002
_IMAGE_INDEX = 0x00541330
# What the instances of a series get whatever the client gives, as in Orthanc.
_NUMBERED = frozenset(
    {_INSTANCE_NUMBER, _IMAGES_IN_ACQUISITION, _IMAGE_INDEX, _NUMBER_OF_TEMPORAL_POSITIONS}
)
_SAMPLES_PER_PIXEL = 0x00280002
_PHOTOMETRIC_INTERPRETATION = 0x00280004
_PLANAR_CONFIGURATION = 0x00280006
_ROWS = 0x00280010
_COLUMNS = 0x00280011
_BITS_ALLOCATED = 0x00280100
_BITS_STORED = 0x00280101
_HIGH_BIT = 0x00280102
_PIXEL_REPRESENTATION = 0x00280103
_LOSSY_IMAGE_COMPRESSION = 0x00282110
_LOSSY_IMAGE_COMPRESSION_METHOD = 0x00282114
_ENCAPSULATED_DOCUMENT = 0x00420011
_MIME_TYPE_OF_ENCAPSULATED_DOCUMENT = 0x00420012
# Dates and the times that go with them: of the creation, the study, the series, the acquisition
# and the content.
_DATES = (0x00080012, 0x00080020, 0x00080021, 0x00080022, 0x00080023)
_TIMES = (0x00080013, 0x00080030, 0x00080031, 0x00080032, 0x00080033)

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_PDF = "application/pdf"
_PDF_START = b"%PDF-"
# Media type to SOP class and modality (PS3.4 §B.5).
_DOCUMENTS = {
    _PDF: ("1.2.840.10008.5.1.4.1.1.104.1", "OT"),
    "model/stl": ("1.2.840.10008.5.1.4.1.1.104.3", "M3D"),
    "model/obj": ("1.2.840.10008.5.1.4.1.1.104.4", "M3D"),
    "model/mtl": ("1.2.840.10008.5.1.4.1.1.104.5", "M3D"),
}
_WORKSTATION = "WSD"
_RAW = "application/octet-stream"
_JPEG = "image/jpeg"
_DECODERS = {
    "image/png": decode_png,
    _JPEG: decode_jpeg,
    "image/x-portable-arbitrarymap": decode_pam,
}
_IS_LOSSY = "01"
_JPEG_METHOD = "ISO_10918_1"
_ASCII = "ISO_IR 6"
_UTF8 = "ISO_IR 192"
_PADDING = b" \0"

Encoded = NewElement | NewItems


@dataclass(frozen=True, slots=True)
class Inherited:
    """What comes from the parent.

    Attributes
    ----------
    elements
        Of the modules of the parent and its ancestors, as one of its files has them.
    tags
        All tags of these modules, whether the file has them or not.
    specific_character_set
        Of that file, empty if it names none.
    """

    elements: Mapping[int, PortableElement]
    tags: frozenset[int]
    specific_character_set: str


@dataclass(frozen=True, slots=True)
class _Content:
    """What a content adds to an instance.

    Attributes
    ----------
    forced, defaults
        Values that win over those of the client, and values for where there is none.
    """

    forced: dict[int, Encoded] = field(default_factory=dict)
    defaults: dict[int, str] = field(default_factory=dict)
    pixels: Pixels | None = None


class FileBuilder:
    """Builds the files of a request. Blocks; for worker threads.

    Parameters
    ----------
    inherited
        ``None`` if the request names no parent.
    default_encoding
        Character set where nothing else says one.
    created_at
        Seconds since 1970, UTC.

    Raises
    ------
    RequestError
        If the tags contradict the parent, or do not fit the character set.
    """

    def __init__(
        self,
        request: CreationRequest,
        inherited: Inherited | None,
        *,
        dictionary: TagDictionary,
        default_encoding: str,
        created_at: int,
    ) -> None:
        self._request = request
        self._inherited = inherited
        self._dictionary = dictionary
        codec, term = _choose_codec(request, inherited, default_encoding)
        data_uris = DataURIs.BINARY if request.interprets_binary else DataURIs.NONE
        self._encoder = Encoder(
            EXPLICIT_LITTLE, codec, dictionary, request.private_creator, data_uris
        )
        self._date, _, self._time = format_timestamp(created_at).partition("T")
        self._base: dict[int, Encoded] = {}
        if inherited is not None:
            for tag, element in inherited.elements.items():
                self._base[tag] = self._encoder.encode_portable(element)
        self._inherited_tags = frozenset(self._base)
        self._base |= self._encode_tags(request.tags, self._base)
        if term:
            self._base[SPECIFIC_CHARACTER_SET] = NewElement("CS", term.encode("ascii"))
        else:
            self._base.pop(SPECIFIC_CHARACTER_SET, None)
        self._add_defaults(self._list_defaults())

    def iter_files(self) -> Iterator[list[bytes]]:
        """Build one file after another, each in pieces.

        Raises
        ------
        RequestError
            If a content is not what it should be, or a tag does not fit.
        """
        for number, item in enumerate(self._request.items, 1):
            yield self._build(item, number)

    def _build(self, item: CreationItem, number: int) -> list[bytes]:
        own = {tag: value for tag, value in item.tags.items() if tag not in _NUMBERED}
        elements = self._base | self._encode_tags(own, self._base, are_kept=True)
        if self._request.is_series:
            if SOP_INSTANCE_UID not in item.tags:
                elements[SOP_INSTANCE_UID] = NewElement("UI", build_uid().encode())
            elements |= self._encode_texts(self._number(number))
        content = _Content() if item.content is None else self._read_content(item.content)
        defaults = {_SOP_CLASS_UID: _SECONDARY_CAPTURE} | content.defaults
        missing = {tag: text for tag, text in defaults.items() if tag not in elements}
        elements |= self._encode_texts(missing) | content.forced
        return build_file(elements, content.pixels)

    def _number(self, number: int) -> dict[int, str]:
        return {
            _INSTANCE_NUMBER: str(number),
            _IMAGE_INDEX: str(number),
            # Together they tell how many instances the series is to have.
            _IMAGES_IN_ACQUISITION: str(len(self._request.items)),
            _NUMBER_OF_TEMPORAL_POSITIONS: "1",
        }

    def _encode_tags(
        self, tags: Mapping[int, Any], present: Mapping[int, Encoded], *, are_kept: bool = False
    ) -> dict[int, Encoded]:
        """Encode tags of the client.

        Parameters
        ----------
        present
            What is there already.
        are_kept
            All of that may be repeated only, not only what was inherited.
        """
        creators = self._find_creators(tags)
        encoded: dict[int, Encoded] = {}
        for tag, value in tags.items():
            creator = creators.get(tag & 0xFFFFFF00, self._encoder.private_creator)
            new = replace(self._encoder, private_creator=creator).encode(tag, value)
            is_fixed = (
                tag in (self._request.tags if are_kept else ()) or tag in self._inherited_tags
            )
            if is_fixed and not self._request.is_forced and not _is_equal(new, present[tag]):
                raise OverriddenTagError(self._dictionary.get_name(tag))
            encoded[tag] = new
        return self._list_creators(tags) | encoded

    def _find_creators(self, tags: Mapping[int, Any]) -> dict[int, str]:
        """Find who reserves which block, where the client says so (PS3.5 §7.8.1)."""
        named = {**self._request.tags, **tags}
        return {
            tag & 0xFFFF0000 | (tag & 0xFF) << 8: value.strip()
            for tag, value in named.items()
            if is_private_creator(tag) and isinstance(value, str)
        }

    def _list_creators(self, tags: Mapping[int, Any]) -> dict[int, Encoded]:
        """Reserve blocks for private elements that need one (PS3.5 §7.8.1)."""
        name = self._request.private_creator
        if name is None:
            return {}
        blocks = {
            tag & 0xFFFF0000 | (tag & 0xFFFF) >> 8
            for tag in tags
            if is_private(tag) and not is_private_creator(tag)
        }
        return {
            block: self._encoder.encode_portable(PortableElement("LO", name))
            for block in blocks
            if is_private_creator(block) and block not in self._request.tags
        }

    def _list_defaults(self) -> dict[int, str]:
        defaults = {
            tag: build_uid() for tag in (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID)
        }
        if self._inherited is None:
            defaults[_PATIENT_ID] = str(uuid.uuid4())
        if self._request.has_defaults:
            owned = frozenset() if self._inherited is None else self._inherited.tags
            defaults |= {tag: self._date for tag in _DATES if tag not in owned}
            defaults |= {tag: f"{self._time}.000000" for tag in _TIMES if tag not in owned}
        return defaults

    def _add_defaults(self, defaults: Mapping[int, str]) -> None:
        missing = {tag: text for tag, text in defaults.items() if tag not in self._base}
        self._base |= self._encode_texts(missing)

    def _encode_texts(self, values: Mapping[int, str]) -> dict[int, Encoded]:
        return {tag: self._encoder.encode(tag, text) for tag, text in values.items()}

    def _read_content(self, uri: str) -> _Content:
        kind, data = decode_data_uri(uri)
        if kind in _DOCUMENTS:
            return self._read_document(kind, data)
        if kind == _RAW:
            return _Content(pixels=Pixels((data,)))
        if kind == _JPEG and self._request.keeps_jpeg:
            return self._keep_jpeg(data)
        decode = _DECODERS.get(kind)
        if decode is None:
            raise BadParameterError("a content of this type cannot be stored as DICOM")
        image = decode(data)
        photometric = "MONOCHROME2" if image.samples == 1 else "RGB"
        return self._describe_image(
            image, photometric, Pixels(image.pieces), is_lossy=kind == _JPEG
        )

    def _read_document(self, kind: str, data: bytes) -> _Content:
        if not data or (kind == _PDF and not data.startswith(_PDF_START)):
            raise BadFileFormatError("the content is not a document of its type")
        sop_class, modality = _DOCUMENTS[kind]
        forced: dict[int, Encoded] = {
            _ENCAPSULATED_DOCUMENT: NewElement("OB", data),
            _MIME_TYPE_OF_ENCAPSULATED_DOCUMENT: NewElement("LO", kind.encode("ascii")),
        }
        defaults = {_SOP_CLASS_UID: sop_class, _MODALITY: modality}
        if kind == _PDF:
            defaults[_CONVERSION_TYPE] = _WORKSTATION
        return _Content(forced, defaults)

    def _keep_jpeg(self, data: bytes) -> _Content:
        """Keep a JPEG image as it is (PS3.5 §8.2.1)."""
        header = read_jpeg_header(data)
        if not header.is_baseline or header.components not in {1, 3}:
            raise BadFileFormatError("only a baseline JPEG image, gray or colored, can be kept")
        if not header.rows or not header.columns:
            raise BadFileFormatError("a JPEG image must have rows and columns")
        photometric = "YBR_FULL_422" if header.is_subsampled else "YBR_FULL"
        if header.has_rgb:
            photometric = "RGB"
        if header.components == 1:
            photometric = "MONOCHROME2"
        image = Image(header.rows, header.columns, header.components, 8, 8, ())
        pixels = Pixels((data,), JPEG_BASELINE)
        return self._describe_image(image, photometric, pixels, is_lossy=True)

    def _describe_image(
        self, image: Image, photometric: str, pixels: Pixels, *, is_lossy: bool
    ) -> _Content:
        values = {
            _SAMPLES_PER_PIXEL: image.samples,
            _ROWS: image.rows,
            _COLUMNS: image.columns,
            _BITS_ALLOCATED: image.bits_allocated,
            _BITS_STORED: image.bits_stored,
            _HIGH_BIT: image.bits_stored - 1,
            _PIXEL_REPRESENTATION: 0,
        }
        if image.samples == 3:
            values[_PLANAR_CONFIGURATION] = 0
        texts = {tag: str(value) for tag, value in values.items()}
        defaults = {_PHOTOMETRIC_INTERPRETATION: photometric}
        if pixels.transfer_syntax_uid == JPEG_BASELINE:
            texts[_PHOTOMETRIC_INTERPRETATION] = photometric
        if is_lossy:
            defaults[_LOSSY_IMAGE_COMPRESSION] = _IS_LOSSY
            defaults[_LOSSY_IMAGE_COMPRESSION_METHOD] = _JPEG_METHOD
        return _Content(self._encode_texts(texts), defaults, pixels)


def _is_equal(new: Encoded, present: Encoded) -> bool:
    if isinstance(new, NewElement) and isinstance(present, NewElement):
        return new.value.rstrip(_PADDING) == present.value.rstrip(_PADDING)
    return new == present


def _choose_codec(
    request: CreationRequest, inherited: Inherited | None, default_encoding: str
) -> tuple[TextCodec, str]:
    """Choose the character set of all files, and what they say of it; empty for nothing.

    The client's own one must hold all text; of the parent's, the default one and UTF-8 the first
    that does is taken.
    """
    wanted = request.tags.get(SPECIFIC_CHARACTER_SET)
    if isinstance(wanted, str):
        term = normalize_character_set(wanted) or ""
        if not TextCodec.is_supported(term):
            raise BadParameterError("the SpecificCharacterSet is not known")
        return TextCodec(term), term
    values = [*request.tags.values(), *(item.tags for item in request.items)]
    if inherited is not None:
        values += inherited.elements.values()
    texts = [text for value in values for text in iter_texts(value) if not text.isascii()]
    term = DEFAULT_ENCODINGS.get(default_encoding, "")
    if inherited is not None and inherited.specific_character_set:
        found = normalize_character_set(inherited.specific_character_set)
        if found is None:
            raise ParentEncodingError
        term = found
    if not texts:
        is_said = request.has_defaults and term != _ASCII
        return TextCodec(""), term if is_said else ""
    if term != _ASCII and TextCodec.is_supported(term):
        codec = TextCodec(term)
        if all(map(codec.can_encode, texts)):
            return codec, term
    return TextCodec(_UTF8), _UTF8

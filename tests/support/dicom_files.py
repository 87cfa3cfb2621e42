"""Builders of synthetic DICOM files, byte by byte and without the code under test.

The elements are written as the standard prints them (PS3.5 §7.1), so that a test can also build
what is wrong: false lengths, missing delimiters, foreign value representations.
"""

import struct
from collections.abc import Mapping

__all__ = [
    "CT_IMAGE_STORAGE",
    "EXPLICIT_BIG",
    "EXPLICIT_LITTLE",
    "IMPLICIT_LITTLE",
    "JPEG_BASELINE",
    "UNDEFINED",
    "build_data_set",
    "build_file",
    "build_instance",
    "encode_element",
    "encode_fragments",
    "encode_item",
    "encode_meta",
    "encode_sequence",
    "identifiers",
]

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"

UNDEFINED = 0xFFFFFFFF

Elements = Mapping[int, tuple[str, bytes | str]]

_LONG_VRS = frozenset("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # noqa: SIM905


def encode_element(
    tag: int,
    vr: str,
    value: bytes | str,
    *,
    syntax: str = EXPLICIT_LITTLE,
    length: int | None = None,
) -> bytes:
    """Write one element; text is padded to an even length, bytes are taken as they are."""
    data = value if isinstance(value, bytes) else _pad(value.encode("ascii"), vr)
    order = ">" if syntax == EXPLICIT_BIG else "<"
    size = len(data) if length is None else length
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT_LITTLE:
        return head + struct.pack("<I", size) + data
    if vr in _LONG_VRS:
        return head + vr.encode() + b"\0\0" + struct.pack(f"{order}I", size) + data
    return head + vr.encode("latin-1") + struct.pack(f"{order}H", size) + data


def _pad(data: bytes, vr: str) -> bytes:
    return data + (b"\0" if vr == "UI" else b" ") * (len(data) & 1)


def encode_item(content: bytes, *, is_undefined: bool = False, order: str = "<") -> bytes:
    """Write an item, with its length or with a delimitation item."""
    tag = struct.pack(f"{order}HH", 0xFFFE, 0xE000)
    if not is_undefined:
        return tag + struct.pack(f"{order}I", len(content)) + content
    end = struct.pack(f"{order}HHI", 0xFFFE, 0xE00D, 0)
    return tag + struct.pack(f"{order}I", UNDEFINED) + content + end


def encode_sequence(
    tag: int,
    items: list[bytes],
    *,
    syntax: str = EXPLICIT_LITTLE,
    vr: str = "SQ",
    is_undefined: bool = False,
) -> bytes:
    """Write a sequence; with ``is_undefined`` it and its items have undefined lengths."""
    order = ">" if syntax == EXPLICIT_BIG else "<"
    encoded = [encode_item(item, is_undefined=is_undefined, order=order) for item in items]
    content = b"".join(encoded)
    if not is_undefined:
        return encode_element(tag, vr, content, syntax=syntax)
    content += struct.pack(f"{order}HHI", 0xFFFE, 0xE0DD, 0)
    return encode_element(tag, vr, content, syntax=syntax, length=UNDEFINED)


def encode_fragments(fragments: list[bytes], *, is_complete: bool = True) -> bytes:
    """Write encapsulated pixel data with an empty offset table (PS3.5 §A.4)."""
    content = b"".join([encode_item(b""), *(encode_item(fragment) for fragment in fragments)])
    if is_complete:
        content += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return encode_element(0x7FE00010, "OB", content, length=UNDEFINED)


def encode_meta(syntax: str = EXPLICIT_LITTLE, *, has_preamble: bool = True) -> bytes:
    """Write the preamble and the file meta information (PS3.10 §7.1)."""
    body = b"".join(
        (
            encode_element(0x00020001, "OB", b"\0\1"),
            encode_element(0x00020002, "UI", CT_IMAGE_STORAGE),
            encode_element(0x00020003, "UI", "1.2.3.4"),
            encode_element(0x00020010, "UI", syntax),
            encode_element(0x00020012, "UI", "1.2.3"),
        )
    )
    head = encode_element(0x00020000, "UL", struct.pack("<I", len(body)))
    preamble = b"\0" * 128 + b"DICM" if has_preamble else b""
    return preamble + head + body


def identifiers(
    *,
    patient_id: str = "P-1",
    study: str = "1.2.3.1",
    series: str = "1.2.3.1.1",
    instance: str = "1.2.3.1.1.1",
) -> dict[int, tuple[str, bytes | str]]:
    """Build the elements that name an instance and its ancestors."""
    return {
        0x00080016: ("UI", CT_IMAGE_STORAGE),
        0x00080018: ("UI", instance),
        0x00100020: ("LO", patient_id),
        0x0020000D: ("UI", study),
        0x0020000E: ("UI", series),
    }


def build_data_set(elements: Elements, *, syntax: str = EXPLICIT_LITTLE) -> bytes:
    """Write elements in the order of their tags."""
    return b"".join(encode_element(tag, *elements[tag], syntax=syntax) for tag in sorted(elements))


def build_file(data_set: bytes, *, syntax: str = EXPLICIT_LITTLE) -> bytes:
    """Put file meta information in front of an encoded data set."""
    return encode_meta(syntax) + data_set


def build_instance(
    extra: Elements | None = None,
    *,
    patient_id: str = "P-1",
    study: str = "1.2.3.1",
    series: str = "1.2.3.1.1",
    instance: str = "1.2.3.1.1.1",
    tail: bytes = b"",
) -> bytes:
    """Build a file in explicit little endian with the four identifiers.

    Parameters
    ----------
    extra
        More elements; they replace the identifiers of the same tag.
    tail
        Encoded elements to put at the end.
    """
    elements = identifiers(patient_id=patient_id, study=study, series=series, instance=instance)
    return build_file(build_data_set({**elements, **(extra or {})}) + tail)

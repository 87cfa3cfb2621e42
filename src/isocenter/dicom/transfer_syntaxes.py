"""The transfer syntaxes that the server knows.

References
----------
PS3.5 §10 and §A, PS3.6 Table A-1; Orthanc REST: transfer syntaxes (behaviour manual, appendix D)
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate

__all__ = [
    "DEFLATED",
    "EXPLICIT_VR_BIG_ENDIAN",
    "EXPLICIT_VR_LITTLE_ENDIAN",
    "IMPLICIT_VR_LITTLE_ENDIAN",
    "TRANSFER_SYNTAXES",
    "TransferSyntax",
    "find_transfer_syntaxes",
    "is_encapsulated",
    "lookup_transfer_syntax",
]

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"

# PS3.5 §9.1; leading zeros are let pass.
_UID = re.compile(r"\d+(\.\d+)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """How a data set is encoded.

    Parameters
    ----------
    is_encapsulated
        Whether pixel data come as fragments.
    """

    uid: str
    name: str
    is_explicit: bool = True
    is_big_endian: bool = False
    is_deflated: bool = False
    is_encapsulated: bool = True


def _build_native() -> list[TransferSyntax]:
    return [
        TransferSyntax(
            IMPLICIT_VR_LITTLE_ENDIAN,
            "Implicit VR Little Endian",
            is_explicit=False,
            is_encapsulated=False,
        ),
        TransferSyntax(
            EXPLICIT_VR_LITTLE_ENDIAN, "Explicit VR Little Endian", is_encapsulated=False
        ),
        TransferSyntax(
            DEFLATED,
            "Deflated Explicit VR Little Endian",
            is_deflated=True,
            is_encapsulated=False,
        ),
        TransferSyntax(
            EXPLICIT_VR_BIG_ENDIAN,
            "Explicit VR Big Endian",
            is_big_endian=True,
            is_encapsulated=False,
        ),
    ]


_ENCAPSULATED_NAMES = {
    "4.50": "JPEG Baseline (Process 1)",
    "4.51": "JPEG Extended (Process 2 & 4)",
    "4.52": "JPEG Extended (Process 3 & 5)",
    "4.53": "JPEG Spectral Selection, Non-Hierarchical (Process 6 & 8)",
    "4.54": "JPEG Spectral Selection, Non-Hierarchical (Process 7 & 9)",
    "4.55": "JPEG Full Progression, Non-Hierarchical (Process 10 & 12)",
    "4.56": "JPEG Full Progression, Non-Hierarchical (Process 11 & 13)",
    "4.57": "JPEG Lossless, Non-Hierarchical (Process 14)",
    "4.58": "JPEG Lossless, Non-Hierarchical (Process 15)",
    "4.59": "JPEG Extended, Hierarchical (Process 16 & 18)",
    "4.60": "JPEG Extended, Hierarchical (Process 17 & 19)",
    "4.61": "JPEG Spectral Selection, Hierarchical (Process 20 & 22)",
    "4.62": "JPEG Spectral Selection, Hierarchical (Process 21 & 23)",
    "4.63": "JPEG Full Progression, Hierarchical (Process 24 & 26)",
    "4.64": "JPEG Full Progression, Hierarchical (Process 25 & 27)",
    "4.65": "JPEG Lossless, Hierarchical (Process 28)",
    "4.66": "JPEG Lossless, Hierarchical (Process 29)",
    "4.70": "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14)",
    "4.80": "JPEG-LS Lossless Image Compression",
    "4.81": "JPEG-LS Lossy (Near-Lossless) Image Compression",
    "4.90": "JPEG 2000 Image Compression (Lossless Only)",
    "4.91": "JPEG 2000 Image Compression",
    "4.92": "JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)",
    "4.93": "JPEG 2000 Part 2 Multi-component Image Compression",
    "4.100": "MPEG2 Main Profile / Main Level",
    "4.101": "MPEG2 Main Profile / High Level",
    "4.102": "MPEG-4 AVC/H.264 High Profile / Level 4.1",
    "4.103": "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1",
    "4.104": "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video",
    "4.105": "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video",
    "4.106": "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2",
    "4.107": "HEVC/H.265 Main Profile / Level 5.1",
    "4.108": "HEVC/H.265 Main 10 Profile / Level 5.1",
    "4.110": "JPEG XL Lossless",
    "4.111": "JPEG XL JPEG Recompression",
    "4.112": "JPEG XL",
    "4.201": "High-Throughput JPEG 2000 Image Compression (Lossless Only)",
    "4.202": "High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)",
    "4.203": "High-Throughput JPEG 2000 Image Compression",
    "5": "RLE Lossless",
}

# The pixel data of these are elsewhere (JPIP) or absent (RFC 2557, XML): nothing is encapsulated.
_REFERENCED_NAMES = {
    "4.94": "JPIP Referenced",
    "4.95": "JPIP Referenced Deflate",
    "6.1": "RFC 2557 MIME Encapsulation",
    "6.2": "XML Encoding",
}


def _build_table() -> dict[str, TransferSyntax]:
    table = {syntax.uid: syntax for syntax in _build_native()}
    for suffix, name in _ENCAPSULATED_NAMES.items():
        uid = f"{IMPLICIT_VR_LITTLE_ENDIAN}.{suffix}"
        table[uid] = TransferSyntax(uid, name)
    for suffix, name in _REFERENCED_NAMES.items():
        uid = f"{IMPLICIT_VR_LITTLE_ENDIAN}.{suffix}"
        table[uid] = TransferSyntax(uid, name, is_deflated=suffix == "4.95", is_encapsulated=False)
    return table


TRANSFER_SYNTAXES = _build_table()
"""Every known transfer syntax, by UID."""


def lookup_transfer_syntax(uid: str) -> TransferSyntax | None:
    """Find a transfer syntax by its UID, or ``None`` if it is not known."""
    return TRANSFER_SYNTAXES.get(uid)


def find_transfer_syntaxes(patterns: Iterable[str]) -> set[str]:
    """List the UIDs that some patterns name.

    Parameters
    ----------
    patterns
        UIDs, known or not, or patterns of known ones: ``*`` stands for any characters and ``?`` for
        one. What is neither names nothing.

    References
    ----------
    Orthanc configuration: ``AcceptedTransferSyntaxes``
    """
    found: set[str] = set()
    for pattern in patterns:
        if _UID.fullmatch(pattern):
            found.add(pattern)
            continue
        # The expression of the standard library takes no more time for many asterisks.
        expression = re.compile(translate(pattern.replace("[", "[[]")))
        found.update(uid for uid in TRANSFER_SYNTAXES if expression.match(uid))
    return found


def is_encapsulated(uid: str) -> bool:
    """Tell whether a transfer syntax is known to encapsulate pixel data (PS3.5 §A.4)."""
    syntax = TRANSFER_SYNTAXES.get(uid)
    return syntax is not None and syntax.is_encapsulated

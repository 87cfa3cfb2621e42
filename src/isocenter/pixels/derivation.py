"""What a header says of pixels that were coded anew.

References
----------
PS3.3 §C.7.6.1.1.2 (Image Type), §C.7.6.1.1.5 (lossy compression), §C.12.4 (derivation);
PS3.16 CID 7203, CID 7202
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from isocenter.dicom.character_sets import build_character_set
from isocenter.dicom.elements import PIXEL_DATA, Layout
from isocenter.dicom.new_elements import NewElement, NewItems, encode_element
from isocenter.dicom.rewriting import Action, AppendedItem, Decision, Element, Path
from isocenter.errors import TranscodingError

__all__ = ["HeaderRules", "LossOfPixels", "describe_loss"]

SOP_INSTANCE_UID = 0x00080018
_CHARACTER_SET = 0x00080005
_IMAGE_TYPE = 0x00080008
_DERIVATION_DESCRIPTION = 0x00082111
_SOURCE_IMAGE_SEQUENCE = 0x00082112
_DERIVATION_CODE_SEQUENCE = 0x00089215
_PURPOSE_OF_REFERENCE = 0x0040A170
_ICON_IMAGE_SEQUENCE = 0x00880200
_LOSSY = 0x00282110
_LOSSY_RATIO = 0x00282112
_LOSSY_METHOD = 0x00282114
_LONGEST_DESCRIPTION = 1024
_ITEM_START = b"\xfe\xff\x00\xe0"
_DERIVED, _SECONDARY = "DERIVED", "SECONDARY"
_ESCAPE = b"\x1b"
_LOSSY_COMPRESSION = ("113040", "Lossy Compression")
_PREDECESSOR = ("121320", "Uncompressed predecessor")


class HeaderRules:
    """Replaces, removes and adds elements of a header (see `rewriting.Rules`).

    Parameters
    ----------
    changes
        New values; items are appended to a sequence that is there.
    removed
        Elements that go.
    """

    removes_unreadable = False

    def __init__(
        self, changes: Mapping[int, NewElement | NewItems], removed: frozenset[int]
    ) -> None:
        self._changes = changes
        self._removed = removed

    def depends_on_value(self, element: Element) -> bool:  # noqa: ARG002 - see Rules
        """Tell nothing: each element is asked about."""
        return True

    def decide(self, element: Element) -> Decision:
        """Say what becomes of an element."""
        if element.path:
            if element.tag == PIXEL_DATA and element.value.startswith(_ITEM_START):
                raise TranscodingError("the icon of the image is compressed itself")
            return Action.KEEP
        if element.tag == _ICON_IMAGE_SEQUENCE:
            return Action.DESCEND
        if element.tag in self._removed:
            return Action.REMOVE
        change = self._changes.get(element.tag)
        if isinstance(change, NewItems) and element.vr == "SQ":
            return AppendedItem(change.items[0])
        return change or Action.KEEP

    def get_additions(self, path: Path) -> Mapping[int, NewElement | NewItems]:
        """Give what is added if it is not there."""
        return {} if path else self._changes


@dataclass(frozen=True, slots=True)
class LossOfPixels:
    """What a coding with losses has done.

    Attributes
    ----------
    method
        Lossy Image Compression Method.
    before, after
        Bytes of all frames.
    text
        How, for readers.
    new_uid
        Of the derived instance; ``None`` if the caller has chosen one already.
    """

    method: str
    before: int
    after: int
    text: str
    new_uid: str | None


def describe_loss(
    loss: LossOfPixels, old: Mapping[int, str], source: tuple[str, str], layout: Layout
) -> dict[int, NewElement | NewItems]:
    """Describe a loss in the elements of the header.

    Parameters
    ----------
    old
        Text of the present elements, each byte a character.
    source
        SOP class and SOP instance UID of the original.
    """
    _, *examination = old.get(_IMAGE_TYPE, "").split("\\")
    # The second value is required, too: nothing tells that this is an image of an examination.
    image_type = [
        _DERIVED,
        *(examination if examination and examination[0] else [_SECONDARY, *examination[1:]]),
    ]
    ratio = f"{loss.before / max(1, loss.after):.6g}"[:16]
    text = f"{loss.text}, compression ratio {ratio}"
    if old.get(_DERIVATION_DESCRIPTION):
        text += f" [{_shorten(old, _LONGEST_DESCRIPTION - len(text) - 3)}]"
    changes: dict[int, NewElement | NewItems] = {
        _IMAGE_TYPE: _text("CS", "\\".join(image_type)),
        _DERIVATION_DESCRIPTION: _text("ST", text),
        _DERIVATION_CODE_SEQUENCE: NewItems((_encode_code(_LOSSY_COMPRESSION, layout),)),
        _LOSSY: _text("CS", "01"),
        _LOSSY_RATIO: _text("DS", _append(old.get(_LOSSY_RATIO, ""), ratio)),
        _LOSSY_METHOD: _text("CS", _append(old.get(_LOSSY_METHOD, ""), loss.method)),
    }
    if loss.new_uid is not None:
        changes[SOP_INSTANCE_UID] = NewElement("UI", loss.new_uid.encode())
        changes[_SOURCE_IMAGE_SEQUENCE] = NewItems((_encode_source(source, layout),))
    return changes


def _shorten(old: Mapping[int, str], most: int) -> str:
    """Cut the present description in front of a character, not within one (PS3.5 §6.1)."""
    data = old[_DERIVATION_DESCRIPTION].encode("latin-1")
    characters = build_character_set(old.get(_CHARACTER_SET))
    text = characters.decode(data)
    if len(text) > most:
        if characters.has_code_extensions:
            # What follows an escape sequence would have to be closed by another one.
            text = characters.decode(data.split(_ESCAPE)[0])
        data = text[:most].encode(characters.codec, "ignore")
    return data.decode("latin-1")


def build_number(number: int, layout: Layout) -> NewElement:
    """Build a value of 16 bits."""
    return NewElement("US", struct.pack(f"{layout.byte_order}H", number))


def _text(vr: str, text: str) -> NewElement:
    return NewElement(vr, text.encode("latin-1", "replace"))


def _append(old: str, new: str) -> str:
    return f"{old}\\{new}" if old else new


def _encode_code(code: tuple[str, str], layout: Layout) -> bytes:
    value, meaning = code
    return b"".join(
        (
            encode_element(0x00080100, _text("SH", value), layout),
            encode_element(0x00080102, _text("SH", "DCM"), layout),
            encode_element(0x00080104, _text("LO", meaning), layout),
        )
    )


def _encode_source(source: tuple[str, str], layout: Layout) -> bytes:
    purpose = NewItems((_encode_code(_PREDECESSOR, layout),))
    return b"".join(
        (
            encode_element(0x00081150, NewElement("UI", source[0].encode()), layout),
            encode_element(0x00081155, NewElement("UI", source[1].encode()), layout),
            encode_element(_PURPOSE_OF_REFERENCE, purpose, layout),
        )
    )

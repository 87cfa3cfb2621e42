"""Entries of the modality worklist as DICOM files, made of the JSON of clients.

References
----------
PS3.4 §K.6.1.2; Orthanc REST: POST /worklists/create (behaviour manual §29)
"""

from collections.abc import Mapping
from typing import Any

from isocenter.dicom.character_sets import normalize_character_set
from isocenter.dicom.elements import EXPLICIT_LITTLE
from isocenter.dicom.encoding import Encoder, TextCodec
from isocenter.dicom.file_meta import build_file_meta
from isocenter.dicom.new_elements import encode_element
from isocenter.dicom.tags import TagDictionary
from isocenter.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from isocenter.dicom.uids import build_uid
from isocenter.errors import BadParameterError, BadRequestError, ParameterTypeError

__all__ = ["STUDY_INSTANCE_UID", "build_worklist_entry"]

STUDY_INSTANCE_UID = 0x0020000D
_SPECIFIC_CHARACTER_SET = 0x00080005
_UTF8 = "ISO_IR 192"
_WORKLIST = "1.2.840.10008.5.1.4.31"
_FIRST_GROUP = 0x0008
_MOST_TAGS = 1000


def build_worklist_entry(
    tags: Any, dictionary: TagDictionary, *, sets_study_instance_uid: bool
) -> tuple[bytes, str]:
    """Build an entry.

    Parameters
    ----------
    tags
        Names or numbers of tags to texts, or to lists of objects for sequences.
    sets_study_instance_uid
        Invent one if there is none (option ``Worklists.SetStudyInstanceUidIfMissing``).

    Returns
    -------
    tuple
        The file, and its Study Instance UID, empty if it has none.

    Raises
    ------
    RequestError
        If a tag is unknown, or a value does not fit it.
    """
    values = _parse_tags(tags, dictionary)
    if sets_study_instance_uid and not values.get(STUDY_INSTANCE_UID):
        values[STUDY_INSTANCE_UID] = build_uid()
    term = normalize_character_set(values.get(_SPECIFIC_CHARACTER_SET) or _UTF8)
    if term is None:
        raise BadParameterError("the SpecificCharacterSet is not known")
    values[_SPECIFIC_CHARACTER_SET] = term
    encoder = Encoder(EXPLICIT_LITTLE, TextCodec(term), dictionary)
    elements = [
        encode_element(tag, encoder.encode(tag, values[tag]), EXPLICIT_LITTLE)
        for tag in sorted(values)
    ]
    meta = build_file_meta(_WORKLIST, build_uid(), transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN)
    study_instance_uid = values.get(STUDY_INSTANCE_UID, "")
    return b"".join([meta, *elements]), study_instance_uid.strip()


def _parse_tags(tags: Any, dictionary: TagDictionary) -> dict[int, Any]:
    if not isinstance(tags, Mapping):
        raise BadRequestError("'Tags' must be an object")
    if len(tags) > _MOST_TAGS:
        raise BadRequestError(f"'Tags' may have {_MOST_TAGS} entries at most")
    values = {dictionary.parse_tag(str(name)): value for name, value in tags.items()}
    for tag, value in values.items():
        if tag >> 16 < _FIRST_GROUP or not tag & 0xFFFF:
            raise BadParameterError("an entry may not hold elements of this group")
        is_text = tag in (_SPECIFIC_CHARACTER_SET, STUDY_INSTANCE_UID)
        if is_text and not isinstance(value, str):
            raise ParameterTypeError("the character set and the UID must be texts")
    return values

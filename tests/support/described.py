"""Instances as they come into the index, described by the texts of their tags alone."""

import uuid
from collections.abc import Mapping

from isocenter.archive.description import FileDescription
from isocenter.archive.received import Origin, OriginKind
from isocenter.dicom.identifiers import build_public_ids
from isocenter.dicom.main_tags import MainTags, build_main_tags
from isocenter.dicom.reader import FileSummary
from isocenter.index.records import Attachment, NewInstance, Overwrite

__all__ = ["MAIN_TAGS", "build_described"]

MAIN_TAGS = build_main_tags()
_NOON = 1_700_000_000
_IDENTIFIERS = (0x00100020, 0x0020000D, 0x0020000E, 0x00080018)


def build_described(
    values: Mapping[int, str],
    *,
    sop_class_uid: str | None = "1.2.840.10008.5.1.4.1.1.2",
    main_tags: MainTags = MAIN_TAGS,
    stored_at: int = _NOON,
) -> NewInstance:
    """Build an instance from the texts of its tags, the four identifiers among them."""
    summary = FileSummary(
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sop_class_uid=sop_class_uid,
        values=values,
        sequences={},
        pixel_data_offset=None,
        pixel_data_vr=None,
        has_meta_header=True,
        specific_character_set=None,
    )
    origin = Origin(OriginKind.REST_API, remote_ip="127.0.0.1")
    description = FileDescription(summary, main_tags, origin, stored_at)
    attachment = Attachment(1, str(uuid.uuid4()), 0, 1000, 1000, "", "")
    return NewInstance(
        build_public_ids(*(values.get(tag, "") for tag in _IDENTIFIERS)),
        description.build,
        (attachment,),
        Overwrite.NEVER,
        stored_at,
    )

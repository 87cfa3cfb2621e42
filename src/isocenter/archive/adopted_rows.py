"""From what another server knows of a resource to a row of ours.

The header of the file is read anew, because our index keeps more than the other one. What clients
have seen stays: identifiers, metadata, and the main tags of patients, studies and series, which are
those of an instance that may be gone by now.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from isocenter.archive.description import FileDescription
from isocenter.archive.received import Origin, OriginKind
from isocenter.clock import now, parse_timestamp
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.reader import FileSummary, read_summary
from isocenter.errors import ServerError
from isocenter.index.foreign import AdoptedResource, ForeignInstance, ForeignResource
from isocenter.index.records import Attachment, MetadataCode, NewResource

__all__ = ["AdoptedRows", "AttachmentRow", "read_start_summary"]

AttachmentRow = tuple[Attachment, int]
"""An attachment and its revision."""

_FIRST_STEP = 64 * 1024
_STEP_FACTOR = 16
_LARGEST_HEADER = 64 * 1024 * 1024
_USER_CODES = range(1024, 65536)
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,18}")
# Told by our own rows; the last update is a column.
_OURS = frozenset(
    {
        MetadataCode.LAST_UPDATE,
        MetadataCode.MAIN_DICOM_TAGS_SIGNATURE,
        MetadataCode.MAIN_DICOM_SEQUENCES,
    }
)
_OF_HEADER = frozenset({MetadataCode.PIXEL_DATA_OFFSET, MetadataCode.PIXEL_DATA_VR})
_KNOWN = frozenset(map(int, MetadataCode))
# What our description says of the origin gives way, even where the other server says nothing.
_OF_ORIGIN = frozenset({MetadataCode.ORIGIN, MetadataCode.REMOTE_AET})

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


def read_start_summary(
    pieces: Iterable[bytes], *, wanted: frozenset[int], default_encoding: str
) -> FileSummary | None:
    """Read the header of a file from its first pieces, as few as it takes.

    Returns
    -------
    FileSummary or None
        ``None`` if the file is no DICOM, or its header is longer than 64 MB.
    """
    buffer = bytearray()
    goal = _FIRST_STEP
    for piece in pieces:
        buffer += piece
        if len(buffer) < goal:
            continue
        if summary := _try_summary(buffer, wanted, default_encoding):
            return summary
        goal *= _STEP_FACTOR
        if len(buffer) > _LARGEST_HEADER:
            return None
    return _try_summary(buffer, wanted, default_encoding)


def _try_summary(
    buffer: bytearray, wanted: frozenset[int], default_encoding: str
) -> FileSummary | None:
    try:
        return read_summary(
            bytes(buffer), wanted=wanted, default_encoding=default_encoding, is_whole=False
        )
    except ServerError:
        return None


@dataclass(frozen=True, slots=True)
class AdoptedRows:
    """Builds our rows of one instance and its ancestors.

    Parameters
    ----------
    main_tags
        The tags to keep.
    instance
        The instance and its ancestors.
    known
        What the other index knows of each of them, by its internal number there.
    summary
        The header of the file; ``None`` if it cannot be read, so that the other index must do.
    recycling_base
        What is added to a place in the list of patients to recycle.
    """

    main_tags: MainTags
    instance: ForeignInstance
    known: Mapping[int, ForeignResource]
    summary: FileSummary | None
    recycling_base: int

    def build(
        self, level: Level, attachments: tuple[AttachmentRow, ...], *, is_present: bool
    ) -> AdoptedResource:
        """Build what is to be written at one level.

        Parameters
        ----------
        attachments
            Those whose files were taken over.
        is_present
            Our index has the resource already; only what it lacks is added.
        """
        foreign = self._get_foreign(level)
        order = foreign.recycling_order
        return AdoptedResource(
            level=level,
            public_id=self.instance.public_ids[level],
            parent_public_id=None if level is Level.PATIENT else self._get_parent(level),
            row=None if is_present else self._build_row(level, foreign),
            last_update=self._get_last_update(foreign),
            attachments=attachments,
            metadata=_build_metadata(foreign),
            labels=tuple(filter(_LABEL.fullmatch, foreign.labels)),
            recycling_order=None if order is None else self.recycling_base + order,
        )

    def _get_parent(self, level: Level) -> str:
        return self.instance.public_ids[level - 1]

    def _get_foreign(self, level: Level) -> ForeignResource:
        internal_id = self.instance.internal_ids[level]
        return self.known.get(internal_id or 0) or ForeignResource()

    def _get_last_update(self, foreign: ForeignResource) -> int:
        for known, code in (
            (foreign, MetadataCode.LAST_UPDATE),
            (foreign, MetadataCode.RECEPTION_DATE),
            (self._get_foreign(Level.INSTANCE), MetadataCode.RECEPTION_DATE),
        ):
            if code in known.metadata and (time := parse_timestamp(known.metadata[code][0])):
                return time
        return now()

    def _build_row(self, level: Level, foreign: ForeignResource) -> NewResource:
        summary = self.summary or self._build_summary()
        if level is Level.INSTANCE:
            values = {**foreign.tags, **summary.values}
        else:
            values = {**summary.values, **foreign.tags}
        received_at = self._get_last_update(self._get_foreign(Level.INSTANCE))
        row = FileDescription(
            replace(summary, values=values),
            self.main_tags,
            Origin(OriginKind.UNKNOWN),
            received_at,
        ).build(level)
        return replace(row, metadata=self._merge_metadata(row, foreign))

    def _build_summary(self) -> FileSummary:
        """Make up for a header that cannot be read."""
        instance = self._get_foreign(Level.INSTANCE)
        values: dict[int, str] = {}
        for level in Level:
            values |= self._get_foreign(level).tags
        text = {code: value for code, (value, _) in instance.metadata.items()}
        offset = text.get(MetadataCode.PIXEL_DATA_OFFSET, "")
        return FileSummary(
            transfer_syntax_uid=text.get(MetadataCode.TRANSFER_SYNTAX, ""),
            sop_class_uid=text.get(MetadataCode.SOP_CLASS_UID),
            values=values,
            sequences={},
            pixel_data_offset=int(offset) if _NUMBER.fullmatch(offset) else None,
            pixel_data_vr=text.get(MetadataCode.PIXEL_DATA_VR),
            has_meta_header=True,
            specific_character_set=None,
        )

    def _merge_metadata(self, row: NewResource, foreign: ForeignResource) -> str:
        ours = {code: v for code, v in _decode(row.metadata).items() if int(code) not in _OF_ORIGIN}
        theirs = {
            str(code): value
            for code, (value, _) in foreign.metadata.items()
            if code in _KNOWN and code not in _OURS and code not in _OF_HEADER
        }
        return _encode(ours | theirs).decode()


def _build_metadata(foreign: ForeignResource) -> tuple[tuple[int, str, int], ...]:
    """List what lies outside of the row: what users wrote, and what was written anew."""
    return tuple(
        (code, value, revision)
        for code, (value, revision) in foreign.metadata.items()
        if code in _USER_CODES
    )

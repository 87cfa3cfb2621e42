"""Rows that are built anew from their files, and files that are stored in another form."""

from collections.abc import Sequence

import msgspec

from isocenter.dicom.levels import Level
from isocenter.index.port import Transaction
from isocenter.index.reading import build_dicom_attachment
from isocenter.index.records import Attachment, DicomAttachment, MetadataCode, NewResource

__all__ = [
    "RebuiltResource",
    "ReplacedFile",
    "StoredInstance",
    "find_all_below",
    "find_first_instances",
    "find_lineage_rows",
    "find_stored_instances",
    "rebuild_resources",
    "replace_files",
]

_LEVELS = tuple(Level)
_FIRST = {
    Level.PATIENT: "first_of_patients",
    Level.STUDY: "first_of_studies",
    Level.SERIES: "first_of_series",
}
# The metadata that follow from the file alone; all others are kept as they are.
_REBUILT_CODES = frozenset(
    {
        MetadataCode.INDEX_IN_SERIES,
        MetadataCode.EXPECTED_NUMBER_OF_INSTANCES,
        MetadataCode.TRANSFER_SYNTAX,
        MetadataCode.SOP_CLASS_UID,
        MetadataCode.PIXEL_DATA_OFFSET,
        MetadataCode.MAIN_DICOM_TAGS_SIGNATURE,
        MetadataCode.MAIN_DICOM_SEQUENCES,
        MetadataCode.PIXEL_DATA_VR,
    }
)
_REBUILT_KEYS = frozenset(str(int(code)) for code in _REBUILT_CODES)

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


class StoredInstance(msgspec.Struct, frozen=True):
    """An instance and its file; ``None`` if the file was not kept."""

    internal_id: int
    public_id: str
    file: DicomAttachment | None


class RebuiltResource(msgspec.Struct, frozen=True):
    """The row of a resource as its file says it should be.

    Attributes
    ----------
    attachment_uuid
        The file that was read, if the resource is the instance to which it belongs.
    """

    internal_id: int
    row: NewResource
    attachment_uuid: str | None = None


class ReplacedFile(msgspec.Struct, frozen=True):
    """Another form of the file of an instance.

    Attributes
    ----------
    row
        Of the instance, if it follows from the form.
    """

    internal_id: int
    old: Attachment
    new: Attachment
    row: NewResource | None = None


def find_lineage_rows(tx: Transaction, level: Level, public_id: str) -> dict[Level, int]:
    """Map the levels at and above a resource to the rows; empty if it does not exist."""
    row = tx.row("list_lineage", {"level": int(level), "public_id": public_id})
    if row is None:
        return {}
    return {_LEVELS[row[at]]: row[at + 1] for at in range(0, 3 * (level + 1), 3)}


def find_all_below(tx: Transaction, internal_id: int) -> dict[Level, list[int]]:
    """List a resource and all below it, by their levels: one statement."""
    found: dict[Level, list[int]] = {}
    for row_id, level in tx.rows("list_all_below", {"internal_id": internal_id}):
        found.setdefault(_LEVELS[level], []).append(row_id)
    return found


def find_first_instances(
    tx: Transaction, level: Level, internal_ids: Sequence[int]
) -> dict[int, int]:
    """Find the instance below each resource of a level that arrived first: one statement."""
    if level is Level.INSTANCE:
        return {internal_id: internal_id for internal_id in internal_ids}
    rows = tx.rows(_FIRST[level], {"internal_ids": list(internal_ids)})
    return {row[0]: int(row[1]) for row in rows}


def find_stored_instances(tx: Transaction, internal_ids: Sequence[int]) -> list[StoredInstance]:
    """Read instances with their files, in the order of their rows: one statement."""
    rows = tx.rows("list_stored_files", {"internal_ids": list(internal_ids)})
    return [
        StoredInstance(row[0], row[9], None if row[1] is None else build_dicom_attachment(row[1:9]))
        for row in rows
    ]


def rebuild_resources(tx: Transaction, rebuilt: Sequence[RebuiltResource]) -> list[int]:
    """Write rows anew: main tags, metadata that follow from the file, search values.

    What users added stays, as does everything that does not follow from the file. The number of
    statements does not depend on the number of rows.

    Returns
    -------
    list of int
        Rows whose file was replaced since it was read; they were left as they are.

    References
    ----------
    Orthanc REST: reconstruction (behaviour manual §4.6)
    """
    tx.row("lock_archive")
    keys = {"internal_ids": [one.internal_id for one in rebuilt]}
    present = {row[0]: (row[1], row[2]) for row in tx.rows("list_rebuildable", keys)}
    sound, changed = [], []
    for one in rebuilt:
        if one.internal_id not in present:
            continue
        if one.attachment_uuid in (None, present[one.internal_id][1]):
            sound.append(one)
        else:
            changed.append(one.internal_id)
    _write(tx, sound, {one.internal_id: present[one.internal_id][0] for one in sound})
    return changed


def _write(tx: Transaction, rebuilt: Sequence[RebuiltResource], metadata: dict[int, str]) -> None:
    if not rebuilt:
        return
    internal_ids = [one.internal_id for one in rebuilt]
    tx.run("forget_search_rows", {"internal_ids": internal_ids})
    codes = sorted(int(code) for code in _REBUILT_CODES)
    tx.run("forget_rebuilt_metadata", {"internal_ids": internal_ids, "codes": codes})
    tx.run_many(
        "rebuild_resource",
        [
            {
                "internal_id": one.internal_id,
                "identifier": one.row.identifier,
                "main_tags": one.row.main_tags,
                "patient_tags": one.row.patient_tags,
                "metadata": _merge(metadata[one.internal_id], one.row.metadata),
                "index_in_series": one.row.index_in_series,
                "expected_instances": one.row.expected_instances,
            }
            for one in rebuilt
        ],
    )
    search = [
        {"resource_id": one.internal_id, "tag": tag, "value": value}
        for one in rebuilt
        for tag, value in one.row.search
    ]
    if search:
        tx.run_many("insert_search", search)


def _merge(present: str, rebuilt: str) -> str:
    """Replace the metadata that follow from the file."""
    kept = {code: value for code, value in _decode(present).items() if code not in _REBUILT_KEYS}
    new = {code: value for code, value in _decode(rebuilt).items() if code in _REBUILT_KEYS}
    return _encode(kept | new).decode()


def replace_files(tx: Transaction, replaced: Sequence[ReplacedFile]) -> list[ReplacedFile]:
    """Put other forms of files in the place of the present ones, which go to the removals.

    Returns
    -------
    list of ReplacedFile
        Those that were not used, as the instance is gone or its file another one.
    """
    tx.row("lock_archive")
    keys = {"internal_ids": [one.internal_id for one in replaced]}
    metadata, present = {}, {}
    for internal_id, text, name in tx.rows("list_rebuildable", keys):
        metadata[internal_id], present[internal_id] = text, name
    used = [one for one in replaced if present.get(one.internal_id) == one.old.attachment_uuid]
    if used:
        tx.run_many(
            "replace_dicom_file",
            [
                {
                    "resource_id": one.internal_id,
                    "attachment_uuid": one.new.attachment_uuid,
                    "compression": one.new.compression,
                    "compressed_size": one.new.compressed_size,
                    "compressed_md5": one.new.compressed_md5,
                    "uncompressed_size": one.new.uncompressed_size,
                    "uncompressed_md5": one.new.uncompressed_md5,
                }
                for one in used
            ],
        )
        tx.run_many("add_removal", [{"attachment_uuid": one.old.attachment_uuid} for one in used])
        sizes = {
            "disk_size": sum(one.new.compressed_size - one.old.compressed_size for one in used),
            "uncompressed_size": sum(
                one.new.uncompressed_size - one.old.uncompressed_size for one in used
            ),
        }
        tx.run("add_sizes", sizes)
        rows = [(one.internal_id, one.row) for one in used]
        _write(tx, [RebuiltResource(name, row) for name, row in rows if row is not None], metadata)
    return [one for one in replaced if one not in used]

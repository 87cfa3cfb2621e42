"""Metadata of resources: what was set when they were stored, and what clients have set since.

The former are a part of a resource's row and never change; the latter have rows of their own, which
go before.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from isocenter.clock import format_timestamp
from isocenter.dicom.levels import Level
from isocenter.errors import UnknownResourceError
from isocenter.index.annotations import Address, Condition, get_row
from isocenter.index.batch import Batch
from isocenter.index.port import Transaction
from isocenter.index.records import ChangeType, MetadataCode, format_tag

__all__ = [
    "LongValueError",
    "MetadataValue",
    "delete_metadata",
    "find_metadata",
    "find_metadata_codes",
    "lookup_metadata",
    "write_metadata",
]

_LONGEST = 2**63 - 1
# What a metadata costs besides its value.
_ROW_BYTES = 100
_decode = msgspec.json.Decoder(dict[str, str]).decode


class LongValueError(Exception):
    """A value is too long for where it was asked; never an answer."""


@dataclass(frozen=True, slots=True)
class MetadataValue:
    """The value of a metadata and how often it was replaced."""

    value: str
    revision: int

    @property
    def tag(self) -> str:
        """The entity tag of the value, without quotes."""
        md5 = hashlib.md5(self.value.encode(), usedforsecurity=False)
        return format_tag(self.revision, md5.hexdigest())


def _get_stored(metadata: str, level: int, last_update: int) -> dict[int, str]:
    """Read the metadata in the row of a resource."""
    stored = {int(code): value for code, value in _decode(metadata).items()}
    if level != Level.INSTANCE:
        stored[MetadataCode.LAST_UPDATE] = format_timestamp(last_update)
    return stored


def find_metadata(tx: Transaction, address: Address, *, longest: int = _LONGEST) -> dict[int, str]:
    """Read all metadata of a resource, in the order of their codes: two statements.

    Parameters
    ----------
    longest
        The most bytes that all of them may have.

    Raises
    ------
    LongValueError
        If they are longer.
    UnknownResourceError
        If there is no such resource.
    """
    return _find_metadata(tx, address, statement="list_metadata", longest=longest)


def find_metadata_codes(tx: Transaction, address: Address, *, longest: int = _LONGEST) -> list[int]:
    """List the codes of the metadata of a resource: as `find_metadata`, without the values."""
    return list(_find_metadata(tx, address, statement="list_metadata_codes", longest=longest))


def _find_metadata(
    tx: Transaction, address: Address, *, statement: str, longest: int
) -> dict[int, str]:
    row = get_row(tx, "measure_metadata", address.keys)
    found = _get_stored(*row[1:4])
    if row[4]:
        if row[4] * _ROW_BYTES + row[5] > longest:
            raise LongValueError
        found |= dict(tx.rows(statement, {"internal_id": row[0]}))
    return dict(sorted(found.items()))


def lookup_metadata(
    tx: Transaction, address: Address, code: int, *, longest: int = _LONGEST
) -> MetadataValue | None:
    """Read one metadata of a resource: one statement.

    Parameters
    ----------
    longest
        The most bytes that the value may have; a longer one is not even read.

    Raises
    ------
    LongValueError
        If it is longer.
    UnknownResourceError
        If there is no such resource.
    """
    keys = {**address.keys, "code": code, "longest": longest}
    return _get_value(get_row(tx, "lookup_metadata", keys), code)


def _get_value(row: tuple[Any, ...], code: int) -> MetadataValue | None:
    if row[4] is None:
        value = _get_stored(*row[1:4]).get(code)
        return None if value is None else MetadataValue(value, 0)
    if row[5] is None:
        raise LongValueError
    return MetadataValue(row[5], row[4])


def write_metadata(
    batch: Batch, address: Address, code: int, value: str, *, condition: Condition, now: int
) -> str:
    """Set a metadata of a resource, log the change, and return the new entity tag.

    Raises
    ------
    UnknownResourceError
        If there is no such resource.
    RevisionConflictError
        If the condition does not hold.
    """
    keys = {**address.keys, "code": code, "longest": _LONGEST}
    row = get_row(batch.tx, "lookup_metadata", keys)
    revision = 0
    if (present := _get_value(row, code)) is not None:
        condition.check(present)
        revision = present.revision + 1
    written = MetadataValue(value, revision)
    batch.tx.run(
        "write_metadata",
        {"resource_id": row[0], "code": code, "value": value, "revision": revision},
    )
    batch.add_change(ChangeType.UPDATED_METADATA, row[0], now)
    return written.tag


def delete_metadata(
    batch: Batch, address: Address, code: int, *, condition: Condition, now: int
) -> None:
    """Remove a metadata that was set after the resource was stored, and log the change.

    Raises
    ------
    UnknownResourceError
        If there is no such resource, or it has no such metadata.
    RevisionConflictError
        If the condition does not hold.
    """
    condition.demand()
    keys = {**address.keys, "code": code, "longest": _LONGEST}
    row = get_row(batch.tx, "lookup_metadata", keys)
    present = _get_value(row, code)
    if present is None:
        raise UnknownResourceError
    condition.check(present)
    batch.tx.run("delete_metadata", {"resource_id": row[0], "code": code})
    batch.add_change(ChangeType.UPDATED_METADATA, row[0], now)

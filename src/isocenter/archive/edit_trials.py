"""What a modification or an anonymization would do, without doing it.

References
----------
Decision 0014 (`DryRun`)
"""

import secrets
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from isocenter.archive.edit_requests import EditRequest
from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.modifications import Modifications
from isocenter.archive.pieces import release
from isocenter.archive.staging import StagingOptions, summarize_pieces
from isocenter.archive.workers import Workers
from isocenter.dicom.editing import Change, Edit, list_changes
from isocenter.dicom.levels import Level
from isocenter.dicom.reader import build_identity
from isocenter.dicom.tags import TagDictionary
from isocenter.errors import MissingFileError, ServerError, UnstorableInstanceError
from isocenter.index.records import Overwrite
from isocenter.index.staging import Source, find_existing_instances

__all__ = ["EditTrials"]

# Files that are looked at: two seconds of work. Of more instances some are left out, evenly.
_MOST_EXAMINED = 1000
_FILES_OF_A_HOP = 32
_MOST_LISTED = 100
_KEY_BYTES = 32


@dataclass(slots=True)
class _Findings:
    """What was found in the files."""

    examined: int = 0
    changes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    new: dict[Level, set[str]] = field(default_factory=lambda: {level: set() for level in Level})
    failed: list[tuple[Source, ServerError]] = field(default_factory=list)

    @property
    def has_duplicates(self) -> bool:
        """True if two sources would become the same instance."""
        return len(self.new[Level.INSTANCE]) < self.examined - len(self.failed)


class EditTrials:
    """Tries edits on stored files; nothing is stored."""

    def __init__(
        self,
        workers: Workers,
        buffers: FileBuffers,
        modifications: Modifications,
        options: StagingOptions,
    ) -> None:
        self._workers = workers
        self._buffers = buffers
        self._modifications = modifications
        self._options = options

    async def run(
        self, resources: Sequence[str], request: EditRequest, key: bytes | None
    ) -> dict[str, Any]:
        """Tell what would change, for the answer to a client.

        Parameters
        ----------
        key
            The client's, ``None`` if it gave none.

        Raises
        ------
        UnknownResourceError
            If one of the resources does not exist.
        BadRequestError
            If they are too many.
        """
        sources, refusals = await self._modifications.examine(resources, request)
        chosen = sources[:: -(-len(sources) // _MOST_EXAMINED) or 1]
        edit = self._modifications.build_edit(
            request, sources, key or secrets.token_bytes(_KEY_BYTES), 0
        )
        findings = _Findings()
        for start in range(0, len(chosen), _FILES_OF_A_HOP):
            some = chosen[start : start + _FILES_OF_A_HOP]
            await self._workers.run(self._try_some, some, edit, findings)
        names = sorted(findings.new[Level.INSTANCE])
        existing = await self._workers.read_long(lambda tx: find_existing_instances(tx, names))
        publication = self._modifications.build_publication(request, sources)
        is_taken = existing and publication.overwrite is Overwrite.NEVER
        errors: list[ServerError] = list(refusals)
        if findings.has_duplicates:
            errors.append(UnstorableInstanceError("two of the new instances are the same"))
        if is_taken and not (publication.allows_existing and publication.keep_source):
            errors.append(UnstorableInstanceError("some of the new instances exist already"))
        return {
            **_describe(request, sources, findings),
            "ExistingInstancesCount": len(existing),
            "Refusals": [_describe_error(error) for error in errors],
        }

    def _try_some(self, sources: Sequence[Source], edit: Edit, findings: _Findings) -> None:
        for source in sources:
            findings.examined += 1
            try:
                self._try(source, edit, findings)
            except ServerError as error:
                findings.failed.append((source, error))

    def _try(self, source: Source, edit: Edit, findings: _Findings) -> None:
        if source.attachment is None:
            message = "the file of the instance was not kept"
            raise MissingFileError(message)
        encoding = self._options.settings.default_encoding
        with self._buffers.open_whole(source.attachment) as buffer:
            pieces, changes = list_changes(buffer, edit, default_encoding=encoding)
            try:
                # The identifiers are read in any case.
                summary = summarize_pieces(pieces, self._options, frozenset())
                public_ids = build_identity(summary).public_ids
            finally:
                release(pieces)
        for level in Level:
            findings.new[level].add(public_ids[level])
        for name, kind in {(_format(change, edit.dictionary), change.kind) for change in changes}:
            findings.changes[name][kind.value] += 1


def _format(change: Change, dictionary: TagDictionary) -> str:
    return ".".join(
        [
            *(f"{dictionary.get_key(tag)}[]" for tag in change.parents),
            dictionary.get_key(change.tag),
        ]
    )


def _describe(
    request: EditRequest, sources: Sequence[Source], findings: _Findings
) -> dict[str, Any]:
    return {
        "Changes": {name: dict(counts) for name, counts in sorted(findings.changes.items())},
        "DryRun": True,
        "ExaminedInstancesCount": findings.examined,
        "FailedInstances": [
            {"ID": source.public_id, **_describe_error(error)}
            for source, error in findings.failed[:_MOST_LISTED]
        ],
        "FailedInstancesCount": len(findings.failed),
        "InstancesCount": len(sources),
        "IsAnonymization": request.is_anonymization,
        "KeepSource": request.keep_source,
        "Level": request.level.title,
        "NewResourcesCount": {level.plural_title: len(findings.new[level]) for level in Level},
        "SourcesCount": {
            level.plural_title: len({source.public_ids[level] for source in sources})
            for level in Level
        },
    }


def _describe_error(error: ServerError) -> dict[str, Any]:
    return {"OrthancStatus": error.code, "Message": error.message, "Details": error.details}

"""Modifications and anonymizations of stored resources: what they apply to, and what is refused.

References
----------
Orthanc REST: modification and anonymization (behaviour manual §18, §19)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from isocenter.archive.edit_requests import EditRequest, build_anonymous_values, build_edit
from isocenter.archive.workers import Workers
from isocenter.dicom.editing import Edit
from isocenter.dicom.identifiers import build_public_ids
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.pseudonyms import Pseudonyms
from isocenter.dicom.tag_paths import TagPath
from isocenter.dicom.tags import DEFAULT_DICTIONARY, TagDictionary
from isocenter.errors import BadRequestError, UnknownResourceError
from isocenter.index.packaging import resolve_resources
from isocenter.index.port import Transaction
from isocenter.index.properties import advance_counter
from isocenter.index.reading import lookup_resource
from isocenter.index.records import MetadataCode, Overwrite, Part, Rules
from isocenter.index.staging import Publication, Source, find_sources

__all__ = ["ModificationOptions", "Modifications", "list_locks"]

_PATIENT_ID = TagPath((), 0x00100020)
_COUNTER = "anonymizations"
# All sources of a job are in memory while it runs, and all results while they are published: a few
# kilobytes each.
_MOST_SOURCES = 100_000
# The UIDs of a source, by their places in `Source.uids`.
_UIDS = (TagPath((), 0x0020000D), TagPath((), 0x0020000E), TagPath((), 0x00080018))

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class ModificationOptions:
    """What the configuration says about modifications.

    Attributes
    ----------
    overwrite
        What to do with an instance that exists already (option ``OverwriteInstances``).
    has_patient_level
        Patients are resources of their own (option ``PatientLevelEnabled``).
    private_creator
        Who defines private tags unless a client says so (option ``DefaultPrivateCreator``).
    """

    main_tags: MainTags
    rules: Rules
    overwrite: Overwrite = Overwrite.NEVER
    has_patient_level: bool = True
    private_creator: str = ""
    dictionary: TagDictionary = DEFAULT_DICTIONARY


class Modifications:
    """Plans modifications."""

    def __init__(self, workers: Workers, options: ModificationOptions) -> None:
        self._workers = workers
        self.options = options

    async def resolve(self, public_ids: Sequence[str]) -> tuple[tuple[Level, str], ...]:
        """Find the levels of some resources.

        Raises
        ------
        UnknownResourceError
            If one of them does not exist.
        """
        # PostgreSQL takes no NUL as text, and no resource has one in its name.
        if any("\0" in public_id for public_id in public_ids):
            raise UnknownResourceError
        found = await self._workers.read_long(lambda tx: resolve_resources(tx, public_ids))
        return tuple((level, public_id) for level, public_id, _ in found)

    async def draw_number(self, request: EditRequest) -> int:
        """Take the next number for the name of an anonymous patient; 0 for a modification."""
        if not request.is_anonymization:
            return 0
        return await self._workers.write(lambda tx: advance_counter(tx, _COUNTER))

    async def find_sources(self, resources: Sequence[str], request: EditRequest) -> list[Source]:
        """List the instances that are concerned, if the request can be fulfilled for them.

        Raises
        ------
        UnknownResourceError
            If one of the resources does not exist.
        BadRequestError
            If they are too many; if they would be overwritten and must not; if their patient would
            be described in two ways.
        """
        sources, refusals = await self.examine(resources, request)
        if refusals:
            raise refusals[0]
        return sources

    async def examine(
        self, resources: Sequence[str], request: EditRequest
    ) -> tuple[list[Source], list[BadRequestError]]:
        """List the instances that are concerned, and all reasons to refuse the request.

        Raises
        ------
        UnknownResourceError
            If one of the resources does not exist.
        BadRequestError
            If they are too many.
        """

        def query(tx: Transaction) -> tuple[list[Source], list[BadRequestError]]:
            sources = find_sources(tx, resources, limit=_MOST_SOURCES + 1)
            if len(sources) > _MOST_SOURCES:
                raise BadRequestError(f"at most {_MOST_SOURCES} instances can be edited at once")
            refusals = []
            for check in (self._check_in_place, self._check_patients):
                try:
                    check(tx, request, sources)
                except BadRequestError as error:
                    refusals.append(error)
            return sources, refusals

        return await self._workers.read_long(query)

    def _check_in_place(
        self, _: Transaction, request: EditRequest, sources: Sequence[Source]
    ) -> None:
        if not (sources and _is_in_place(request, sources)):
            return
        if not request.keep_source:
            message = "'KeepSource' must be true when instances are edited in place"
            raise BadRequestError(message)
        if self.options.overwrite is Overwrite.NEVER:
            message = "instances are edited in place only if 'OverwriteInstances' allows it"
            raise BadRequestError(message)

    def _check_patients(
        self, tx: Transaction, request: EditRequest, sources: Sequence[Source]
    ) -> None:
        """Refuse to describe a patient in two ways (behaviour manual §18.4)."""
        tags = self.options.main_tags.get_stored(Level.PATIENT)
        replaced = {
            self.options.dictionary.get_key(path.tag): str(value).strip()
            for path, value in request.replace.items()
            if path.tag in tags and not path.parents
        }
        is_concerned = request.level is Level.STUDY and not request.is_anonymization
        if not (replaced and is_concerned and self.options.has_patient_level):
            return
        moved_to = _get_new_patient(request)
        targets = {moved_to} if moved_to else {source.public_ids[0] for source in sources}
        studies = {source.public_ids[Level.STUDY] for source in sources}
        for public_id in sorted(targets):
            row = lookup_resource(
                tx, Level.PATIENT, public_id, Part.MAIN_TAGS | Part.CHILDREN | Part.STATUS
            )
            if row is not None and not studies.issuperset(row.children):
                _check_patient(_decode(row.main_tags), replaced)

    def build_edit(
        self,
        request: EditRequest,
        sources: Sequence[Source],
        key: bytes,
        number: int,
        made_at: int | None = None,
    ) -> Edit:
        """Build the description of the work on each file.

        Parameters
        ----------
        key
            New identifiers follow from it.
        number
            What `draw_number` gave.
        made_at
            See `build_edit`.
        """
        pseudonyms = Pseudonyms(key)
        renamed = _prepare_uids(request, sources, pseudonyms)
        defaults = build_anonymous_values(request, number) if request.is_anonymization else {}
        return build_edit(
            request,
            pseudonyms,
            dictionary=self.options.dictionary,
            defaults=defaults,
            references=renamed,
            made_at=made_at,
        )

    def build_publication(self, request: EditRequest, sources: Sequence[Source]) -> Publication:
        """Say how the results become visible."""
        is_in_place = _is_in_place(request, sources)
        changes_patient = request.level is Level.STUDY and self._names_patient(request)
        return Publication(
            level=Level.PATIENT if is_in_place or changes_patient else request.level,
            source_code=(
                MetadataCode.ANONYMIZED_FROM
                if request.is_anonymization
                else MetadataCode.MODIFIED_FROM
            ),
            keep_source=request.keep_source,
            keep_labels=request.keep_labels,
            overwrite=Overwrite.ALWAYS if is_in_place else self.options.overwrite,
            # Whoever gives the key wants the same again, of a study that has grown perhaps.
            allows_existing=request.has_key,
            rules=self.options.rules,
        )

    def _names_patient(self, request: EditRequest) -> bool:
        """Tell whether tags of the patient are replaced or removed."""
        tags = self.options.main_tags.get_stored(Level.PATIENT)
        paths = request.replace.keys() | request.remove
        return any(path.tag in tags and not path.parents for path in paths)


def list_locks(sources: Iterable[Source]) -> frozenset[str]:
    """Name what nobody else may edit meanwhile: the studies."""
    return frozenset(f"study {source.public_ids[Level.STUDY]}" for source in sources)


def _get_new_patient(request: EditRequest) -> str | None:
    """Give the identifier of the patient that a request moves to, ``None`` if it replaces none."""
    value = request.replace.get(_PATIENT_ID)
    return None if value is None else build_public_ids(str(value).strip(), "", "", "").patient


def _is_in_place(request: EditRequest, sources: Sequence[Source]) -> bool:
    """Tell whether the results have the identifiers of their sources."""
    regenerated = request.regenerated
    if not all(path in request.keep and path not in request.replace for path in regenerated):
        return False
    patient = _get_new_patient(request)
    if patient is None:
        return not request.is_anonymization or _PATIENT_ID in request.keep
    return any(source.public_ids[Level.PATIENT] == patient for source in sources)


def _check_patient(known: Mapping[str, Any], replaced: Mapping[str, str]) -> None:
    for keyword, value in known.items():
        text = str(value).strip()
        is_missing = keyword not in replaced and text and keyword != "PatientID"
        if is_missing or replaced.get(keyword, text) != text:
            raise BadRequestError(
                f"the patient has other studies, so 'Replace' must give '{keyword}' as it is there"
            )
    for keyword, text in replaced.items():
        if text and keyword not in known:
            raise BadRequestError(
                f"the patient has other studies, which have no '{keyword}' to be replaced"
            )


def _prepare_uids(
    request: EditRequest, sources: Sequence[Source], pseudonyms: Pseudonyms
) -> frozenset[str]:
    """Decide the UIDs that are given or kept; tell which ones are replaced wherever they occur."""
    renamed: set[str] = set()
    for place, path in enumerate(_UIDS):
        uids = {source.uids[place] for source in sources}
        if path in request.replace:
            for uid in uids:
                pseudonyms.set_uid(uid, str(request.replace[path]).strip())
        elif path in request.keep:
            for uid in uids:
                pseudonyms.set_uid(uid, uid)
            continue
        elif path not in request.regenerated:
            continue
        renamed |= uids
    is_needed = request.updates_references and not request.is_anonymization
    return frozenset(renamed) if is_needed else frozenset()

"""Splitting studies and merging them: what is moved where, and what is refused.

References
----------
Orthanc REST: split and merge (behaviour manual §20; quirks 7, 8, 11, 38, 39)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isocenter.archive.file_headers import open_header
from isocenter.archive.modifications import ModificationOptions
from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.dicom.editing import Edit
from isocenter.dicom.levels import Level
from isocenter.dicom.modules import MODULE_TAGS
from isocenter.dicom.portable import PortableElement, read_elements
from isocenter.dicom.pseudonyms import Pseudonyms
from isocenter.dicom.tag_paths import TagPath
from isocenter.dicom.tags import TagDictionary
from isocenter.errors import (
    BadFileFormatError,
    BadParameterError,
    BadRequestError,
    MissingFileError,
    SourceChangedError,
    UnknownResourceError,
)
from isocenter.index.deletion import find_doomed
from isocenter.index.files import find_files_below
from isocenter.index.packaging import resolve_resources
from isocenter.index.port import Transaction
from isocenter.index.reading import lookup_dicom_attachment
from isocenter.index.records import MetadataCode
from isocenter.index.staging import Publication, Source, find_sources
from isocenter.storage.port import Storage

__all__ = ["MergeRequest", "Moved", "Regroupings", "SplitRequest", "parse_merge", "parse_split"]

_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_SOP_INSTANCE_UID = 0x00080018
_MODULES = MODULE_TAGS[Level.PATIENT] | MODULE_TAGS[Level.STUDY]
# The UID of the study says where the instances go.
_CHANGEABLE = _MODULES - {_STUDY_INSTANCE_UID}
_MERGEABLE = frozenset({Level.STUDY, Level.SERIES, Level.INSTANCE})
# All sources of a job are in memory while it runs, about a kilobyte each.
_MOST_SOURCES = 200_000
_MOST_TAGS = 10_000


@dataclass(frozen=True, slots=True)
class SplitRequest:
    """What is taken out of a study, and what the new study is like.

    Attributes
    ----------
    series, instances
        Public identifiers.
    replace, remove
        Only tags of the modules of patient and study.
    """

    series: tuple[str, ...]
    instances: tuple[str, ...]
    replace: Mapping[TagPath, Any]
    remove: frozenset[TagPath]
    keep_source: bool
    keep_labels: bool


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """What is brought into a study: public identifiers of studies, series and instances."""

    resources: tuple[str, ...]
    keep_source: bool
    keep_labels: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """The instances that go to another study.

    Attributes
    ----------
    emptied
        Levels and public identifiers of the studies and series that keep none of theirs.
    """

    sources: Sequence[Source]
    emptied: frozenset[tuple[Level, str]]


def parse_split(body: Mapping[str, Any], dictionary: TagDictionary) -> SplitRequest:
    """Read the body of a split.

    Raises
    ------
    BadFileFormatError
        If a field has a wrong type.
    BadRequestError
        If nothing is taken out.
    BadParameterError
        If a tag is not one of patient or study.
    UnknownTagError
        If no dictionary knows a name.
    """
    series = _get_texts(body, "Series", default=[])
    instances = _get_texts(body, "Instances", default=[])
    if not series and not instances:
        raise BadRequestError("one of the fields 'Series' and 'Instances' must name something")
    replaced = body.get("Replace", {})
    if not isinstance(replaced, dict):
        raise BadFileFormatError("the field 'Replace' must be an object")
    return SplitRequest(
        series=series,
        instances=instances,
        replace={_parse_tag(name, dictionary): value for name, value in replaced.items()},
        remove=frozenset(
            _parse_tag(name, dictionary) for name in _get_texts(body, "Remove", default=[])
        ),
        keep_source=_get_boolean(body, "KeepSource"),
        keep_labels=_get_boolean(body, "KeepLabels"),
    )


def parse_merge(body: Mapping[str, Any]) -> MergeRequest:
    """Read the body of a merge.

    Raises
    ------
    BadFileFormatError
        If a field is missing or has a wrong type.
    """
    return MergeRequest(
        resources=_get_texts(body, "Resources", default=None),
        keep_source=_get_boolean(body, "KeepSource"),
        keep_labels=_get_boolean(body, "KeepLabels"),
    )


def _get_texts(body: Mapping[str, Any], name: str, *, default: Any) -> tuple[str, ...]:
    value = body.get(name, default)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadFileFormatError(f"the field '{name}' must be a list of texts")
    if len(value) > _MOST_SOURCES:
        raise BadRequestError(f"the field '{name}' may have {_MOST_SOURCES} items at most")
    return tuple(value)


def _get_boolean(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise BadFileFormatError(f"the field '{name}' must be a boolean")
    return value


def _parse_tag(name: str, dictionary: TagDictionary) -> TagPath:
    tag = dictionary.parse_tag(name)
    if tag not in _CHANGEABLE:
        raise BadParameterError(f"'{name}' is no tag of the modules of patient and study")
    return TagPath((), tag)


class Regroupings:
    """Plans splits and merges."""

    def __init__(
        self, workers: Workers, storage: Storage, settings: Settings, options: ModificationOptions
    ) -> None:
        self._workers = workers
        self._storage = storage
        self._settings = settings
        self.options = options

    async def find_split(self, study: str, request: SplitRequest) -> Moved:
        """List the instances that are taken out of a study.

        Raises
        ------
        UnknownResourceError
            If something does not exist or is not part of the study.
        """

        def query(tx: Transaction) -> Moved:
            _check_levels(tx, request.series, frozenset({Level.SERIES}))
            _check_levels(tx, request.instances, frozenset({Level.INSTANCE}))
            moved = _find_moved(tx, [*request.series, *request.instances])
            if any(source.public_ids[Level.STUDY] != study for source in moved.sources):
                raise UnknownResourceError("a series or an instance is not part of the study")
            return moved

        return await self._workers.read_long(query)

    async def find_merge(self, study: str, request: MergeRequest) -> Moved:
        """List the instances that are brought into a study.

        Raises
        ------
        UnknownResourceError
            If something does not exist, is a patient, or is the study itself or a part of it.
        """

        def query(tx: Transaction) -> Moved:
            _check_levels(tx, request.resources, _MERGEABLE)
            moved = _find_moved(tx, request.resources)
            if any(source.public_ids[Level.STUDY] == study for source in moved.sources):
                raise UnknownResourceError("a study cannot be merged into itself")
            return moved

        return await self._workers.read_long(query)

    async def choose_sample(self, study: str) -> str:
        """Choose the instance that tells what patient and study are like.

        Raises
        ------
        MissingFileError
            If no instance of the study has a file.
        """
        found = await self._workers.read(
            lambda tx: find_files_below(tx, Level.STUDY, study, limit=1)
        )
        if not found:
            raise MissingFileError("the study has no file that its tags could be read from")
        return found[0][0]

    async def read_sample(self, public_id: str) -> dict[int, PortableElement]:
        """Read the elements of the modules of patient and study.

        Raises
        ------
        SourceChangedError
            If the instance is gone.
        """
        found = await self._workers.read(lambda tx: lookup_dicom_attachment(tx, public_id))
        if found is None:
            raise SourceChangedError("the instance was deleted that tells what the study is like")

        def read() -> dict[int, PortableElement]:
            with open_header(self._storage, found) as buffer:
                return read_elements(
                    buffer,
                    _MODULES,
                    default_encoding=self._settings.default_encoding,
                    dictionary=self.options.dictionary,
                )

        return await self._workers.run(read)

    def build_split(
        self, request: SplitRequest, moved: Moved, key: bytes
    ) -> list[tuple[Source, Edit]]:
        """Say what is done to each instance of a split.

        Parameters
        ----------
        key
            New identifiers follow from it.
        """
        pseudonyms = Pseudonyms(key)
        old = moved.sources[0].uids[0]
        replace = {
            **request.replace,
            TagPath((), _STUDY_INSTANCE_UID): pseudonyms.replace_uid(old),
        }
        edit = self._build_edit(pseudonyms, moved, replace, request.remove)
        return [(source, edit) for source in moved.sources]

    def build_merge(
        self, sample: Mapping[int, PortableElement], moved: Moved, key: bytes
    ) -> list[tuple[Source, Edit]]:
        """Say what is done to each instance of a merge.

        Parameters
        ----------
        sample
            Elements of the study that all become a part of.
        """
        target = _get_uid(sample)
        replace = {TagPath((), tag): element for tag, element in sample.items()}
        remove = frozenset(TagPath((), tag) for tag in _MODULES - sample.keys())
        studies: dict[str, list[Source]] = {}
        for source in moved.sources:
            studies.setdefault(source.public_ids[Level.STUDY], []).append(source)
        old = {source.uids[0] for source in moved.sources}
        taken: set[str] = set()
        pairs: list[tuple[Source, Edit]] = []
        for study, sources in studies.items():
            pseudonyms = _build_pseudonyms(study, sources, taken, key)
            for uid_of_study in old:
                pseudonyms.set_uid(uid_of_study, target)
            edit = self._build_edit(pseudonyms, moved, replace, remove)
            pairs.extend((source, edit) for source in sources)
        return pairs

    def _build_edit(
        self,
        pseudonyms: Pseudonyms,
        moved: Moved,
        replace: Mapping[TagPath, Any],
        remove: frozenset[TagPath],
    ) -> Edit:
        references, partings = _list_renamed(moved)
        return Edit(
            pseudonyms,
            replace=replace,
            remove=remove,
            regenerate=frozenset({_SERIES_INSTANCE_UID, _SOP_INSTANCE_UID}),
            references=references,
            partings=partings,
            private_creator=self.options.private_creator or None,
            dictionary=self.options.dictionary,
        )

    def build_publication(self, *, keep_source: bool, keep_labels: bool) -> Publication:
        """Say how the results become visible."""
        return Publication(
            level=Level.SERIES,
            source_code=MetadataCode.MODIFIED_FROM,
            keep_source=keep_source,
            keep_labels=keep_labels,
            renews_existing=False,
            carries_annotations=True,
            rules=self.options.rules,
        )


def _check_levels(tx: Transaction, public_ids: Sequence[str], levels: frozenset[Level]) -> None:
    # PostgreSQL takes no NUL as text, and no resource has one in its name.
    if any("\0" in public_id for public_id in public_ids):
        raise UnknownResourceError
    if any(level not in levels for level, _, _ in resolve_resources(tx, public_ids)):
        raise UnknownResourceError("one of the resources is of a wrong level")


def _find_moved(tx: Transaction, public_ids: Sequence[str]) -> Moved:
    sources = find_sources(tx, public_ids, limit=_MOST_SOURCES + 1)
    if len(sources) > _MOST_SOURCES:
        raise BadRequestError(f"at most {_MOST_SOURCES} instances can be moved at once")
    return Moved(
        sources,
        frozenset(find_doomed(tx, [(Level.INSTANCE, source.public_id) for source in sources])),
    )


def _get_uid(sample: Mapping[int, PortableElement]) -> str:
    element = sample.get(_STUDY_INSTANCE_UID)
    value = element.value if element is not None else b""
    if not isinstance(value, bytes) or not value:
        raise BadFileFormatError("the file of the study has no StudyInstanceUID")
    return value.rstrip(b" \0").decode("ascii", "replace")


def _list_renamed(moved: Moved) -> tuple[frozenset[str], frozenset[str]]:
    """List the UIDs that mean something new everywhere, and those that do only in places."""
    references = {source.uids[2] for source in moved.sources}
    partings: set[str] = set()
    for source in moved.sources:
        for level, uid in ((Level.STUDY, source.uids[0]), (Level.SERIES, source.uids[1])):
            is_emptied = (level, source.public_ids[level]) in moved.emptied
            (references if is_emptied else partings).add(uid)
    return frozenset(references), frozenset(partings - references)


def _build_pseudonyms(
    study: str, sources: Sequence[Source], taken: set[str], key: bytes
) -> Pseudonyms:
    """Build the new identifiers of one of the studies that are merged.

    All studies give the same ones, so that references between them hold. Only UIDs that a study
    before has, too, as copies of it have, get new ones of their own.

    Parameters
    ----------
    taken
        The UIDs of the studies before; those of this one are added.
    """
    pseudonyms, own = Pseudonyms(key), Pseudonyms(key + study.encode())
    uids = {uid for source in sources for uid in source.uids[1:]}
    for uid in uids & taken:
        pseudonyms.set_uid(uid, own.replace_uid(uid))
    taken |= uids
    return pseudonyms

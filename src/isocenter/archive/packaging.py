"""What goes into an archive, under which names, in which order."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from isocenter.archive.package_names import build_file_names, build_folder_name, make_unique
from isocenter.clock import format_timestamp
from isocenter.index.packaging import Package, PackagedInstance
from isocenter.index.records import Attachment, MetadataCode

__all__ = [
    "MediaPlace",
    "PackagedFile",
    "list_archive_files",
    "list_media_files",
    "list_sorted_instances",
]

_INSTANCE_NUMBER = "InstanceNumber"
_DATE = re.compile(r"\d{8}", re.ASCII)
_TIME = re.compile(r"\d{6}", re.ASCII)
_OFFSET = re.compile(r"\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"\s*\+?(\d{1,9})\s*")

# PS3.10 §8.5: a component of a file ID has eight characters.
_FILES_OF_A_FOLDER = 1_000_000
_RECEPTION_DATE = str(int(MetadataCode.RECEPTION_DATE))
_PIXEL_DATA_OFFSET = str(int(MetadataCode.PIXEL_DATA_OFFSET))

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class MediaPlace:
    """Where a file of a medium belongs in its DICOMDIR.

    Attributes
    ----------
    lineage
        Public identifiers of its patient, its study and its series.
    numbers
        Places of study, series and instance among their siblings, from 1.
    received
        Date and time of its reception, as DA and TM.
    pixel_data_offset
        Where its header ends; ``None`` if that is not known.
    """

    lineage: tuple[str, str, str]
    numbers: tuple[int, int, int]
    received: tuple[str, str]
    pixel_data_offset: int | None


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file of an archive.

    Attributes
    ----------
    name
        Path in the archive, with slashes.
    public_id
        Of the instance.
    last_update
        Seconds since 1970, UTC.
    place
        Only of the files of a medium.
    """

    name: str
    public_id: str
    attachment: Attachment
    last_update: int
    place: MediaPlace | None = None


def list_archive_files(package: Package, *, is_utf8: bool) -> list[PackagedFile]:
    """Name the files of an archive with folders for patients, studies and series.

    References
    ----------
    Orthanc REST: tree of an archive (behaviour manual §22.2)
    """
    tree = _Tree(package)
    return [
        PackagedFile(
            f"{path}/{name}", instance.public_id, instance.attachment, instance.last_update
        )
        for path, modality, instances in tree.walk(is_utf8=is_utf8)
        for instance, name in zip(
            instances,
            build_file_names(modality, [_get_number(i) for i in instances]),
            strict=True,
        )
    ]


def list_media_files(package: Package) -> list[PackagedFile]:
    """Name the files of a medium.

    References
    ----------
    PS3.10 §8.5 (file IDs), Orthanc REST: media (behaviour manual §22.3)
    """
    files: list[PackagedFile] = []
    for lineage, numbers, instances in _Tree(package).walk_media():
        for number, instance in enumerate(instances, 1):
            place = _build_place(lineage, (*numbers, number), instance)
            files.append(
                PackagedFile(
                    _build_file_id(len(files)),
                    instance.public_id,
                    instance.attachment,
                    instance.last_update,
                    place,
                )
            )
    return files


def list_sorted_instances(package: Package) -> list[PackagedInstance]:
    """List the instances series by series, in the order of their instance numbers.

    References
    ----------
    Orthanc REST: order of sending (behaviour manual §23.2)
    """
    return [instance for _, _, instances in _Tree(package).walk_media() for instance in instances]


def _build_file_id(number: int) -> str:
    folder, file = divmod(number, _FILES_OF_A_FOLDER)
    return f"IMAGES{folder or ''}/IM{file}"


def _build_place(
    lineage: tuple[str, str, str], numbers: tuple[int, int, int], instance: PackagedInstance
) -> MediaPlace:
    metadata = _parse(instance.metadata)
    date, _, time = str(metadata.get(_RECEPTION_DATE, "")).partition("T")
    if not (_DATE.fullmatch(date) and _TIME.fullmatch(time)):
        date, time = format_timestamp(instance.last_update).split("T")
    offset = str(metadata.get(_PIXEL_DATA_OFFSET, ""))
    return MediaPlace(
        lineage, numbers, (date, time), int(offset) if _OFFSET.fullmatch(offset) else None
    )


class _Tree:
    """The resources of a package in the order in which they are written."""

    def __init__(self, package: Package) -> None:
        self._folders = package.folders
        self._instances: dict[int, list[PackagedInstance]] = defaultdict(list)
        for instance in package.instances:
            self._instances[instance.series].append(instance)
        self._children: dict[int | None, list[int]] = defaultdict(list)
        for key in sorted(self._folders, key=lambda key: self._folders[key].public_id):
            self._children[self._folders[key].parent].append(key)

    def walk(self, *, is_utf8: bool) -> Iterable[tuple[str, str, list[PackagedInstance]]]:
        """Iterate over (path, modality, instances) of each series."""
        for patient, patient_name in self._name(None, is_utf8=is_utf8):
            for study, study_name in self._name(patient, is_utf8=is_utf8):
                for series, series_name in self._name(study, is_utf8=is_utf8):
                    modality = str(_parse(self._folders[series].main_tags).get("Modality", ""))
                    path = f"{patient_name}/{study_name}/{series_name}"
                    yield path, modality, self._sort(series)

    def walk_media(
        self,
    ) -> Iterable[tuple[tuple[str, str, str], tuple[int, int], list[PackagedInstance]]]:
        """Iterate over (public identifiers, numbers of study and series, instances)."""
        for patient in self._children[None]:
            for study_number, study in enumerate(self._children[patient], 1):
                for series_number, series in enumerate(self._children[study], 1):
                    names = [self._folders[key].public_id for key in (patient, study, series)]
                    lineage = (names[0], names[1], names[2])
                    yield lineage, (study_number, series_number), self._sort(series)

    def _name(self, parent: int | None, *, is_utf8: bool) -> Iterable[tuple[int, str]]:
        keys = self._children[parent]
        names = [
            build_folder_name(
                self._folders[key].level, _parse(self._folders[key].main_tags), is_utf8=is_utf8
            )
            for key in keys
        ]
        return zip(keys, make_unique(names), strict=True)

    def _sort(self, series: int) -> list[PackagedInstance]:
        return sorted(self._instances[series], key=_sort_key)


def _sort_key(instance: PackagedInstance) -> tuple[bool, int, str]:
    number = _get_number(instance)
    return number is None, number or 0, instance.public_id


def _get_number(instance: PackagedInstance) -> int | None:
    match = _NUMBER.fullmatch(str(_parse(instance.main_tags).get(_INSTANCE_NUMBER, "")))
    return None if match is None else int(match[1])


def _parse(main_tags: str) -> dict[str, Any]:
    tags: dict[str, Any] = _decode(main_tags)
    return tags

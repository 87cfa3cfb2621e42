"""What goes into an archive, under which names, in which order."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from isocenter.archive.package_names import build_file_names, build_folder_name, make_unique
from isocenter.index.packaging import Folder, Package, PackagedInstance
from isocenter.index.records import Attachment

__all__ = ["PackagedFile", "list_archive_files", "list_media_files", "list_sorted_instances"]

_INSTANCE_NUMBER = "InstanceNumber"
_NUMBER = re.compile(r"\s*\+?(\d{1,9})\s*")

_decode = msgspec.json.Decoder().decode


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
    """

    name: str
    public_id: str
    attachment: Attachment
    last_update: int


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


def list_media_files(package: Package) -> list[tuple[PackagedFile, tuple[Folder, Folder, Folder]]]:
    """Name the files of a medium, each with its patient, study and series.

    References
    ----------
    PS3.10 §8.5 (file IDs), Orthanc REST: media (behaviour manual §22.3)
    """
    tree = _Tree(package)
    files: list[tuple[PackagedFile, tuple[Folder, Folder, Folder]]] = []
    for series, instances in tree.list_series():
        lineage = tree.get_lineage(series)
        for instance in instances:
            name = f"IMAGES/IM{len(files)}"
            file = PackagedFile(name, instance.public_id, instance.attachment, instance.last_update)
            files.append((file, lineage))
    return files


def list_sorted_instances(package: Package) -> list[PackagedInstance]:
    """List the instances series by series, in the order of their instance numbers.

    References
    ----------
    Orthanc REST: order of sending (behaviour manual §23.2)
    """
    return [instance for _, instances in _Tree(package).list_series() for instance in instances]


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

    def list_series(self) -> Iterable[tuple[int, list[PackagedInstance]]]:
        """Iterate over the series and their instances."""
        for patient in self._children[None]:
            for study in self._children[patient]:
                for series in self._children[study]:
                    yield series, self._sort(series)

    def get_lineage(self, series: int) -> tuple[Folder, Folder, Folder]:
        """Give the patient, the study and the series."""
        own = self._folders[series]
        study = self._folders[_known(own.parent)]
        return self._folders[_known(study.parent)], study, own

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


def _known(key: int | None) -> int:
    assert key is not None, "only patients have no parent"  # noqa: S101
    return key


def _sort_key(instance: PackagedInstance) -> tuple[bool, int, str]:
    number = _get_number(instance)
    return number is None, number or 0, instance.public_id


def _get_number(instance: PackagedInstance) -> int | None:
    match = _NUMBER.fullmatch(str(_parse(instance.main_tags).get(_INSTANCE_NUMBER, "")))
    return None if match is None else int(match[1])


def _parse(main_tags: str) -> dict[str, Any]:
    tags: dict[str, Any] = _decode(main_tags)
    return tags

"""The use cases that read stored files."""

from dataclasses import dataclass

from isocenter.archive.content import ContentReader
from isocenter.archive.elements import ElementReader
from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.file_export import FileExporter
from isocenter.archive.models import ModelReader
from isocenter.archive.options import (
    get_spool_folder,
    list_own_folders,
)
from isocenter.archive.settings import Settings
from isocenter.archive.tags import TagsReader
from isocenter.archive.tags_below import TagsBelow
from isocenter.archive.workers import Workers
from isocenter.config.configuration import Configuration
from isocenter.dicom.configured_elements import iter_configured_elements
from isocenter.dicom.element_ranges import ElementRange
from isocenter.dicom.external_dictionaries import read_dictionary
from isocenter.dicom.tags import ConfiguredElement, TagDictionary
from isocenter.errors import ConfigurationError
from isocenter.storage.port import Storage

__all__ = ["Reading", "build_reading"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """The use cases that read stored files."""

    dictionary: TagDictionary
    buffers: FileBuffers
    content: ContentReader
    tags: TagsReader
    tags_below: TagsBelow
    elements: ElementReader
    models: ModelReader
    file_exporter: FileExporter


def build_dictionary(configuration: Configuration) -> TagDictionary:
    """Add what the configuration knows of tags to the built-in dictionaries.

    Raises
    ------
    ConfigurationError
        If an external dictionary cannot be read or holds a wrong line.
    """
    elements: list[ConfiguredElement | ElementRange] = []
    try:
        for path in configuration.paths("ExternalDictionaries"):
            elements += read_dictionary(path)
    except ConfigurationError as error:
        raise ConfigurationError(f'option "ExternalDictionaries": {error.details}') from error
    elements += iter_configured_elements(configuration.mapping("Dictionary"))
    return TagDictionary(elements, knows_private=configuration.boolean("LoadPrivateDictionary"))


def build_reading(
    configuration: Configuration, workers: Workers, storage: Storage, settings: Settings
) -> Reading:
    """Build them, with the dictionary of tags that all of them use.

    Raises
    ------
    ConfigurationError
        If an external dictionary is wrong.
    """
    dictionary = build_dictionary(configuration)
    buffers = FileBuffers(
        storage,
        cache_bytes=configuration.integer("MaximumStorageCacheSize") * _MIB,
        temporary_folder=get_spool_folder(configuration, storage),
    )
    content = ContentReader(workers, storage, buffers)
    tags = TagsReader(
        workers,
        storage,
        buffers,
        settings=settings,
        dictionary=dictionary,
        cache_bytes=configuration.integer("Isocenter.TagsCacheSizeMB") * _MIB,
    )
    own_folders = list_own_folders(configuration)
    return Reading(
        dictionary=dictionary,
        buffers=buffers,
        content=content,
        tags=tags,
        tags_below=TagsBelow(workers, tags),
        elements=ElementReader(workers, storage, buffers, dictionary=dictionary),
        models=ModelReader(workers, buffers, settings=settings, dictionary=dictionary),
        file_exporter=FileExporter(workers, content, own_folders=own_folders),
    )

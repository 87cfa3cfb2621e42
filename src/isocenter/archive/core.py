"""What most use cases work with, put together as the configuration asks."""

from dataclasses import dataclass, replace

from isocenter.archive.configured_tags import build_configured_main_tags
from isocenter.archive.conversion import Converter, build_converter
from isocenter.archive.deletion import Deleter
from isocenter.archive.ingest import Ingest
from isocenter.archive.options import (
    get_ingest_options,
    get_rules,
    get_spool_folder,
)
from isocenter.archive.registry import Registry, build_registry
from isocenter.archive.settings import Settings
from isocenter.archive.staging import StagingOptions
from isocenter.archive.transcoding import Transcoder, build_transcoder
from isocenter.archive.warning_log import WarningLog
from isocenter.archive.workers import Workers
from isocenter.config.configuration import Configuration
from isocenter.dicom.main_tags import MainTags
from isocenter.index.port import Database
from isocenter.index.read_only import ReadOnlyDatabase
from isocenter.index.records import Rules
from isocenter.measures import Measures
from isocenter.storage.measured import MeasuredStorage
from isocenter.storage.port import Storage

__all__ = ["Core", "build_core"]


@dataclass(frozen=True, slots=True)
class Core:
    """What most use cases work with."""

    workers: Workers
    database: Database
    storage: Storage
    settings: Settings
    measures: Measures
    rules: Rules
    main_tags: MainTags
    registry: Registry
    deleter: Deleter
    ingest: Ingest
    warnings: WarningLog
    staging: StagingOptions
    transcoder: Transcoder
    converter: Converter | None


def build_core(configuration: Configuration, database: Database, storage: Storage) -> Core:
    """Build it; a read-only server gets a database that refuses to write."""
    if configuration.boolean("ReadOnly"):
        database = ReadOnlyDatabase(database)
    measures = Measures(is_enabled=configuration.boolean("MetricsEnabled"))
    storage = MeasuredStorage(storage, measures)
    settings = Settings(configuration.text("DefaultEncoding"))
    rules = get_rules(configuration)
    workers = Workers(database, configuration.integer("Isocenter.IngestThreads"))
    main_tags = build_configured_main_tags(configuration)
    folder = get_spool_folder(configuration, storage)
    transcoder = build_transcoder(configuration, folder)
    converter = build_converter(configuration, transcoder, settings)
    options = replace(
        get_ingest_options(configuration, main_tags, rules, settings, measures),
        converter=converter,
    )
    forget = options.summaries.forget
    deleter = Deleter(workers, database, storage, rules, on_removed=forget)
    return Core(
        workers=workers,
        database=database,
        storage=storage,
        settings=settings,
        measures=measures,
        rules=rules,
        main_tags=main_tags,
        registry=build_registry(configuration),
        deleter=deleter,
        ingest=Ingest(workers, database, storage, options, on_removals=deleter.wake_from_thread),
        warnings=WarningLog(configuration.mapping("Warnings")),
        staging=StagingOptions(
            main_tags,
            settings,
            has_md5=options.has_md5,
            is_compressed=options.is_compressed,
            transcoder=transcoder,
            folder=folder,
        ),
        transcoder=transcoder,
        converter=converter,
    )

"""``isocenter adopt-orthanc``: the archive of an Orthanc becomes one of ours."""

import argparse
import os
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from isocenter.archive.adoption import Adoption, AdoptionOptions
from isocenter.archive.adoption_trial import AdoptionReport, Finding, run_trial
from isocenter.archive.reconciliation import reconcile
from isocenter.commands.recovery import redo
from isocenter.commands.settings import add_config_argument, load
from isocenter.commands.terminal import Progress, Report, format_size, printable
from isocenter.config.configuration import Configuration
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_main_tags
from isocenter.errors import ConfigurationError, DatabaseUnavailableError, FullStorageError
from isocenter.index.orthanc import OrthancIndex
from isocenter.index.port import Database
from isocenter.index.reading import get_statistics
from isocenter.server import open_database, open_storage
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.journaled import JournaledStorage
from isocenter.storage.taking import FileTaker, Way

__all__ = ["add_adopt_orthanc"]

_DESCRIPTION = """\
Take over the archive of an Orthanc that keeps its index in SQLite: resources with their
identifiers, metadata, attachments, labels, protection and changes, and the files. Both servers
must be stopped. Nothing in Orthanc's folders is ever changed.

First comes a trial that only reads: the index is checked for damage, and each file for its
presence and size. Only if nothing is wrong the archive is adopted. At the end every file is read
and its MD5 sum compared. An adoption that was interrupted goes on when the same command is given
again; what is there already is left as it is."""

_EPILOG = """\
examples:
  isocenter adopt-orthanc --dry-run /var/lib/orthanc/db
  isocenter adopt-orthanc /var/lib/orthanc/db --config /etc/isocenter/ --report findings.jsonl

exit status: 0 success, 1 something is damaged, 2 wrong usage or configuration, 3 failure,
130 interrupted"""

_SPARE_BYTES = 64 << 20


def add_adopt_orthanc(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "adopt-orthanc",
        help="take over the archive of an Orthanc",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="Orthanc's storage folder (StorageDirectory)"
    )
    parser.add_argument(
        "--index",
        type=Path,
        metavar="DIR",
        help="folder of its index (IndexDirectory), if it is another one",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--link",
        dest="way",
        action="store_const",
        const=Way.LINK,
        help="only link files, which needs both folders on one file system",
    )
    way.add_argument(
        "--copy",
        dest="way",
        action="store_const",
        const=Way.COPY,
        help="only copy files (default: link where that is possible)",
    )
    parser.add_argument("--dry-run", action="store_true", help="end after the trial")
    parser.add_argument(
        "--skip-damaged",
        action="store_true",
        help="adopt the rest although the trial found damaged or missing files",
    )
    parser.add_argument(
        "--no-verify", action="store_true", help="do not compare MD5 sums at the end"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write all findings to a file of JSON lines"
    )
    add_config_argument(parser)
    parser.set_defaults(run=_adopt, way=Way.EITHER)


def _adopt(options: argparse.Namespace) -> int:
    configuration = load(options.config)
    index_folder = options.index or options.folder
    _check_folders(configuration, (options.folder, index_folder))
    progress = Progress("files")
    with ExitStack() as stack:
        stack.callback(progress.clear)
        report = stack.enter_context(Report(options.report, progress))
        source = stack.enter_context(OrthancIndex(index_folder))
        files = FileTaker(options.folder, configuration.path("StorageDirectory"), options.way)
        is_linked = _introduce(source, files, options.way)
        trial = _try(source, files, report, progress)
        if options.dry_run or (trial.damaged and not options.skip_damaged):
            return _end_trial(trial, is_dry_run=options.dry_run)
        database = _open_database(configuration, stack)
        if not is_linked:
            _check_room(database, files, trial.bytes)
        adopted = _adopt_all(configuration, source, files, database, report)
        is_whole = options.no_verify or _verify(configuration, database, report)
    return 1 if adopted.damaged or not is_whole else 0


def _check_folders(configuration: Configuration, theirs: tuple[Path, ...]) -> None:
    """Keep our files out of Orthanc's folders, and all of them out of a read-only archive."""
    if configuration.boolean("ReadOnly"):
        raise ConfigurationError('option "ReadOnly": this archive takes nothing')
    for name in ("StorageDirectory", "IndexDirectory"):
        ours = os.path.realpath(configuration.path(name))
        for folder in map(os.path.realpath, theirs):
            if os.path.commonpath((ours, folder)) == folder:
                message = f'option "{name}": {ours} lies in the folder of Orthanc'
                advice = "choose another one; on the same file system, links take no room"
                raise ConfigurationError(f"{message}; {advice}")


def _introduce(source: OrthancIndex, files: FileTaker, way: Way) -> bool:
    """Say what is there, and tell whether its files will be linked."""
    counts = source.count_resources()
    total = ", ".join(f"{counts.get(level, 0):,} {level.plural}" for level in Level)
    _, size = source.measure_attachments()
    is_linked = way is not Way.COPY and files.can_link()
    if way is Way.LINK and not is_linked:
        message = "files cannot be linked from one file system to another; use --copy"
        raise ConfigurationError(message)
    print(f"Orthanc's index {printable(str(source.path))}")
    print(f"  {total}, {format_size(size)} of files, which will be")
    print(f"  {'linked: they take no room' if is_linked else 'copied'}")
    return is_linked


def _try(
    source: OrthancIndex, files: FileTaker, report: Report, progress: Progress
) -> AdoptionReport:
    print("Trial, which only reads", flush=True)
    total, _ = source.measure_attachments()
    trial = run_trial(
        source,
        files,
        on_finding=partial(_report_finding, report, "trial"),
        on_progress=lambda r: progress.show(r.attachments, total, f"{r.damaged:,} damaged"),
    )
    progress.clear()
    print(f"  {trial.attachments:,} files looked at, {trial.damaged:,} of them missing or damaged")
    return trial


def _report_finding(report: Report, step: str, finding: Finding) -> None:
    report.add(
        f"{finding.resource}: {finding.reason}",
        step=step,
        kind="damage" if finding.is_damage else "note",
        resource=finding.resource,
        file=finding.attachment_uuid,
        reason=finding.reason,
    )


def _end_trial(trial: AdoptionReport, *, is_dry_run: bool) -> int:
    if not trial.damaged:
        print("All of it can be adopted. Nothing was written.")
        return 0
    if not is_dry_run:
        print("Nothing was adopted. Give --skip-damaged to adopt the rest.")
    return 1


def _open_database(configuration: Configuration, stack: ExitStack) -> Database:
    """Open our archive for this command alone, its folders made and its journal finished."""
    try:
        database = open_database(configuration, is_exclusive=True)
    except DatabaseUnavailableError as error:
        message = f"{error}; Isocenter must be stopped while it adopts an archive"
        raise DatabaseUnavailableError(message) from error
    stack.callback(database.close)
    folder = configuration.path("StorageDirectory")
    FileSystemStorage(folder).check_writable()
    if JournaledStorage.is_in(folder):
        with closing(open_storage(configuration, database)) as storage:
            redo(configuration, database, storage)
    return database


def _check_room(database: Database, files: FileTaker, size: int) -> None:
    """Find out before hours of copying that there is not enough room.

    What our archive holds may be copies that an interrupted adoption made.
    """
    present = database.read(get_statistics).disk_size
    missing = size + _SPARE_BYTES - present - files.get_free_bytes()
    if missing > 0:
        raise FullStorageError(f"{format_size(missing)} of room are missing for the copies")


def _adopt_all(
    configuration: Configuration,
    source: OrthancIndex,
    files: FileTaker,
    database: Database,
    report: Report,
) -> AdoptionReport:
    print("Adopting", flush=True)
    total = source.count_resources().get(Level.INSTANCE, 0)
    progress = Progress("instances")
    adopted = Adoption(
        source,
        files,
        database,
        AdoptionOptions(build_main_tags(), configuration.text("DefaultEncoding")),
        on_finding=partial(_report_finding, report, "adoption"),
        on_progress=lambda r: progress.show(
            r.counts[Level.INSTANCE] + r.present, total, f"{r.damaged:,} damaged"
        ),
    ).run()
    progress.clear()
    print(_describe(adopted))
    return adopted


def _describe(adopted: AdoptionReport) -> str:
    made = ", ".join(f"{adopted.counts[level]:,} {level.plural}" for level in Level)
    copied = adopted.attachments - adopted.linked
    lines = [
        f"  adopted {made}; {adopted.present:,} instances were there already",
        f"  {adopted.linked:,} files linked, {copied:,} copied, {format_size(adopted.bytes)}",
        f"  {adopted.changes:,} changes, {adopted.exports:,} exports",
    ]
    if adopted.damaged:
        lines.append(f"  {adopted.damaged:,} missing or damaged files left out")
    if adopted.noted:
        lines.append(f"  {adopted.noted:,} instances with something to know")
    return "\n".join(lines)


def _verify(configuration: Configuration, database: Database, report: Report) -> bool:
    print("Comparing the MD5 sum of each file", flush=True)
    progress = Progress("files")
    storage = open_storage(configuration, database)
    try:
        found = reconcile(
            database,
            storage,
            has_content=True,
            on_progress=lambda r: progress.show(r.checked_attachments, None),
        )
    finally:
        storage.close()
    progress.clear()
    for damage in found.damaged:
        resource = f"/{damage.level.plural}/{damage.public_id}"
        report.add(
            f"{resource}: {damage.reason}",
            step="verification",
            kind="damage",
            resource=resource,
            file="",
            reason=damage.reason,
        )
    print(f"  {found.checked_attachments:,} files compared, {found.damaged_count:,} damaged")
    return not found.damaged_count

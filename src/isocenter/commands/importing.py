"""``isocenter import``: files, folders and ZIP archives into an archive or to a running server."""

import argparse
import asyncio
import getpass
import os
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

import uvloop

from isocenter.archive.archive import build_archive
from isocenter.archive.import_target import ImportTarget, LocalTarget
from isocenter.archive.importing import Importer, ImportReport, Refusal
from isocenter.archive.inspection import InspectionOptions
from isocenter.archive.walking import iter_files
from isocenter.commands.remote import RemoteTarget
from isocenter.commands.settings import add_config_argument, load
from isocenter.commands.terminal import Progress, Report, format_size, printable
from isocenter.config.configuration import Configuration
from isocenter.errors import DatabaseUnavailableError
from isocenter.server import open_database, open_storage

__all__ = ["add_import"]

_DESCRIPTION = """\
Import DICOM files, all files below folders, and ZIP archives. Without --url the server must be
stopped; with it, files are sent to a running one, Isocenter or Orthanc.

Give the same command again after an interruption: of a file whose instance is stored already,
only the header is read. Files that are no DICOM are left alone; --report lists them. Links to
folders are not followed."""

_EPILOG = """\
examples:
  isocenter import /media/cdrom --config /etc/isocenter/
  isocenter import --url http://alice@localhost:8042 --report refused.jsonl export/ more.zip

exit status: 0 success, 1 some DICOM files or paths were refused, 2 wrong usage or configuration,
3 failure, 130 interrupted"""

_INTERRUPTED = 130


def add_import(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "import",
        help="import files, folders and ZIP archives",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="file, folder or ZIP archive")
    parser.add_argument(
        "--url",
        metavar="URL",
        help="send to the server at this address; for one that asks for a user, write "
        "http://USER@HOST:PORT and type the password, or send it to standard input",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write each file that is not imported, with reason and code, to a file of JSON lines",
    )
    add_config_argument(parser)
    parser.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> int:
    configuration = load(options.config)
    return uvloop.run(_run(configuration, options))


async def _run(configuration: Configuration, options: argparse.Namespace) -> int:
    progress = Progress("files")
    with ExitStack() as stack:
        stack.callback(progress.clear)
        report = stack.enter_context(Report(options.report, progress))
        async with _opened_target(configuration, options.url) as (target, inspection):
            total = _Total(options.paths) if progress.is_terminal else None
            importer = Importer(
                target,
                inspection,
                on_refusal=partial(_report_refusal, report),
                on_progress=lambda r: progress.show(
                    r.seen, total.value if total else None, _summarize(r)
                ),
            )
            stop = _Stop(importer, progress)
            stack.enter_context(stop)
            try:
                done = await importer.run(options.paths)
            finally:
                if total:
                    total.stop()
        progress.clear()
    print(f"{done.seen:,} files: {_summarize(done)}, {format_size(done.bytes)}")
    if stop.is_asked:
        print("Interrupted; give the same command again to go on.")
        return _INTERRUPTED
    return 1 if done.refused else 0


def _summarize(report: ImportReport) -> str:
    return (
        f"{report.stored:,} stored, {report.present:,} there already, {report.refused:,} refused, "
        f"{report.ignored:,} no DICOM"
    )


def _report_refusal(report: Report, refusal: Refusal) -> None:
    where = printable(refusal.path)
    if refusal.entry:
        where += f": {printable(refusal.entry)}"
    text = f"{where}: {printable(refusal.reason)} ({refusal.code})"
    report.add(
        text if refusal.is_dicom else None,
        file=refusal.path,
        entry=refusal.entry,
        reason=refusal.reason,
        code=refusal.code,
        dicom=refusal.is_dicom,
    )


class _Stop:
    """Ends an import at the first signal, once what is under way is stored."""

    def __init__(self, importer: Importer, progress: Progress) -> None:
        self._importer = importer
        self._progress = progress
        self.is_asked = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._ask)

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _ask(self) -> None:
        if self.is_asked:
            # As safe as any crash: what was acknowledged by the pipeline is durable.
            os._exit(_INTERRUPTED)
        self._progress.say("Stopping after what is under way; again to stop at once")
        self.is_asked = True
        self._importer.stop()


class _Total:
    """Counts the files beside the import, so that a person sees how much is left."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._count = 0
        self._is_done = False
        self._is_stopped = False
        self._paths = paths
        threading.Thread(target=self._run, name="count", daemon=True).start()

    @property
    def value(self) -> int | None:
        """How many files there are; ``None`` while they are being counted."""
        return self._count if self._is_done else None

    def stop(self) -> None:
        self._is_stopped = True

    def _run(self) -> None:
        for _ in iter_files(self._paths):
            if self._is_stopped:
                return
            self._count += 1
        self._is_done = True


@asynccontextmanager
async def _opened_target(
    configuration: Configuration, url: str | None
) -> AsyncIterator[tuple[ImportTarget, InspectionOptions]]:
    async with AsyncExitStack() as stack:
        if url is None:
            yield await _open_local(configuration, stack)
        else:
            target = RemoteTarget(_ask_password(url))
            stack.callback(target.close)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="isocenter-")))
            yield target, _build_options(configuration, folder)


def _ask_password(url: str) -> str:
    """Ask for the password of a user whom an address names without one.

    On the command line every user of the machine could read it.
    """
    address, at, host = url.rpartition("@")
    scheme, slashes, user = address.partition("://")
    if not at or not user or ":" in user:
        return url
    if sys.stdin.isatty():
        password = getpass.getpass(f"Password of {printable(user)}: ")
    else:
        password = sys.stdin.readline().rstrip("\n")
    return f"{scheme}{slashes}{user}:{quote(password, safe='')}@{host}"


async def _open_local(
    configuration: Configuration, stack: AsyncExitStack
) -> tuple[ImportTarget, InspectionOptions]:
    try:
        database = open_database(configuration)
    except DatabaseUnavailableError as error:
        message = f"{error}; stop it, or import over HTTP with --url http://localhost:8042"
        raise DatabaseUnavailableError(message) from error
    stack.callback(database.close)
    storage = open_storage(configuration, database)
    stack.callback(storage.close)
    archive = build_archive(configuration, database, storage)
    stack.push_async_callback(archive.stop)
    await archive.start()
    has_overwriting = configuration.text("OverwriteInstances") != "Never"
    target = LocalTarget(archive.ingest, database, has_overwriting=has_overwriting)
    folder = storage.spool_folder or configuration.path("TemporaryDirectory")
    return target, _build_options(configuration, folder)


def _build_options(configuration: Configuration, folder: Path) -> InspectionOptions:
    return InspectionOptions(
        spool_folder=folder,
        spool_threshold=configuration.integer("Isocenter.SpoolThresholdKB") * 1024,
        largest_entry=configuration.integer("MaximumFileSizeInArchiveMB") * 1024 * 1024,
        default_encoding=configuration.text("DefaultEncoding"),
    )

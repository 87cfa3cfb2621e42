"""Command line: arguments and exit codes."""

import argparse
import getpass
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import uvloop

from isocenter.archive.reconciliation import Report, reconcile
from isocenter.commands.adopting import add_adopt_orthanc
from isocenter.commands.importing import add_import
from isocenter.commands.recovery import redo
from isocenter.commands.settings import PATHS_HELP, load, load_with_logs
from isocenter.config.configuration import Configuration
from isocenter.config.documentation import format_default_file
from isocenter.errors import ConfigurationError, ServerError
from isocenter.http.access import hash_password
from isocenter.jobs.port import Recovery
from isocenter.log_arguments import add_log_arguments, apply_verbosities, get_log_files
from isocenter.logs import Logs
from isocenter.server import End, Endpoints, Server, open_database, open_storage
from isocenter.version import __version__

__all__ = ["main"]

_log = logging.getLogger(__name__)

_DESCRIPTION = """\
Isocenter is a DICOM server with Orthanc's REST API: it receives medical images over the DICOM
protocol and HTTP, keeps them, and gives them back."""

_EPILOG = """\
examples:
  isocenter serve                        start with the defaults, data in ./isocenter-data
  isocenter serve orthanc.json           start with an Orthanc configuration file
  isocenter serve /etc/isocenter/        start with all *.json files of a folder
  isocenter config > isocenter.json      write a commented configuration file to edit
  isocenter check --repair               compare the stored files with the index, and mend
  isocenter import FOLDER                import files, folders and ZIP archives
  isocenter adopt-orthanc FOLDER         take over the archive of an Orthanc

exit status: 0 success, 1 damage or refusals (see the help of a command), 2 wrong usage or
configuration, 3 failure, 130 interrupted"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; returns the exit status."""
    options = _build_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ServerError as error:
        print(f"isocenter: {error}", file=sys.stderr)
        return 2 if error.http_status == 500 and error.code == 47 else 3
    except KeyboardInterrupt:
        return 130


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="isocenter",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"Isocenter {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_check(commands)
    add_import(commands)
    add_adopt_orthanc(commands)
    config = commands.add_parser(
        "config",
        help="write a complete, commented configuration file",
        description="Write a configuration file with every option, its default and its meaning "
        "to standard output.",
    )
    config.set_defaults(run=_config)
    hashing = commands.add_parser(
        "hash-password",
        help="hash a password for the option RegisteredUsers",
        description="Ask for a password (or read it from standard input) and write its argon2 "
        "hash, which may stand in RegisteredUsers in place of the password.",
    )
    hashing.set_defaults(run=_hash_password)
    return parser


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser(
        "serve",
        help="start the server",
        description="Start the server and run until SIGTERM or Ctrl-C. SIGHUP reads the "
        "configuration again and restarts.",
    )
    serve.add_argument("paths", nargs="*", type=Path, metavar="PATH", help=PATHS_HELP)
    serve.add_argument(
        "--no-jobs",
        action="store_true",
        help="jobs that an earlier server did not finish wait until they are resumed by REST",
    )
    add_log_arguments(serve)
    serve.set_defaults(run=_serve)


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    check = commands.add_parser(
        "check",
        help="compare the stored files with the index",
        description="Compare the stored files with the index. The server must be stopped. "
        "Exit status 1 means that something differs.",
    )
    check.add_argument("paths", nargs="*", type=Path, metavar="PATH", help=PATHS_HELP)
    check.add_argument(
        "--content",
        action="store_true",
        help="read every file and compare its MD5 sum, not only its size",
    )
    check.add_argument(
        "--repair",
        action="store_true",
        help="delete instances whose file is missing or damaged from the index, and remove files "
        "that belong to no instance",
    )
    check.set_defaults(run=_check)


def _load(options: argparse.Namespace) -> tuple[Configuration, Logs]:
    configuration, logs = load_with_logs(options.paths, get_log_files(options))
    apply_verbosities(options, logs)
    return configuration, logs


def _serve(options: argparse.Namespace) -> int:
    configuration, logs = _load(options)
    recovery = Recovery.PAUSE if options.no_jobs else Recovery.RESUME
    while True:
        server = Server(configuration, logs, recovery)
        end = uvloop.run(server.run(partial(_greet, configuration)))
        if end is End.STOPPED:
            return 0
        try:
            configuration, logs = _load(options)
        except ConfigurationError as error:
            # Better the old configuration than no server; nobody is there to read an exit status.
            _log.error("the new configuration is wrong, the old one stays: %s", error)


def _greet(configuration: Configuration, endpoints: Endpoints) -> None:
    """Tell a person where the server listens and how to try it."""
    lines = [f"Isocenter {__version__}", f"  data   {configuration.path('StorageDirectory')}"]
    if endpoints.http is not None:
        scheme = "https" if configuration.boolean("SslEnabled") else "http"
        address = f"{scheme}://{_format_host(endpoints.http[0])}:{endpoints.http[1]}"
        lines.append(f"  HTTP   {address}/")
    if endpoints.dicom is not None:
        title = configuration.text("DicomAet")
        host, port = _format_host(endpoints.dicom[0]), endpoints.dicom[1]
        lines.append(f"  DICOM  {title}@{host}:{port}")
    lines.append("Send a first file:")
    if endpoints.http is not None:
        lines.append(f"  curl {address}/instances --data-binary @FILE.dcm")
    if endpoints.dicom is not None:
        lines.append(f"  storescu -aec {title} {host} {port} FILE.dcm")
    lines.append("Stop with Ctrl-C.")
    print("\n".join(lines), flush=True)


def _format_host(address: str) -> str:
    if address in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return "localhost"
    return f"[{address}]" if ":" in address else address


def _check(options: argparse.Namespace) -> int:
    configuration = load(options.paths)
    with ExitStack() as stack:
        database = open_database(configuration, is_exclusive=True)
        stack.callback(database.close)
        storage = open_storage(configuration, database)
        stack.callback(storage.close)
        redo(configuration, database, storage)
        report = reconcile(
            database,
            storage,
            has_content=options.content,
            has_repair=options.repair,
            on_progress=_show_progress,
        )
    _print_report(report)
    return 0 if report.is_clean else 1


def _show_progress(report: Report) -> None:
    if sys.stderr.isatty():
        print(f"\r{report.checked_attachments} files compared", end="", file=sys.stderr)


def _print_report(report: Report) -> None:
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for damage in report.damaged:
        print(f"/{damage.level.plural}/{damage.public_id}: {damage.reason}")
    done = "deleted from the index" if report.is_repaired else "damaged"
    removed = "removed" if report.is_repaired else "without an instance"
    print(f"{report.checked_attachments} files compared with the index")
    print(f"{report.damaged_count} instances {done}")
    print(f"{report.unreferenced_count} files {removed}")
    if not report.is_clean:
        print("Run again with --repair to mend this.")


def _config(_: argparse.Namespace) -> int:
    print(format_default_file(), end="")
    return 0


def _hash_password(_: argparse.Namespace) -> int:
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            print("isocenter: the two differ", file=sys.stderr)
            return 2
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not password:
        print("isocenter: the password is empty", file=sys.stderr)
        return 2
    print(hash_password(password))
    return 0

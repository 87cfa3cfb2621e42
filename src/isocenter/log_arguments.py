"""The arguments of the command line that concern the log."""

import argparse
from pathlib import Path

from isocenter.logs import Category, LogFiles, Logs, Verbosity

__all__ = ["add_log_arguments", "apply_verbosities", "get_log_files"]

_VERBOSITIES = {
    Verbosity.VERBOSE: "log each operation",
    Verbosity.TRACE: "log all that helps to debug, which may hold patient data",
}


def add_log_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a command.

    References
    ----------
    Orthanc: command line (behaviour manual §36.5)
    """
    group = parser.add_argument_group("log")
    destination = group.add_mutually_exclusive_group()
    destination.add_argument(
        "--logfile", type=Path, metavar="FILE", help="append to a file instead of standard error"
    )
    destination.add_argument(
        "--logdir", type=Path, metavar="DIR", help="begin a new file in this folder at each start"
    )
    for verbosity, meaning in _VERBOSITIES.items():
        group.add_argument(
            f"--{verbosity}",
            action="append_const",
            dest="verbosities",
            const=(verbosity, tuple(Category)),
            help=f"{meaning}; also --{verbosity}-CATEGORY, with one of {', '.join(Category)}",
        )
        for category in Category:
            group.add_argument(
                f"--{verbosity}-{category}",
                action="append_const",
                dest="verbosities",
                const=(verbosity, (category,)),
                help=argparse.SUPPRESS,
            )


def get_log_files(options: argparse.Namespace) -> LogFiles:
    """Read where the log goes."""
    return LogFiles(file=getattr(options, "logfile", None), folder=getattr(options, "logdir", None))


def apply_verbosities(options: argparse.Namespace, logs: Logs) -> None:
    """Set the levels that were asked for, in the order of the arguments."""
    for verbosity, categories in getattr(options, "verbosities", None) or ():
        logs.set_verbosity(verbosity, categories)

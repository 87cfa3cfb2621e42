"""The configuration that a command is given."""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from isocenter.config.configuration import Configuration
from isocenter.config.loading import load_configuration
from isocenter.logs import LogFiles, Logs, set_up_logs

__all__ = ["PATHS_HELP", "add_config_argument", "load", "load_with_logs"]

_log = logging.getLogger(__name__)

PATHS_HELP = (
    "configuration file, or folder whose *.json files are merged; several may follow. Comments and "
    "${VARIABLES} are understood, as are environment variables such as ORTHANC__HTTP_PORT"
)


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option by which commands with other paths are told their configuration."""
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="configuration file or folder, as for `isocenter serve`; may be repeated",
    )


def load(paths: Sequence[Path]) -> Configuration:
    """Read the configuration, set up the logs, and log its warnings.

    Raises
    ------
    ConfigurationError
        If an option is wrong.
    """
    return load_with_logs(paths, LogFiles())[0]


def load_with_logs(paths: Sequence[Path], files: LogFiles) -> tuple[Configuration, Logs]:
    """Read the configuration as `load` does, with logs that also go into files.

    Raises
    ------
    ConfigurationError
        If an option is wrong.
    """
    configuration = load_configuration(paths, os.environ)
    logs = set_up_logs(
        configuration.text("Isocenter.LogLevel"), configuration.text("Isocenter.LogFormat"), files
    )
    for warning in configuration.warnings:
        _log.warning(warning)
    return configuration, logs

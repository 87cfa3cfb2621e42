"""The configuration that a command is given."""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from isocenter.config.configuration import Configuration
from isocenter.config.loading import load_configuration
from isocenter.logs import set_up_logs

__all__ = ["PATHS_HELP", "add_config_argument", "load"]

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
    configuration = load_configuration(paths, os.environ)
    set_up_logs(configuration.text("Isocenter.LogLevel"), configuration.text("Isocenter.LogFormat"))
    for warning in configuration.warnings:
        _log.warning(warning)
    return configuration

"""The command line, called in the process of the test."""

import json
from pathlib import Path

from tests.support.server import JOURNAL_MB

from isocenter.cli import main

__all__ = ["run", "write_configuration"]


def write_configuration(folder: Path, **options: object) -> str:
    """Write a configuration whose folders lie beside it, and give its path."""
    path = folder / "configuration.json"
    values = {
        "StorageDirectory": "storage",
        "IndexDirectory": "storage",
        "HttpPort": 0,
        "DicomPort": 0,
        "Isocenter.JournalSizeMB": JOURNAL_MB,
    }
    path.write_text(json.dumps(values | options))
    return str(path)


def run(*arguments: object) -> int:
    """Run a command, and give its exit status."""
    return main([str(argument) for argument in arguments])

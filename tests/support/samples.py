"""Real DICOM files that are not part of the project: found beside the checkout, or not at all."""

import os
from pathlib import Path

import pytest

__all__ = ["list_samples", "sample", "samples_folder"]

_VARIABLE = "ISOCENTER_TEST_SAMPLES"
_DEFAULT = Path(__file__).parents[3] / "shared" / "samples"


def samples_folder() -> Path | None:
    """Find the folder of the samples, or ``None``."""
    folder = Path(os.environ.get(_VARIABLE, _DEFAULT))
    return folder if folder.is_dir() else None


def sample(name: str) -> Path:
    """Find one sample, for example ``charsets/SCSARAB``; skip the test if it is not there."""
    folder = samples_folder()
    if folder is None:
        pytest.skip(f"The folder of sample files is absent (set {_VARIABLE})")
    path = folder / name
    if not path.is_file():
        pytest.skip(f"The sample file {name} is absent")
    return path


def list_samples() -> list[Path]:
    """List all sample files, DICOM or not, in a stable order; empty if the folder is absent."""
    folder = samples_folder()
    if folder is None:
        return []
    return sorted(path for path in folder.rglob("*") if path.is_file())

"""What a test needs beside Python: it is skipped without it, or fails where it was promised.

The environment variable ``ISOCENTER_TEST_REQUIRE`` names, separated by commas, what must be there:
``chromium``, ``dcmtk``, ``orthanc``, ``postgresql``, ``tmpfs`` (mounting small disks to fill).
"""

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["is_required", "miss", "require_program"]

_VARIABLE = "ISOCENTER_TEST_REQUIRE"


def is_required(name: str) -> bool:
    """Tell whether this run promised that something is there."""
    return name in {entry.strip() for entry in os.environ.get(_VARIABLE, "").split(",")}


def miss(name: str, reason: str) -> NoReturn:
    """Skip the test because something is not there, or fail it if that was promised."""
    if is_required(name):
        pytest.fail(f"{reason}, but {_VARIABLE} asks for {name}")
    pytest.skip(reason)


def require_program(program: str, name: str) -> str:
    """Find the path of a program, which belongs to the requirement ``name``."""
    path = shutil.which(program)
    if path is None:
        miss(name, f"the program {program} is not installed")
    return path

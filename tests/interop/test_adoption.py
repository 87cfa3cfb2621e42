"""The archive that a real Orthanc made, adopted: the same questions before and after."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.interop.comparing import Accepted, Difference, compare, find_unexpected
from tests.interop.synthetic import build_hierarchy, build_samples_of_all
from tests.support.orthanc import Answer, Server, run_isocenter, run_orthanc
from tests.support.orthanc_archive import snapshot
from tests.support.server import run_command

"""The one error of the benchmarks, and the tools they need."""

import shutil


class BenchmarkError(Exception):
    """A measurement that cannot be made or cannot be trusted; the text says what to do."""


PACKAGES = {
    "Orthanc": "orthanc",
    "storescu": "dcmtk",
    "storescp": "dcmtk",
    "dcmcjpeg": "dcmtk",
    "wrk": "wrk",
}
"""Programs taken from the system, and the Debian package of each."""


def find_program(name: str) -> str:
    """Path of a program of the system.

    Parameters
    ----------
    name
        One of the keys of `PACKAGES`.

    Returns
    -------
    str
        Its absolute path.

    Raises
    ------
    BenchmarkError
        If the program is not installed; the text names the package to install.
    """
    # Debian keeps servers in /usr/sbin, which is missing in the PATH of most accounts.
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise BenchmarkError(
            f"{name} is not installed. On Debian and Ubuntu: apt-get install {PACKAGES[name]}"
        )
    return path

"""Free TCP ports for servers that must be told a number, as they cannot be asked for theirs."""

import itertools
import os
import socket

__all__ = ["find_free_port"]

# Below the range from which the system takes the ports of outgoing connections (from 32768 on
# Linux): else a client of another test could take a port between our look and the server's.
_FIRST, _BLOCK, _BLOCKS = 12_000, 2_000, 10
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_start = _FIRST + _worker % _BLOCKS * _BLOCK
_offsets = itertools.count(os.getpid())


def find_free_port() -> int:
    """Name a port of 127.0.0.1 that nobody listens on, another one at each call."""
    for _ in range(_BLOCK):
        port = _start + next(_offsets) % _BLOCK
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))  # noqa: S104 - as the servers will
            except OSError:
                continue
        return port
    message = "no free port"
    raise AssertionError(message)

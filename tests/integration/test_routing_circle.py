"""Three servers that route to each other and overwrite: what goes round comes to rest."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.orthanc import Server, run_isocenter
from tests.support.server import build_synthetic, wait_until

_COUNT = 3
_TO_MODALITY, _TO_PEER = {"Modality": "next"}, {"Peer": "next"}
_DESTINATIONS = (_TO_MODALITY, _TO_PEER, _TO_MODALITY)


def _build_options(number: int) -> dict[str, Any]:
    rule = {"Destination": _DESTINATIONS[number], "Trigger": "NewInstance"}
    return {
        "DicomAet": f"SERVER{number}",
        "OverwriteInstances": "Always",
        "Isocenter.Routing": {"on": rule},
    }


def _link(server: Server, following: Server, number: int) -> None:
    """Tell a server whom its rule means."""
    target = "/modalities/next"
    value: list[Any] = [f"SERVER{number % _COUNT}", "127.0.0.1", following.dicom_port]
    if _DESTINATIONS[number - 1] is _TO_PEER:
        target, value = "/peers/next", [f"http://127.0.0.1:{following.http_port}/"]
    assert server.request("PUT", target, json.dumps(value).encode()).status == 200
    _wait_for_line(server, "hold for what comes from now on")


def _wait_for_line(server: Server, text: str) -> None:
    wait_until(lambda: text in (server.folder / "log").read_text(), text)


def test_circle_of_three_servers_comes_to_rest(tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(run_isocenter(tmp_path / str(number), _build_options(number)))
            for number in range(_COUNT)
        ]
        for number, server in enumerate(servers, 1):
            _link(server, servers[number % _COUNT], number)
        assert servers[0].upload(build_synthetic().content).status == 200
        # The first server gets it back with another file header and sends it on once more.
        _wait_for_line(servers[1], "nothing is new for a routing rule")
        assert [len(server.request("GET", "/jobs").json()) for server in servers] == [2, 1, 1]

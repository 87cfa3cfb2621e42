"""A retrieve that is cancelled here is cancelled at pynetdicom, which says so and is released."""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from tests.integration.test_modality_calls import post, put_modality
from tests.support.server import TestServer, run_server, wait_until

ROOT = "1.2.840.10008.5.1.4.1.2.2"
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
DEADLINE_S = 20


class Provider:
    """Works on a request until it is cancelled."""

    def __init__(self, sink_port: int) -> None:
        self.is_asked = threading.Event()
        self.ends: list[str] = []
        self.was_cancelled = False
        self._sink_port = sink_port

    def wait(self, event: evt.Event) -> Iterator[Any]:
        """Serve a C-GET."""
        yield 1
        yield from self._wait(event)

    def wait_to_move(self, event: evt.Event) -> Iterator[Any]:
        """Serve a C-MOVE."""
        yield "127.0.0.1", self._sink_port
        yield 1
        yield from self._wait(event)

    def _wait(self, event: evt.Event) -> Iterator[Any]:
        self.is_asked.set()
        # An event of pynetdicom has nothing to wait on.
        wait_until(lambda: event.is_cancelled, "a C-CANCEL")
        self.was_cancelled = True
        yield 0xFE00, None

    def note(self, end: str, _: evt.Event) -> None:
        """Note how an association ended."""
        self.ends.append(end)


def _has_ended(server: TestServer, job: str) -> bool:
    return bool(server.get(job).json()["State"] == "Failure")


@pytest.mark.parametrize("name", ["move", "get"])
def test_provider_is_told_and_the_association_released(tmp_path: Path, name: str) -> None:
    with run_server(tmp_path, {}) as server:
        provider = Provider(server.dicom_port)
        ae = AE("PROVIDER")
        for kind in (".2", ".3"):
            ae.add_supported_context(ROOT + kind)
        ae.add_supported_context(CT_IMAGE_STORAGE, scu_role=True, scp_role=True)
        ae.add_requested_context(CT_IMAGE_STORAGE)
        handlers: Any = [
            (evt.EVT_C_GET, provider.wait),
            (evt.EVT_C_MOVE, provider.wait_to_move),
            (evt.EVT_RELEASED, partial(provider.note, "released")),
            (evt.EVT_ABORTED, partial(provider.note, "aborted")),
        ]
        listener = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        assert listener is not None
        try:
            port = listener.server_address[1]
            put_modality(server, "provider", ["PROVIDER", "127.0.0.1", port])
            body = {"Level": "Study", "Resources": [{"StudyInstanceUID": "1.2"}]}
            job = post(server, f"/modalities/provider/{name}", body | {"Asynchronous": True})
            assert provider.is_asked.wait(DEADLINE_S)
            post(server, f"{job['Path']}/cancel", {})
            wait_until(partial(_has_ended, server, job["Path"]), "the end of the job")
            wait_until(lambda: provider.ends, "the end of the association")
        finally:
            listener.shutdown()
        assert provider.was_cancelled
        assert provider.ends[0] == "released"
        assert server.get(job["Path"]).json()["ErrorCode"] == 37

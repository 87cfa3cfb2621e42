"""How peers are called: what a first call costs the event loop."""

import subprocess
import sys

_IMPORTS_OF_A_FIRST_CALL = """
import asyncio, sys, threading
from tests.support.http_peer import HTTPPeer, run_http_peer
from isocenter.archive.peers import PeerCalling
from isocenter.archive.workers import Workers
from isocenter.config.peers import Peer

class Recorder:
    names = []
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is threading.main_thread():
            self.names.append(name)

async def main():
    calling = PeerCalling(Workers(None, 1), 10)
    async with run_http_peer(HTTPPeer()) as url:
        sys.meta_path.insert(0, Recorder())
        async with calling.open_client(Peer(url)) as client:
            await client.get("system")
        assert "httpx" in sys.modules
        # Some look for what is not installed.
        print(*(name for name in Recorder.names if name in sys.modules))

asyncio.run(main())
"""


def test_first_call_imports_nothing_on_the_event_loop() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS_OF_A_FIRST_CALL],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("", "", 0)

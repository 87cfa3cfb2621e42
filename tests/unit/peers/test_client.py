"""Calls of peers: limits, refusals, silence, connections that end."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.http_peer import Asked, HTTPPeer, Reply, run_http_peer
from tests.support.ports import find_free_port

from isocenter.errors import (
    ConfigurationError,
    CorruptedBlobError,
    DeadlineExceededError,
    PeerRefusalError,
    RemoteError,
)
from isocenter.peers import connection as connection_module
from isocenter.peers.client import MOST_CONNECTIONS, PeerClient
from isocenter.peers.connection import Body, PeerTarget, check_proxy
from isocenter.tasks.retries import is_transient

BODY = Body(lambda: b"content", 7)


async def stream() -> AsyncIterator[bytes]:
    yield b"con"
    yield b"tent"


async def fail() -> AsyncIterator[bytes]:
    yield b"con"
    raise CorruptedBlobError


async def call(peer: HTTPPeer, body: Body | None = None, **target: Any) -> bytes:
    async with (
        run_http_peer(peer) as url,
        PeerClient(PeerTarget(f"{url}sub/", **target)) as client,
    ):
        return await (client.get("system") if body is None else client.post("instances", body))


async def test_call_carries_credentials_headers_and_content() -> None:
    peer = HTTPPeer()
    await call(peer, BODY, credentials=("us", "er"), headers={"Token": "x"})
    (asked,) = peer.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/sub/instances", b"content")
    assert asked.headers["authorization"] == "Basic dXM6ZXI="
    assert asked.headers["token"] == "x"
    assert asked.headers["content-type"] == "application/dicom"
    assert asked.headers["content-length"] == "7"
    assert asked.headers["accept-encoding"] == "identity"


async def test_headers_of_a_peer_replace_ours_but_those_of_the_content() -> None:
    peer = HTTPPeer()
    own = {"host": "archive", "User-Agent": "own", "content-length": "9", "Transfer-Encoding": "x"}
    await call(peer, BODY, headers={**own, "Accept-Encoding": "gzip", "Authorization": "Bearer t"})
    (asked,) = peer.asked
    assert asked.body == b"content"
    assert (asked.headers["host"], asked.headers["user-agent"]) == ("archive", "own")
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["authorization"] == "Bearer t"
    assert "transfer-encoding" not in asked.headers


@pytest.mark.parametrize("headers", [{"A": "b\r\nC: d"}, {"A b": "c"}, {"A": "\u4e2d"}])
async def test_headers_that_cannot_be_sent_are_an_error(headers: dict[str, str]) -> None:
    peer = HTTPPeer()
    with pytest.raises(RemoteError):
        await call(peer, BODY, headers=headers)
    assert peer.asked == []


@pytest.mark.parametrize("url", ["ftp://h/", "h/", "http:///", "http://h:x/"])
async def test_address_that_cannot_be_used_is_an_error(url: str) -> None:
    with pytest.raises(RemoteError, match="address"):
        PeerClient(PeerTarget(url))


async def test_content_of_several_pieces_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_PIECE_BYTES", 3)
    peer = HTTPPeer()
    await call(peer, BODY)
    assert peer.asked[0].body == b"content"


async def test_calls_at_the_same_time_share_a_few_connections() -> None:
    peer, waiting, are_all_there = HTTPPeer(), [], asyncio.Event()

    async def hold(_: Asked) -> Reply:
        waiting.append(1)
        if len(waiting) == MOST_CONNECTIONS:
            are_all_there.set()
        await are_all_there.wait()
        return Reply()

    peer.answer = hold
    async with run_http_peer(peer) as url, PeerClient(PeerTarget(url)) as client:
        calls = [client.post("instances", BODY) for _ in range(3 * MOST_CONNECTIONS)]
        await asyncio.wait_for(asyncio.gather(*calls), 10)
    assert len(peer.asked) == 3 * MOST_CONNECTIONS
    assert peer.connections == MOST_CONNECTIONS


async def test_cancelled_call_leaves_the_client_usable() -> None:
    is_there = asyncio.Event()

    def answer(asked: Asked) -> Reply | None:
        is_there.set()
        return None if asked.method == "POST" else Reply()

    peer = HTTPPeer(answer)
    async with run_http_peer(peer) as url, PeerClient(PeerTarget(url)) as client:
        await client.get("system")
        is_there.clear()
        posting = asyncio.ensure_future(client.post("instances", BODY))
        await asyncio.wait_for(is_there.wait(), 10)
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
        assert await client.get("system")
    assert peer.connections == 2


async def test_stream_of_unknown_length_is_sent_in_chunks() -> None:
    peer = HTTPPeer()
    await call(peer, Body(stream, 100, is_exact=False, content_encoding="x"))
    assert (peer.asked[0].body, peer.asked[0].headers["content-encoding"]) == (b"content", "x")
    assert "content-length" not in peer.asked[0].headers


@pytest.mark.parametrize(
    ("status", "is_permanent", "is_general"),
    [
        (302, True, True),
        (400, True, False),
        (401, True, True),
        (403, True, True),
        (404, True, True),
        (413, True, False),
        (429, False, False),
        (500, False, False),
        (501, True, False),
        (503, False, False),
        (507, False, False),
    ],
)
async def test_refusal_tells_whether_another_attempt_is_worth_it(
    status: int, is_permanent: bool, is_general: bool
) -> None:
    reply = Reply(status, b'{"Message": "Because"}', {"Location": "http://127.0.0.1:1/"})
    with pytest.raises(PeerRefusalError, match=f"{status}.*Because") as caught:
        await call(HTTPPeer(lambda _: reply))
    assert (caught.value.is_permanent, caught.value.is_general) == (is_permanent, is_general)
    assert is_transient(caught.value) is not is_permanent


@pytest.mark.parametrize("body", [b"", b"\xff", b"[" * 9000, b"x" * 100_000, b'{"Message": 5}'])
async def test_refusal_with_any_body_is_told(body: bytes) -> None:
    with pytest.raises(PeerRefusalError, match=r"answered 400 Bad Request$"):
        await call(HTTPPeer(lambda _: Reply(400, body)))


async def test_answer_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_LARGEST_ANSWER_BYTES", 10)
    assert await call(HTTPPeer(lambda _: Reply(200, b"x" * 10))) == b"x" * 10
    with pytest.raises(RemoteError, match="too large"):
        await call(HTTPPeer(lambda _: Reply(200, b"x" * 11)))


async def test_silence_ends_the_call() -> None:
    with pytest.raises(DeadlineExceededError):
        await call(HTTPPeer(lambda _: None), timeout_s=0.2)


async def test_answer_in_drops_ends_with_the_deadline() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while not writer.transport.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.01)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, PeerClient(PeerTarget(f"http://127.0.0.1:{port}/", timeout_s=0.3)) as client:
        with pytest.raises(DeadlineExceededError):
            await client.get("system")


async def test_connection_that_was_closed_meanwhile_is_opened_again() -> None:
    peer = HTTPPeer(lambda _: Reply(closes=True))
    async with run_http_peer(peer) as url, PeerClient(PeerTarget(url)) as client:
        for _ in range(3):
            await client.post("instances", Body(stream, 7))
    assert [asked.body for asked in peer.asked] == [b"content"] * 3


async def test_connection_that_ends_without_an_answer_is_an_error() -> None:
    peer = HTTPPeer(lambda _: Reply(0))
    with pytest.raises(RemoteError, match="cannot be reached"):
        await call(peer, BODY)
    assert len(peer.asked) == 1


async def test_error_of_a_body_is_the_error_of_the_call() -> None:
    peer = HTTPPeer()
    with pytest.raises(CorruptedBlobError):
        await call(peer, Body(fail, 7))
    assert peer.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{}/",
        "http://{}.invalid/",
        "http://" + "a" * 70 + ".invalid/",
        "http://*/",
        "http://[/",
    ],
)
async def test_peer_that_is_not_there_is_an_error(url: str) -> None:
    async def reach() -> None:
        async with PeerClient(PeerTarget(url.format(find_free_port()), timeout_s=5)) as client:
            await client.get("system")

    with pytest.raises((RemoteError, DeadlineExceededError)):
        await reach()


@pytest.mark.parametrize(
    "garbage", [b"\xff\x00\r\n", b"HTTP/1.1 999999 x\r\n\r\n", b"HTTP/1.1 200 OK\r\na" * 60_000]
)
async def test_garbage_is_an_error(garbage: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(garbage)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, PeerClient(PeerTarget(f"http://127.0.0.1:{port}/")) as client:
        with pytest.raises(RemoteError):
            await client.get("system")


async def test_proxy_is_asked_in_the_place_of_the_peer() -> None:
    proxy = HTTPPeer()
    async with run_http_peer(proxy) as url:
        address = check_proxy(url.replace("http://", "user:word@").rstrip("/"))
        async with PeerClient(PeerTarget("http://archive.invalid/", proxy=address)) as client:
            await client.get("system")
    (asked,) = proxy.asked
    assert asked.path == "http://archive.invalid/system"
    assert asked.headers["proxy-authorization"] == "Basic dXNlcjp3b3Jk"


@pytest.mark.parametrize("text", ["ftp://secret@h", "http://", "secret@:80", "h:port", "\0"])
def test_wrong_proxy_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(ConfigurationError, match="HttpProxy") as caught:
        check_proxy(text)
    assert "secret" not in str(caught.value)


async def test_verbose_call_is_logged_without_credentials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "isocenter")
    await call(HTTPPeer(), BODY, credentials=("user", "secret"), headers={"T": "secret"})
    assert caplog.records == []
    await call(HTTPPeer(), BODY, credentials=("user", "secret"), is_verbose=True)
    (record,) = caplog.records
    assert vars(record)["method"] == "POST"
    assert "secret" not in str(vars(record))


def answer_late(asked: Asked) -> Reply:
    return Reply(200 if asked.path == "/sub/system" else 404)


async def test_refusal_leaves_the_client_usable() -> None:
    peer = HTTPPeer(answer_late)
    async with run_http_peer(peer) as url, PeerClient(PeerTarget(f"{url}sub/")) as client:
        with pytest.raises(PeerRefusalError):
            await client.post("instances", BODY)
        assert await client.get("system")

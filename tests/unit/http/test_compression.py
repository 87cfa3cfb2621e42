"""Compressed answers."""

import gzip
import zlib
from collections.abc import Sequence
from typing import Any, cast

import pytest

from isocenter.archive.workers import Workers
from isocenter.http.compression import Coding, CompressedApplication, choose_coding

TEXT = b"All that is long enough is compressed. " * 100
JSON = "application/json; charset=utf-8"


class InlineWorkers:
    """Runs operations at once and counts them."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self, operation: Any, *arguments: Any, **keywords: Any) -> Any:
        self.count += 1
        return operation(*arguments, **keywords)


async def ask(
    parts: Sequence[bytes],
    *,
    accept: str | None = "gzip, deflate",
    media_type: str = JSON,
    headers: Sequence[tuple[bytes, bytes]] = (),
    method: str = "GET",
    workers: InlineWorkers | None = None,
) -> tuple[dict[bytes, bytes], bytes]:
    """Answer some parts; give headers and body as the client gets them."""

    async def answer(_: Any, __: Any, send: Any) -> None:
        length = str(sum(map(len, parts))).encode()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", media_type.encode()),
                    (b"content-length", length),
                    *headers,
                ],
            }
        )
        for number, part in enumerate(parts, 1):
            is_more = number < len(parts)
            await send({"type": "http.response.body", "body": part, "more_body": is_more})

    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope_headers = [] if accept is None else [(b"accept-encoding", accept.encode("latin-1"))]
    application = CompressedApplication(answer, cast(Workers, workers or InlineWorkers()))
    await application({"type": "http", "method": method, "headers": scope_headers}, None, send)
    assert [event["type"] for event in sent] == [
        "http.response.start",
        *["http.response.body"] * len(parts),
    ]
    received = dict(sent[0]["headers"])
    assert len(received) == len(sent[0]["headers"])
    return received, b"".join(event["body"] for event in sent[1:])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("gzip", Coding.GZIP),
        ("GZIP", Coding.GZIP),
        ("x-gzip", Coding.GZIP),
        ("deflate", Coding.DEFLATE),
        ("deflate, gzip", Coding.GZIP),
        ("gzip;q=0.5, deflate", Coding.DEFLATE),
        ("gzip; q=0.5, deflate;q=0.4", Coding.GZIP),
        ("gzip;q=0", None),
        ("gzip;q=0, deflate;q=0.000", None),
        ("*", Coding.GZIP),
        ("*;q=0", None),
        ("gzip;q=0, *", Coding.DEFLATE),
        ("identity", None),
        ("br, zstd", None),
        (",;,q=1;;", None),
        ("gzip;q=banana", Coding.GZIP),
    ],
)
def test_coding_is_what_the_client_likes_best(header: str, expected: Coding | None) -> None:
    assert choose_coding(header) == expected


async def test_text_is_compressed_with_gzip() -> None:
    headers, body = await ask([TEXT])
    assert headers[b"content-encoding"] == b"gzip"
    assert headers[b"vary"] == b"Accept-Encoding"
    assert int(headers[b"content-length"]) == len(body) < len(TEXT)
    assert gzip.decompress(body) == TEXT


async def test_text_is_compressed_with_deflate_as_zlib_writes_it() -> None:
    headers, body = await ask([TEXT], accept="deflate")
    assert headers[b"content-encoding"] == b"deflate"
    assert zlib.decompress(body) == TEXT


async def test_parts_are_compressed_as_they_come_without_a_length() -> None:
    headers, body = await ask([TEXT, b"", TEXT[:100], b""])
    assert b"content-length" not in headers
    assert gzip.decompress(body) == TEXT + TEXT[:100]


async def test_long_parts_are_compressed_in_a_thread() -> None:
    workers = InlineWorkers()
    _, body = await ask([TEXT * 100, TEXT], workers=workers)
    assert workers.count == 1
    assert gzip.decompress(body) == TEXT * 101


@pytest.mark.parametrize(
    ("media_type", "is_compressed"),
    [
        ("text/plain", True),
        ("text/html; charset=utf-8", True),
        ("application/json", True),
        ("application/dicom+json", True),
        ("application/javascript", True),
        ("image/svg+xml", True),
        ("application/dicom", False),
        ("application/zip", False),
        ("application/jsonish", False),
        ("image/png", False),
    ],
)
async def test_only_texts_are_compressed(media_type: str, is_compressed: bool) -> None:
    headers, body = await ask([TEXT], media_type=media_type)
    assert (b"content-encoding" in headers) == is_compressed
    assert (b"vary" in headers) == is_compressed
    assert (body == TEXT) != is_compressed


@pytest.mark.parametrize(
    "header",
    [(b"content-encoding", b"gzip"), (b"etag", b'"1"'), (b"content-range", b"bytes 0-1/2")],
)
async def test_what_must_keep_its_bytes_is_left_alone(header: tuple[bytes, bytes]) -> None:
    headers, body = await ask([TEXT], headers=[header])
    assert body == TEXT
    assert b"vary" not in headers


async def test_short_answer_and_client_without_compression_are_left_alone() -> None:
    for parts, accept in (([b"{}"], "gzip"), ([TEXT], None), ([TEXT, TEXT], "identity")):
        headers, body = await ask(parts, accept=accept)
        assert body == b"".join(parts)
        assert b"content-encoding" not in headers
        assert headers[b"content-length"] == str(len(body)).encode()
        # A cache must know that others get another answer.
        assert headers[b"vary"] == b"Accept-Encoding"


async def test_head_is_left_alone() -> None:
    headers, _ = await ask([b""], method="HEAD")
    assert b"content-encoding" not in headers


async def test_event_stream_is_left_alone() -> None:
    headers, body = await ask([TEXT, TEXT], media_type="text/event-stream")
    assert b"content-encoding" not in headers
    assert body == TEXT * 2


class Cycle:
    """What uvicorn keeps of a request."""

    disconnected = True
    transport = "transport"

    async def send(self, event: dict[str, Any]) -> None:
        """Take an event."""


async def test_application_sees_the_connection_behind_the_compression() -> None:
    seen: list[Any] = []

    async def answer(_: Any, __: Any, send: Any) -> None:
        seen.append((send.__self__.disconnected, send.__self__.transport))

    application = CompressedApplication(answer, cast(Workers, InlineWorkers()))
    scope = {"type": "http", "method": "GET", "headers": []}
    await application(scope, None, Cycle().send)
    assert seen == [(True, "transport")]

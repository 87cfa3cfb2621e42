"""Files as answers: ranges, entity tags, names."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast
from urllib.parse import quote

import pytest
from falcon.testing import ASGIConductor, Result

from isocenter.archive.content import StoredFile
from isocenter.errors import BadRangeError
from isocenter.http.application import build_application
from isocenter.http.error_answers import ErrorAnswers
from isocenter.http.files import answer_file, parse_range
from isocenter.http.routes import Route

CONTENT = bytes(range(256)) * 4
SIZE = len(CONTENT)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
ETAG = f'"0-{MD5}"'
NO_RANGES = [f"{SIZE}-", "9999-10000", "-0", "9-2", "-", "a-b", "", "1", "1-2-3", "0x1-2", "--1"]
TOO_MANY_DIGITS = "9" * 30


class FileInMemory:
    """A stored file, whole or in pieces."""

    media_type = "application/dicom"
    size_bytes = SIZE
    md5 = MD5
    revision = 0
    entity_tag = f'"0-{MD5}"'

    def __init__(self, *, is_small: bool) -> None:
        self._is_small = is_small

    async def read_small(self, start: int, stop: int) -> bytes | None:
        return CONTENT[start:stop] if self._is_small else None

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        for offset in range(start, stop, 100):
            yield CONTENT[offset : min(offset + 100, stop)]


async def get(
    query: str = "", *, method: str = "GET", is_small: bool = True, **headers: str
) -> Result:
    """Ask for the file; underscores in the names of headers stand for hyphens."""

    async def respond(_: Any, req: Any, resp: Any) -> None:
        file = cast(StoredFile, FileInMemory(is_small=is_small))
        await answer_file(req, resp, file, file_name="default.dcm")

    route = Route("GET", "/file", respond, "Read", "tests")
    application = build_application(
        [route], None, middleware=[], errors=ErrorAnswers(has_bodies=True)
    )
    named: Mapping[str, str] = {name.replace("_", "-"): v for name, v in headers.items()}
    async with ASGIConductor(application) as conductor:
        result = await conductor.simulate_request(
            method, "/file", query_string=query, headers=dict(named)
        )
    assert isinstance(result, Result)
    return result


EITHER_SIZE = pytest.mark.parametrize("is_small", [True, False], ids=["small", "streamed"])


@EITHER_SIZE
async def test_whole_file_has_length_name_tag_and_type(is_small: bool) -> None:
    result = await get(is_small=is_small)
    assert (result.status_code, result.content) == (200, CONTENT)
    assert result.headers["content-type"] == "application/dicom"
    assert result.headers["content-length"] == str(SIZE)
    assert result.headers["content-disposition"] == 'filename="default.dcm"'
    assert result.headers["accept-ranges"] == "bytes"
    assert result.headers["etag"] == ETAG


@EITHER_SIZE
@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, SIZE),
        ("bytes=5-104", 5, 105),
        ("bytes=1000-", 1000, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        ("bytes=-250", SIZE - 250, SIZE),
        ("bytes=-9999", 0, SIZE),
        ("bytes=1000-9999", 1000, SIZE),
        (f"bytes=0-{10**18}", 0, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
    ],
)
async def test_range_is_answered_alone(is_small: bool, asked: str, start: int, stop: int) -> None:
    result = await get(is_small=is_small, Range=asked)
    assert (result.status_code, result.content) == (206, CONTENT[start:stop])
    assert result.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert result.headers["content-length"] == str(stop - start)
    assert result.headers["content-type"] == "application/octet-stream"
    assert result.headers["etag"] == ETAG
    assert "content-disposition" not in result.headers


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,3-4", "items=0-1", "bytes 0-1", "", "0-1", "bytes=-1,0-0", "seconds=1-2"]
)
async def test_several_ranges_and_other_units_get_the_whole_file(asked: str) -> None:
    result = await get(Range=asked)
    assert (result.status_code, result.content) == (200, CONTENT)


@pytest.mark.parametrize("numbers", [*NO_RANGES, f"{TOO_MANY_DIGITS}-"])
async def test_range_that_is_not_there_is_416_with_the_size(numbers: str) -> None:
    result = await get(Range=f"bytes={numbers}")
    assert (result.status_code, result.json["OrthancStatus"]) == (416, 41)
    assert result.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("size", [0, 1])
def test_range_of_a_tiny_content(size: int) -> None:
    assert parse_range(None, size) is None
    with pytest.raises(BadRangeError):
        parse_range(f"bytes={size}-", size)


@pytest.mark.parametrize(
    "known", [ETAG, f"W/{ETAG}", "*", f'"other", {ETAG}', f'{ETAG},"other"', f' "x" ,  {ETAG} ']
)
async def test_client_that_has_the_file_is_told_so(known: str) -> None:
    for asked in ("bytes=0-", "bytes=0-1", "bytes=9999-"):
        result = await get(If_None_Match=known, Range=asked)
        assert (result.status_code, result.content) == (304, b"")
        assert result.headers["etag"] == ETAG


@pytest.mark.parametrize("known", ['"other"', MD5, f'"{MD5}"', "", '"0-"'])
async def test_client_that_has_another_file_gets_this_one(known: str) -> None:
    result = await get(If_None_Match=known)
    assert (result.status_code, result.content) == (200, CONTENT)


async def test_range_of_the_same_version_is_answered() -> None:
    result = await get(Range="bytes=0-1", If_Range=ETAG)
    assert (result.status_code, result.content) == (206, CONTENT[:2])


@pytest.mark.parametrize("version", ['"other"', f"W/{ETAG}", "Tue, 24 Nov 2026 00:00:00 GMT", ""])
async def test_range_of_another_version_gets_the_whole_file(version: str) -> None:
    result = await get(Range="bytes=0-1", If_Range=version)
    assert (result.status_code, result.content) == (200, CONTENT)


@pytest.mark.parametrize(
    ("query", "disposition"),
    [
        ("filename=a.dcm", 'filename="a.dcm"'),
        ("filename=a%20b.dcm", 'filename="a b.dcm"'),
        ("filename=", 'filename="default.dcm"'),
        ("filename", 'filename="default.dcm"'),
        ("filename=a%22b", 'filename="ab"'),
        ("filename=a%5C%22b", 'filename="ab"'),
        ("filename=a%0D%0ASet-Cookie:%20x=1", 'filename="aSet-Cookie: x=1"'),
        ("filename=a%00b%7F", 'filename="ab"'),
        ("filename=%22%0A", 'filename="default.dcm"'),
        ("filename=../../etc/passwd", 'filename="../../etc/passwd"'),
        ("filename=a;b", 'filename="a;b"'),
        ("filename=a&filename=b", 'filename="b"'),
    ],
)
async def test_name_is_taken_from_the_argument_without_dangerous_characters(
    query: str, disposition: str
) -> None:
    result = await get(query)
    assert result.status_code == 200
    assert result.headers["content-disposition"] == disposition


@EITHER_SIZE
@pytest.mark.parametrize("name", ["Müller.dcm", "日本.dcm", "😀.dcm"])
async def test_name_beyond_ascii_is_told_as_the_standard_says(is_small: bool, name: str) -> None:
    result = await get(f"filename={quote(name)}", is_small=is_small)
    assert (result.status_code, result.content) == (200, CONTENT)
    disposition = result.headers["content-disposition"]
    assert disposition.endswith(f"; filename*=UTF-8''{quote(name)}")
    assert disposition.isascii()


@EITHER_SIZE
async def test_head_tells_length_and_tag_without_reading(is_small: bool) -> None:
    whole = await get(method="HEAD", is_small=is_small)
    assert (whole.status_code, whole.content) == (200, b"")
    assert whole.headers["content-length"] == str(SIZE)
    part = await get(method="HEAD", is_small=is_small, Range="bytes=0-9")
    assert (part.status_code, part.headers["content-length"]) == (206, "10")

"""Bodies that must be JSON objects."""

import pytest
from falcon.asgi import App, Request, Response
from falcon.testing import ASGIConductor

from isocenter.errors import BadRequestError
from isocenter.http.json_bodies import read_json_object


async def read(body: bytes, **options: bool) -> object:
    """Send a body to a responder that reads it."""
    found: list[object] = []

    class Resource:
        async def on_post(self, req: Request, _: Response) -> None:
            try:
                found.append(await read_json_object(req, **options))
            except BadRequestError as error:
                found.append(error)

    app = App()
    app.add_route("/", Resource())
    async with ASGIConductor(app) as conductor:
        await conductor.simulate_post("/", body=body)
    return found[0]


@pytest.mark.parametrize(
    "body", [b'{"a": 1}', b' \n{"a":1.0}\t', b'{"a": 0, "a": 1}', b'\xef\xbb\xbf{"a": 1}']
)
async def test_object_is_read_whatever_its_layout(body: bytes) -> None:
    assert await read(body) == {"a": 1}


@pytest.mark.parametrize("body", [b"", b" \r\n "])
async def test_empty_body_is_an_empty_object_where_it_is_optional(body: bytes) -> None:
    assert await read(body, is_optional=True) == {}
    assert isinstance(await read(body), BadRequestError)


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"[]",
            b"1",
            b"null",
            b'"text"',
            b"{",
            b"{}x",
            b"{'a': 1}",
            b'{"a": NaN}',
            b"\xef\xbb\xbf",
        ),
        *(b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"[" * 100_000, b'{"a":' * 100_000),
    ],
)
async def test_anything_else_is_refused(body: bytes) -> None:
    assert isinstance(await read(body), BadRequestError)
    assert isinstance(await read(body, is_optional=True), BadRequestError)

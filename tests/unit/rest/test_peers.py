"""Peers over REST: their configuration, asking who they are, sending to them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.dicom_files import encode_element
from tests.support.http_peer import HTTPPeer, Reply, run_http_peer
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    peers = {
        "fixed": ["http://10.0.0.5/", "user", "secret"],
        "dead": {"Url": "http://127.0.0.1:1/", "HttpHeaders": {"Token": "secret"}},
    }
    return {"LogExportedResources": True, "OrthancPeers": peers}


@pytest.fixture
def peer() -> HTTPPeer:
    return HTTPPeer()


@pytest_asyncio.fixture(loop_scope="module")
async def remote(api: Api, peer: HTTPPeer) -> AsyncIterator[str]:
    async with run_http_peer(peer) as url:
        await put(api, "remote", [url, "user", "secret"])
        yield url
        await api.request("DELETE", "/peers/remote")


async def put(api: Api, name: str, value: Any) -> int:
    result = await api.request("PUT", f"/peers/{name}", body=json.dumps(value).encode())
    return result.status_code


async def post(api: Api, target: str, value: Any = None) -> Any:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return await api.request("POST", target, body=b"" if value is None else body)


async def test_peers_are_listed_created_changed_and_forgotten(api: Api) -> None:
    assert await api.get_json("/peers") == ["dead", "fixed"]
    assert await put(api, "new-1", {"Url": "http://h", "Timeout": 4}) == 200
    assert await api.get_json("/peers") == ["dead", "fixed", "new-1"]
    form = await api.get_json("/peers/new-1/configuration")
    assert form == {"Url": "http://h/", "HttpHeaders": [], "Pkcs11": False, "Timeout": 4}
    assert await put(api, "new-1", ["http://h2/", "user", "secret"]) == 200
    shown = await api.get("/peers?expand")
    assert "secret" not in shown.text
    assert shown.json["new-1"]["Url"] == "http://h2/"
    assert shown.json["new-1"]["Password"] is None
    assert await api.get_json("/peers/new-1") == [
        *("configuration", "store", "store-straight", "system")
    ]
    assert (await api.request("DELETE", "/peers/new-1")).content == b""
    assert await api.get_json("/peers") == ["dead", "fixed"]


async def test_unknown_peer_is_not_found(api: Api) -> None:
    for method, target in [
        ("GET", "/peers/nope/configuration"),
        ("GET", "/peers/nope/system"),
        ("POST", "/peers/nope/store"),
        ("POST", "/peers/nope/store-straight"),
    ]:
        result = await api.request(method, target)
        assert (result.status_code, result.json["OrthancStatus"]) == (404, 17), target
        assert result.json["Details"] == "No peer with symbolic name: nope"
    assert (await api.get("/peers/nope")).content == b""
    result = await api.request("DELETE", "/peers/nope")
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 7)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.b", b'["http://h/"]'),
        ("a", b'["http://h/", "user"]'),
        ("a", b'["ftp://h/"]'),
        ("a", b"{}"),
        ("a", b"5"),
        ("a", b"x"),
        ("a", b'{"Url": "http://h/", "Timeout": "4"}'),
    ],
)
async def test_wrong_peer_is_refused(api: Api, name: str, body: bytes) -> None:
    result = await api.request("PUT", f"/peers/{name}", body=body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)


async def test_system_of_a_peer_is_its_answer(api: Api, peer: HTTPPeer, remote: str) -> None:
    peer.answer = lambda _: Reply(200, b'{"Name": "Far", "ApiVersion": 1}')
    assert await api.get_json("/peers/remote/system") == {"Name": "Far", "ApiVersion": 1}
    assert (peer.asked[0].method, peer.asked[0].path) == ("GET", "/system")
    for reply in (Reply(401), Reply(200, b"<html>"), Reply(200, b"[]"), Reply(0)):
        peer.answer = lambda _, reply=reply: reply  # type: ignore[misc]
        result = await api.get("/peers/remote/system")
        assert (result.status_code, result.json["OrthancStatus"]) == (500, 9)
        assert "secret" not in result.text


async def store_studies(api: Api, count: int) -> list[SyntheticFile]:
    return [await api.store(build_synthetic()) for _ in range(count)]


@pytest.mark.parametrize("is_compressed", [False, True])
async def test_store_sends_each_file_and_answers_the_content_of_the_job(
    api: Api, peer: HTTPPeer, remote: str, is_compressed: bool
) -> None:
    files = await store_studies(api, 2)
    studies = [file.study for file in files]
    body = {"Resources": studies, "Compress": is_compressed}
    result = await post(api, "/peers/remote/store", body)
    assert result.status_code == 200, result.text
    assert {asked.path for asked in peer.asked} == {"/instances"}
    assert sorted(asked.content for asked in peer.asked) == sorted(f.content for f in files)
    assert {asked.headers.get("content-encoding") for asked in peer.asked} == {
        "gzip" if is_compressed else None
    }
    assert result.json == {
        "Compress": is_compressed,
        "Description": "REST API",
        "FailedInstancesCount": 0,
        "InstancesCount": 2,
        "ParentResources": studies,
        "Peer": [remote, "user", ""],
        "Resources": [{"ID": file.study, "Type": "Study"} for file in files],
        "Size": str(sum(len(asked.body) for asked in peer.asked)),
        "SizeMB": 0,
    }
    exports = (await api.get_json("/exports?limit=1000"))["Exports"]
    assert {e["RemoteModality"] for e in exports if e["ID"] in studies} == {"remote"}


async def test_store_takes_every_form_of_its_body(api: Api, peer: HTTPPeer, remote: str) -> None:
    (file,) = await store_studies(api, 1)
    for body in (file.study.encode(), file.study, [file.study], {"Resources": [file.study]}):
        assert (await post(api, "/peers/remote/store", body)).status_code == 200
    assert len(peer.asked) == 4
    empty = await post(api, "/peers/remote/store", [])
    assert (empty.status_code, empty.json["InstancesCount"]) == (200, 0)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, 15),
        ("xx", 400, 15),
        ({"Resources": []} | {"Compress": 5}, 400, 15),
        ({"Resources": []} | {"Transcode": "1.2"}, 400, 15),
        ({"Resources": []} | {"Transcode": 5}, 400, 15),
        ({"Resources": []} | {"LossyQuality": 0}, 400, 3),
        ({"Resources": []} | {"Retries": -1}, 400, 3),
        (["-".join(["11111111"] * 5)], 404, 17),
    ],
)
async def test_wrong_store_is_refused(
    api: Api, remote: str, body: Any, status: int, code: int
) -> None:
    result = await post(api, "/peers/remote/store", body)
    assert (result.status_code, result.json["OrthancStatus"]) == (status, code)


async def test_store_is_logged_once_and_only_if_it_is_understood(
    api: Api, peer: HTTPPeer, remote: str
) -> None:
    (file,) = await store_studies(api, 1)
    last = (await api.get_json("/exports?last"))["Last"]
    for wrong in ({"Retries": -1}, {"Transcode": "1.2"}, {"LossyQuality": 0}):
        result = await post(api, "/peers/remote/store", {"Resources": [file.study]} | wrong)
        assert result.status_code == 400
    assert (await api.get_json("/exports?last"))["Last"] == last
    for _ in range(2):
        result = await api.request(
            "POST",
            "/peers/remote/store",
            body=json.dumps([file.study]).encode(),
            headers={"Idempotency-Key": file.study},
        )
        assert result.json["InstancesCount"] == 1, result.text
    assert (await api.get_json("/exports?last"))["Last"] == last + 1
    assert len(peer.asked) == 1


async def test_store_that_is_waited_for_fails_at_once(api: Api) -> None:
    (file,) = await store_studies(api, 1)
    result = await post(api, "/peers/dead/store", file.study)
    assert (result.status_code, result.json["OrthancStatus"]) == (500, 9)
    jobs = await api.get_json("/jobs?expand")
    assert "secret" not in json.dumps(jobs)
    assert jobs[-1]["Type"] == "OrthancPeerStore"


async def test_store_straight_sends_what_is_not_stored(
    api: Api, peer: HTTPPeer, remote: str
) -> None:
    content = build_synthetic().content
    peer.answer = lambda _: Reply(200, b'{"ID": "x", "Status": "Success"}')
    result = await post(api, "/peers/remote/store-straight", content)
    assert (result.status_code, result.json) == (200, {"ID": "x", "Status": "Success"})
    assert peer.asked[0].body == content
    peer.answer = lambda _: Reply(400)
    result = await post(api, "/peers/remote/store-straight", content)
    assert (result.status_code, result.json["OrthancStatus"]) == (500, 9)


async def test_store_straight_of_a_large_file_is_streamed(
    api: Api, peer: HTTPPeer, remote: str
) -> None:
    content = build_synthetic(tail=encode_element(0x7FE00010, "OW", bytes(5_000_000))).content
    peer.answer = lambda _: Reply(200, b'{"ID": "x"}')
    assert (await post(api, "/peers/remote/store-straight", content)).status_code == 200
    assert peer.asked[0].body == content
    result = await post(api, "/peers/remote/store-straight", b"x" + content)
    assert (result.status_code, len(peer.asked)) == (400, 1)


@pytest.mark.parametrize("body", [b"garbage", b"", b"PK\3\4" + bytes(100)])
async def test_store_straight_of_garbage_is_not_sent(
    api: Api, peer: HTTPPeer, remote: str, body: bytes
) -> None:
    result = await post(api, "/peers/remote/store-straight", body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)
    assert peer.asked == []


@pytest.mark.parametrize("answer", [b"{}", b'{"ID": 5}', b'[{"ID": "x"}]', b"<html>", b""])
async def test_store_straight_needs_the_answer_of_a_server_that_stores(
    api: Api, peer: HTTPPeer, remote: str, answer: bytes
) -> None:
    peer.answer = lambda _: Reply(200, answer)
    result = await post(api, "/peers/remote/store-straight", build_synthetic().content)
    assert (result.status_code, result.json["OrthancStatus"]) == (500, 9)


async def test_smart_card_is_not_supported(api: Api) -> None:
    await put(api, "card", {"Url": "https://h/", "Pkcs11": True})
    result = await api.get("/peers/card/system")
    assert (result.status_code, result.json["OrthancStatus"]) == (501, 2)
    await api.request("DELETE", "/peers/card")


async def test_certificate_that_cannot_be_read_is_an_error(api: Api) -> None:
    await put(api, "tls", {"Url": "https://127.0.0.1:1/", "CertificateFile": "/nowhere.pem"})
    result = await api.get("/peers/tls/system")
    assert (result.status_code, result.json["OrthancStatus"]) == (500, 9)
    assert "/nowhere.pem" in result.json["Details"]
    await api.request("DELETE", "/peers/tls")

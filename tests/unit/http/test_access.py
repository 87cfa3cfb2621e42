"""Who may call."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import cast

import argon2
import pytest

from isocenter.archive.workers import Workers
from isocenter.errors import UnauthorizedError
from isocenter.http import access as access_module
from isocenter.http.access import AccessControl, hash_password
from isocenter.http.exchange import DirectRequest, Request, Response
from isocenter.index.sqlite import SQLiteDatabase

NO_RESPONSE = cast(Response, None)
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    database = SQLiteDatabase(tmp_path / "index", is_durable=False)
    opened = Workers(database, 2)
    yield opened
    opened.close()
    database.close()


def build_request(address: str = "127.0.0.1", *, authorization: str | None = None) -> Request:
    headers = {} if authorization is None else {b"authorization": authorization.encode("latin-1")}
    return DirectRequest("/", "", headers=headers, remote_addr=address)


def build_basic(username: str, password: str, *, encoding: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode(encoding)).decode()


async def is_allowed(access: AccessControl, request: Request) -> bool:
    try:
        await access.process_request(request, NO_RESPONSE)
    except UnauthorizedError:
        return False
    return True


def build_access(
    workers: Workers, users: Mapping[str, str] | None, *, is_remote_allowed: bool = False
) -> AccessControl:
    return AccessControl(workers, is_remote_allowed=is_remote_allowed, users=users)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("192.168.1.7", False),
        ("0.0.0.0", False),  # noqa: S104 - compared, not bound
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("2001:db8::1", False),
        ("localhost", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
async def test_address_decides_unless_remote_access_is_allowed(
    workers: Workers, address: str, expected: bool
) -> None:
    request = build_request(address)
    assert await is_allowed(build_access(workers, None), request) == expected
    assert await is_allowed(build_access(workers, None, is_remote_allowed=True), request)


async def test_remote_caller_with_a_password_is_refused_where_remote_access_is_not_allowed(
    workers: Workers,
) -> None:
    access = build_access(workers, {"alice": "secret"})
    request = build_request("10.0.0.1", authorization=build_basic("alice", "secret"))
    assert not await is_allowed(access, request)


@pytest.mark.parametrize("password", ["secret", "", "pass:word", "Pässwörd", " "])
async def test_user_with_the_right_password_is_let_in_and_named(
    workers: Workers, password: str
) -> None:
    hashed = CHEAP.hash(password)
    for stored in (password, hashed):
        access = build_access(workers, {"alice": stored})
        request = build_request(authorization=build_basic("alice", password))
        await access.process_request(request, NO_RESPONSE)
        assert request.context.username == "alice"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        build_basic("alice", "wrong"),
        build_basic("alice", ""),
        build_basic("alice", "secret "),
        build_basic("Alice", "secret"),
        build_basic("bob", "secret"),
        build_basic("", ""),
        build_basic("", "secret"),
        "Bearer " + base64.b64encode(b"alice:secret").decode(),
        "Digest username=alice",
        base64.b64encode(b"alice:secret").decode(),
        "Basic alice:secret",
        "Basic " + base64.b64encode(b"alicesecret").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Basic !!!!",
        "Basic YWxp\u00e9",
        "Basic " + "A" * 100_001,
    ],
)
@pytest.mark.parametrize("is_hashed", [False, True])
async def test_anything_else_is_refused(
    workers: Workers, authorization: str | None, is_hashed: bool
) -> None:
    access = build_access(workers, {"alice": CHEAP.hash("secret") if is_hashed else "secret"})
    assert not await is_allowed(access, build_request(authorization=authorization))


async def test_hash_itself_is_no_password(workers: Workers) -> None:
    hashed = CHEAP.hash("secret")
    access = build_access(workers, {"alice": hashed})
    assert not await is_allowed(access, build_request(authorization=build_basic("alice", hashed)))


async def test_damaged_hash_lets_nobody_in(workers: Workers) -> None:
    access = build_access(workers, {"alice": "$argon2id$nonsense"})
    for password in ("$argon2id$nonsense", "nonsense", ""):
        request = build_request(authorization=build_basic("alice", password))
        assert not await is_allowed(access, request)


async def test_empty_list_of_users_lets_nobody_in(workers: Workers) -> None:
    access = build_access(workers, {})
    assert not await is_allowed(access, build_request())
    assert not await is_allowed(access, build_request(authorization=build_basic("", "")))


async def test_scheme_is_read_whatever_its_case(workers: Workers) -> None:
    access = build_access(workers, {"alice": "secret"})
    for scheme in ("basic", "BASIC"):
        header = build_basic("alice", "secret").replace("Basic", scheme)
        assert await is_allowed(access, build_request(authorization=header))


async def test_verified_credentials_are_not_hashed_again(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = build_access(workers, {"alice": CHEAP.hash("secret")})
    right = build_request(authorization=build_basic("alice", "secret"))
    assert await is_allowed(access, right)

    def fail(*_: object) -> bool:
        raise AssertionError("hashed again")

    monkeypatch.setattr(access_module, "_verify_hash", fail)
    again = build_request(authorization=build_basic("alice", "secret"))
    assert await is_allowed(access, again)
    assert again.context.username == "alice"
    with pytest.raises(AssertionError, match="hashed again"):
        await is_allowed(access, build_request(authorization=build_basic("alice", "wrong")))


async def test_refused_credentials_are_not_remembered(workers: Workers) -> None:
    users = {"alice": "secret"}
    access = build_access(workers, users)
    request = build_request(authorization=build_basic("bob", "later"))
    assert not await is_allowed(access, request)
    users["bob"] = "later"
    assert await is_allowed(access, request)


async def test_memory_of_verified_credentials_is_bounded(workers: Workers) -> None:
    users = {f"user{number}": "secret" for number in range(1200)}
    access = build_access(workers, users)
    for user in users:
        assert await is_allowed(access, build_request(authorization=build_basic(user, "secret")))
    assert len(access._verified) == 1000


async def test_unknown_users_take_as_long_as_known_ones(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = build_access(workers, {"alice": CHEAP.hash("secret")})
    hashed: list[str | None] = []

    def record(expected: str | None, _: str) -> bool:
        hashed.append(expected)
        return False

    monkeypatch.setattr(access_module, "_verify_hash", record)
    assert not await is_allowed(access, build_request(authorization=build_basic("bob", "x")))
    assert hashed == [None]


async def test_few_passwords_are_hashed_at_once(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = build_access(workers, {})
    running = most = 0

    async def hash_slowly(*_: object) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _turn in range(10):
            await asyncio.sleep(0)
        running -= 1
        return False

    monkeypatch.setattr(workers, "run", hash_slowly)
    requests = [build_request(authorization=build_basic(str(n), "x")) for n in range(20)]
    await asyncio.gather(*(is_allowed(access, request) for request in requests))
    assert most == 2


def test_hashed_password_is_argon2id_with_a_salt() -> None:
    one, other = hash_password("secret"), hash_password("secret")
    assert one.startswith("$argon2id$")
    assert one != other
    assert argon2.PasswordHasher().verify(one, "secret")

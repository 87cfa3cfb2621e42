"""Who may call: address, user and password."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache

import argon2

from isocenter.archive.workers import Workers
from isocenter.errors import ForbiddenError, UnauthorizedError
from isocenter.http.exchange import Request, Response

__all__ = ["AccessControl", "hash_password"]

_ARGON2 = "$argon2"
_REMEMBERED = 1000
_READING = {"GET", "HEAD", "OPTIONS"}
_CONCURRENT_HASHES = 2


class AccessControl:
    """Checks each request before it is routed; a Falcon middleware.

    Parameters
    ----------
    is_remote_allowed
        Accept callers from other machines (option ``RemoteAccessAllowed``).
    users
        User names and passwords, as clear text or argon2 hashes (option ``RegisteredUsers``);
        ``None`` if authentication is off.

    References
    ----------
    Orthanc REST: access control (behaviour manual §2.4), RFC 7617
    """

    def __init__(
        self, workers: Workers, *, is_remote_allowed: bool, users: Mapping[str, str] | None
    ) -> None:
        self._workers = workers
        self._is_remote_allowed = is_remote_allowed
        self._users = users
        # Digests of headers that were verified, so that argon2 runs once per client and not once
        # per request. Keyed by a secret of this process: no password can be derived from them.
        self._verified: OrderedDict[bytes, str] = OrderedDict()
        self._secret = secrets.token_bytes(32)
        self._hashing = asyncio.Semaphore(_CONCURRENT_HASHES)

    async def process_request(self, req: Request, _: Response) -> None:
        """Refuse a request that may not be answered.

        Raises
        ------
        UnauthorizedError
            If the caller's address or credentials are not accepted.
        """
        if not self._is_remote_allowed and not _is_loopback(req.remote_addr):
            message = "remote access is not allowed"
            raise UnauthorizedError(message)
        if self._users is None:
            if not self._is_remote_allowed:
                _refuse_foreign_page(req)
            return
        header = req.get_header("Authorization")
        if header is None:
            raise UnauthorizedError
        digest = hmac.digest(self._secret, header.encode("utf-8", "replace"), "sha256")
        username = self._verified.get(digest)
        if username is None:
            username = await self._verify(header)
            self._verified[digest] = username
            if len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)
        req.context.username = username

    async def _verify(self, header: str) -> str:
        assert self._users is not None, "called only with authentication"  # noqa: S101
        username, password = _parse_basic(header)
        expected = self._users.get(username)
        if expected is not None and not expected.startswith(_ARGON2):
            if _are_equal(password, expected):
                return username
            raise UnauthorizedError
        async with self._hashing:
            is_right = await self._workers.run(_verify_hash, expected, password)
        if expected is None or not is_right:
            raise UnauthorizedError
        return username


def _refuse_foreign_page(req: Request) -> None:
    """Refuse a change that a page of another site makes a browser on this machine ask for.

    Without users everybody on this machine may do everything, and the browser is on this machine,
    whatever page it shows.

    Raises
    ------
    ForbiddenError
        If the browser says so (Fetch Metadata Request Headers, W3C).
    """
    if req.get_header("Sec-Fetch-Site") != "cross-site":
        return
    has_override = "_method" in req.query_string or req.get_header("X-HTTP-Method-Override")
    if req.method not in _READING or has_override:
        message = "pages of other sites may not change anything"
        raise ForbiddenError(message)


def hash_password(password: str) -> str:
    """Hash a password with argon2id, for the option ``RegisteredUsers``."""
    return argon2.PasswordHasher().hash(password)


def _verify_hash(expected: str | None, password: str) -> bool:
    try:
        return argon2.PasswordHasher().verify(expected or _nobody(), password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


@lru_cache(maxsize=1)
def _nobody() -> str:
    return argon2.PasswordHasher().hash(secrets.token_hex())


def _are_equal(password: str, expected: str) -> bool:
    """Compare without telling by the time taken how much is right."""
    return hmac.compare_digest(
        hashlib.sha256(password.encode()).digest(), hashlib.sha256(expected.encode()).digest()
    )


def _parse_basic(header: str) -> tuple[str, str]:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        raise UnauthorizedError
    try:
        decoded = base64.b64decode(text.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise UnauthorizedError from error
    username, colon, password = decoded.partition(":")
    if not colon:
        raise UnauthorizedError
    return username, password


@lru_cache(maxsize=256)
def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)

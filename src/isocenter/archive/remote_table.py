"""What this server knows of others, by their symbolic names; the database may keep it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from isocenter.archive.periodic import Periodic
from isocenter.archive.workers import Workers
from isocenter.errors import BadParameterError, ConfigurationError, MissingError
from isocenter.index.port import Transaction
from isocenter.index.remote_systems import (
    RemoteSystems,
    delete_remote,
    list_remotes,
    lookup_remote,
    set_remote,
)

__all__ = ["RemoteForm", "RemoteTable"]

_MOST_REMOTES = 10_000
# How soon this server sees what other servers on the same database have changed.
_REFRESH_S = 5.0

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class RemoteForm(Generic[T]):
    """How remote systems of one kind are written, and called in errors.

    Attributes
    ----------
    systems
        Where the database keeps them.
    one, many
        "modality", "modalities".
    unknown
        The error for a name that nobody knows.
    """

    systems: RemoteSystems
    one: str
    many: str
    parse: Callable[[Any], T]
    format: Callable[[T], dict[str, Any]]
    unknown: type[MissingError]


class RemoteTable(Mapping[str, T], Generic[T]):
    """Remote systems by their symbolic names: a view that is always up to date.

    The mapping itself never waits. Where several servers share a database, it may be some seconds
    behind; `get_known` and `list_known` ask the database. For the event loop's thread.

    Parameters
    ----------
    configured
        Those of the configuration, ignored if they are kept in the database.
    is_kept
        Keep them in the database; else what clients change lasts until the next start.
    is_shared
        Other servers may change those in the database.

    References
    ----------
    Orthanc REST: ``DicomModalities``, ``OrthancPeers`` (behaviour manual §23.1, §27)
    """

    def __init__(
        self,
        workers: Workers,
        form: RemoteForm[T],
        configured: Mapping[str, T],
        *,
        is_kept: bool,
        is_shared: bool,
    ) -> None:
        self._workers = workers
        self._form = form
        self._is_kept = is_kept
        self._current: dict[str, T] = {} if is_kept else dict(configured)
        # What comes last into the database must come last into the mapping.
        self._writing = asyncio.Lock()
        # Grows with each change that is made here.
        self._edition = 0
        self._refreshing = (
            Periodic(form.many, _REFRESH_S, self._refresh) if is_kept and is_shared else None
        )

    def __getitem__(self, name: str) -> T:
        return self._current[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current)

    def __len__(self) -> int:
        return len(self._current)

    async def start(self) -> None:
        """Read those of the database, and follow what other servers change."""
        if self._is_kept:
            await self._refresh()
        if self._refreshing is not None:
            self._refreshing.start()

    async def stop(self) -> None:
        """Stop following."""
        if self._refreshing is not None:
            await self._refreshing.stop()

    async def list_known(self) -> dict[str, T]:
        """Read all of them, in the order of their names."""
        known = self._current if self._refreshing is None else await self._read_all()
        return dict(sorted(known.items()))

    async def get_known(self, name: str) -> T:
        """Read one of them.

        Raises
        ------
        MissingError
            If there is none of that name.
        """
        known = self._current.get(name) if self._refreshing is None else await self._read(name)
        if known is None:
            raise self._form.unknown(f"No {self._form.one} with symbolic name: {name[:100]}")
        return known

    async def put(self, name: str, remote: T) -> None:
        """Create or replace one of them.

        Raises
        ------
        BadParameterError
            If there are too many.
        """
        async with self._writing:
            if name not in self._current and len(self._current) >= _MOST_REMOTES:
                raise BadParameterError(f"more than {_MOST_REMOTES} {self._form.many}")
            if self._is_kept:
                document = _encode(self._form.format(remote)).decode()
                await self._workers.write(
                    lambda tx: set_remote(tx, self._form.systems, name, document)
                )
            self._current[name] = remote
            self._edition += 1

    async def delete(self, name: str) -> None:
        """Forget one of them.

        Raises
        ------
        MissingError
            If there is none of that name.
        """
        async with self._writing:
            await self.get_known(name)
            if self._is_kept:
                await self._workers.write(lambda tx: delete_remote(tx, self._form.systems, name))
            self._current.pop(name, None)
            self._edition += 1

    async def _refresh(self) -> bool:
        await self._read_all()
        return False

    async def _read_all(self) -> dict[str, T]:
        def read(tx: Transaction) -> dict[str, T]:
            return self._parse_all(list_remotes(tx, self._form.systems))

        found = self._current = await self._read_newest(read)
        return found

    async def _read(self, name: str) -> T | None:
        def read(tx: Transaction) -> dict[str, T]:
            document = lookup_remote(tx, self._form.systems, name)
            return {} if document is None else self._parse_all({name: document})

        found = await self._read_newest(read)
        self._current.pop(name, None)
        self._current.update(found)
        return found.get(name)

    async def _read_newest(self, read: Callable[[Transaction], R]) -> R:
        """Read again what a change of ours has overtaken: it may be older than the change."""
        while True:
            edition = self._edition
            found = await self._workers.read_long(read)
            if edition == self._edition:
                return found

    def _parse_all(self, documents: Mapping[str, str]) -> dict[str, T]:
        found = {}
        for name, document in documents.items():
            try:
                found[name] = self._form.parse(_decode(document))
            except ConfigurationError:
                # Written by a newer version; this one cannot call it.
                continue
        return found

"""What this server knows of others, by their symbolic names; the database may keep it."""

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
    set_remote,
)

__all__ = ["RemoteForm", "RemoteTable"]

_MOST_REMOTES = 10_000
# How soon this server sees what other servers on the same database have changed.
_REFRESH_S = 5.0

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


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
    behind; `get_known` asks the database. For the event loop's thread.

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
        if self._refreshing is not None:
            await self._refresh()
        return dict(sorted(self._current.items()))

    async def get_known(self, name: str) -> T:
        """Read one of them.

        Raises
        ------
        MissingError
            If there is none of that name.
        """
        if name not in self._current and self._refreshing is not None:
            await self._refresh()
        try:
            return self._current[name]
        except KeyError:
            message = f"No {self._form.one} with symbolic name: {name[:100]}"
            raise self._form.unknown(message) from None

    async def put(self, name: str, remote: T) -> None:
        """Create or replace one of them.

        Raises
        ------
        BadParameterError
            If there are too many.
        """
        if name not in self._current and len(self._current) >= _MOST_REMOTES:
            raise BadParameterError(f"more than {_MOST_REMOTES} {self._form.many}")
        if self._is_kept:
            document = _encode(self._form.format(remote)).decode()
            await self._workers.write(lambda tx: set_remote(tx, self._form.systems, name, document))
        self._current[name] = remote

    async def delete(self, name: str) -> None:
        """Forget one of them.

        Raises
        ------
        MissingError
            If there is none of that name.
        """
        await self.get_known(name)
        if self._is_kept:
            await self._workers.write(lambda tx: delete_remote(tx, self._form.systems, name))
        self._current.pop(name, None)

    async def _refresh(self) -> bool:
        self._current = await self._workers.read_long(self._read_all)
        return False

    def _read_all(self, tx: Transaction) -> dict[str, T]:
        found = {}
        for name, document in list_remotes(tx, self._form.systems).items():
            try:
                found[name] = self._form.parse(_decode(document))
            except ConfigurationError:
                # Written by a newer version; this one cannot call it.
                continue
        return found

"""The remote modalities that this server knows, and how to call them.

References
----------
Orthanc REST: modalities (behaviour manual §23.1)
"""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from isocenter.archive.periodic import Periodic
from isocenter.archive.workers import Workers
from isocenter.config.configuration import Configuration
from isocenter.config.remote_modalities import (
    RemoteModality,
    format_remote_modality,
    parse_remote_modality,
)
from isocenter.dimse.requestor import AssociationTarget
from isocenter.errors import BadParameterError, ConfigurationError, RemoteError, UnknownItemError
from isocenter.index.modalities import delete_modality, list_modalities, set_modality
from isocenter.index.port import Transaction

__all__ = ["CallOptions", "Calling", "Modalities", "build_calling"]

_MOST_MODALITIES = 10_000
# How soon this server sees what other servers on the same database have changed.
_REFRESH_S = 5.0

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Modalities(Mapping[str, RemoteModality]):
    """The known modalities by their symbolic names: a view that is always up to date.

    The mapping itself never waits. Where several servers share a database, it may be some seconds
    behind; `get_known` asks the database. For the event loop's thread.

    Parameters
    ----------
    configured
        Those of the configuration, ignored if they are kept in the database.
    is_kept
        Keep them in the database (option ``DicomModalitiesInDatabase``); else what clients change
        lasts until the next start.
    is_shared
        Other servers may change those in the database.

    References
    ----------
    Orthanc REST: ``DicomModalities``, ``DicomModalitiesInDatabase`` (behaviour manual §23.1)
    """

    def __init__(
        self,
        workers: Workers,
        configured: Mapping[str, RemoteModality],
        *,
        is_kept: bool,
        is_shared: bool,
    ) -> None:
        self._workers = workers
        self._is_kept = is_kept
        self._current: dict[str, RemoteModality] = {} if is_kept else dict(configured)
        self._refreshing = (
            Periodic("modalities", _REFRESH_S, self._refresh) if is_kept and is_shared else None
        )

    def __getitem__(self, name: str) -> RemoteModality:
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

    async def list_known(self) -> dict[str, RemoteModality]:
        """Read all modalities, in the order of their names."""
        if self._refreshing is not None:
            await self._refresh()
        return dict(sorted(self._current.items()))

    async def get_known(self, name: str) -> RemoteModality:
        """Read one modality.

        Raises
        ------
        UnknownItemError
            If there is none of that name.
        """
        if name not in self._current and self._refreshing is not None:
            await self._refresh()
        try:
            return self._current[name]
        except KeyError:
            raise UnknownItemError(f"No modality with symbolic name: {name[:100]}") from None

    async def put(self, name: str, modality: RemoteModality) -> None:
        """Create or replace a modality.

        Raises
        ------
        BadParameterError
            If there are too many.
        """
        if name not in self._current and len(self._current) >= _MOST_MODALITIES:
            raise BadParameterError(f"more than {_MOST_MODALITIES} modalities")
        if self._is_kept:
            document = _encode(format_remote_modality(modality)).decode()
            await self._workers.write(lambda tx: set_modality(tx, name, document))
        self._current[name] = modality

    async def delete(self, name: str) -> None:
        """Forget a modality.

        Raises
        ------
        UnknownItemError
            If there is none of that name.
        """
        await self.get_known(name)
        if self._is_kept:
            await self._workers.write(lambda tx: delete_modality(tx, name))
        self._current.pop(name, None)

    async def _refresh(self) -> bool:
        self._current = await self._workers.read_long(_read_all)
        return False


def _read_all(tx: Transaction) -> dict[str, RemoteModality]:
    found = {}
    for name, document in list_modalities(tx).items():
        try:
            found[name] = parse_remote_modality(_decode(document))
        except ConfigurationError:
            # Written by a newer version; this one cannot call it.
            continue
    return found


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What one call does differently; ``None`` for what the modality or the server says.

    Attributes
    ----------
    local_ae_title
        Our title.
    timeout_s
        0 for no limit.
    called_ae_title, host, port
        Where to call in the place of the configured address.
    """

    local_ae_title: str | None = None
    timeout_s: int | None = None
    called_ae_title: str | None = None
    host: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Calling:
    """How this server calls others.

    Attributes
    ----------
    ae_title, timeout_s
        Options ``DicomAet`` and ``DicomScuTimeout``.
    maximum_length
        Option ``MaximumPduLength``.
    ssl_context
        For modalities with ``UseDicomTls``; ``None`` if no certificates are configured.
    """

    ae_title: str
    timeout_s: int
    maximum_length: int
    ssl_context: ssl.SSLContext | None = None

    def build_target(
        self, modality: RemoteModality, options: CallOptions = CallOptions()
    ) -> AssociationTarget:
        """Say whom to call and how.

        Raises
        ------
        RemoteError
            If the modality wants TLS, and no certificates are configured.

        References
        ----------
        Orthanc: local title, first of the call, then of the modality, then of the server
        (behaviour manual §23.2)
        """
        if modality.use_dicom_tls and self.ssl_context is None:
            raise RemoteError(
                "the modality wants DICOM over TLS, for which DicomTlsTrustedCertificates is needed"
            )
        timeout_s = _first(options.timeout_s, modality.timeout_s, self.timeout_s)
        return AssociationTarget(
            host=options.host or modality.host,
            port=options.port or modality.port,
            called_ae_title=options.called_ae_title or modality.ae_title,
            calling_ae_title=options.local_ae_title or modality.local_ae_title or self.ae_title,
            timeout_s=timeout_s or None,
            maximum_length=self.maximum_length,
            ssl_context=self.ssl_context if modality.use_dicom_tls else None,
        )


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def build_calling(
    configuration: Configuration, ssl_context: ssl.SSLContext | None = None
) -> Calling:
    """Read from the configuration how to call."""
    return Calling(
        configuration.text("DicomAet"),
        configuration.integer("DicomScuTimeout"),
        configuration.integer("MaximumPduLength"),
        ssl_context,
    )

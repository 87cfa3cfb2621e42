"""The remote modalities that this server knows, and how to call them.

References
----------
Orthanc REST: modalities (behaviour manual §23.1)
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from isocenter.archive.remote_table import RemoteForm, RemoteTable
from isocenter.archive.workers import Workers
from isocenter.config.configuration import Configuration
from isocenter.config.remote_modalities import (
    RemoteModality,
    format_remote_modality,
    parse_remote_modality,
)
from isocenter.dimse.requestor import AssociationTarget
from isocenter.errors import RemoteError, UnknownItemError
from isocenter.index.remote_systems import RemoteSystems

__all__ = ["CallOptions", "Calling", "Modalities", "build_calling"]


_FORM = RemoteForm(
    RemoteSystems.MODALITIES,
    "modality",
    "modalities",
    parse_remote_modality,
    format_remote_modality,
    UnknownItemError,
)


class Modalities(RemoteTable[RemoteModality]):
    """The known modalities by their symbolic names (see `RemoteTable`).

    Parameters
    ----------
    is_kept
        Option ``DicomModalitiesInDatabase``.

    References
    ----------
    Orthanc REST: ``DicomModalities`` (behaviour manual §23.1)
    """

    def __init__(
        self,
        workers: Workers,
        configured: Mapping[str, RemoteModality],
        *,
        is_kept: bool,
        is_shared: bool,
    ) -> None:
        super().__init__(workers, _FORM, configured, is_kept=is_kept, is_shared=is_shared)


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

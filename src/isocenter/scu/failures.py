"""Statuses of remote modalities as errors.

References
----------
Orthanc REST: failed jobs of the DICOM client (behaviour manual §17)
"""

from isocenter.errors import RemoteError, ServerError

__all__ = ["build_status_error", "lookup_status"]

_DIMSE = "Dimse"
_STATUS = "DimseErrorStatus"


def build_status_error(
    service: str, called_ae_title: str, status: int, comment: str | None = None
) -> RemoteError:
    """Build the error for a final status that means failure.

    Parameters
    ----------
    service
        For example ``C-STORE``.
    comment
        Text of the remote modality.
    """
    reason = f" ({comment})" if comment else ""
    return RemoteError(
        f'{service} SCU to AET "{called_ae_title}" has failed with DIMSE status '
        f"0x{status:04X}{reason}",
        payload={"Type": _DIMSE, "Content": {_STATUS: status}},
    )


def lookup_status(error: ServerError) -> int | None:
    """Find the status of which an error tells; ``None`` if there was no answer with one."""
    payload = error.payload
    if payload is None or payload["Type"] != _DIMSE:
        return None
    return int(payload["Content"][_STATUS])

"""Protection of patients against recycling."""

from isocenter.archive.workers import Workers
from isocenter.errors import BadParameterError
from isocenter.index.recycling import lookup_protection, set_protection

__all__ = ["Protection"]


class Protection:
    """Protects patients, and tells which ones are.

    References
    ----------
    Orthanc REST: /patients/{id}/protected (behaviour manual §9.2)
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def get(self, public_id: str) -> bool:
        """Tell whether a patient is protected.

        Raises
        ------
        BadParameterError
            If there is no such patient, as in Orthanc.
        """
        is_protected = await self._workers.read(lambda tx: lookup_protection(tx, public_id))
        if is_protected is None:
            raise _unknown()
        return is_protected

    async def set(self, public_id: str, *, is_protected: bool) -> None:
        """Protect a patient, or put it at the end of those to be recycled.

        Raises
        ------
        BadParameterError
            If there is no such patient, as in Orthanc.
        """
        is_known = await self._workers.write(
            lambda tx: set_protection(tx, public_id, is_protected=is_protected)
        )
        if not is_known:
            raise _unknown()


def _unknown() -> BadParameterError:
    return BadParameterError("there is no such patient")

"""The names and the codes of metadata.

References
----------
Orthanc REST: metadata (behaviour manual §11)
"""

from collections.abc import Mapping
from types import MappingProxyType

from isocenter.index.records import MetadataCode

__all__ = ["MetadataNames"]

_SYSTEM = MappingProxyType(
    {
        MetadataCode.INDEX_IN_SERIES: "IndexInSeries",
        MetadataCode.RECEPTION_DATE: "ReceptionDate",
        MetadataCode.REMOTE_AET: "RemoteAET",
        MetadataCode.EXPECTED_NUMBER_OF_INSTANCES: "ExpectedNumberOfInstances",
        MetadataCode.MODIFIED_FROM: "ModifiedFrom",
        MetadataCode.ANONYMIZED_FROM: "AnonymizedFrom",
        MetadataCode.LAST_UPDATE: "LastUpdate",
        MetadataCode.ORIGIN: "Origin",
        MetadataCode.TRANSFER_SYNTAX: "TransferSyntax",
        MetadataCode.SOP_CLASS_UID: "SopClassUid",
        MetadataCode.REMOTE_IP: "RemoteIP",
        MetadataCode.CALLED_AET: "CalledAET",
        MetadataCode.HTTP_USERNAME: "HttpUsername",
        MetadataCode.PIXEL_DATA_OFFSET: "PixelDataOffset",
        MetadataCode.MAIN_DICOM_TAGS_SIGNATURE: "MainDicomTagsSignature",
        MetadataCode.MAIN_DICOM_SEQUENCES: "MainDicomSequences",
        MetadataCode.PIXEL_DATA_VR: "PixelDataVR",
    }
)


class MetadataNames:
    """The registry of names: those of the system, and those of the option ``UserMetadata``.

    Parameters
    ----------
    user
        Name to code.
    """

    def __init__(self, user: Mapping[str, int]) -> None:
        self._names: dict[int, str] = {int(code): name for code, name in _SYSTEM.items()}
        self._names |= {code: name for name, code in user.items()}

    def get_name(self, code: int) -> str:
        """Name a code; without a name, the number is the name."""
        return self._names.get(code) or str(code)

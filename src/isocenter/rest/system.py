"""What the server is and how much it holds."""

from isocenter.config.configuration import Configuration
from isocenter.dicom.levels import Level
from isocenter.http.answers import answer_json
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Route
from isocenter.rest.services import Services
from isocenter.version import __version__

__all__ = ["ROUTES", "get_statistics", "get_system"]

_MIB = 1024 * 1024
_OVERWRITE_NEVER = "Never"

# What we claim to be compatible with; clients decide by it what they may call.
ORTHANC_VERSION = "1.13.0"
ORTHANC_API_VERSION = 31
ORTHANC_DATABASE_VERSION = 6


async def get_system(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: GET /system; ``IsocenterVersion`` is ours."""
    configuration = services.configuration
    overwrite = configuration.text("OverwriteInstances")
    answer_json(
        resp,
        {
            "ApiVersion": ORTHANC_API_VERSION,
            "Version": ORTHANC_VERSION,
            "IsocenterVersion": __version__,
            "Name": configuration.text("Name"),
            "DatabaseVersion": ORTHANC_DATABASE_VERSION,
            "DatabaseServerIdentifier": services.archive.server_identifier,
            "DatabaseBackendPlugin": None,
            "StorageAreaPlugin": None,
            "DicomAet": configuration.text("DicomAet"),
            "DicomPort": configuration.integer("DicomPort"),
            "HttpPort": configuration.integer("HttpPort"),
            "DicomDefaultRetrieveMethod": configuration.text("DicomDefaultRetrieveMethod"),
            "IsHttpServerSecure": _is_secure(configuration),
            "PluginsEnabled": False,
            "CheckRevisions": configuration.boolean("CheckRevisions"),
            "StorageCompression": configuration.boolean("StorageCompression"),
            "OverwriteInstances": overwrite != _OVERWRITE_NEVER,
            "OverwriteInstancesMode": overwrite,
            "IngestTranscoding": "",
            "StoreMD5ForAttachments": configuration.boolean("StoreMD5ForAttachments"),
            "MaximumStorageSize": configuration.integer("MaximumStorageSize"),
            "MaximumStorageMode": configuration.text("MaximumStorageMode"),
            "MaximumPatientCount": configuration.integer("MaximumPatientCount"),
            "PatientLevelEnabled": True,
            "ReadOnly": configuration.boolean("ReadOnly"),
            "MainDicomTags": {
                level.title: services.archive.main_tags.build_signature(level) for level in Level
            },
            "UserMetadata": {},
            "HasLabels": False,
            "Capabilities": {
                "HasExtendedChanges": True,
                "HasExtendedFind": False,
                "HasKeyValueStores": False,
                "HasQueues": False,
                "HasReserveQueueValue": False,
            },
        },
    )


def _is_secure(configuration: Configuration) -> bool:
    """Tell whether strangers are kept out; clients warn their users if not."""
    return configuration.boolean("AuthenticationEnabled") or not configuration.boolean(
        "RemoteAccessAllowed"
    )


async def get_statistics(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: GET /statistics."""
    statistics = await services.archive.browse.get_statistics()
    answer_json(
        resp,
        {
            "CountPatients": statistics.patients,
            "CountStudies": statistics.studies,
            "CountSeries": statistics.series,
            "CountInstances": statistics.instances,
            "TotalDiskSize": str(statistics.disk_size),
            "TotalDiskSizeMB": statistics.disk_size // _MIB,
            "TotalUncompressedSize": str(statistics.uncompressed_size),
            "TotalUncompressedSizeMB": statistics.uncompressed_size // _MIB,
        },
    )


ROUTES = (
    Route(
        "GET",
        "/system",
        get_system,
        "Version, options and capabilities",
        "system",
        is_immediate=True,
    ),
    Route(
        "GET",
        "/statistics",
        get_statistics,
        "Counts and sizes of all",
        "system",
        is_immediate=True,
        is_lasting=True,
    ),
)

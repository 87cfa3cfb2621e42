"""What the server is, how much it holds, and its plugins, of which there are none."""

from isocenter.config.configuration import Configuration
from isocenter.dicom.levels import Level
from isocenter.http.answers import answer_json
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Route
from isocenter.rest.services import Services
from isocenter.version import __version__

__all__ = [
    "ROUTES",
    "get_plugins_script",
    "get_statistics",
    "get_system",
    "list_plugins",
]

_MIB = 1024 * 1024
_OVERWRITE_NEVER = "Never"

# What we claim to be compatible with; clients decide by it what they may call.
ORTHANC_VERSION = "1.13.0"
ORTHANC_API_VERSION = 31
ORTHANC_DATABASE_VERSION = 6

# Not those of Orthanc's software kit for plugins, which cannot be loaded here.
_CAPABILITIES = {
    "HasExtendedChanges": True,
    "HasExtendedFind": True,
    "HasKeyValueStores": False,
    "HasQueues": False,
    "HasReserveQueueValue": False,
}
_PERFORMANCE = (
    "ConcurrentJobs",
    "DicomParserCacheSize",
    "DicomParserMemoryCapacity",
    "DicomParserThreadsCount",
    "DicomThreadsCount",
    "HttpThreadsCount",
    "MaximumStorageCacheSize",
    "SequentialDicomReaderThreadsCount",
    "StorageLoaderThreadsCount",
    "StorageMemoryCapacity",
    "TranscoderCacheSize",
    "TranscoderMemoryCapacity",
    "TranscoderThreadsCount",
)
_OWN_PERFORMANCE = ("IngestThreads", "JournalSizeMB", "TagsCacheSizeMB")
_SCRIPT = b"// Extensions to the explorer by plugins: none\n"


async def get_system(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: GET /system; ``IsocenterVersion`` is ours."""
    answer_json(
        resp,
        {
            **_describe_identity(services),
            **_describe_options(services.configuration),
            "MainDicomTags": {
                level.title: services.archive.main_tags.build_signature(level) for level in Level
            },
            "HasLabels": True,
            "Capabilities": _CAPABILITIES,
            "Performance": _describe_performance(services.configuration),
            "ThirdPartyPatches": [],
            "ThirdPartyVersions": services.library_versions,
        },
    )


def _describe_identity(services: Services) -> dict[str, object]:
    configuration = services.configuration
    return {
        "ApiVersion": ORTHANC_API_VERSION,
        "Version": ORTHANC_VERSION,
        "IsocenterVersion": __version__,
        "Name": configuration.text("Name"),
        "DatabaseVersion": ORTHANC_DATABASE_VERSION,
        "DatabaseServerIdentifier": services.archive.server_identifier,
        "DatabaseBackendPlugin": None,
        "StorageAreaPlugin": None,
        "PluginsEnabled": False,
        "DicomAet": configuration.text("DicomAet"),
        "DicomPort": configuration.integer("DicomPort"),
        "HttpPort": configuration.integer("HttpPort"),
        "IsHttpServerSecure": _is_secure(configuration),
    }


def _describe_options(configuration: Configuration) -> dict[str, object]:
    overwrite = configuration.text("OverwriteInstances")
    return {
        "DicomDefaultRetrieveMethod": configuration.text("DicomDefaultRetrieveMethod"),
        "CheckRevisions": configuration.boolean("CheckRevisions"),
        "StorageCompression": configuration.boolean("StorageCompression"),
        "OverwriteInstances": overwrite != _OVERWRITE_NEVER,
        "OverwriteInstancesMode": overwrite,
        "IngestTranscoding": configuration.text("IngestTranscoding"),
        "StoreMD5ForAttachments": configuration.boolean("StoreMD5ForAttachments"),
        "MaximumStorageSize": configuration.integer("MaximumStorageSize"),
        "MaximumStorageMode": configuration.text("MaximumStorageMode"),
        "MaximumPatientCount": configuration.integer("MaximumPatientCount"),
        "PatientLevelEnabled": configuration.boolean("PatientLevelEnabled"),
        "ReadOnly": configuration.boolean("ReadOnly"),
        "UserMetadata": dict(configuration.mapping("UserMetadata")),
    }


def _describe_performance(configuration: Configuration) -> dict[str, int]:
    """Tell sizes and numbers of threads as configured; those of the second line are ours."""
    return {
        **{name: configuration.integer(name) for name in _PERFORMANCE},
        **{name: configuration.integer(f"Isocenter.{name}") for name in _OWN_PERFORMANCE},
    }


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


async def list_plugins(_: Services, __: Request, resp: Response) -> None:
    """Orthanc REST: GET /plugins; the script is always among them."""
    answer_json(resp, ["explorer.js"])


async def get_plugins_script(_: Services, __: Request, resp: Response) -> None:
    """Orthanc REST: GET /plugins/explorer.js."""
    resp.content_type = "application/javascript"
    resp.data = _SCRIPT


ROUTES = (
    Route(
        "GET",
        "/system",
        get_system,
        "Version, options and capabilities",
        "system",
        is_immediate=True,
        is_lasting=True,
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
    Route("GET", "/plugins", list_plugins, "List the plugins", "system"),
    Route(
        "GET",
        "/plugins/explorer.js",
        get_plugins_script,
        "What plugins add to the explorer",
        "system",
        answer="application/javascript",
    ),
)

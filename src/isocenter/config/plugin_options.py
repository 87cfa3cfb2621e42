"""The options of what Orthanc puts into plugins.

Each plugin has a section of its own in the configuration file.

References
----------
Orthanc REST: behaviour manual §39
"""

from isocenter.config.option import Effect, Group, Option
from isocenter.config.shapes import (
    BOOLEAN,
    COUNT,
    DICOMWEB_SERVERS,
    PATH,
    TEXT,
    TEXTS,
    URL_PATH,
)
from isocenter.config.values import ChoiceKind, IntegerKind, MapKind, ObjectKind

__all__ = ["PLUGIN_GROUPS"]

_FULL = Effect.FULL
_NONE = Effect.NONE

_METADATA_SOURCES = ChoiceKind(("Full", "MainDicomTags", "Extrapolate"))
_LIST = ObjectKind(list)
_OBJECT = ObjectKind()


_DICOMWEB = Group(
    "DICOMweb",
    (
        Option("DicomWeb.Enable", BOOLEAN, default=True, meaning="Serve DICOMweb."),
        Option(
            "DicomWeb.Root",
            URL_PATH,
            default="/dicom-web/",
            meaning="Address of DICOMweb on this server.",
        ),
        Option(
            "DicomWeb.PublicRoot",
            URL_PATH,
            fallback="DicomWeb.Root",
            meaning=(
                "Address of DICOMweb written in answers, when a reverse proxy shows another one."
            ),
        ),
        Option("DicomWeb.EnableWado", BOOLEAN, default=True, meaning="Serve WADO-URI."),
        Option(
            "DicomWeb.WadoRoot",
            URL_PATH,
            default="/wado",
            meaning="Address of WADO-URI on this server.",
        ),
        Option(
            "DicomWeb.Host",
            TEXT,
            default="",
            meaning="Host written in answers; empty means the one that was called.",
        ),
        Option("DicomWeb.Ssl", BOOLEAN, default=False, meaning="Write `https` in answers."),
        Option(
            "DicomWeb.QidoCaseSensitive",
            BOOLEAN,
            default=True,
            meaning="Whether case matters in QIDO-RS searches.",
        ),
        Option(
            "DicomWeb.StudiesMetadata",
            _METADATA_SOURCES,
            default="Full",
            meaning="Where the metadata of studies comes from: all tags of all files (`Full`), "
            "the index (`MainDicomTags`), or a few files (`Extrapolate`).",
        ),
        Option(
            "DicomWeb.SeriesMetadata",
            _METADATA_SOURCES,
            default="Full",
            meaning="Where the metadata of series comes from; values as for studies.",
        ),
        Option(
            "DicomWeb.EnableMetadataCache",
            BOOLEAN,
            default=True,
            meaning="Keep the computed metadata of series.",
        ),
        Option(
            "DicomWeb.MetadataWorkerThreadsCount",
            COUNT,
            default=4,
            meaning="Threads that compute metadata.",
        ),
        Option(
            "DicomWeb.WadoRsLoaderThreadsCount",
            COUNT,
            default=0,
            meaning="Threads that read files ahead for WADO-RS; 0 means none.",
        ),
        Option(
            "DicomWeb.OtherBinaryMode",
            TEXT,
            default="BulkDataURI",
            meaning="How binary numbers are written in metadata: as links, in base64 or as arrays.",
        ),
        Option("DicomWeb.EnablePerformanceLogs", BOOLEAN, default=False, meaning="Log durations."),
        Option(
            "DicomWeb.Servers",
            DICOMWEB_SERVERS,
            default={},
            meaning='Remote DICOMweb servers: `{"pacs": ["https://host/dicom-web/", "user", '
            '"password"]}` or objects with `Url` and more.',
        ),
        Option(
            "DicomWeb.ServersInDatabase",
            BOOLEAN,
            default=False,
            meaning="Keep the remote servers in the database instead of in this file.",
        ),
    ),
)

_TRANSFERS = Group(
    "Transfers accelerator",
    (
        Option(
            "Transfers.Threads",
            IntegerKind(1),
            default=6,
            meaning="HTTP requests at once per transfer.",
        ),
        Option(
            "Transfers.BucketSize",
            IntegerKind(1),
            default=4096,
            meaning="Size of a bucket of instances.",
            unit="kB",
        ),
        Option(
            "Transfers.CacheSize",
            COUNT,
            default=128,
            meaning="Memory that the sender keeps files in.",
            unit="MB",
        ),
        Option(
            "Transfers.MaxPushTransactions",
            COUNT,
            default=4,
            meaning="Push transactions that may be open at once.",
        ),
        Option(
            "Transfers.MaxHttpRetries",
            COUNT,
            default=0,
            meaning="How often a failed request is tried again.",
        ),
        Option(
            "Transfers.PeerConnectivityTimeout",
            COUNT,
            default=2,
            meaning="Longest test of a peer.",
            unit="s",
        ),
        Option(
            "Transfers.PeerCommitTimeout",
            COUNT,
            default=600,
            meaning="Longest commit at a peer.",
            unit="s",
        ),
        Option(
            "Transfers.CommitThreadsCount",
            IntegerKind(1),
            default=1,
            meaning="Threads that store instances at the commit.",
        ),
    ),
)

_WORKLISTS = Group(
    "Modality worklists",
    (
        Option(
            "Worklists.Enable",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Answer worklist queries.",
        ),
        Option(
            "Worklists.Directory",
            PATH,
            fallback="Worklists.Database",
            effect=_FULL,
            meaning="Folder of worklist files (`.wl`), which other programs write.",
        ),
        Option(
            "Worklists.Database",
            PATH,
            default="",
            default_note="unset",
            effect=_FULL,
            meaning="Older name of `Worklists.Directory`.",
        ),
        Option(
            "Worklists.SaveInOrthancDatabase",
            BOOLEAN,
            default=False,
            effect=_NONE,
            meaning="Keep worklist entries in the database.",
            differs="Entries of clients are always kept in the database.",
        ),
        Option(
            "Worklists.FilterIssuerAet",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Show a modality only the entries planned for its AE title.",
        ),
        Option(
            "Worklists.LimitAnswers",
            COUNT,
            default=0,
            effect=_FULL,
            meaning="Most answers to a query; 0 means no limit.",
        ),
        Option(
            "Worklists.SetStudyInstanceUidIfMissing",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Invent a Study Instance UID for entries that lack one.",
        ),
        Option(
            "Worklists.DeleteWorklistsOnStableStudy",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Drop an entry when its study is stable.",
        ),
        Option(
            "Worklists.DeleteWorklistsDelay",
            COUNT,
            default=0,
            effect=_FULL,
            meaning="Entries are dropped at this age; 0 means never.",
            unit="h",
        ),
        Option(
            "Worklists.HousekeepingInterval",
            IntegerKind(1),
            default=60,
            effect=_FULL,
            meaning="Time between clean-ups.",
            unit="s",
        ),
        Option(
            "Worklists.LogMatchedWorklistIds",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Log which entries matched.",
        ),
    ),
)

_HOUSEKEEPER = Group(
    "Housekeeper",
    (
        Option(
            "Housekeeper.Enable",
            BOOLEAN,
            default=False,
            meaning="Bring old resources up to date in the background after options have changed.",
        ),
        Option(
            "Housekeeper.Force", BOOLEAN, default=False, meaning="Process everything once more."
        ),
        Option(
            "Housekeeper.ForceReconstructFiles",
            BOOLEAN,
            default=False,
            meaning="Write the files again, too.",
        ),
        Option(
            "Housekeeper.ThrottleDelay",
            COUNT,
            default=5,
            meaning="Rest after each study.",
            unit="s",
        ),
        Option(
            "Housekeeper.LimitMainDicomTagsReconstructLevel",
            ChoiceKind(("", "Patient", "Study", "Series", "Instance")),
            default="",
            default_note="unset",
            meaning="Only level whose main tags are read again.",
        ),
        Option(
            "Housekeeper.Triggers",
            MapKind(BOOLEAN),
            default={},
            default_note="all true",
            meaning="Which changes of options start the work.",
        ),
        Option(
            "Housekeeper.Schedule",
            MapKind(TEXTS),
            default={},
            default_note="always",
            meaning='Hours of work per day of the week: `{"Monday": ["0-6", "20-24"]}`.',
        ),
        Option(
            "Housekeeper.GlobalPropertyId",
            COUNT,
            default=1025,
            meaning="Code of the global property that keeps the progress.",
        ),
    ),
)

_AUTHORIZATION = Group(
    "Authorization",
    (
        Option(
            "Authorization.Enable",
            BOOLEAN,
            default=False,
            meaning="Ask a permission service about each request.",
        ),
        Option(
            "Authorization.WebServiceRootUrl",
            TEXT,
            default="",
            default_note="unset",
            meaning="Base address of the permission service.",
        ),
        *(
            Option(
                f"Authorization.WebService{key}Url",
                TEXT,
                default="",
                default_note="derived from the base address",
                meaning=f"Address of the service that {purpose}.",
            )
            for key, purpose in (
                ("UserProfile", "describes users"),
                ("TokenValidation", "checks tokens"),
                ("TokenCreationBase", "makes tokens"),
                ("TokenDecoder", "decodes tokens"),
                ("SettingsRoles", "keeps roles"),
            )
        ),
        Option(
            "Authorization.WebServiceUsername",
            TEXT,
            default="",
            default_note="unset",
            meaning="User of the permission service.",
        ),
        Option(
            "Authorization.WebServicePassword",
            TEXT,
            default="",
            default_note="unset",
            meaning="Password of that user.",
        ),
        Option(
            "Authorization.WebServiceIdentifier",
            TEXT,
            default="",
            default_note="unset",
            meaning="Name of this server for the permission service.",
        ),
        Option(
            "Authorization.TokenHttpHeaders",
            TEXTS,
            default=[],
            meaning="Headers that may carry a token.",
        ),
        Option(
            "Authorization.TokenGetArguments",
            TEXTS,
            default=[],
            meaning="Arguments of GET that may carry a token.",
        ),
        Option(
            "Authorization.StandardConfigurations",
            TEXTS,
            default=[],
            meaning="Names of ready rules, such as `orthanc-explorer-2` or `ohif`.",
        ),
        Option(
            "Authorization.UncheckedResources",
            TEXTS,
            default=[],
            meaning="Addresses open to everyone.",
        ),
        Option(
            "Authorization.UncheckedFolders",
            TEXTS,
            default=[],
            meaning="Addresses open to everyone with all below them.",
        ),
        Option(
            "Authorization.UncheckedLevels",
            TEXTS,
            default=[],
            meaning="Levels that are not checked.",
        ),
        Option(
            "Authorization.CheckedLevel",
            ChoiceKind(("patients", "studies", "series", "instances")),
            default="studies",
            meaning="Single level that is checked.",
        ),
        Option(
            "Authorization.Permissions",
            _LIST,
            default=[],
            default_note="built-in",
            meaning="Rules: method, pattern of the address, permissions.",
        ),
        Option(
            "Authorization.ExtraPermissions",
            _LIST,
            default=[],
            meaning="Rules added to the built-in ones.",
        ),
        Option(
            "Authorization.EnableAuditLogs", BOOLEAN, default=False, meaning="Record who does what."
        ),
    ),
)

_EXPLORER = Group(
    "Orthanc Explorer 2",
    (
        Option(
            "OrthancExplorer2.Enable",
            BOOLEAN,
            default=True,
            meaning="Serve the second user interface.",
        ),
        Option("OrthancExplorer2.Root", URL_PATH, default="/ui/", meaning="Its address."),
        Option(
            "OrthancExplorer2.IsDefaultOrthancUI",
            BOOLEAN,
            default=True,
            meaning="Lead from the server's root to it.",
        ),
        Option("OrthancExplorer2.UiOptions", _OBJECT, default={}, meaning="What it shows."),
        Option("OrthancExplorer2.Keycloak", _OBJECT, default={}, meaning="Sign-in by Keycloak."),
        Option(
            "OrthancExplorer2.Tokens", _OBJECT, default={}, meaning="Links that open one study."
        ),
        Option("OrthancExplorer2.Shares", _OBJECT, default={}, meaning="Sharing of studies."),
        Option("OrthancExplorer2.Emails", _OBJECT, default={}, meaning="Mails with links."),
    ),
)

PLUGIN_GROUPS = (
    _DICOMWEB,
    _TRANSFERS,
    _WORKLISTS,
    _HOUSEKEEPER,
    _AUTHORIZATION,
    _EXPLORER,
)
"""The groups of plugin options, in the order of the documentation."""

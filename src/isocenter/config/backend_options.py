"""The options of databases and stores that are not SQLite and one folder.

References
----------
Orthanc REST: behaviour manual §39
"""

from isocenter.config.option import Effect, Group, Option
from isocenter.config.shapes import BOOLEAN, COUNT, PATH, TEXT
from isocenter.config.values import ChoiceKind, IntegerKind, ObjectKind

__all__ = ["BACKEND_GROUPS"]

_LIST = ObjectKind(list)
_OBJECT = ObjectKind()
_FULL = Effect.FULL


_OTHERS = Group(
    "Delayed deletion, multitenant DICOM, advanced storage",
    (
        Option(
            "DelayedDeletion.Enable",
            BOOLEAN,
            default=False,
            meaning="Delete files in the background.",
        ),
        Option(
            "DelayedDeletion.Path",
            PATH,
            fallback="StorageDirectory",
            meaning="Folder of the list of files that wait for deletion.",
        ),
        Option(
            "DelayedDeletion.ThrottleDelayMs",
            COUNT,
            default=0,
            meaning="Rest after each deletion.",
            unit="ms",
        ),
        Option(
            "MultitenantDicom.Servers",
            _LIST,
            default=[],
            meaning="Further DICOM servers with titles and ports of their own that show only "
            "resources with some labels.",
        ),
        Option(
            "AdvancedStorage.Enable",
            BOOLEAN,
            default=False,
            meaning="Use readable names of folders, watched folders and several storages.",
        ),
        Option(
            "AdvancedStorage.NamingScheme",
            TEXT,
            default="OrthancDefault",
            meaning="Pattern of paths made of tags.",
        ),
        Option(
            "AdvancedStorage.Indexer",
            _OBJECT,
            default={},
            meaning="Watched folders whose files are taken in where they lie.",
        ),
        Option(
            "AdvancedStorage.MultipleStorages",
            _OBJECT,
            default={},
            meaning="Named root folders and which of them is written to.",
        ),
    ),
)

_POSTGRESQL = Group(
    "PostgreSQL",
    (
        Option(
            "PostgreSQL.EnableIndex",
            BOOLEAN,
            default=False,
            meaning="Keep the index in PostgreSQL instead of SQLite. Several servers may then "
            "share one archive.",
            effect=_FULL,
        ),
        Option(
            "PostgreSQL.EnableStorage",
            BOOLEAN,
            default=False,
            meaning="Keep the files in PostgreSQL, too.",
        ),
        Option(
            "PostgreSQL.Host",
            TEXT,
            default="localhost",
            meaning="Host of the database, or the folder of its socket.",
            effect=_FULL,
        ),
        Option(
            "PostgreSQL.Port",
            IntegerKind(1, 65535),
            default=5432,
            meaning="TCP port of the database.",
            effect=_FULL,
        ),
        Option(
            "PostgreSQL.Database",
            TEXT,
            default="",
            meaning="Name of the database; empty means that of the user.",
            effect=_FULL,
        ),
        Option(
            "PostgreSQL.Username",
            TEXT,
            default="",
            meaning="User of the database; empty means that of the process.",
            effect=_FULL,
        ),
        Option(
            "PostgreSQL.Password",
            TEXT,
            default="",
            meaning="Password of the user. Use `${VARIABLE}` to keep it out of the file.",
            effect=_FULL,
        ),
        Option(
            "PostgreSQL.ConnectionUri",
            TEXT,
            default="",
            meaning="`postgresql://user:password@host:port/database`; if set, it wins over the "
            "five options above.",
            effect=_FULL,
        ),
        Option(
            "PostgreSQL.EnableSsl",
            BOOLEAN,
            default=False,
            meaning="Demand TLS to the database.",
            effect=_FULL,
        ),
        Option(
            "PostgreSQL.Lock", BOOLEAN, default=True, meaning="Keep other servers off the database."
        ),
        Option(
            "PostgreSQL.IndexConnectionsCount",
            IntegerKind(1, 1000),
            default=50,
            meaning="Most connections to the database at once.",
            effect=_FULL,
        ),
        Option(
            "PostgreSQL.TransactionMode",
            ChoiceKind(("ReadCommitted", "Serializable", "Default")),
            default="ReadCommitted",
            meaning="Isolation of transactions.",
        ),
        Option(
            "PostgreSQL.MaximumConnectionRetries",
            COUNT,
            default=10,
            meaning="How often a start tries again while the database does not answer.",
            effect=_FULL,
        ),
        Option(
            "PostgreSQL.ConnectionRetryInterval",
            COUNT,
            default=5,
            meaning="Time between these attempts.",
            unit="s",
            effect=_FULL,
        ),
        Option(
            "PostgreSQL.HousekeepingInterval",
            IntegerKind(1),
            default=1,
            meaning="Time between clean-ups inside the database.",
            unit="s",
        ),
        Option(
            "PostgreSQL.UseDynamicConnectionPool",
            BOOLEAN,
            default=False,
            meaning="Open and close connections on demand.",
        ),
        Option(
            "PostgreSQL.AllowInconsistentChildCounts",
            BOOLEAN,
            default=False,
            meaning="Count children faster and less exactly.",
        ),
        Option(
            "PostgreSQL.Schema",
            TEXT,
            default="public",
            meaning="Schema of the tables.",
            effect=_FULL,
        ),
        Option(
            "PostgreSQL.ApplicationName",
            TEXT,
            default="",
            meaning="Name that the database shows for our connections.",
        ),
        Option("PostgreSQL.EnableVerboseLogs", BOOLEAN, default=False, meaning="Log SQL."),
    ),
)


def _object_storage(section: str, title: str, connection: tuple[Option, ...]) -> Group:
    """Build the group of one kind of object store: its connection and what all kinds share."""
    shared = (
        Option(f"{section}.RootPath", TEXT, default="", meaning="Prefix of all keys."),
        Option(
            f"{section}.StorageStructure",
            ChoiceKind(("flat", "legacy")),
            default="flat",
            meaning="Form of the keys.",
        ),
        Option(
            f"{section}.HybridMode",
            ChoiceKind(("Disabled", "WriteToFileSystem", "WriteToObjectStorage")),
            default="Disabled",
            meaning="Keep files on disk and in the bucket, and where new ones go.",
        ),
        Option(
            f"{section}.MigrationFromFileSystemEnabled",
            BOOLEAN,
            default=False,
            meaning="Read old files from disk.",
        ),
        Option(
            f"{section}.StorageEncryption",
            _OBJECT,
            default={},
            meaning="Keys that encrypt files before they leave this server.",
        ),
    )
    return Group(title, (*connection, *shared))


_OBJECT_STORAGES = (
    _object_storage(
        "AwsS3Storage",
        "Object storage: S3",
        (
            Option(
                "AwsS3Storage.BucketName", TEXT, default="", default_note="unset", meaning="Bucket."
            ),
            Option(
                "AwsS3Storage.Region",
                TEXT,
                default="",
                default_note="unset",
                meaning="Region of the bucket.",
            ),
            Option(
                "AwsS3Storage.AccessKey",
                TEXT,
                default="",
                default_note="unset",
                meaning="Access key.",
            ),
            Option(
                "AwsS3Storage.SecretKey",
                TEXT,
                default="",
                default_note="unset",
                meaning="Secret key.",
            ),
            Option(
                "AwsS3Storage.Endpoint",
                TEXT,
                default="",
                default_note="unset",
                meaning="Address of a store that is not Amazon's.",
            ),
            Option(
                "AwsS3Storage.ConnectionTimeout",
                COUNT,
                default=30,
                meaning="Longest time to connect.",
                unit="s",
            ),
            Option(
                "AwsS3Storage.RequestTimeout",
                COUNT,
                default=1200,
                meaning="Longest request.",
                unit="s",
            ),
            Option(
                "AwsS3Storage.VirtualAddressing",
                BOOLEAN,
                default=True,
                meaning="Write the bucket into the host's name.",
            ),
        ),
    ),
    _object_storage(
        "AzureBlobStorage",
        "Object storage: Azure",
        (
            Option(
                "AzureBlobStorage.ConnectionString",
                TEXT,
                default="",
                default_note="unset",
                meaning="Connection string of the account.",
            ),
            Option(
                "AzureBlobStorage.ContainerName",
                TEXT,
                default="",
                default_note="unset",
                meaning="Container.",
            ),
            Option(
                "AzureBlobStorage.CreateContainerIfNotExists",
                BOOLEAN,
                default=True,
                meaning="Create the container at the start.",
            ),
        ),
    ),
    _object_storage(
        "GoogleCloudStorage",
        "Object storage: Google Cloud",
        (
            Option(
                "GoogleCloudStorage.ServiceAccountFile",
                PATH,
                default="",
                default_note="unset",
                meaning="File of the service account.",
            ),
            Option(
                "GoogleCloudStorage.BucketName",
                TEXT,
                default="",
                default_note="unset",
                meaning="Bucket.",
            ),
        ),
    ),
)

BACKEND_GROUPS = (_POSTGRESQL, *_OBJECT_STORAGES, _OTHERS)
"""The groups of these options, in the order of the documentation."""

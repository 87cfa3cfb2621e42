"""The table against the lists of the manual and against itself."""

import re

import pytest

from isocenter.config.environment import normalize_variable
from isocenter.config.option import Effect, Option
from isocenter.config.options import GROUPS, OPTIONS, SECTIONS

# Typed from the behaviour manual §38.
CORE = """
Name StorageDirectory IndexDirectory TemporaryDirectory StorageCompression StoreDicom
StoreMD5ForAttachments SyncStorageArea MaximumStorageSize MaximumPatientCount MaximumStorageMode
OverwriteInstances ReadOnly PatientLevelEnabled CheckRevisions DatabaseServerIdentifier Locale
MallocArenaMax StableAge ExtraMainDicomTags StorageAccessOnFind LimitFindResults LimitFindInstances
CaseSensitivePN DefaultEncoding Dictionary ExternalDictionaries LoadPrivateDictionary
DefaultPrivateCreator UserMetadata UserContentType Warnings LogExportedResources ConcurrentJobs
JobsHistorySize SaveJobs JobsEngineThreadsCount MediaArchiveSize SynchronousZipStream ZipUseUtf8
MaximumFileSizeInArchiveMB QueryRetrieveSize StorageCommitmentReportsSize HttpServerEnabled
HttpPort HttpBindAddresses HttpThreadsCount HttpDescribeErrors HttpCompressionEnabled KeepAlive
KeepAliveTimeout TcpNoDelay HttpRequestTimeout MaximumRequestBodySizeMB RemoteAccessAllowed
AuthenticationEnabled RegisteredUsers SslEnabled SslCertificate SslMinimumProtocolVersion
SslCiphersAccepted SslVerifyPeers SslTrustedClientCertificates OrthancExplorerEnabled WebDavEnabled
WebDavDeleteAllowed WebDavUploadAllowed ExecuteLuaEnabled RestApiWriteToFileSystemEnabled
OrthancPeers OrthancPeersInDatabase HttpProxy HttpTimeout HttpVerbose HttpsVerifyPeers
HttpsCACertificates Pkcs11 DicomServerEnabled DicomAet DicomPort DicomThreadsCount
DicomCheckCalledAet DicomScpTimeout DicomAssociationCloseDelay MaximumPduLength StrictAetComparison
DicomAlwaysAllowEcho DicomAlwaysAllowStore DicomAlwaysAllowFind DicomAlwaysAllowFindWorklist
DicomAlwaysAllowGet DicomAlwaysAllowMove DicomCheckModalityHost AcceptedTransferSyntaxes
AcceptedSopClasses RejectedSopClasses UnknownSopClassAccepted DeflatedTransferSyntaxAccepted
JpegTransferSyntaxAccepted JpegLosslessTransferSyntaxAccepted Jpeg2000TransferSyntaxAccepted
JpipTransferSyntaxAccepted Mpeg2TransferSyntaxAccepted Mpeg4TransferSyntaxAccepted
H265TransferSyntaxAccepted RleTransferSyntaxAccepted SynchronousCMove DicomTlsEnabled
DicomTlsPrivateKey DicomTlsCertificate DicomTlsTrustedCertificates
DicomTlsRemoteCertificateRequired DicomTlsMinimumProtocolVersion DicomTlsCiphersAccepted
DicomModalities DicomModalitiesInDatabase DicomEchoChecksFind DicomDefaultRetrieveMethod
DicomScuTimeout DicomScuPreferredTransferSyntax TranscodeDicomProtocol IngestTranscoding
IngestTranscodingOfUncompressed IngestTranscodingOfCompressed DicomLossyTranscodingQuality
BuiltinDecoderTranscoderOrder MaximumConcurrentDcmtkTranscoders MaximumStorageCacheSize
StorageLoaderThreadsCount StorageMemoryCapacity DicomParserThreadsCount DicomParserMemoryCapacity
DicomParserCacheSize TranscoderThreadsCount TranscoderMemoryCapacity TranscoderCacheSize
SequentialDicomReaderThreadsCount SequentialDicomReaderWindowSize
SequentialDicomReaderWindowCapacity LoaderThreads ZipLoaderThreads LuaScripts LuaHeartBeatPeriod
Plugins MetricsEnabled DeidentifyLogs DeidentifyLogsDicomVersion
"""

# Typed from the behaviour manual §39; object storage stands for three plugins.
PLUGINS = {
    "DicomWeb": "Enable Root PublicRoot EnableWado WadoRoot Host Ssl QidoCaseSensitive "
    "StudiesMetadata SeriesMetadata EnableMetadataCache MetadataWorkerThreadsCount "
    "WadoRsLoaderThreadsCount OtherBinaryMode EnablePerformanceLogs Servers ServersInDatabase",
    "Transfers": "Threads BucketSize CacheSize MaxPushTransactions MaxHttpRetries "
    "PeerConnectivityTimeout PeerCommitTimeout CommitThreadsCount",
    "Worklists": "Enable Directory SaveInOrthancDatabase FilterIssuerAet LimitAnswers "
    "SetStudyInstanceUidIfMissing DeleteWorklistsOnStableStudy DeleteWorklistsDelay "
    "HousekeepingInterval LogMatchedWorklistIds",
    "Housekeeper": "Enable Force ForceReconstructFiles ThrottleDelay "
    "LimitMainDicomTagsReconstructLevel Triggers Schedule GlobalPropertyId",
    "DelayedDeletion": "Enable Path ThrottleDelayMs",
    "MultitenantDicom": "Servers",
    "AdvancedStorage": "Enable NamingScheme Indexer MultipleStorages",
    "PostgreSQL": "EnableIndex EnableStorage Host Port Database Username Password ConnectionUri "
    "EnableSsl Lock IndexConnectionsCount TransactionMode MaximumConnectionRetries "
    "ConnectionRetryInterval HousekeepingInterval UseDynamicConnectionPool "
    "AllowInconsistentChildCounts Schema ApplicationName EnableVerboseLogs",
    **dict.fromkeys(
        ("AwsS3Storage", "AzureBlobStorage", "GoogleCloudStorage"),
        "RootPath StorageStructure HybridMode MigrationFromFileSystemEnabled StorageEncryption",
    ),
    "Authorization": "WebServiceRootUrl WebServiceUserProfileUrl WebServiceTokenValidationUrl "
    "WebServiceTokenCreationBaseUrl WebServiceTokenDecoderUrl WebServiceSettingsRolesUrl "
    "WebServiceUsername WebServicePassword WebServiceIdentifier TokenHttpHeaders TokenGetArguments "
    "StandardConfigurations UncheckedResources UncheckedFolders UncheckedLevels CheckedLevel "
    "Permissions ExtraPermissions EnableAuditLogs",
    "OrthancExplorer2": "Enable Root IsDefaultOrthancUI UiOptions Keycloak Tokens Shares Emails",
}


def test_options_core_are_exactly_those_of_the_manual() -> None:
    assert {name for name in OPTIONS if "." not in name} == set(CORE.split())


@pytest.mark.parametrize("section", PLUGINS)
def test_options_section_has_those_of_the_manual(section: str) -> None:
    assert {f"{section}.{key}" for key in PLUGINS[section].split()} <= OPTIONS.keys()


def test_sections_are_those_of_the_manual_and_our_own() -> None:
    assert {*PLUGINS, "Isocenter"} == SECTIONS


def test_options_have_one_row_each() -> None:
    assert len(OPTIONS) == sum(len(group.options) for group in GROUPS)


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_option_default_is_of_its_kind(option: Option) -> None:
    if option.default is not None:
        option.kind.check(option.default)
    else:
        assert option.fallback or option.default_note


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS.values() if option.fallback], ids=lambda o: o.name
)
def test_option_fallback_is_of_its_kind(option: Option) -> None:
    assert OPTIONS[option.fallback].kind == option.kind


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_option_meaning_is_made_of_sentences(option: Option) -> None:
    assert re.fullmatch(r"(?s)[`A-Z].*\.", option.meaning)
    assert "\n" not in option.meaning


def test_options_variables_differ_without_their_underscores() -> None:
    names = [*(option.name for option in OPTIONS.values()), *SECTIONS]
    variables = {normalize_variable(name.upper()) for name in names}

    assert len(variables) == len(names)


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_option_variable_leads_back_to_the_option(option: Option) -> None:
    assert normalize_variable(option.environment_name) == option.name.upper()


@pytest.mark.parametrize(
    ("effect", "is_effective"),
    [(Effect.FULL, True), (Effect.NONE, True), (Effect.LATER, False)],
)
def test_option_is_effective_unless_it_works_later(effect: Effect, is_effective: bool) -> None:
    option = Option("X", OPTIONS["Name"].kind, meaning="X.", effect=effect)

    assert option.is_effective is is_effective

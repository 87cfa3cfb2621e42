"""The options of the DICOM protocol, in and out.

References
----------
Orthanc REST: behaviour manual §38, §23, §25
"""

from isocenter.config.option import Effect, Group, Option
from isocenter.config.remote_modalities import RETRIEVE_METHODS
from isocenter.config.shapes import (
    AE_TITLE,
    BOOLEAN,
    COUNT,
    PATH,
    PORT,
    REMOTE_MODALITIES,
    TEXTS,
    UID,
    UID_OR_NONE,
    UID_PATTERNS,
)
from isocenter.config.values import ChoiceKind, IntegerKind

__all__ = ["DICOM_GROUPS"]

_FULL = Effect.FULL
_NONE = Effect.NONE

_DICOM_SERVER = Group(
    "DICOM server",
    (
        Option(
            "DicomServerEnabled",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Run the DICOM server.",
        ),
        Option(
            "DicomAet",
            AE_TITLE,
            default="ISOCENTER",
            effect=_FULL,
            meaning="AE title of this server.",
            differs="Orthanc's is `ORTHANC`.",
        ),
        Option(
            "DicomPort",
            PORT,
            default=4242,
            effect=_FULL,
            meaning="TCP port of the DICOM server; 0 lets the system choose one.",
        ),
        Option(
            "DicomThreadsCount",
            IntegerKind(1),
            default=100,
            effect=_FULL,
            meaning="Associations served at once; further ones are rejected for the moment.",
            differs="Orthanc's is 4, each with a thread; associations need none here.",
        ),
        Option(
            "DicomCheckCalledAet",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Reject associations that call another AE title than ours.",
        ),
        Option(
            "DicomScpTimeout",
            COUNT,
            default=30,
            unit="s",
            effect=_FULL,
            meaning=(
                "An association whose peer stays silent for this long is aborted; 0 means no limit."
            ),
        ),
        Option(
            "DicomAssociationCloseDelay",
            COUNT,
            default=0,
            unit="s",
            effect=_FULL,
            meaning="An association that has stored or tested stays open for this long, to be used "
            "again for the same modality; 0 to close it at once.",
            differs="Orthanc 1.10 closes it at once, whatever the option says. An idle association "
            "keeps others from receivers that serve one caller at a time.",
        ),
        Option(
            "MaximumPduLength",
            IntegerKind(4096, 131072),
            default=16384,
            unit="bytes",
            effect=_FULL,
            meaning="Largest PDU that peers may send to us.",
        ),
        Option(
            "StrictAetComparison",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Whether case matters when AE titles are compared.",
        ),
        Option(
            "DicomAlwaysAllowEcho",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Answer C-ECHO to anyone, also to modalities that are not configured.",
        ),
        Option(
            "DicomAlwaysAllowStore",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Accept C-STORE from anyone.",
        ),
        Option(
            "DicomAlwaysAllowFind",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning=(
                "Answer C-FIND to anyone. Shows personal data to every host that reaches the port."
            ),
        ),
        Option(
            "DicomAlwaysAllowFindWorklist",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Answer worklist queries to anyone.",
        ),
        Option(
            "DicomAlwaysAllowGet",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Serve C-GET to anyone.",
        ),
        Option(
            "DicomAlwaysAllowMove",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Serve C-MOVE to anyone.",
        ),
        Option(
            "DicomCheckModalityHost",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Compare the address of a calling modality with the configured one, not only "
            "its AE title.",
        ),
        Option(
            "AcceptedTransferSyntaxes",
            UID_PATTERNS,
            default=["1.2.840.10008.1.*"],
            effect=_FULL,
            meaning="Transfer syntaxes accepted by C-STORE; `*` and `?` stand for any characters.",
        ),
        Option(
            "AcceptedSopClasses",
            UID_PATTERNS,
            default=[],
            default_note="all known",
            effect=_FULL,
            meaning="Storage SOP classes accepted; `*` and `?` stand for any characters.",
        ),
        Option(
            "RejectedSopClasses",
            UID_PATTERNS,
            default=[],
            effect=_FULL,
            meaning="Storage SOP classes refused although they are accepted above.",
        ),
        Option(
            "UnknownSopClassAccepted",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Accept storage of SOP classes that this server does not know.",
        ),
        *(
            Option(
                f"{switch}TransferSyntaxAccepted",
                BOOLEAN,
                default_note="unset",
                effect=_FULL,
                meaning=f"Former switch of {family}; if set, it is applied after "
                "`AcceptedTransferSyntaxes`.",
            )
            for switch, family in (
                ("Deflated", "Deflated Explicit VR Little Endian"),
                ("Jpeg", "JPEG baseline and extended"),
                ("JpegLossless", "JPEG lossless and JPEG-LS"),
                ("Jpeg2000", "JPEG 2000"),
                ("Jpip", "JPIP"),
                ("Mpeg2", "MPEG-2"),
                ("Mpeg4", "MPEG-4 AVC/H.264"),
                ("H265", "HEVC/H.265"),
                ("Rle", "RLE lossless"),
            )
        ),
        Option(
            "SynchronousCMove",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Answer C-MOVE when the transfers are over; if false, at once.",
        ),
        Option(
            "DicomTlsEnabled",
            BOOLEAN,
            default=False,
            meaning="Serve DICOM over TLS instead of in the clear.",
            effect=_FULL,
        ),
        Option(
            "DicomTlsPrivateKey",
            PATH,
            default="",
            default_note="unset",
            meaning="PEM file of the private key for DICOM over TLS.",
            effect=_FULL,
        ),
        Option(
            "DicomTlsCertificate",
            PATH,
            default="",
            default_note="unset",
            meaning="PEM file of the certificate for DICOM over TLS.",
            effect=_FULL,
        ),
        Option(
            "DicomTlsTrustedCertificates",
            PATH,
            default="",
            default_note="unset",
            meaning="PEM file of the certificates that are trusted in DICOM over TLS.",
            effect=_FULL,
        ),
        Option(
            "DicomTlsRemoteCertificateRequired",
            BOOLEAN,
            default=True,
            meaning="Demand a certificate from callers over TLS.",
            effect=_FULL,
        ),
        Option(
            "DicomTlsMinimumProtocolVersion",
            IntegerKind(0, 5),
            default=0,
            meaning="Lowest version of TLS, numbered as in `SslMinimumProtocolVersion`; 0 means "
            "the TLS library's choice.",
            effect=_FULL,
        ),
        Option(
            "DicomTlsCiphersAccepted",
            TEXTS,
            default=[],
            default_note="the TLS library's",
            meaning="Cipher suites offered for DICOM over TLS.",
            effect=_FULL,
        ),
    ),
)

_DICOM_CLIENT = Group(
    "Remote modalities and DICOM client",
    (
        Option(
            "DicomModalities",
            REMOTE_MODALITIES,
            default={},
            effect=_FULL,
            meaning='Remote modalities: `{"ct1": ["CT1", "10.0.0.5", 104]}` with the '
            "manufacturer as an optional fourth item, or objects with `AET`, `Host`, "
            "`Port`, `Manufacturer`, `AllowEcho`, `AllowFind`, `AllowFindWorklist`, "
            "`AllowGet`, `AllowMove`, `AllowStore`, `AllowStorageCommitment`, "
            "`AllowTranscoding`, `UseDicomTls`, `LocalAet`, `Timeout`, `RetrieveMethod`.",
        ),
        Option(
            "DicomModalitiesInDatabase",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Keep the modalities in the database, where clients may change them for "
            "good, instead of in this file.",
        ),
        Option(
            "DicomEchoChecksFind",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Testing a modality also tries a C-FIND.",
        ),
        Option(
            "DicomDefaultRetrieveMethod",
            ChoiceKind(RETRIEVE_METHODS),
            default="C-MOVE",
            effect=_FULL,
            meaning="How this server fetches from modalities that set no `RetrieveMethod`.",
        ),
        Option(
            "DicomScuTimeout",
            COUNT,
            default=10,
            unit="s",
            effect=_FULL,
            meaning="Longest silence of a called modality; 0 means no limit.",
        ),
        Option(
            "DicomScuPreferredTransferSyntax",
            UID,
            default="1.2.840.10008.1.2.1",
            effect=_FULL,
            meaning="Transfer syntax proposed first when sending.",
        ),
    ),
)

_TRANSCODING = Group(
    "Transcoding",
    (
        Option(
            "TranscodeDicomProtocol",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Convert an instance when the modality refuses its transfer syntax.",
        ),
        Option(
            "IngestTranscoding",
            UID_OR_NONE,
            default="",
            default_note="unset",
            effect=_FULL,
            meaning="Transfer syntax that every received instance is converted to.",
        ),
        Option(
            "IngestTranscodingOfUncompressed",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Convert received instances that are not compressed.",
        ),
        Option(
            "IngestTranscodingOfCompressed",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Convert received instances that are compressed.",
        ),
        Option(
            "DicomLossyTranscodingQuality",
            IntegerKind(1, 100),
            default=90,
            effect=_FULL,
            meaning="JPEG quality of lossy conversions; other codecs with losses follow it.",
        ),
        Option(
            "BuiltinDecoderTranscoderOrder",
            ChoiceKind(("Before", "After", "Disabled")),
            default="After",
            effect=_FULL,
            meaning="Whether the built-in codecs are tried before or after those of plugins, or "
            "not at all.",
        ),
        Option(
            "MaximumConcurrentDcmtkTranscoders",
            COUNT,
            default=0,
            effect=_FULL,
            meaning="Limit of conversions at once, if lower than `TranscoderThreadsCount`; 0 means "
            "none.",
        ),
    ),
)

DICOM_GROUPS = (
    _DICOM_SERVER,
    _DICOM_CLIENT,
    _TRANSCODING,
)
"""The groups of these options, in the order of the documentation."""

"""The options of the HTTP server and of outgoing HTTP calls.

References
----------
Orthanc REST: behaviour manual §38, §2.4, §2.5
"""

from isocenter.config.option import Effect, Group, Option
from isocenter.config.shapes import BOOLEAN, COUNT, PATH, PEERS, PORT, TEXT, TEXTS, USERS
from isocenter.config.values import IntegerKind, ObjectKind

__all__ = ["HTTP_GROUPS"]

_FULL = Effect.FULL
_NONE = Effect.NONE

_HTTP_SERVER = Group(
    "HTTP server",
    (
        Option(
            "HttpServerEnabled", BOOLEAN, default=True, effect=_FULL, meaning="Run the HTTP server."
        ),
        Option(
            "HttpPort",
            PORT,
            default=8042,
            effect=_FULL,
            meaning="TCP port of the HTTP server; 0 lets the system choose one.",
        ),
        Option(
            "HttpBindAddresses",
            TEXTS,
            default=[],
            default_note="all",
            effect=_FULL,
            meaning="Local addresses that the HTTP server listens on.",
        ),
        Option(
            "HttpThreadsCount",
            IntegerKind(1),
            default=50,
            effect=_NONE,
            meaning="Threads of Orthanc's HTTP server; connections need no threads here.",
        ),
        Option(
            "HttpDescribeErrors",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Describe errors in a JSON body; if false, error answers are empty.",
        ),
        Option(
            "HttpCompressionEnabled",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Compress texts (JSON, HTML, …) for clients that accept it. Worth it on slow "
            "lines only: small answers take longer then.",
        ),
        Option(
            "KeepAlive",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Keep connections open for further requests.",
        ),
        Option(
            "KeepAliveTimeout",
            IntegerKind(1),
            default=75,
            unit="s",
            effect=_FULL,
            meaning="An idle connection is closed after this time. Keep it above the idle time "
            "of a reverse proxy in front.",
            differs="Orthanc closes after 1 s; clients that use the connection again at that "
            "moment see it reset.",
        ),
        Option(
            "TcpNoDelay",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Send small packets at once (no Nagle's algorithm).",
        ),
        Option(
            "HttpRequestTimeout",
            IntegerKind(1),
            default=30,
            unit="s",
            effect=_FULL,
            meaning="A client that stays silent for this long within a request is disconnected.",
        ),
        Option(
            "MaximumRequestBodySizeMB",
            COUNT,
            default=8192,
            unit="MB",
            effect=_FULL,
            meaning="Largest body of a request, and largest instance that comes by DICOM; larger "
            "ones are refused with status 413 or A700H. 0 for no limit.",
        ),
        Option(
            "RemoteAccessAllowed",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Serve other hosts than this one. Needs users, unless authentication is "
            "switched off.",
        ),
        Option(
            "AuthenticationEnabled",
            BOOLEAN,
            fallback="RemoteAccessAllowed",
            effect=_FULL,
            meaning="Demand a user name and a password for every request.",
        ),
        Option(
            "RegisteredUsers",
            USERS,
            default={},
            default_note="unset",
            effect=_FULL,
            meaning='Users and their passwords: `{"alice": "secret"}`. An empty object lets '
            "nobody in. Use `${VARIABLE}` to keep passwords out of the file.",
        ),
        Option(
            "SslEnabled",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Serve HTTPS instead of HTTP.",
        ),
        Option(
            "SslCertificate",
            PATH,
            default="certificate.pem",
            effect=_FULL,
            meaning="PEM file with the private key, the certificate and its chain.",
        ),
        Option(
            "SslMinimumProtocolVersion",
            IntegerKind(0, 5),
            default=4,
            effect=_FULL,
            meaning="Lowest version of TLS: 2 means 1.0, 3 means 1.1, 4 means 1.2, 5 means 1.3. "
            "0 and 1 named SSL, which is no longer offered.",
        ),
        Option(
            "SslCiphersAccepted",
            TEXTS,
            default=[],
            default_note="the TLS library's",
            effect=_FULL,
            meaning="OpenSSL names of the cipher suites offered up to TLS 1.2.",
        ),
        Option(
            "SslVerifyPeers",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Demand a certificate from HTTPS clients.",
        ),
        Option(
            "SslTrustedClientCertificates",
            PATH,
            default="trustedClientCertificates.pem",
            effect=_FULL,
            meaning="PEM file of the authorities whose client certificates are accepted.",
        ),
        Option(
            "OrthancExplorerEnabled",
            BOOLEAN,
            default=True,
            meaning="Serve the built-in user interface.",
        ),
        Option(
            "WebDavEnabled",
            BOOLEAN,
            default=True,
            meaning="Serve the archive as folders by WebDAV.",
        ),
        Option("WebDavDeleteAllowed", BOOLEAN, default=False, meaning="Allow deletion by WebDAV."),
        Option("WebDavUploadAllowed", BOOLEAN, default=True, meaning="Allow uploads by WebDAV."),
        Option(
            "ExecuteLuaEnabled",
            BOOLEAN,
            default=False,
            meaning="Let clients run Lua code in the server. Whoever may do so owns the server.",
        ),
        Option(
            "RestApiWriteToFileSystemEnabled",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Let clients write files to folders of the server's host.",
        ),
    ),
)

_HTTP_CLIENT = Group(
    "HTTP client",
    (
        Option(
            "OrthancPeers",
            PEERS,
            default={},
            effect=_FULL,
            meaning='Remote servers with this REST API: `{"backup": ["http://host:8042/", '
            '"user", "password"]}`, or objects with `Url`, `Username`, `Password`, '
            "`HttpHeaders`, `CertificateFile`, `CertificateKeyFile`, "
            "`CertificateKeyPassword`, `Pkcs11` (not yet), `Timeout`.",
        ),
        Option(
            "OrthancPeersInDatabase",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Keep the peers in the database, where clients may change them for good, "
            "instead of in this file.",
        ),
        Option(
            "HttpProxy",
            TEXT,
            default="",
            effect=_FULL,
            meaning="Proxy of outgoing calls: `[user:password@]host:port`.",
        ),
        Option(
            "HttpTimeout",
            COUNT,
            default=60,
            unit="s",
            effect=_FULL,
            meaning="Longest silence in an outgoing call, and its longest duration beside the time "
            "that its body takes at 64 kB/s; 0 means no limit.",
            differs="Orthanc cuts off a large file on a slow line.",
        ),
        Option(
            "HttpVerbose",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Log each outgoing call: address, duration. Never credentials.",
        ),
        Option(
            "HttpsVerifyPeers",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Check the certificates of remote servers. Without it anyone on the way can "
            "read along.",
        ),
        Option(
            "HttpsCACertificates",
            PATH,
            default="",
            effect=_FULL,
            meaning=(
                "PEM file of the authorities trusted in outgoing calls; empty means the system's."
            ),
        ),
        Option(
            "Pkcs11",
            ObjectKind(),
            default={},
            default_note="unset",
            meaning="Smart card for client certificates: `Module`, `Pin`, `Verbose`.",
        ),
    ),
)

HTTP_GROUPS = (
    _HTTP_SERVER,
    _HTTP_CLIENT,
)
"""The groups of these options, in the order of the documentation."""

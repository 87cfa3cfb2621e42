"""The DICOM conformance statement, written from the tables that the services themselves use.

References
----------
PS3.2 (conformance); Orthanc REST: GET /tools/dicom-conformance
"""

from collections.abc import Iterable
from dataclasses import dataclass

from isocenter.archive.acceptance import Acceptance
from isocenter.config.configuration import Configuration
from isocenter.dicom.character_sets import DEFINED_TERMS
from isocenter.dicom.sop_classes import lookup_sop_class_name
from isocenter.dicom.transfer_syntaxes import lookup_transfer_syntax
from isocenter.dimse.negotiation import MAXIMUM_CONTEXTS
from isocenter.dimse.pdu import APPLICATION_CONTEXT_NAME
from isocenter.dimse.status import Status
from isocenter.dimse.user_information import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
)
from isocenter.scp.supported import (
    PLAIN_SYNTAXES,
    SERVICE_CLASSES,
    VERIFICATION,
    ServiceKind,
)
from isocenter.version import __version__

__all__ = [
    "COMMITMENT_STATUSES",
    "FIND_STATUSES",
    "RETRIEVE_STATUSES",
    "STORE_STATUSES",
    "ConformanceStatement",
]

_UNKNOWN = "(not in the standard)"
FIND_STATUSES = (
    (Status.PENDING, "One answer"),
    (Status.SUCCESS, "All answers were sent"),
    (Status.CANCEL, "The question was cancelled"),
    (Status.OUT_OF_RESOURCES, "The index cannot be read now, or the search takes too long"),
    (Status.CANNOT_UNDERSTAND, "The identifier is malformed, or asks for something impossible"),
)
"""Of C-FIND (PS3.4 Table C.4-1)."""

RETRIEVE_STATUSES = (
    (Status.PENDING, "Sub-operations go on; their counts"),
    (Status.SUCCESS, "All instances were sent"),
    (Status.COERCION_OF_DATA_ELEMENTS, "Some sub-operations failed, or ended with a warning"),
    (Status.CANCEL, "The request was cancelled"),
    (Status.OUT_OF_RESOURCES, "The index cannot be read now"),
    (Status.CANNOT_PERFORM_SUBOPERATIONS, "No instance could be sent"),
    (Status.MOVE_DESTINATION_UNKNOWN, "C-MOVE only: no known modality has the title"),
    (Status.CANNOT_UNDERSTAND, "The identifier is malformed, or matches nothing"),
)
"""Of C-MOVE and C-GET (PS3.4 Tables C.4-2 and C.4-3)."""

COMMITMENT_STATUSES = (
    (Status.SUCCESS, "The request is on disk and will be answered by an event report"),
    (Status.PROCESSING_FAILURE, "It cannot be kept now"),
    (Status.NO_SUCH_SOP_INSTANCE, "Not the well-known SOP instance"),
    (Status.INVALID_ARGUMENT_VALUE, "The data set is malformed"),
    (Status.NO_SUCH_ACTION_TYPE, "Not the action 1"),
)
"""Of N-ACTION (PS3.4 §J.3.2.1.4)."""

STORE_STATUSES = (
    (Status.SUCCESS, "The instance is stored, or was stored already"),
    (Status.OUT_OF_RESOURCES, "It cannot be stored now: disk full, database not available"),
    (Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, "The data set is not what the command announced"),
    (Status.CANNOT_UNDERSTAND, "The data set is no DICOM, or lacks an identifier"),
    (Status.UNRECOGNIZED_OPERATION, "The operation is not offered in this presentation context"),
)
"""Of C-STORE (PS3.4 Table B.2-1)."""


@dataclass(frozen=True, slots=True)
class ConformanceStatement:
    """Writes the statement of a server.

    Attributes
    ----------
    acceptance
        What is accepted for storage; may have changed at each call.
    """

    configuration: Configuration
    acceptance: Acceptance

    def format(self) -> str:
        """Write the statement as plain text."""
        return "\n".join(
            (
                *_format_title("DICOM Conformance Statement of Isocenter", "="),
                *self._format_implementation(),
                *self._format_associations(),
                *self._format_verification(),
                *self._format_storage(),
                *self._format_transfer_syntaxes(),
                *_format_find(),
                *_format_retrieval(),
                *self._format_worklist(),
                *_format_commitment(),
                *self._format_security(),
                *_format_character_sets(),
                *_format_users(),
                "",
            )
        )

    def _format_implementation(self) -> Iterable[str]:
        yield from _format_title("Implementation")
        yield from _format_table(
            (
                ("Product", f"Isocenter {__version__}"),
                ("Implementation Class UID", IMPLEMENTATION_CLASS_UID),
                ("Implementation Version Name", IMPLEMENTATION_VERSION_NAME),
                ("Application Context Name", APPLICATION_CONTEXT_NAME),
                ("AE Title", self.configuration.text("DicomAet")),
                ("TCP Port", str(self.configuration.integer("DicomPort"))),
            )
        )

    def _format_associations(self) -> Iterable[str]:
        options = self.configuration
        silence_s = options.integer("DicomScpTimeout")
        yield from _format_title("Associations as acceptor")
        yield from _format_table(
            (
                ("Simultaneous associations", str(options.integer("DicomThreadsCount"))),
                ("Maximum PDU length received", f"{options.integer('MaximumPduLength')} bytes"),
                ("Presentation contexts", f"up to {MAXIMUM_CONTEXTS}"),
                ("Silence before an abort", f"{silence_s} s" if silence_s else "not limited"),
                ("Called AE title", "checked" if options.boolean("DicomCheckCalledAet") else "any"),
                ("Asynchronous operations", "not supported: one at a time"),
                (
                    "Role selection",
                    "SCP of storage during a C-GET and of storage commitment, else SCU",
                ),
                ("SOP class extended negotiation", "relational queries and retrieval"),
                ("User identity", "user names are confirmed and not checked"),
            )
        )

    def _format_verification(self) -> Iterable[str]:
        yield from _format_title("Verification service as SCP (C-ECHO)")
        yield from _format_table([("Verification SOP Class", VERIFICATION)])
        yield "Transfer syntaxes:"
        yield from _format_table(map(_name_transfer_syntax, PLAIN_SYNTAXES))

    def _format_storage(self) -> Iterable[str]:
        yield from _format_title("Storage service as SCP (C-STORE)")
        yield "Level 2 (full): every data element is kept, private ones included. Instances are"
        yield "kept byte by byte as they came; nothing is coerced. A success means that file and"
        yield "index are on disk."
        yield ""
        classes = [
            (lookup_sop_class_name(uid) or _UNKNOWN, uid) for uid in self.acceptance.storage_classes
        ]
        yield from _format_table(sorted(classes))
        if self.acceptance.has_unknown_classes:
            yield "Any other storage SOP class is accepted, too."
            yield ""
        yield "Statuses of the responses:"
        yield from _format_table(
            (f"{status.value:04X}H", meaning) for status, meaning in STORE_STATUSES
        )

    def _format_transfer_syntaxes(self) -> Iterable[str]:
        yield from _format_title("Transfer syntaxes of the storage service")
        yield "Of those that a presentation context proposes, the first one here is accepted:"
        yield ""
        yield from _format_table(map(_name_transfer_syntax, self.acceptance.transfer_syntaxes))

    def _format_worklist(self) -> Iterable[str]:
        yield from _format_title("Modality worklist service as SCP (C-FIND)")
        if not self.configuration.boolean("Worklists.Enable"):
            yield "Switched off (option Worklists.Enable)."
            yield ""
            return
        yield from _format_service(ServiceKind.WORKLIST)
        yield "All attributes of an entry are matching and return keys, those of sequences, too."
        yield ""
        yield from _format_statuses(FIND_STATUSES)

    def _format_security(self) -> Iterable[str]:
        yield from _format_title("Security")
        if not self.configuration.boolean("DicomTlsEnabled"):
            yield "Connections are not encrypted; TLS 1.2 and 1.3 can be switched on."
        elif self.configuration.boolean("DicomTlsRemoteCertificateRequired"):
            yield "TLS 1.2 and 1.3 (PS3.15 Annex B); peers need a certificate."
        else:
            yield "TLS 1.2 and 1.3 (PS3.15 Annex B)."
        yield ""


def _format_find() -> Iterable[str]:
    yield from _format_title("Query service as SCP (C-FIND)")
    yield from _format_service(ServiceKind.FIND)
    yield "Levels PATIENT, STUDY, SERIES and IMAGE in both models; relational queries always. All"
    yield "attributes of instances are matching keys: single value, list of UIDs, universal,"
    yield "wildcard, range and sequence matching. Return keys that an instance lacks are empty."
    yield "Answers are in the character set of the question, or in UTF-8 if it lacks a letter."
    yield ""
    yield from _format_statuses(FIND_STATUSES)


def _format_retrieval() -> Iterable[str]:
    yield from _format_title("Retrieval services as SCP (C-MOVE, C-GET)")
    yield from _format_service(ServiceKind.MOVE)
    yield from _format_service(ServiceKind.GET)
    yield "C-MOVE sends to known modalities over associations of its own, each SOP class in the"
    yield "transfer syntax of the file. C-GET sends over the association of the request; files are"
    yield "converted without losses to a transfer syntax that the requestor takes."
    yield ""
    yield from _format_statuses(RETRIEVE_STATUSES)


def _format_commitment() -> Iterable[str]:
    yield from _format_title("Storage commitment service as SCP (N-ACTION, N-EVENT-REPORT)")
    yield from _format_service(ServiceKind.COMMITMENT)
    yield "An event report follows on another association to the configured address. Instances are"
    yield "committed to without a limit of time, unless limits of storage are configured."
    yield ""
    yield from _format_statuses(COMMITMENT_STATUSES)


def _format_users() -> Iterable[str]:
    yield from _format_title("Services as SCU")
    yield "Verification (C-ECHO), storage (C-STORE), query (C-FIND), retrieval (C-MOVE, C-GET),"
    yield "worklists (C-FIND) and storage commitment (N-ACTION), as the REST API asks for them;"
    yield "storage also for C-MOVE, and N-EVENT-REPORT as the SCP of storage commitment."
    yield ""


def _format_service(kind: ServiceKind) -> Iterable[str]:
    classes = [(name, uid) for uid, (of, name) in SERVICE_CLASSES.items() if of is kind]
    yield from _format_table(classes)
    yield "Transfer syntaxes:"
    yield from _format_table(map(_name_transfer_syntax, PLAIN_SYNTAXES))


def _format_statuses(statuses: Iterable[tuple[Status, str]]) -> Iterable[str]:
    yield "Statuses of the responses:"
    yield from _format_table((f"{status.value:04X}H", meaning) for status, meaning in statuses)


def _format_character_sets() -> Iterable[str]:
    yield from _format_title("Character sets")
    yield "Text is understood in these, alone and with code extensions where the standard has them:"
    yield ""
    yield from (f"  {term}" for term in DEFINED_TERMS)
    yield ""


def _format_title(text: str, line: str = "-") -> Iterable[str]:
    return (text, line * len(text), "")


def _name_transfer_syntax(uid: str) -> tuple[str, str]:
    syntax = lookup_transfer_syntax(uid)
    return (_UNKNOWN if syntax is None else syntax.name, uid)


def _format_table(rows: Iterable[tuple[str, str]]) -> Iterable[str]:
    rows = list(rows)
    width = max((len(first) for first, _ in rows), default=0)
    yield from (f"  {first:<{width}} | {second}" for first, second in rows)
    yield ""

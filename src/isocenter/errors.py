"""The one tree of errors, with Orthanc's numeric codes.

::

    ServerError              code (Orthanc's number), http_status, message, details, payload
    ├─ RequestError          BadRequest · BadParameter · ParameterType · BadFileFormat · BadJson
    │                        BadRange · MisplacedParent · NotSupported · UnknownTag
    │                        UnorderedSlices · UnwritableFile · Transcoding
    │                        (creation:) NotText · OverriddenTag · MisplacedPixels · NoContent
    │                        NoDataURI · UnknownParent · InstanceAsParent · ParentEncoding
    ├─ AccessError           Unauthorized · Forbidden · ReadOnly
    ├─ MissingError          UnknownResource · UnknownItem · MissingTag
    ├─ ConflictError         RevisionConflict · DuplicateResource · BadSequence · BadJobState
    │                        SourceChanged · AnnotationConflict · UnstorableInstance
    ├─ LimitError            FullStorage · BodyTooLarge · TooManyRequests · DeadlineExceeded
    │                        StillRunning · CodecTimeout
    ├─ RemoteError           AssociationRejected · AssociationAborted · NoPresentationContext
    │                        PeerRefusal
    ├─ BackendError          DatabaseUnavailable · DatabaseVersion · SerializationFailure
    │                        StorageUnavailable · MissingFile · CorruptedBlob · Verification
    ├─ ConfigurationError    a wrong option stops the start
    ├─ CanceledJobError      a job was ended by a client
    └─ InternalError         a broken invariant of ours; always a bug

(each leaf's class name ends in ``Error``). The tree knows no protocol: ``http.error_answers`` and
``scp`` translate it at the edges. ``http_status`` is only Orthanc's default for the code.

References
----------
Orthanc REST: error codes (behaviour manual §37)
"""

from typing import Any, ClassVar

__all__ = [
    "AccessError",
    "AnnotationConflictError",
    "AssociationAbortedError",
    "AssociationRejectedError",
    "BackendError",
    "BadFileFormatError",
    "BadJobStateError",
    "BadJsonError",
    "BadParameterError",
    "BadRangeError",
    "BadRequestError",
    "BadSequenceError",
    "BodyTooLargeError",
    "CanceledJobError",
    "CodecTimeoutError",
    "ConfigurationError",
    "ConflictError",
    "CorruptedBlobError",
    "DatabaseUnavailableError",
    "DatabaseVersionError",
    "DeadlineExceededError",
    "DuplicateResourceError",
    "ForbiddenError",
    "FullStorageError",
    "InstanceAsParentError",
    "InternalError",
    "LimitError",
    "MisplacedParentError",
    "MisplacedPixelsError",
    "MissingError",
    "MissingFileError",
    "MissingTagError",
    "NoContentError",
    "NoDataURIError",
    "NoPresentationContextError",
    "NotSupportedError",
    "NotTextError",
    "OverriddenTagError",
    "ParameterTypeError",
    "ParentEncodingError",
    "PeerRefusalError",
    "ReadOnlyError",
    "RemoteError",
    "RequestError",
    "RevisionConflictError",
    "SerializationFailureError",
    "ServerError",
    "SourceChangedError",
    "StillRunningError",
    "StorageUnavailableError",
    "TooManyRequestsError",
    "TranscodingError",
    "UnauthorizedError",
    "UnknownItemError",
    "UnknownParentError",
    "UnknownResourceError",
    "UnknownTagError",
    "UnorderedSlicesError",
    "UnstorableInstanceError",
    "UnwritableFileError",
    "VerificationError",
    "build_error",
    "get_message",
    "leaves",
]


class ServerError(Exception):
    """An error with a meaning for a client.

    Parameters
    ----------
    details
        What was wrong with this very call, for people. Never patient data.
    payload
        Machine-readable detail, ``{"Type": ..., "Content": ...}``, or ``None``.

    Attributes
    ----------
    is_logged
        Whether the log tells of it already.
    """

    code: ClassVar[int] = -1
    http_status: ClassVar[int] = 500
    message: ClassVar[str] = "Internal error"

    def __init__(self, details: str = "", *, payload: dict[str, Any] | None = None) -> None:
        super().__init__(details or self.message)
        self.details = details
        self.payload = payload
        self.is_logged = False


class RequestError(ServerError):
    """What the client asked is wrong."""

    code, http_status, message = 8, 400, "Bad request"


class BadRequestError(RequestError):
    """The request lacks something or contradicts itself."""


class BadParameterError(RequestError):
    """A value is outside its range."""

    code, message = 3, "Parameter out of range"


class ParameterTypeError(RequestError):
    """A value is of the wrong type."""

    code, message = 5, "Bad type for a parameter"


class BadFileFormatError(RequestError):
    """Bytes that are not the format they should be."""

    code, message = 15, "Bad file format"


class BadJsonError(RequestError):
    """A body that is not JSON."""

    code, message = 28, "Cannot parse a JSON document"


class BadRangeError(RequestError):
    """A byte range that the content does not have."""

    code, http_status, message = 41, 416, "Bad range request"


class UnknownTagError(RequestError):
    """A name of a data element that no dictionary knows (500 in Orthanc: quirk 43)."""

    code, message = 27, "Unknown DICOM tag"


class MisplacedParentError(RequestError):
    """A resource of the level cannot lie below the parent that was named (500 in Orthanc)."""

    code, message = 6, "A parent must be of a level above"


class UnorderedSlicesError(RequestError):
    """Nothing tells the order of the instances of a series (500 in Orthanc)."""

    code, message = 2040, "Unable to order the slices of the series"


class UnwritableFileError(RequestError):
    """A path that a client gave cannot be written to."""

    code, message = 14, "Cannot write to file"


class NotSupportedError(RequestError):
    """A part of Orthanc's interface that this version does not have."""

    code, http_status, message = 2, 501, "Not implemented yet"


class TranscodingError(RequestError):
    """The pixels of a file cannot be brought into the transfer syntax that was asked for."""

    code, http_status, message = 2, 500, "The pixel data cannot be transcoded"


class NotTextError(RequestError):
    """A value of the old form of a creation is no text."""

    code, message = 2019, "Only text can be given as the value of a tag"


class OverriddenTagError(RequestError):
    """A tag that comes from the parent, or an identifier, was given another value."""

    code, message = 2020, "A value that comes from the parent cannot be changed without 'Force'"


class MisplacedPixelsError(RequestError):
    """Pixels were given as a tag."""

    code, message = 2021, "Pixels must be given as 'Content'"


class NoContentError(RequestError):
    """An item of a series that is to be created has no content."""

    code, message = 2022, "There is no content for an instance"


class NoDataURIError(RequestError):
    """The content of an instance that is to be created is no data URI."""

    code, message = 2023, "The content must be a data URI"


class UnknownParentError(RequestError):
    """The parent of an instance that is to be created does not exist."""

    code, message = 2024, "There is no such parent"


class InstanceAsParentError(RequestError):
    """An instance was named as the parent of a new one."""

    code, message = 2025, "The parent must be a patient, a study or a series"


class ParentEncodingError(RequestError):
    """The text of the parent is in a character set that is not known (500 in Orthanc)."""

    code, message = 2026, "The character set of the parent is not known"


class AccessError(ServerError):
    """The client may not do this."""

    code, http_status, message = 45, 403, "Access is forbidden"


class UnauthorizedError(AccessError):
    """Credentials are missing or wrong."""

    code, http_status, message = 29, 401, "Credentials are needed"


class ForbiddenError(AccessError):
    """The client is known and may not do this."""


class ReadOnlyError(AccessError):
    """The server does not accept changes."""

    code, http_status, message = 22, 403, "The server is read-only"


class MissingError(ServerError):
    """Something that was named does not exist."""

    code, http_status, message = 7, 404, "Inexistent item"


class UnknownResourceError(MissingError):
    """No resource has that identifier."""

    code, message = 17, "Unknown resource"


class UnknownItemError(MissingError):
    """A named item (metadata, attachment, counter) does not exist."""


class MissingTagError(MissingError):
    """A data set lacks a data element it must have."""

    code, message = 21, "Inexistent tag"


class ConflictError(ServerError):
    """The request does not fit the present state."""

    code, http_status, message = 46, 409, "Conflict with the present state"


class RevisionConflictError(ConflictError):
    """The given revision is not the present one."""

    code, message = 43, "Bad revision number"


class DuplicateResourceError(ConflictError):
    """The resource exists already."""

    message = "The resource exists already"


class BadSequenceError(ConflictError):
    """The call is not possible in this state."""

    code, http_status, message = 6, 500, "Bad sequence of calls"


class BadJobStateError(ConflictError):
    """A job cannot do that in its state."""

    code, http_status, message = 6, 400, "Not possible in this state of the job"


class SourceChangedError(ConflictError):
    """What a job works on was deleted or replaced by somebody else."""

    message = "A source has changed in the meantime"


class AnnotationConflictError(ConflictError):
    """What users have added to two resources that become one contradicts itself."""

    message = "Annotations of users contradict each other"


class UnstorableInstanceError(ConflictError):
    """An instance that a job has made cannot be stored, because its place is taken."""

    code, message = 2018, "Cannot store an instance"


class LimitError(ServerError):
    """A limit of the server is reached."""

    code, http_status, message = 4, 500, "A limit of the server is reached"


class FullStorageError(LimitError):
    """No room is left for new instances.

    Parameters
    ----------
    public_ids
        Of the patient, study, series and instance that was refused, if they are known.
    """

    code, http_status, message = 19, 507, "The storage is full"

    def __init__(
        self,
        details: str = "",
        *,
        payload: dict[str, Any] | None = None,
        public_ids: tuple[str, str, str, str] | None = None,
    ) -> None:
        super().__init__(details, payload=payload)
        self.public_ids = public_ids


class BodyTooLargeError(LimitError):
    """A request or one of its parts is larger than allowed."""

    code, http_status, message = 8, 413, "The request is too large"


class TooManyRequestsError(LimitError):
    """The server is busy."""

    http_status, message = 503, "The server is too busy"


class DeadlineExceededError(LimitError):
    """A peer or an operation took too long."""

    code, http_status, message = 16, 500, "Timeout"


class StillRunningError(DeadlineExceededError):
    """A job did not end while the client waited; it goes on."""

    http_status, message = 504, "The job still runs"


class CodecTimeoutError(DeadlineExceededError):
    """The codecs of this server were busy for too long; another time they may not be."""

    message = "The codecs are busy"


class RemoteError(ServerError):
    """A remote system did not do what was asked."""

    code, http_status, message = 9, 500, "Error in the network protocol"


class AssociationRejectedError(RemoteError):
    """The remote modality rejected the association (PS3.8 §9.3.4).

    Parameters
    ----------
    is_permanent
        It said that it will do so again.
    """

    message = "The remote modality rejected the association"

    def __init__(
        self,
        details: str = "",
        *,
        payload: dict[str, Any] | None = None,
        is_permanent: bool = False,
    ) -> None:
        super().__init__(details, payload=payload)
        self.is_permanent = is_permanent


class AssociationAbortedError(RemoteError):
    """The association was aborted or the connection broke."""

    message = "The association was aborted"


class NoPresentationContextError(RemoteError):
    """The remote modality accepted no suitable presentation context."""

    code, message = 2015, "No suitable presentation context was accepted"


class PeerRefusalError(RemoteError):
    """A peer answered with a status that means failure (RFC 9110 §15).

    Parameters
    ----------
    status
        Of HTTP.
    is_permanent
        It will do so again.
    is_general
        It speaks of the caller or the address, not of what was sent.
    """

    message = "The peer did not do what was asked"

    def __init__(
        self,
        details: str = "",
        *,
        payload: dict[str, Any] | None = None,
        status: int = 500,
        is_permanent: bool = False,
        is_general: bool = False,
    ) -> None:
        super().__init__(details, payload=payload)
        self.status = status
        self.is_permanent = is_permanent
        self.is_general = is_general


class BackendError(ServerError):
    """The database or the storage failed."""

    code, http_status, message = 11, 500, "Error with the database"


class DatabaseUnavailableError(BackendError):
    """The database does not answer."""

    code, http_status, message = 36, 503, "The database is not available"


class DatabaseVersionError(BackendError):
    """The database was written by another version."""

    code, message = 18, "Incompatible version of the database"


class SerializationFailureError(BackendError):
    """Concurrent writers collided too often."""

    code, http_status, message = 42, 503, "The database could not serialize the transaction"


class StorageUnavailableError(BackendError):
    """The storage area refuses to read or write."""

    code, message = 14, "Cannot write to the storage area"


class MissingFileError(BackendError):
    """A stored file has vanished from the storage area."""

    code, http_status, message = 13, 404, "Inexistent file"


class CorruptedBlobError(BackendError):
    """Stored bytes are not what was written."""

    code, message = 20, "Corrupted file"


class VerificationError(BackendError):
    """A client asked whether stored bytes are what was written, and they are not."""

    code, http_status, message = 20, 404, "The stored bytes do not match their MD5 sum"


class ConfigurationError(ServerError):
    """An option is wrong; the server does not start."""

    code, message = 47, "Bad configuration"


class CanceledJobError(ServerError):
    """A job was canceled before its end."""

    code, message = 37, "The job was canceled"


class InternalError(ServerError):
    """A broken invariant of ours."""


def build_error(code: int, details: str = "", payload: dict[str, Any] | None = None) -> ServerError:
    """Build an error of the tree from its number, for one that was kept as a number.

    Parameters
    ----------
    code
        Orthanc's number; of several errors with the same one the most general is built, and of
        equally general ones the one that is no fault of the client's.
    """
    return _find_class(code)(details, payload=payload)


def get_message(code: int) -> str:
    """Give the sentence for the number of an error."""
    return _find_class(code).message


def _find_class(code: int) -> type[ServerError]:
    generation: list[type[ServerError]] = [ServerError]
    while generation:
        found = [kind for kind in generation if kind.code == code]
        if found:
            return max(found, key=lambda kind: kind.http_status)
        generation = [child for kind in generation for child in kind.__subclasses__()]
    return InternalError


def leaves(root: type[ServerError] = ServerError) -> list[type[ServerError]]:
    """List the classes of the tree that have no subclass, in the order of their definition."""
    children = root.__subclasses__()
    if not children:
        return [root]
    return [leaf for child in children for leaf in leaves(child)]

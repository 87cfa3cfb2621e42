"""Every difference from Orthanc 1.10.1 that stays, with its reason.

"Newer" means that Orthanc changed it between 1.10.1 and 1.13.0, whose API is ours; quirk numbers
are those of the behaviour manual, §41.
"""

from dataclasses import dataclass

from tests.interop.comparing import ABSENT, Accepted

__all__ = [
    "ADOPTION",
    "ANNOTATIONS",
    "BULK",
    "CHANGES",
    "DICOM_USER",
    "EXPORTS",
    "FIND",
    "FINDINGS",
    "NEWER_SYNTAXES",
    "NO_ANSWER",
    "OPTIONS",
    "PEERS",
    "READING",
    "RECYCLING",
    "RETRIEVALS",
    "STORE",
    "TAGS",
    "UPLOADS",
    "WORKLISTS",
]

NO_ANSWER = "no answer"
"""Stands for the status of a request that is never answered, or with an abort."""


@dataclass(frozen=True, slots=True)
class AcceptedStore:
    """Statuses of a C-STORE that differ, each with the number of instances stored then."""

    ours: tuple[int | str, int]
    theirs: tuple[int | str, int]
    reason: str


_ITEM = r"body(/\d+)?"
_TAGS = "GET /instances/[0-9a-f-]{44}/(tags|simplified-tags)"
_NEWER_TAGS = (
    "TimezoneOffsetFromUTC|PerformedProcedureStepStart(Date|Time)|RequestAttributesSequence"
    "|0008,0201|0040,024[45]|0040,0275"
)
_NEWER_SYSTEM = (
    "Capabilities|DatabaseServerIdentifier|DicomDefaultRetrieveMethod|HasLabels|IngestTranscoding"
    "|MainDicomTags|MaximumPatientCount|MaximumStorage(Mode|Size)|OverwriteInstances(Mode)?"
    "|PatientLevelEnabled|Performance|ReadOnly|StorageCompression|StoreMD5ForAttachments"
    "|ThirdParty(Patches|Versions)|UserMetadata"
    "|IsocenterVersion"
)
_ALLOW = Accepted(".*", "allow", "HEAD and OPTIONS are answered (quirk 29); sorted by name")
_FIRST = Accepted("GET /changes", "body/First", "newer: First is given", theirs=ABSENT)
_UNREADABLE = "a number of instances or an index that is unreadable is taken as absent"

READING = (
    _ALLOW,
    Accepted("GET", f"{_ITEM}/Labels", "newer: labels came with 1.12.0", theirs=ABSENT),
    Accepted("GET", f"{_ITEM}/IsProtected", "newer: 1.12.8", theirs=ABSENT),
    Accepted(
        "GET",
        f"{_ITEM}/MainDicomTags/({_NEWER_TAGS})",
        "newer: main tags since 1.12.5",
        theirs=ABSENT,
    ),
    Accepted(
        "GET",
        f"{_ITEM}/MainDicomTags/(StudyDescription|0008,1030)",
        "longer values are shown, not only up to 256 bytes (quirk 46)",
        theirs=ABSENT,
    ),
    Accepted(
        "GET",
        f"{_ITEM}/MainDicomTags/(ImageIndex|0054,1330)",
        "an empty number is shown as an empty text, as other empty values are",
        theirs=ABSENT,
    ),
    Accepted(
        "GET",
        f"{_ITEM}/(IndexInSeries|ExpectedNumberOfInstances)",
        "a number beyond 32 bits is no number; in Orthanc it turns into another one",
        ours=None,
    ),
    Accepted(
        "GET",
        f"{_ITEM}/ExpectedNumberOfInstances",
        "blanks before a number do not count (PS3.5 §6.2)",
        theirs=None,
    ),
    Accepted("GET", f"{_ITEM}/Status", _UNREADABLE, ours="Missing", theirs="Unknown"),
    Accepted("GET", f"{_ITEM}/Status", _UNREADABLE, ours="Complete", theirs="Unknown"),
    Accepted("GET", f"{_ITEM}/Status", _UNREADABLE, ours="Missing", theirs="Inconsistent"),
    Accepted("GET", f"{_ITEM}/Status", _UNREADABLE, ours="Unknown", theirs="Missing"),
    Accepted(".*/file", "content-disposition", "newer: named by the instance"),
    Accepted(
        _TAGS,
        ".*/([0-9a-f]{4},0000|(Generic|Private)GroupLength)",
        "group lengths are not listed (behaviour manual §5.1)",
        ours=ABSENT,
    ),
    Accepted(
        _TAGS,
        "body/(0028,0009|FrameIncrementPointer)(/Value)?",
        "all values of AT are shown",
        theirs="0054,0010",
        needs_samples=True,
    ),
    Accepted(
        _TAGS,
        "body/(0028,110[123](/Type|/Value)?|(Red|Green|Blue)PaletteColorLookupTableDescriptor)",
        "US or SS in implicit encoding is a number",
        needs_samples=True,
    ),
    Accepted(
        _TAGS,
        "body/5200,92(29|30)/.*/PrivateCreator",
        "private creators are named inside sequences, too",
        theirs=ABSENT,
        needs_samples=True,
    ),
    Accepted("GET .*ignore-length=Nobody", "status", "an unknown tag is 400 (quirk 43)", 400, 500),
    Accepted("GET .*[?]since=-1", "status", "a negative number is an error", 400, 200),
    Accepted("GET .*[?]expand=x", "status", "newer: a boolean that is none is an error", 400, 200),
    Accepted("GET .*/statistics", "status", "unknown resources have no size (quirk 53)", 404, 200),
    Accepted("GET .*/instances", "status", "a wrong level is an unknown resource", 404, 400),
    Accepted("GET //?system", f"body/({_NEWER_SYSTEM})", "newer, or our own", theirs=ABSENT),
    Accepted("GET //?system", "body/(ApiVersion|Version)", "newer"),
    Accepted("GET //?system", "body/PluginsEnabled", "there are no plugins", ours=False),
    Accepted("GET /$", "status", "newer: a temporary redirection", 307, 301),
    Accepted("GET /tools$", "body", "newer routes, and routes that are not there yet"),
    Accepted("POST /tools/lookup H[*]", "status", "a wildcard is a character", 200, 400),
    Accepted("POST /tools/lookup $", "body", "newer: nothing is found by an empty text", ours=[]),
    Accepted("POST /tools/lookup %", "body", "the text is not reduced to nothing (quirk 28)"),
    Accepted("POST /tools/lookup é", "body", "letters beyond ASCII count (quirk 28)"),
)
"""Of routes that only read."""

_NAMED = "[0-9a-f]{4},[0-9a-f]{4}|[A-Z][A-Za-z]+"
_FIRST_INSTANCE = "a module is read from the first instance; in Orthanc from the last one stored"

TAGS = (
    Accepted(
        "GET .*/((instances-|shared-|simplified-)?tags|header)",
        "body/(.*/)?([0-9a-f]{4},0000|(Generic|Private)GroupLength)",
        "group lengths are not listed (behaviour manual §5.1)",
        ours=ABSENT,
    ),
    Accepted(
        "GET .*tags",
        "body/(.*/)?(0028,0009|FrameIncrementPointer)(/Value)?",
        "all values of AT are shown",
        theirs="0054,0010",
        needs_samples=True,
    ),
    Accepted(
        "GET .*tags",
        "body/(.*/)?(0028,0106|SmallestImagePixelValue|0028,0109|LargestPixelValueInSeries"
        "|0028,110[123]|(Red|Green|Blue)PaletteColorLookupTableDescriptor)(/Type|/Value)?",
        "US or SS in implicit encoding is a number",
    ),
    Accepted(
        "GET .*tags",
        "body/(.*/)?5200,92(29|30)/.*/PrivateCreator",
        "private creators are named inside sequences, too",
        theirs=ABSENT,
        needs_samples=True,
    ),
    Accepted("GET /series/.*/module", "body/(0028,0109|LargestPixel.*)", "quirk 32", theirs=ABSENT),
    Accepted(
        "GET /patients/da39a3ee.*/module",
        f"body/({_NAMED})(/Value)?",
        _FIRST_INSTANCE,
        needs_samples=True,
    ),
    Accepted(
        "GET /patients/bba83f41.*/module",
        f"body/({_NAMED})(/Value)?",
        _FIRST_INSTANCE,
        needs_samples=True,
    ),
    Accepted(
        "GET /studies/ef351eb2.*/module",
        f"body/({_NAMED})(/Value)?",
        _FIRST_INSTANCE,
        needs_samples=True,
    ),
    Accepted(
        "GET .*/shared-tags.ignore-length=0008-1030",
        "body/0008,1030",
        "long texts that were asked for are shared as well",
        theirs=ABSENT,
    ),
    Accepted(
        "GET .*/content/(PatientID|00100020/|0010,0020)",
        "body",
        "the padding of text is left out (behaviour manual §6)",
        theirs=b" both ",
    ),
    Accepted(
        "GET .*/content/0008-0018|GET .*/content/0020-000[de]",
        "body",
        "blanks at the start of a value are part of its bytes",
    ),
    Accepted(
        "GET /instances/f5a85d80.*/content",
        "body",
        "the group length of 0008 is an element; Orthanc takes it for file meta information",
        needs_samples=True,
    ),
    Accepted("GET .*ignore-length=Nobody", "status", "an unknown tag is 400 (quirk 43)", 400, 500),
    Accepted("GET .*/content/[Np]", "status", "an unknown tag is 400 (quirk 43)", 400, 500),
    Accepted("GET .*short=x", "status", "newer: a boolean that is none is an error", 400, 200),
)
"""Of tags, modules, headers and contents."""

CHANGES = (
    _ALLOW,
    _FIRST,
    Accepted("GET /changes[?]limit=-1", "body.*", "an unreadable limit is the default"),
    Accepted("GET /patients[?]expand", f"{_ITEM}/(Labels|IsProtected)", "newer", theirs=ABSENT),
)
"""Of the log of changes, and of deletion."""

RECYCLING = (
    _ALLOW,
    _FIRST,
    Accepted("full", "status", "newer: a full storage is 507", 507, 500),
    Accepted("POST /tools/bulk-delete {}", "body/OrthancStatus", "newer: nothing is named", 8, 15),
    Accepted(
        "POST /tools/bulk-delete .*Level",
        "status",
        "newer: a resource may be named with its level",
        200,
        400,
    ),
)
"""Of protection, recycling and bulk deletion."""

EXPORTS = (
    Accepted(".*", "body/First", "newer: First is given, as in the log of changes", theirs=ABSENT),
    Accepted("GET /exports[?]limit=-1", "body.*", "an unreadable limit is the default"),
)
"""Of the log of exports."""

_RESOURCE = "/(patients|studies|series|instances)/[0-9a-f-]{44}"
_NO_REVISIONS = "the index of Orthanc 1.10 keeps no revisions: all it answers but PUT is revision 0"
_LIST_OF_TAGS = (
    "several entity tags are refused, as one that is malformed; Orthanc takes them for one"
)

ANNOTATIONS = (
    _ALLOW,
    _FIRST,
    Accepted(".*/ ?", "body/Uri", "the address is given without its trailing slash"),
    Accepted(f"(GET|PUT) {_RESOURCE}/metadata/", "etag", _NO_REVISIONS),
    Accepted(f"GET {_RESOURCE}/attachments/", "etag", _NO_REVISIONS),
    Accepted("GET /instances/.*/file", "etag", "files have entity tags", theirs=None),
    Accepted("GET /instances/.*/file", "content-disposition", "newer: named by the instance"),
    Accepted('DELETE .*3000 If-Match: "?0-9dd', "status", _NO_REVISIONS, 409, 200),
    Accepted("DELETE .*3000$", "status", f"{_NO_REVISIONS}, and so deleted it before", 200, 404),
    Accepted("PUT .*3000 If-Match: .*,", "status", _LIST_OF_TAGS, 400),
    Accepted("DELETE .*3000 If-Match: .*,", "status", _LIST_OF_TAGS, 400, 409),
    Accepted("DELETE .*3000$", "status", f"{_LIST_OF_TAGS}, and so stored it before", 404, 200),
    Accepted('GET .*If-None-Match: [^"0]', "status", "RFC 9110 §13.1.2", theirs=400),
    Accepted("GET .*If-None-Match: .*,", "status", "RFC 9110 §13.1.2", 304, 200),
    Accepted(
        f"GET {_RESOURCE}/metadata(/|[?]expand)?$",
        "body(/MainDicomTagsSignature|/[0-9]+)?",
        "newer: the signature of main tags; in the order of the codes",
    ),
    Accepted("GET .*[?](expand&)?numeric", "body.*", "newer: codes instead of names"),
    Accepted("GET .*[?]expand=x", "status", "newer: a boolean that is none is an error", ours=400),
    Accepted("GET .*[?]full=false", "body", "newer: a boolean that is false counts"),
    Accepted(f"GET {_RESOURCE}/attachments/?$", "body/[0-9]+", "in the order of the codes"),
    Accepted(
        f"GET {_RESOURCE}/attachments/[a-z0-9-]+/?$",
        "body",
        "newer: there is no operation named uuid; sorted",
    ),
    Accepted(".*/data/?", "content-disposition", "named by the blob, which is random"),
    Accepted(".*/info", "body/Compressed(MD5|Size)", "the compressor is another one"),
    Accepted("POST .*/verify-md5", "status", "newer: nothing to verify is 404", 404, 400),
    Accepted("PUT /studies/nobody/attachments/", "status", "newer: 404 instead of 200", 404, 200),
    Accepted(
        "GET .*/attachments[?]full",
        "body/dicom-until-pixel-data",
        "of compressed files no second, shorter one is kept",
        ours=ABSENT,
    ),
)
"""Of metadata and attachments."""
_OTHER_LEVEL = "found by what lies below or above at every level (quirk 45)"
_EACH_VALUE = "newer: each of several values is compared"
_PADDING = "blanks at the ends of a value or of a pattern do not count (PS3.5 §6.2)"
_FOLDED = "accents are folded, and ? stands for any letter (quirks 28 and 52)"
_ALTERNATIVES = "wildcards may stand in each alternative"

FIND = (
    Accepted("find .*Expand", f"{_ITEM}/Labels", "newer: labels came with 1.12.0", theirs=ABSENT),
    Accepted("find .*Expand", f"{_ITEM}/IsProtected", "newer: 1.12.8", theirs=ABSENT),
    Accepted("find (Patient|Series|Instance) ModalitiesInStudy", "body", _OTHER_LEVEL),
    Accepted("find (Patient|Study) Modality ", "body", _OTHER_LEVEL),
    Accepted("find Study (SOPClassesInStudy|InstanceAvailability)", "body", "it is computed"),
    Accepted("find Study NumberOfStudyRelatedInstances", "body", "newer: it is computed"),
    Accepted("find Instance ImageType", "body", _EACH_VALUE, theirs=[]),
    Accepted("find Series OperatorsName", "body", _EACH_VALUE, theirs=[]),
    Accepted(
        r"find Instance ImageComments 'multi\\\\line'",
        "body",
        "a backslash is a character of the value (PS3.5 §6.2)",
        theirs=[],
    ),
    Accepted("find Instance Rows ' 16'", "body", _PADDING, theirs=[]),
    Accepted("find Study (AccessionNumber|StudyDate) ' ", "body", _PADDING, theirs=[]),
    Accepted("find Study AccessionNumber 'LEAD'", "body", _PADDING, theirs=[]),
    Accepted("find Study [A-Za-z]+ '[^']+ '", "body", _PADDING, theirs=[]),
    Accepted("find Study PatientName '(muller|M[?]LLER)[*]'", "body", _FOLDED, theirs=[]),
    Accepted("find Study StudyDescription 'strasse'", "body", _FOLDED, theirs=[]),
    Accepted(
        "find Study PatientName '[^a-zA-Z*]+[*]'",
        "body",
        "each group of a name is compared (PS3.5 §6.2.1)",
        theirs=[],
    ),
    Accepted(r"find Study [a-zA-Z]+ '.*[*]\\\\.*[*]'", "body", _ALTERNATIVES, theirs=[]),
    Accepted(
        "find Study (Nope|patientname)", "status", "an unknown tag is 400 (quirk 43)", 400, 500
    ),
    Accepted("find .*RequestedTags", f"{_ITEM}/RequestedTags", "newer: 1.11.0", theirs=ABSENT),
    Accepted("find raw .* x'", "status", "what follows the object is wrong", 400, 200),
    Accepted("find .*Since", "status", "newer: refused where files are searched", 400, 200),
    Accepted('find .*("Query": \\[]|"Expand")', "status", "a wrong type is 400 (quirk 5)", 400),
    Accepted('find .*"RequestedTags": "x"', "status", "a wrong type is 400 (quirk 5)", 400, 200),
    Accepted('find .*"Full": "x"', "body/OrthancStatus", "as every field of a wrong type", 8, 15),
)
"""Of searches."""

UPLOADS = (
    Accepted("multipart", "body", "the stored instances are named (quirk 47)", theirs=b""),
    Accepted("multipart (nothing|malformed)", "status", "nothing was stored", 400, 200),
    Accepted("multipart without boundary", "body/OrthancStatus", "the body is not looked at", 8),
    Accepted("gzip that is none", "status", "a wrong body is no internal error", 400, 500),
    Accepted("gzip of a ZIP", "status", "both are unpacked", 200, 400),
    Accepted("ZIP of nothing", "status", "newer: no instance is no error", 200, 400),
    Accepted("ZIP with DICOMDIR", "body", "newer: DICOMDIR is skipped by its name"),
    Accepted("identifier of 300 bytes", "status", "its length is no reason to refuse", 200, 400),
    Accepted(
        "PatientID of odd length",
        "body/.*",
        "trailing blanks never count (PS3.5 §6.2); in Orthanc they do if the length is odd",
    ),
    Accepted("preamble alone", "status", "the identifiers are missing", 404, 400),
    Accepted("zeros", "status", "zeros are no data set", 400, 404),
    Accepted("sequence without end", "status", "a truncated file is refused", 400, 200),
)
"""Of ``POST /instances``."""

_CANNOT_UNDERSTAND = 0xC000
_EMPTY_UID = AcceptedStore(
    (_CANNOT_UNDERSTAND, 0), (0xA900, 0), "an empty UID is no UID, rather than another one"
)
_NO_IDENTIFIER = AcceptedStore(
    (_CANNOT_UNDERSTAND, 0), (0xA700, 0), "to send it again later would not help"
)
_UNREADABLE_DATA = AcceptedStore(
    (_CANNOT_UNDERSTAND, 0), (NO_ANSWER, 0), "one bad data set gets its answer"
)

STORE = {
    **{f"empty {tag}": _EMPTY_UID for tag in ("00080016", "00080018")},
    **{
        f"{what} {tag}": _NO_IDENTIFIER
        for what in ("missing", "empty")
        for tag in ("0020000d", "0020000e")
    },
    **dict.fromkeys(
        (
            *("truncated", "garbage", "garbage behind"),
            "1.2.840.10008.1.2 in a context of explicit little endian",
            "1.2.840.10008.1.2.2 in a context of explicit little endian",
            "explicit little endian in a context of 1.2.840.10008.1.2",
            "explicit little endian in a context of 1.2.840.10008.1.2.2",
        ),
        _UNREADABLE_DATA,
    ),
    "truncated in a header": _NO_IDENTIFIER,
}
"""Of C-STORE, by the name of the case."""

FINDINGS = {
    "a study by the modality of its series": "a lower level is searched (quirk 45)",
    "counters of other levels": "what can be counted above is; RetrieveAETitle is given (quirk 50)",
    "availability": "what is stored is online",
    "a name beyond the default character set": "the answer is in UTF-8 then (quirk 27)",
    "a name in Cyrillic": "answered in the character set of the question (quirk 27)",
    "all names in UTF-8": "answered in the character set of the question (quirk 27)",
    "all names in Japanese": "answered in the character set of the question (quirk 27)",
    "a name without its accent": "accents do not count (quirk 28)",
    "a time zone": "newer: TimezoneOffsetFromUTC is not matched",
    "a sequence": "newer: sequences are answered; one that the file lacks is empty",
    "an item of a sequence": "items are matched, as PS3.4 C.2.2.2.6 says",
    "items that nothing has": "items are matched, as PS3.4 C.2.2.2.6 says",
    "a private tag without its creator": "the value representation of the question is repeated",
}
"""Of C-FIND, by the name of the question, with the reason."""

WORKLISTS = {
    "keys that entries lack": "answered empty, as PS3.4 K.6.1.2.2 asks of type 2",
    "a level": "QueryRetrieveLevel is not matched: worklists have none",
    "in UTF-8": "answered in the character set of the question (quirk 27)",
}
"""Of C-FIND of worklists, by the name of the question, with the reason."""

RETRIEVALS = {
    "move to an unknown title": "the standard's status A801",
    "move to a dead modality": "the standard's status A702, and how many failed",
    "move that is refused": "the standard's status A702, and how many failed",
    "move with warnings": "warnings are counted as such, with the status B000",
    "get without a context": "the others are tried, too; the standard's status A702",
}
"""Of C-MOVE and C-GET, by the name of the case, with the reason."""

NEWER_SYNTAXES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL",
    "1.2.840.10008.1.2.4.111": "JPEG XL",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.4.201": "High-Throughput JPEG 2000",
    "1.2.840.10008.1.2.4.202": "High-Throughput JPEG 2000",
    "1.2.840.10008.1.2.4.203": "High-Throughput JPEG 2000",
    "1.2.840.10008.1.2.6.1": "RFC 2557",
    "1.2.840.10008.1.2.6.2": "XML",
}
"""Transfer syntaxes that Orthanc 1.10 does not know; 1.13 does."""

BULK = (
    Accepted(
        "POST /tools/bulk-content",
        f"{_ITEM}/Metadata/(MainDicomTagsSignature|MainDicomSequences|PixelDataOffset)",
        "newer metadata",
        theirs=ABSENT,
    ),
)
"""Of bulk content and reconstruction, besides those of routes that only read."""

_SYNTAXES = r"(PUT|GET) /tools/accepted-transfer-syntaxes (after )?"

OPTIONS = (
    _ALLOW,
    Accepted(f"{_SYNTAXES}.*[*]", "body", "newer: JPEG XL and High-Throughput JPEG 2000 are known"),
    Accepted(
        f"{_SYNTAXES}'1.2.840.10008.1.2.1'",
        "status|body",
        "newer: a UID may stand alone, without quotation marks",
    ),
    Accepted(
        f"{_SYNTAXES}.*1.2.3",
        "body",
        "a UID that is not known is taken: files of private transfer syntaxes are stored, too",
        theirs=[],
    ),
)
"""Of metrics, logs and options at run time."""

ADOPTION = (
    Accepted(
        "GET",
        "body/IsStable",
        "Orthanc forgets what is unstable when it stops (quirk 25); nothing fires anew",
        ours=True,
        theirs=False,
    ),
    Accepted(
        f"GET {_RESOURCE}/metadata[?]expand",
        "body/(MainDicom(TagsSignature|Sequences)|PixelData(Offset|VR)|ExpectedNumberOfInstances)",
        "newer, or told by our reading of the header",
        theirs=ABSENT,
    ),
    Accepted(".*/data", "content-disposition", "named with another extension"),
    Accepted("GET /exports", "body/First", "newer: First is given", theirs=ABSENT),
    Accepted(f"GET {_RESOURCE}/attachments/", "etag", _NO_REVISIONS),
)
"""Of an archive that was adopted."""

_CONTENT = "newer: the content of the job is answered"

DICOM_USER = (
    Accepted("GET /modalities", r"body(/\w+)?/RetrieveMethod", "newer: C-GET", theirs=ABSENT),
    Accepted("GET /modalities/peer ", "body", "newer: get is among the operations"),
    Accepted("PUT /modalities/z", "body/OrthancStatus", "a wrong form is a bad format", ours=15),
    Accepted("POST /modalities/.*/store ", "body/Resources", "newer", theirs=ABSENT),
    Accepted("POST /modalities/.*/store ", "body/ParentResources/[01]", "in the given order"),
    Accepted("POST /modalities/peer/store", "body/ParentResources", "given if empty, too", ours=[]),
    Accepted("POST .*/store .*, ", "body/InstancesCount", "nothing is sent twice", 3),
    Accepted("POST .*/store .*Permissive", "body/OrthancStatus", "as in all calls of jobs", 8),
    Accepted("POST /modalities/dead/store", "body/FailedInstancesCount", "all failed", 3),
    Accepted("GET /exports", "body/First", "newer: First is given", theirs=ABSENT),
    Accepted("GET /queries/{q}/answers/0 ", r"body/\d", "quirk 34; the comparison sorts theirs"),
    Accepted(
        "GET /queries/{q}/answers",
        "body/.*(0002,0003|MediaStorageSOPInstanceUID)",
        "file meta information is no part of an answer",
        ours=ABSENT,
    ),
    Accepted("POST /queries/.*/query-", "status", "no error of ours", 400),
    Accepted("POST .*/retrieve", "body/TargetAet", "newer", theirs=ABSENT),
    Accepted("POST .*/retrieve", "body/ErrorPayload", "newer", theirs=ABSENT),
    Accepted("POST /modalities/peer/move", "type", _CONTENT),
    Accepted(
        "POST /modalities/peer/move",
        "body/(Description|LocalAet|Query|RemoteAet|TargetAet)",
        _CONTENT,
        theirs=ABSENT,
    ),
)

_PEER_STORE = "POST /peers/(short|long|dead)/store "
PEERS = (
    Accepted(_PEER_STORE, "body/Peer/[0-2]", "the comparison sorts texts; Orthanc's order is ours"),
    Accepted(_PEER_STORE, "body/Resources", "newer: the levels are given", theirs=ABSENT),
    Accepted(
        _PEER_STORE, "body/ParentResources", "newer: an empty list is given", ours=[], theirs=ABSENT
    ),
    Accepted(_PEER_STORE + ".*Compress", "body/Size", "another library compresses"),
    Accepted(".*dead.*Permissive", "body/FailedInstancesCount", "all have failed", theirs=0),
    Accepted(".*dead.*Permissive", "body/Size", "nothing was sent", ours="0"),
    Accepted("GET /peers/.*/system", "type", "UTF-8 is said", theirs="application/json"),
    Accepted(
        "GET /peers/stranger/system",
        "body/OrthancStatus",
        "as for other calls",
        ours=9,
        theirs=2005,
    ),
    Accepted("POST .*/store-straight garbage", "status", "not sent at all", ours=400, theirs=500),
    Accepted("PUT /peers/new x", "status", "no JSON, which is no matter of the address", ours=400),
)

"""What is fuzzed: each target takes any bytes, and raises only if something is wrong with us."""

import gzip
import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import httptools
from tests.support.dicom_files import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    IMPLICIT_LITTLE,
    Elements,
    build_data_set,
    build_file,
    build_instance,
    encode_element,
    encode_fragments,
    encode_sequence,
    identifiers,
)
from tests.support.images import build_data_uri, build_jpeg, build_pam, build_png
from tests.support.scripted_peer import (
    EXPLICIT_VR,
    IMPLICIT_VR,
    build_command,
    build_request,
    encode_message,
)

from fuzz.configured import build_dictionaries, build_peers, run_dictionary, run_peer
from fuzz.transcoding import build_coded, build_packed, run_streams, run_transcoding
from isocenter.archive.created_files import FileBuilder, Inherited
from isocenter.archive.creation_requests import parse_creation
from isocenter.archive.edit_requests import (
    build_anonymous_values,
    build_edit,
    parse_anonymization,
)
from isocenter.archive.unpacking import iter_gzip, iter_zip
from isocenter.config.configuration import Configuration
from isocenter.config.documentation import format_default_file
from isocenter.config.loading import load_configuration
from isocenter.config.routing_rules import format_routing_rule, parse_routing_rule
from isocenter.config.source import parse_source
from isocenter.dicom.commitment_reports import parse_commitment_report
from isocenter.dicom.data_set_writer import AnswerEncoding
from isocenter.dicom.data_sets import get_layout, read_data_set
from isocenter.dicom.directory import Directory
from isocenter.dicom.directory_records import FilePlace, build_records
from isocenter.dicom.editing import Edit, EditMemory, edit_file, list_changes
from isocenter.dicom.find_request import NameRule, parse_find_request
from isocenter.dicom.identifiers import PublicIds
from isocenter.dicom.json_forms import Shape, build_header_json, build_tags_json
from isocenter.dicom.main_tags import build_main_tags
from isocenter.dicom.matching import build_element_matcher
from isocenter.dicom.portable import read_elements
from isocenter.dicom.pseudonyms import Pseudonyms
from isocenter.dicom.reader import build_identity, read_summary, read_values
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.dimse.association import AssociationMachine, Role
from isocenter.dimse.commands import CommandField, decode_command, encode_command
from isocenter.dimse.indications import AssociationRequested
from isocenter.dimse.negotiation import AssociateAcceptance, build_accept, negotiate_contexts
from isocenter.dimse.pdu import (
    HEADER_LENGTH,
    PDU,
    Abort,
    AssociateReject,
    PDUType,
    ReleaseReply,
    ReleaseRequest,
    decode_pdu,
    encode_pdu,
)
from isocenter.dimse.protocol_error import ProtocolViolationError
from isocenter.errors import (
    BadFileFormatError,
    BodyTooLargeError,
    ConfigurationError,
    CorruptedBlobError,
    MissingTagError,
    RequestError,
    ServerError,
)
from isocenter.http.plain_reads import parse_plain_read
from isocenter.pixels.images import Image, decode_jpeg, decode_pam, decode_png, read_jpeg_header
from isocenter.storage.compression import compress, iter_decompressed
from isocenter.storage.spool import SpooledContent

__all__ = ["TARGETS", "Target"]

_WANTED = build_main_tags().wanted
_LIMIT = 1 << 20
_REQUEST = encode_pdu(build_request())


@dataclass(frozen=True, slots=True)
class Target:
    """Something to be called with any bytes.

    Attributes
    ----------
    run
        Raises if the bytes show a fault of ours.
    build_seeds
        Inputs to begin with, which reach deep.
    """

    run: Callable[[bytes], None]
    build_seeds: Callable[[], list[bytes]]


@lru_cache(maxsize=1)
def _make_folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="isocenter-fuzz-")


def _get_folder() -> Path:
    """Give a folder of our own, removed at the end of the process."""
    return Path(_make_folder().name)


def _run_reader(data: bytes) -> None:
    """Summarize a file; the beginning of a file must not tell anything else than all of it."""
    try:
        whole = read_summary(data, wanted=_WANTED)
    except BadFileFormatError:
        whole = None
    try:
        start = read_summary(data, wanted=_WANTED, is_whole=False)
    except BadFileFormatError:
        assert whole is None
        return
    assert whole is None or whole == start
    try:
        assert isinstance(build_identity(start).public_ids, PublicIds)
    except (BadFileFormatError, MissingTagError):
        return


def _run_tags(data: bytes) -> None:
    for shape in Shape:
        try:
            build_tags_json(data, shape)
            build_header_json(data, shape)
        except BadFileFormatError:
            continue


def _run_directory(data: bytes) -> None:
    """Whatever a file holds, its records are part of a DICOMDIR that can be read."""
    place = FilePlace("IMAGES/IM0", (1, 1, 1), ("20200102", "030405"))
    for is_extended in (False, True):
        try:
            records = build_records(data, place, is_extended=is_extended)
        except BadFileFormatError:
            return
        directory = Directory()
        directory.add(("patient", "study", "series"), records)
        content = b"".join(directory.write("1.2.3"))
        assert len(content) % 2 == 0
        build_tags_json(content, Shape.FULL)


def _run_pdu(data: bytes) -> None:
    """Decode a PDU; what can be decoded can be encoded, and means the same."""
    if not data:
        return
    try:
        pdu = decode_pdu(data[0] % len(PDUType) + 1, memoryview(data)[1:])
    except ProtocolViolationError:
        return
    encoded = encode_pdu(pdu)
    assert decode_pdu(encoded[0], memoryview(encoded)[HEADER_LENGTH:]) == pdu


def _run_command(data: bytes) -> None:
    try:
        command = decode_command(data)
    except ProtocolViolationError:
        return
    # Elements that do not belong to this command are read and not written.
    encoded = encode_command(command, has_data_set=command.has_data_set)
    again = encode_command(decode_command(encoded), has_data_set=command.has_data_set)
    assert again == encoded


def _run_association(data: bytes) -> None:
    """Feed a stream to an association: in which state, and cut where, the first bytes tell."""
    if len(data) < 2:
        return
    state, cut, stream = data[0] % 4, data[1], data[2:]
    machine = AssociationMachine(Role.REQUESTOR if state == 3 else Role.ACCEPTOR)
    if state == 3:
        machine.request_association(build_request())
    machine.connection_opened()
    if 0 < state < 3:
        for indication in machine.receive_data(_REQUEST):
            assert isinstance(indication, AssociationRequested)
            contexts = negotiate_contexts(
                indication.request.contexts, lambda _: (EXPLICIT_VR, IMPLICIT_VR)
            )
            acceptance = AssociateAcceptance(contexts)
            accept = build_accept(indication.request, acceptance, maximum_length=16384)
            machine.accept_association(accept)
    if state == 2:
        machine.request_release()
    for piece in (stream[:cut], stream[cut:]):
        machine.receive_data(piece)
        machine.take_output()
        machine.take_timer_request()
    machine.artim_expired()
    machine.connection_closed()


def _run_zip(data: bytes) -> None:
    def new_content() -> SpooledContent:
        return SpooledContent(_get_folder(), 2 * _LIMIT)

    try:
        for entry in iter_zip(io.BytesIO(data), limit=_LIMIT, new_content=new_content):
            if isinstance(entry.content, SpooledContent):
                assert entry.content.size_bytes <= _LIMIT
                entry.content.close()
            else:
                assert isinstance(entry.content, BadFileFormatError | BodyTooLargeError)
    except (BadFileFormatError, BodyTooLargeError):
        return


def _run_gzip(data: bytes) -> None:
    size = 0
    try:
        for piece in iter_gzip([data[:7], data[7:]], limit=_LIMIT):
            size += len(piece)
    except (BadFileFormatError, BodyTooLargeError):
        pass
    assert size <= _LIMIT


def _run_identifier(data: bytes) -> None:
    """Read the identifier of a C-FIND; what can be read can be answered and read again."""
    layout = get_layout((EXPLICIT_VR, IMPLICIT_VR, EXPLICIT_BIG)[data[0] % 3] if data else "")
    try:
        identifier = read_data_set(data[1:], layout)
        request = parse_find_request(identifier, NameRule())
    except RequestError:
        return
    for criterion in request.criteria:
        build_element_matcher(criterion)(request.keys.get(criterion.tag))
    encoding = AnswerEncoding.choose(layout, request.character_set, "Latin1")
    read_data_set(encoding.encode(request.keys), layout)


def _run_report(data: bytes) -> None:
    """Reports of storage commitment, and rules of routing."""
    try:
        report = parse_commitment_report(read_data_set(data, get_layout(EXPLICIT_VR)))
    except RequestError:
        pass
    else:
        assert report.transaction_uid
    try:
        rule = parse_routing_rule(json.loads(data))
    except (ConfigurationError, ValueError, RecursionError):
        return
    assert parse_routing_rule(format_routing_rule(rule)) == rule


def _run_compression(data: bytes) -> None:
    size = 0
    try:
        for piece in iter_decompressed([data[:5], data[5:]], _LIMIT):
            size += len(piece)
    except CorruptedBlobError:
        pass
    assert size <= _LIMIT


def _run_configuration(data: bytes) -> None:
    """Read a configuration file; an error must say where to look."""
    path = _get_folder() / "fuzzed.json"
    path.write_bytes(data)
    try:
        assert isinstance(load_configuration([path], {"X": "1"}), Configuration)
    except ConfigurationError as error:
        if "fuzzed.json: " not in error.details and not error.details.startswith('option "'):
            raise AssertionError(error.details) from error
    try:
        parse_source(data.decode("utf-8", "replace"), {"X": "1"})
    except ConfigurationError:
        return


def _run_image(data: bytes) -> None:
    """Decode an image; its samples must be as many as its header tells."""
    if len(data) > _LIMIT:
        return
    for decode in (decode_png, decode_jpeg, decode_pam):
        try:
            image = decode(data)
        except BadFileFormatError:
            continue
        assert isinstance(image, Image)
        size = image.rows * image.columns * image.samples * image.bits_allocated // 8
        assert sum(map(len, image.pieces)) == size
    try:
        read_jpeg_header(data)
    except BadFileFormatError:
        return


def _run_creation(data: bytes) -> None:
    """Create files of a request; whatever comes out can be read."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(body, dict):
        return
    try:
        request = parse_creation(body, private_creator="", dictionary=DEFAULT_DICTIONARY)
        builder = FileBuilder(
            request,
            None,
            dictionary=DEFAULT_DICTIONARY,
            default_encoding="Latin1",
            created_at=0,
        )
        for pieces in builder.iter_files():
            read_summary(b"".join(pieces), wanted=_WANTED)
    except RequestError:
        return


def _run_portable(data: bytes) -> None:
    """Read elements of a file to write them into another one."""
    tags = frozenset({0x00100010, 0x00280010, 0x00400275})
    try:
        elements = read_elements(data, tags, default_encoding="Latin1")
    except BadFileFormatError:
        return
    request = parse_creation({"Tags": {}}, private_creator="", dictionary=DEFAULT_DICTIONARY)
    builder = FileBuilder(
        request,
        Inherited(elements, tags, "ISO_IR 192"),
        dictionary=DEFAULT_DICTIONARY,
        default_encoding="Latin1",
        created_at=0,
    )
    try:
        [pieces] = builder.iter_files()
    except RequestError:
        return
    read_summary(b"".join(pieces), wanted=_WANTED)


def _vary(data: bytes) -> bytes:
    """Change a byte; which one follows from the data."""
    position = data[-1] * len(data) // 256 if data else 0
    return (
        data[:position]
        + bytes([byte ^ 1 for byte in data[position : position + 1]])
        + data[position + 1 :]
    )


def _edit(data: bytes, edit: Edit, memory: EditMemory | None) -> bytes | type[ServerError]:
    try:
        return b"".join(edit_file(data, edit, memory=memory))
    except ServerError as error:
        return type(error)


def _run_edit(data: bytes) -> None:
    """Anonymize a file with all options, with and without what was learned from another one."""
    options = ("ShiftDates", "CleanDescriptors", "CleanGraphics")
    keeps_private = len(data) % 4 == 0
    request = parse_anonymization(
        {**dict.fromkeys(options, True), "KeepPrivateTags": keeps_private}
    )
    edit = build_edit(request, Pseudonyms(b"key"), defaults=build_anonymous_values(request, 1))
    try:
        pieces, _ = list_changes(data, edit)
    except ServerError:
        return
    result = b"".join(pieces)
    memory = EditMemory()
    for file in (data, data, _vary(data), data):
        assert _edit(file, edit, memory) == _edit(file, edit, None)
    read_values(result, wanted=frozenset({0x00100010}))


def _build_images() -> list[bytes]:
    return [
        build_png((2, 2), 8, 2, bytes(6), bytes(6)),
        build_png((2, 1), 8, 3, b"\0\1", PLTE=bytes(6), tRNS=b"\0"),
        build_png((1, 1), 16, 6, bytes(8)),
        build_jpeg((1, 2, 3)),
        build_jpeg((7,)),
        build_pam((2, 2), 3, 4095, bytes(24)),
    ]


def _build_requests() -> list[bytes]:
    png = build_data_uri("image/png", _build_images()[0])
    jpeg = build_data_uri("image/jpeg", _build_images()[3])
    bodies: list[object] = [
        {"PatientName": "M\u00fcller", "PixelData": png},
        {"Tags": {"Rows": "5", "0009,1001": "x"}, "PrivateCreator": "A", "Content": [png, png]},
        {"Tags": {"SpecificCharacterSet": "ISO_IR 144"}, "Content": jpeg, "Encapsulate": True},
        {
            "Tags": {"ReferencedStudySequence": [{"0008,1155": "1.2", "0008,0100": "d"}]},
            "Content": [{"Content": png, "Tags": {"ImageComments": "x"}}],
            "Force": True,
        },
    ]
    return [json.dumps(body).encode() for body in bodies]


def _build_files() -> list[bytes]:
    pixels = encode_element(0x7FE00010, "OW", bytes(16))
    item = encode_element(0x00080100, "SH", "code")
    sequences = encode_sequence(0x00400275, [item], is_undefined=True)
    rich: Elements = {
        0x00080005: ("CS", "ISO 2022 IR 87\\ISO_IR 100"),
        0x00100010: ("PN", "A^B=C=D"),
        0x00280008: ("IS", "3"),
        0x00280010: ("US", b"\x10\0"),
        0x00091001: ("UN", b"private "),
    }
    files = [
        build_instance(rich, tail=sequences + pixels),
        build_instance(tail=encode_fragments([b"abcd", b"efgh"])),
        build_data_set(identifiers(), syntax=IMPLICIT_LITTLE),
        build_data_set(identifiers()),
    ]
    for syntax in (IMPLICIT_LITTLE, EXPLICIT_BIG):
        files.append(build_file(build_data_set(identifiers(), syntax=syntax), syntax=syntax))
    deflater = zlib.compressobj(wbits=-15)
    deflated = deflater.compress(build_data_set(identifiers())) + deflater.flush()
    return [*files, build_file(deflated, syntax=DEFLATED_LITTLE)]


def _build_documents() -> list[bytes]:
    """Files whose records have keys of all kinds."""
    files = []
    for sop_class in ("88.11", "11.1", "4.2", "104.1", "481.5"):
        for syntax in (IMPLICIT_LITTLE, EXPLICIT_BIG):
            elements: Elements = {
                0x00080016: ("UI", f"1.2.840.10008.5.1.4.1.1.{sop_class}"),
                0x00280010: ("US", b"\0\1"),
            }
            title = build_data_set({0x00080104: ("LO", "Title")}, syntax=syntax)
            modifier = build_data_set({0x0040A010: ("CS", "HAS CONCEPT MOD")}, syntax=syntax)
            tail = b"".join(
                encode_sequence(tag, [item], syntax=syntax)
                for tag, item in ((0x0040A043, title), (0x0040A730, modifier))
            )
            data_set = build_data_set({**identifiers(), **elements}, syntax=syntax)
            files.append(build_file(data_set + tail, syntax=syntax))
    return files


def _build_pdus() -> list[bytes]:
    message = encode_message(3, build_command(CommandField.C_STORE_RQ), b"data")
    others: tuple[PDU, ...] = (
        ReleaseRequest(),
        ReleaseReply(),
        Abort(),
        AssociateReject(1, 1, 1),
    )
    return [_REQUEST, message, *map(encode_pdu, others)]


def _build_bodies() -> list[bytes]:
    return [bytes((pdu[0] - 1,)) + pdu[HEADER_LENGTH:] for pdu in _build_pdus()]


def _build_streams() -> list[bytes]:
    return [bytes((state, 3)) + pdu for state in range(4) for pdu in _build_pdus()]


def _build_commands() -> list[bytes]:
    return [encode_command(build_command(field), has_data_set=False) for field in CommandField]


def _build_zips() -> list[bytes]:
    archives = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            archive.writestr("a/b.dcm", b"content" * 10)
            archive.writestr("DICOMDIR", b"x")
            archive.writestr("../evil", b"")
        archives.append(out.getvalue())
    return archives


class _Heard:
    """What the parser of HTTP tells."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.requests = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value.strip(b" \t")

    def on_message_complete(self) -> None:
        self.requests += 1


def _run_plain_read(data: bytes) -> None:
    """What is read without the parser is what the parser reads."""
    plain = parse_plain_read(data)
    if plain is None or plain[1].keys() & {b"content-length", b"transfer-encoding", b"upgrade"}:
        return
    heard = _Heard()
    httptools.HttpRequestParser(heard).feed_data(data)
    assert (heard.requests, heard.url, heard.headers) == (1, *plain)


def _build_plain_reads() -> list[bytes]:
    lines = b"Host: h\r\nAccept: */*\r\nX:\t\xe9 \r\nConnection: keep-alive\r\n"
    return [b"GET /a?b=c HTTP/1.1\r\n" + lines + b"\r\n", b"GET / HTTP/1.1\r\n\r\n"]


def _build_gzips() -> list[bytes]:
    packed = gzip.compress(b"content" * 100, mtime=0)
    return [packed, packed + bytes(5) + packed, gzip.compress(bytes(3 * _LIMIT), mtime=0)]


def _build_identifiers() -> list[bytes]:
    seeds = []
    for number, syntax in enumerate((EXPLICIT_VR, IMPLICIT_LITTLE, EXPLICIT_BIG)):
        keys: Elements = {
            0x00080005: ("CS", "\\ISO 2022 IR 87"),
            0x00080020: ("DA", "20240101-"),
            0x00080052: ("CS", "STUDY "),
            0x00100010: ("PN", "A*^B?=\x1b$B;3ED\x1b(B"),
            0x0020000D: ("UI", "1.2\\1.3"),
        }
        item = encode_element(0x00080100, "SH", "code", syntax=syntax)
        tail = encode_sequence(0x00400275, [item], syntax=syntax, is_undefined=number == 0)
        seeds.append(bytes((number,)) + build_data_set(keys, syntax=syntax) + tail)
    return seeds


def _build_reports() -> list[bytes]:
    item = encode_element(0x00081150, "UI", "1.2") + encode_element(0x00081155, "UI", "1.3")
    failed = item + encode_element(0x00081197, "US", b"\x12\x01")
    report = build_data_set({0x00081195: ("UI", "2.25.1")})
    report += encode_sequence(0x00081198, [failed]) + encode_sequence(0x00081199, [item, item])
    rule = {
        "Destination": {"Modality": "pacs"},
        "Tags": {"PatientID": "x*"},
        "QuietHours": [["07:00", "19:00"]],
        "Modality": ["CT"],
        "Delay": 5,
    }
    return [report, json.dumps(rule).encode()]


def _build_blobs() -> list[bytes]:
    return [compress(content) for content in (b"", b"x", b"content" * 1000, bytes(3 * _LIMIT))]


def _build_configurations() -> list[bytes]:
    texts = (
        '{"Name": "x", /* c */ "HttpPort": ${X}, // y\n "DicomModalities": {"a": ["A", "h", 1]},}',
        '{"PostgreSQL": {"EnableIndex": true, "Host": "${X}"}, "RegisteredUsers": {"a": "b"}}',
    )
    return [*(text.encode() for text in texts), format_default_file().encode()[:4000]]


TARGETS = {
    "reader": Target(_run_reader, _build_files),
    "tags": Target(_run_tags, _build_files),
    "directory": Target(_run_directory, _build_documents),
    "pdu": Target(_run_pdu, _build_bodies),
    "association": Target(_run_association, _build_streams),
    "command": Target(_run_command, _build_commands),
    "identifier": Target(_run_identifier, _build_identifiers),
    "report": Target(_run_report, _build_reports),
    "zip": Target(_run_zip, _build_zips),
    "gzip": Target(_run_gzip, _build_gzips),
    "compression": Target(_run_compression, _build_blobs),
    "image": Target(_run_image, _build_images),
    "creation": Target(_run_creation, _build_requests),
    "streams": Target(run_streams, build_coded),
    "transcoding": Target(run_transcoding, build_packed),
    "portable": Target(_run_portable, _build_files),
    "edit": Target(_run_edit, _build_files),
    "plain_read": Target(_run_plain_read, _build_plain_reads),
    "configuration": Target(_run_configuration, _build_configurations),
    "peer": Target(run_peer, build_peers),
    "dictionary": Target(run_dictionary, build_dictionaries),
}
"""All targets, by name."""

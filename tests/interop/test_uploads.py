"""Uploads: what both servers make of each kind of body, and what is stored in the end."""

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.interop.accepted import UPLOADS
from tests.interop.comparing import Difference, compare, find_unexpected, find_unmet
from tests.support.dicom_files import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    build_data_set,
    build_file,
    build_instance,
    encode_element,
    encode_fragments,
    encode_meta,
    encode_sequence,
    identifiers,
)
from tests.support.orthanc import Pair, Server, run_pair

_GZIP = {"Content-Encoding": "gzip"}
_FORM = {"Content-Type": "multipart/form-data; boundary=frontier"}
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Upload:
    """One body and what comes with it."""

    name: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def _build(number: int, extra: dict[int, tuple[str, bytes | str]] | None = None) -> bytes:
    return build_instance(extra, instance=f"1.2.8.{number}", series="1.2.8", study="1.2.7")


def _zip(*entries: tuple[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in entries:
            opened.writestr(name, data)
    return archive.getvalue()


def _form(*parts: bytes) -> bytes:
    head = (
        b"--frontier\r\nContent-Disposition: form-data; name=f; filename=a.dcm\r\n"
        b"Content-Type: application/dicom\r\n\r\n"
    )
    return b"".join(head + part + b"\r\n" for part in parts) + b"--frontier--\r\n"


def _iter_wrapped() -> Iterator[Upload]:
    """Bodies that hold files in another format."""
    yield Upload("gzip", gzip.compress(_build(10)), _GZIP)
    yield Upload("gzip in capitals", gzip.compress(_build(11)), {"Content-Encoding": "GZIP"})
    yield Upload("gzip without its header", gzip.compress(_build(12)))
    yield Upload("gzip that is none", b"text", _GZIP)
    yield Upload("gzip truncated", gzip.compress(_build(13))[:-20], _GZIP)
    yield Upload("gzip of a ZIP", gzip.compress(_zip(("a", _build(14)))), _GZIP)
    yield Upload("deflate is ignored", _build(15), {"Content-Encoding": "deflate"})
    yield Upload("ZIP", _zip(("a.dcm", _build(20)), ("b/c.dcm", _build(21)), ("t.txt", b"text")))
    yield Upload("ZIP of one", _zip(("a.dcm", _build(22))))
    yield Upload("ZIP again", _zip(("a.dcm", _build(22)), ("b.dcm", _build(23))))
    yield Upload("ZIP of a text", _zip(("a", b"x"), ("empty", b"")))
    yield Upload("ZIP of nothing", _zip())
    yield Upload("ZIP with DICOMDIR", _zip(("DICOMDIR", _build(24)), ("b", _build(25))))
    yield Upload("ZIP with folders", _zip(("d/", b""), ("d/a", _build(26))))
    yield Upload("ZIP in a ZIP", _zip(("a.zip", _zip(("a", _build(27))))))
    yield Upload(
        "ZIP with a file without UID", _zip(("a", _without(0x00080018)), ("b", _build(28)))
    )
    yield Upload("ZIP that is none", b"PK\x03\x04" + b"x" * 50)
    yield Upload("ZIP truncated", _zip(("a", _build(29)), ("b", _build(30)))[:-30])
    yield Upload("multipart", _form(_build(40)), _FORM)
    yield Upload("multipart of two", _form(_build(41), _build(42)), _FORM)
    yield Upload("multipart of a text", _form(b"text"), _FORM)
    yield Upload("multipart of a file and a text", _form(_build(43), b"text"), _FORM)
    yield Upload("multipart of a ZIP", _form(_zip(("a", _build(44)))), _FORM)
    yield Upload("multipart of an empty file", _form(b""), _FORM)
    yield Upload("multipart nothing", _form(), _FORM)
    yield Upload("multipart malformed", b"text", _FORM)
    plain = {"Content-Type": "multipart/form-data"}
    yield Upload("multipart without boundary", _form(_build(45)), plain)
    related = {"Content-Type": "multipart/related; boundary=frontier"}
    yield Upload("multipart/related", _form(_build(46)), related)


def _without(tag: int, *, number: int = 60) -> bytes:
    elements = identifiers(study="1.2.7", series="1.2.8", instance=f"1.2.8.{number}")
    del elements[tag]
    return build_file(build_data_set(elements))


def _iter_identifiers() -> Iterator[Upload]:
    """Files whose identifiers are missing or odd."""
    for number, tag in enumerate((0x00080016, 0x00080018, 0x00100020, 0x0020000D, 0x0020000E)):
        yield Upload(f"missing {tag:08x}", _without(tag, number=60 + number))
        for index, value in enumerate((b"", b"  ", b"\0\0", b"1.2\0", b" 1.2", b"1.2 ")):
            data = _build(100 + 10 * number + index, {tag: ("UI", value)})
            yield Upload(f"{tag:08x} with {value!r}", data)
        if tag != 0x00080016:
            yield Upload("identifier of 300 bytes", _build(160 + number, {tag: ("UI", b"1" * 300)}))
    yield Upload("PatientID of odd length", _build(170, {0x00100020: ("LO", b"odd  ")}))
    yield Upload("PatientID without length", _build(171, {0x00100020: ("LO", b"")}))


def _iter_files() -> Iterator[Upload]:
    """Single files, whole and damaged."""
    file = _build(1)
    yield Upload("file", file)
    yield Upload("file again", file)
    yield Upload("file of another type", _build(2), {"Content-Type": "application/json"})
    yield Upload("empty", b"")
    yield Upload("text", b"hello")
    yield Upload("one byte", b"x")
    yield Upload("truncated value", _build(3)[:-3])
    yield Upload("truncated in the middle", _build(3)[:200])
    yield Upload("truncated meta", _build(3)[:150])
    yield Upload("meta alone", encode_meta())
    yield Upload("preamble alone", bytes(128) + b"DICM")
    yield Upload("zeros", bytes(128))
    yield Upload("preamble cut off", _build(3)[128:])
    yield Upload("preamble and prefix cut off", _build(4)[132:])
    yield Upload("garbage behind", _build(5) + b"garbage!")
    yield Upload("zeros behind", _build(6) + bytes(64))
    yield Upload("value too long", _build(7) + encode_element(0x40000010, "LT", "x", length=60000))
    open_sequence = encode_element(0x40000010, "SQ", b"", length=_UNDEFINED)
    yield Upload("sequence without end", _build(8) + open_sequence)
    inner = encode_sequence(0x00401001, [b"", b""], is_undefined=True)
    yield Upload("sequence of undefined length", _build(9) + inner)
    yield Upload("fragments without end", _build(50) + encode_fragments([b"ab"], is_complete=False))
    yield Upload("fragments", _build(51) + encode_fragments([b"ab"]))
    yield Upload("unknown VR", _build(52, {0x00081030: ("??", "abcd")}))
    reverse = reversed(list(identifiers(instance="1.2.8.53").items()))
    yield Upload(
        "reverse order", encode_meta() + b"".join(encode_element(t, *v) for t, v in reverse)
    )
    yield Upload("UID twice", _build(54) + encode_element(0x00080018, "UI", "1.2.8.55"))
    yield Upload("DICOMDIR", _build(56, {0x00080016: ("UI", "1.2.840.10008.1.3.10")}))


def _iter_encodings() -> Iterator[Upload]:
    """Data sets without meta header, or with one that is wrong."""
    for number, syntax in enumerate((IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG)):
        elements = identifiers(study="1.2.7", series="1.2.8", instance=f"1.2.8.7{number}")
        yield Upload(f"data set in {syntax}", build_data_set(elements, syntax=syntax))
        for other, claimed in enumerate(
            (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, "1.2.3.4", "")
        ):
            elements[0x00080018] = ("UI", f"1.2.8.8{number}{other}")
            data = build_data_set(elements, syntax=syntax)
            yield Upload(f"{syntax} claims {claimed}", build_file(data, syntax=claimed))


_UPLOADS = (*_iter_files(), *_iter_wrapped(), *_iter_identifiers(), *_iter_encodings())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Difference]]:
    """Send everything, once; after each body both hold the same."""
    results: dict[str, list[Difference]] = {}
    with run_pair(tmp_path_factory.mktemp("uploads") / "pair") as pair:
        for upload in _UPLOADS:
            answers = pair.both("POST", "/instances", upload.body, upload.headers)
            found = compare(upload.name, *answers)
            results[upload.name] = [*results.get(upload.name, []), *found]
            _level(pair)
    return results


def _level(pair: Pair) -> None:
    """Remove what only one stored, so that the next answers are comparable."""
    ours, theirs = (set(answer.json()) for answer in pair.both("GET", "/instances"))
    for server, surplus in ((pair.isocenter, ours - theirs), (pair.orthanc, theirs - ours)):
        for public_id in surplus:
            server.request("DELETE", f"/instances/{public_id}")


@pytest.mark.parametrize("name", list(dict.fromkeys(upload.name for upload in _UPLOADS)))
def test_upload_is_answered_as_by_orthanc(name: str, results: dict[str, list[Difference]]) -> None:
    assert find_unexpected(results[name], UPLOADS) == []


def test_accepted_differences_of_uploads_all_occur(results: dict[str, list[Difference]]) -> None:
    differences = [difference for found in results.values() for difference in found]
    assert find_unmet(differences, UPLOADS) == []


@pytest.mark.parametrize("is_overwriting", [False, True])
def test_file_sent_again_is_kept_or_replaced_as_by_orthanc(
    is_overwriting: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    options = {"OverwriteInstances": is_overwriting}
    versions = [_build(1, {0x00081030: ("LO", text)}) for text in ("first", "second")]
    found: list[Difference] = []
    with run_pair(tmp_path_factory.mktemp("overwriting") / "pair", options) as pair:
        for data in (_build(2), *versions, versions[1]):
            found += compare("POST", *pair.both("POST", "/instances", data))
        answer = pair.both("POST", "/instances", versions[0])[0].json()
        for target in (f"{answer['Path']}/file", "/studies?expand", "/changes", "/statistics"):
            found += compare(f"GET {target}", *pair.both("GET", target))
    expected = {"content-disposition", "body/0/Labels", "body/First"}
    assert [difference for difference in found if difference.place not in expected] == []


@pytest.mark.parametrize("is_compressed", [False, True])
def test_stored_file_has_the_place_and_the_format_of_orthanc(
    is_compressed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    options = {"StorageCompression": is_compressed}
    data = _build(1, {0x7FE00010: ("OW", bytes(10_000))})
    with run_pair(tmp_path_factory.mktemp("folders") / "pair", options) as pair:
        answers = pair.both("POST", "/instances", data)
        path = answers[0].json()["Path"]
        stored = [_read_stored(server, path) for server in (pair.isocenter, pair.orthanc)]
        found = compare("statistics", *pair.both("GET", f"{path}/statistics"))
    if is_compressed:
        assert {content[:8] for content in stored} == {len(data).to_bytes(8, "little")}
        assert [zlib.decompress(content[8:]) for content in stored] == [data, data]
        # The deflate streams differ in length; and Orthanc keeps the part before the pixels twice.
        found = [one for one in found if not re.search("DiskSize|/UncompressedSize", one.place)]
    else:
        assert stored == [data, data]
    assert found == []


def _read_stored(server: Server, path: str) -> bytes:
    name = str(server.request("GET", path).json()["FileUuid"])
    return (server.storage / name[:2] / name[2:4] / name).read_bytes()

"""Transcoding compared with Orthanc's, and checked with the tools of DCMTK."""

import io
import json
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from tests.support.dicom_files import build_instance
from tests.support.orthanc import AE_TITLE, Pair, Server, run_pair
from tests.support.pixels import build_image, build_samples
from tests.support.ports import find_free_port
from tests.support.requirements import require_program
from tests.support.samples import list_samples

_BASE = "1.2.840.10008.1.2"
_EXPLICIT = f"{_BASE}.1"
_NATIVE = [_BASE, _EXPLICIT, f"{_BASE}.2", f"{_BASE}.1.99"]
_LOSSLESS = [f"{_BASE}.{end}" for end in ("4.57", "4.70", "4.80")]
_LOSSY = [f"{_BASE}.{end}" for end in ("4.50", "4.51", "4.81")]
_ROWS, _COLUMNS = 24, 32
_COUNT = _ROWS * _COLUMNS
_TIMEOUT_S = 60

# What Orthanc writes and we do not, or in other words: a derivation that loses nothing is no
# derivation; lengths of groups are retired; references name their purpose.
_OURS = {
    *("DerivationDescription", "LossyImageCompressionRatio", "SOPInstanceUID", "PixelData"),
    *("SourceImageSequence", "DerivationCodeSequence"),
}


def _build(name: str, **image: Any) -> bytes:
    uid = f"1.2.77.{name}"
    elements = {
        0x00080008: ("CS", "ORIGINAL\\PRIMARY\\AXIAL"),
        0x0020000D: ("UI", uid),
        0x0020000E: ("UI", f"{uid}.1"),
        0x00080018: ("UI", f"{uid}.1.1"),
        0x00080060: ("CS", "OT"),
    }
    samples = image.get("samples", 1) * image.get("frames", 1) * _COUNT
    allocated = image.get("allocated", 16)
    pixels = build_samples(
        samples,
        bits=image.get("stored", allocated),
        signed=image.get("is_signed", False),
        size=allocated // 8,
    )
    return build_image(pixels, rows=_ROWS, columns=_COLUMNS, elements=elements, **image)


_IMAGES = {
    "8 bits": _build("1", allocated=8),
    "12 bits": _build("2", stored=12),
    "16 bits": _build("3"),
    "16 bits, signed": _build("4", is_signed=True),
    "12 bits, frames": _build("5", stored=12, frames=3),
    "RGB": _build("6", allocated=8, samples=3, photometric="RGB", planar=0),
    "RGB, planes": _build("7", allocated=8, samples=3, photometric="RGB", planar=1),
    "no pixels": build_instance(study="1.2.78", series="1.2.78.1", instance="1.2.78.1.1"),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with run_pair(tmp_path_factory.mktemp("transcoding") / "pair") as servers:
        servers.load(list(_IMAGES.values()))
        yield servers


def _identify(server: Server, data: bytes) -> dict[str, str]:
    """Find the identifiers of a stored file."""
    answer: dict[str, str] = server.upload(data).json()
    return answer


def _download(server: Server, data: bytes, target: str) -> bytes:
    """Get a file out of an archive that is to be transcoded."""
    study = _identify(server, data)["ParentStudy"]
    body = json.dumps({"Transcode": target}).encode()
    answer = server.request("POST", f"/studies/{study}/archive", body)
    assert answer.status == 200, answer.body
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        [name] = archive.namelist()
        return archive.read(name)


def _read(data: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(io.BytesIO(data))


def _decode(data: bytes, folder: Path) -> Any:
    """Decode a file with DCMTK."""
    syntax = _read(data).file_meta.TransferSyntaxUID.removeprefix(f"{_BASE}.")
    program = {"4.80": "dcmdjpls", "4.81": "dcmdjpls", "5": "dcmdrle"}.get(syntax, "dcmdjpeg")
    source, target = folder / "source.dcm", folder / "target.dcm"
    source.write_bytes(data)
    subprocess.run(
        [require_program(program, "dcmtk"), source, target], check=True, timeout=_TIMEOUT_S
    )
    return pydicom.dcmread(target).pixel_array


def _describe(file: pydicom.FileDataset) -> dict[str, Any]:
    """Describe a header without what differs on purpose."""
    elements = {e.keyword or str(e.tag): e for e in file if e.tag.element}
    return {name: str(e.value) for name, e in elements.items() if name not in _OURS}


@pytest.mark.parametrize("target", [*_NATIVE, *_LOSSLESS])
@pytest.mark.parametrize("name", _IMAGES)
def test_archives_hold_the_same_pixels_and_headers(
    pair: Pair, tmp_path: Path, name: str, target: str
) -> None:
    ours, theirs = (
        _download(server, _IMAGES[name], target) for server in (pair.isocenter, pair.orthanc)
    )
    a, b = _read(ours), _read(theirs)
    assert a.file_meta.TransferSyntaxUID == b.file_meta.TransferSyntaxUID
    assert a.SOPInstanceUID == b.SOPInstanceUID
    assert _describe(a) == _describe(b)
    if name != "no pixels":
        assert (_decode(ours, tmp_path) == _decode(theirs, tmp_path)).all()


def _measure_error(data: bytes, original: bytes, folder: Path) -> int:
    """Find by how much a sample has changed at most."""
    before, after = _read(original).pixel_array, _decode(data, folder)
    assert before.dtype == after.dtype
    return int(abs(before.astype(int) - after).max())


@pytest.mark.parametrize("target", _LOSSY)
@pytest.mark.parametrize("name", _IMAGES)
def test_losses_are_alike(pair: Pair, tmp_path: Path, name: str, target: str) -> None:
    ours, theirs = (
        _download(server, _IMAGES[name], target) for server in (pair.isocenter, pair.orthanc)
    )
    a, b = _read(ours), _read(theirs)
    if name == "16 bits, signed" and target.endswith(".4.81"):
        # Orthanc keeps the original, though JPEG-LS can hold it.
        assert b.file_meta.TransferSyntaxUID == _EXPLICIT
        assert a.file_meta.TransferSyntaxUID == target
        # NEAR is 2, and samples are kept as far from the ends of their range.
        assert _measure_error(ours, _IMAGES[name], tmp_path) <= 4
        return
    assert a.file_meta.TransferSyntaxUID == b.file_meta.TransferSyntaxUID
    assert (a.SOPInstanceUID == _read(_IMAGES[name]).SOPInstanceUID) == (
        b.SOPInstanceUID == _read(_IMAGES[name]).SOPInstanceUID
    )
    assert _describe(a) == _describe(b)
    assert ("SourceImageSequence" in a) == ("SourceImageSequence" in b)
    if a.file_meta.TransferSyntaxUID == target and name != "no pixels":
        x, y = (_measure_error(some, _IMAGES[name], tmp_path) for some in (ours, theirs))
        # Samples near the ends of their range change by up to twice as much (JPEG-LS).
        assert x <= 2 * y


@pytest.mark.parametrize(
    "body",
    [
        {"Transcode": "1.2.3"},
        {"Transcode": 5},
        {"Transcode": ""},
        {"Transcode": f"{_BASE}.4.100"},
    ],
    ids=str,
)
@pytest.mark.parametrize("route", ["archive", "media"])
def test_what_is_no_target_is_refused_alike(pair: Pair, route: str, body: Any) -> None:
    results = []
    for server in (pair.isocenter, pair.orthanc):
        study = _identify(server, _IMAGES["8 bits"])["ParentStudy"]
        answer = server.request("POST", f"/studies/{study}/{route}", json.dumps(body).encode())
        code = answer.json()["OrthancStatus"] if answer.status != 200 else 0
        results.append((answer.status, code))
    assert results[0] == results[1]


@pytest.mark.parametrize("target", [f"{_BASE}.4.70", f"{_BASE}.4.50", f"{_BASE}.4.100"])
def test_edited_copies_are_transcoded_alike(pair: Pair, tmp_path: Path, target: str) -> None:
    results = []
    for server in (pair.isocenter, pair.orthanc):
        instance = _identify(server, _IMAGES["8 bits"])["ID"]
        body = {"Replace": {"PatientName": "X"}, "Transcode": target}
        answer = server.request("POST", f"/instances/{instance}/modify", json.dumps(body).encode())
        if answer.status == 200:
            file = _read(answer.body)
            results.append((200, str(file.file_meta.TransferSyntaxUID), file.PatientName))
            _decode(answer.body, tmp_path)
        else:
            results.append((answer.status, "", ""))
    assert results[0] == results[1]


@pytest.mark.parametrize("target", [f"{_BASE}.4.70", f"{_BASE}.4.50", f"{_BASE}.4.100"])
@pytest.mark.parametrize("operation", ["modify", "anonymize"])
def test_edited_studies_are_transcoded_alike(pair: Pair, operation: str, target: str) -> None:
    results = []
    for server in (pair.isocenter, pair.orthanc):
        study = _identify(server, _IMAGES["8 bits"])["ParentStudy"]
        body = json.dumps({"Transcode": target}).encode()
        answer = server.request("POST", f"/studies/{study}/{operation}", body)
        assert answer.status == 200, answer.body
        created = answer.json()["ID"]
        [instance] = server.request("GET", f"/studies/{created}/instances").json()
        file = _read(server.request("GET", f"/instances/{instance['ID']}/file").body)
        syntax = server.request("GET", f"/instances/{instance['ID']}/metadata/TransferSyntax").body
        results.append((str(file.file_meta.TransferSyntaxUID), syntax, _describe_loss(file)))
        server.request("DELETE", f"/studies/{created}")
    assert results[0] == results[1]


def _describe_loss(file: pydicom.FileDataset) -> tuple[Any, ...]:
    names = ("LossyImageCompression", "LossyImageCompressionMethod", "PhotometricInterpretation")
    return tuple(file.get(name) for name in names)


_TO_INGEST = [
    pytest.param({"IngestTranscoding": f"{_BASE}.4.70"}, id="lossless"),
    pytest.param({"IngestTranscoding": f"{_BASE}.4.50"}, id="lossy"),
    pytest.param(
        {"IngestTranscoding": f"{_BASE}.4.70", "IngestTranscodingOfUncompressed": False},
        id="compressed only",
    ),
    pytest.param(
        {"IngestTranscoding": _EXPLICIT, "IngestTranscodingOfCompressed": False},
        id="uncompressed only",
    ),
]


@pytest.mark.parametrize("options", _TO_INGEST)
def test_what_arrives_is_transcoded_alike(tmp_path: Path, options: dict[str, Any]) -> None:
    packed = _pack(_IMAGES["12 bits"], tmp_path)
    with run_pair(tmp_path / "pair", {**options, "OverwriteInstances": False}) as pair:
        for data in (*list(_IMAGES.values())[:-1], packed):
            uid = _read(data).SOPInstanceUID
            results = []
            for server in (pair.isocenter, pair.orthanc):
                answer = server.upload(data).json()
                file = _read(server.request("GET", f"{answer['Path']}/file").body)
                server.request("DELETE", answer["Path"])
                results.append(
                    (
                        answer["Status"],
                        str(file.file_meta.TransferSyntaxUID),
                        file.SOPInstanceUID == uid,
                        _describe_loss(file),
                    )
                )
            assert results[0] == results[1]


def _pack(data: bytes, folder: Path) -> bytes:
    """Compress a file with DCMTK."""
    source, target = folder / "plain.dcm", folder / "packed.dcm"
    source.write_bytes(data)
    subprocess.run(
        [require_program("dcmcjpls", "dcmtk"), source, target], check=True, timeout=_TIMEOUT_S
    )
    return target.read_bytes()


@pytest.mark.parametrize(
    "program", ["dcmcjpeg +el", "dcmcjpeg +e1", "dcmcjpeg +eb", "dcmcjpls", "dcmcrle"]
)
@pytest.mark.parametrize("name", ["8 bits", "RGB", "RGB, planes"])
def test_files_of_dcmtk_are_decoded_as_by_dcmtk(
    pair: Pair, tmp_path: Path, name: str, program: str
) -> None:
    command, *options = program.split()
    source, target = tmp_path / "plain.dcm", tmp_path / "packed.dcm"
    source.write_bytes(_IMAGES[name])
    subprocess.run(
        [require_program(command, "dcmtk"), *options, source, target],
        check=True,
        timeout=_TIMEOUT_S,
    )
    instance = _identify(pair.isocenter, target.read_bytes())
    answer = pair.isocenter.request("GET", f"{instance['Path']}/file?transcode={_EXPLICIT}")
    assert answer.status == 200, answer.body
    difference = _read(answer.body).pixel_array.astype(int) - _decode(target.read_bytes(), tmp_path)
    # Upsampling of colors and inverse transforms may be rounded in another way.
    assert abs(difference).max() <= (12 if "+eb" in options else 0)
    pair.isocenter.request("DELETE", instance["Path"])


def test_samples_are_transcoded_as_by_dcmtk(pair: Pair, tmp_path: Path) -> None:
    packed = [_download(pair.isocenter, _IMAGES[name], f"{_BASE}.5") for name in ("RGB", "16 bits")]
    for data in packed:
        plain = next(image for image in _IMAGES.values() if _is_same(image, data))
        expected = _read(plain).pixel_array
        assert (_decode(data, tmp_path) == expected).all()


def _is_same(one: bytes, other: bytes) -> bool:
    return bool(_read(one).SOPInstanceUID == _read(other).SOPInstanceUID)


@pytest.mark.parametrize("path", list_samples(), ids=lambda path: path.name)
def test_real_files_survive_every_lossless_pair(pair: Pair, path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    answer = pair.isocenter.upload(data)
    if answer.status != 200 or not isinstance(answer.json(), dict):
        pytest.skip("the sample is refused, or a ZIP archive; `test_uploads` compares the answers")
    instance = answer.json()["Path"]
    try:
        plain = pair.isocenter.request("GET", f"{instance}/file?transcode={_EXPLICIT}")
        assert plain.status == 200, plain.body
        if "PixelData" not in _read(plain.body):
            return
        expected = _read(plain.body)
        for target in (*_LOSSLESS, f"{_BASE}.5"):
            packed = pair.isocenter.request("GET", f"{instance}/file?transcode={target}")
            if expected.BitsAllocated == 1 or "PixelRepresentation" not in expected:
                continue
            assert packed.status == 200, packed.body
            assert (_decode(packed.body, tmp_path) == expected.pixel_array).all()
    finally:
        pair.isocenter.request("DELETE", instance)


@pytest.mark.parametrize("option", ["+xs", "+xt", "+xd", "+xi", "+xr"])
def test_receiver_gets_what_it_accepts(pair: Pair, tmp_path: Path, option: str) -> None:
    """A receiver of DCMTK proposes one compression, and the plain syntaxes with it."""
    port = find_free_port()
    packed = _pack(_IMAGES["12 bits"], tmp_path)
    stored = _identify(pair.isocenter, packed)
    received = tmp_path / "received"
    received.mkdir()
    with subprocess.Popen(
        [require_program("storescp", "dcmtk"), option, "-od", str(received), str(port)]
    ) as receiver:
        try:
            pair.isocenter.request(
                "PUT", "/modalities/receiver", json.dumps(["RECEIVER", "127.0.0.1", port]).encode()
            )
            answer = pair.isocenter.request(
                "POST",
                "/modalities/receiver/store",
                json.dumps({"Resources": [stored["ID"]], "Retries": 20}).encode(),
            )
            assert answer.status == 200, answer.body
            [path] = received.iterdir()
            file = pydicom.dcmread(path)
            assert file.file_meta.TransferSyntaxUID in _NATIVE
            assert (file.pixel_array == _read(_IMAGES["12 bits"]).pixel_array).all()
        finally:
            receiver.terminate()


@pytest.mark.parametrize("option", ["+xi", "+xs", "+xr", "+xt", "+x="])
def test_getscu_gets_what_it_accepts(tmp_path: Path, option: str) -> None:
    with run_pair(tmp_path / "pair", {"DicomAlwaysAllowGet": True}) as pair:
        packed = _pack(_IMAGES["12 bits"], tmp_path)
        _identify(pair.isocenter, packed)
        folder = tmp_path / "got"
        folder.mkdir()
        study = _read(packed).StudyInstanceUID
        subprocess.run(
            [
                *(require_program("getscu", "dcmtk"), option, "-S", "-aec", AE_TITLE),
                *("-k", "0008,0052=STUDY", "-k", f"0020,000d={study}", "-od", str(folder)),
                *("127.0.0.1", str(pair.isocenter.dicom_port)),
            ],
            check=True,
            timeout=_TIMEOUT_S,
        )
        [path] = folder.iterdir()
        plain = _decode(path.read_bytes(), tmp_path)
        assert (plain == _read(_IMAGES["12 bits"]).pixel_array).all()

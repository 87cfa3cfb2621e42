"""Synthetic instances: two templates whose identifiers are overwritten in place.

An instance is named by three numbers (`InstanceKey`). Every text derived from them has a fixed
length, so a new instance costs a handful of short copies, not an encoder.
"""

import hashlib
import random
import subprocess
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from benchmarks.failures import BenchmarkError, find_program
from benchmarks.headers import build_header

_UID_ROOT = "1.2.826.0.1.3680043.8.498.42"
_SEED = 42
# The standard deviation that makes JPEG lossless need about 54 kB for 256 x 256 pixels.
_MR_NOISE = 10.5
# Changes of the generator make earlier cached templates useless: count this up.
_CACHE_VERSION = 1


@dataclass(frozen=True, slots=True)
class InstanceKey:
    """Number of the study, of the series in it, and of the instance in that."""

    study: int
    series: int
    instance: int

    @property
    def patient_id(self) -> str:
        """Patient ID; each study has a patient of its own."""
        return f"BENCH{self.study:08d}"

    @property
    def patient_name(self) -> str:
        """Patient's Name, fictitious."""
        return f"Phantom^Number{self.study:08d}"

    @property
    def study_instance_uid(self) -> str:
        """Study Instance UID."""
        return f"{_UID_ROOT}.1.1{self.study:08d}"

    @property
    def series_instance_uid(self) -> str:
        """Series Instance UID."""
        return f"{_UID_ROOT}.2.1{self.study:08d}.1{self.series:03d}"

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID."""
        return f"{_UID_ROOT}.3.1{self.study:08d}.1{self.series:03d}.1{self.instance:05d}"

    @property
    def instance_number(self) -> str:
        """Instance Number, padded to a fixed length as IS allows (PS3.5 §6.2)."""
        return f"{self.instance + 1:<6d}"

    @property
    def public_study_id(self) -> str:
        """Orthanc's identifier of the study."""
        return _build_public_id(self.patient_id, self.study_instance_uid)

    @property
    def public_id(self) -> str:
        """Orthanc's identifier of the instance."""
        return _build_public_id(
            self.patient_id,
            self.study_instance_uid,
            self.series_instance_uid,
            self.sop_instance_uid,
        )


_FIELDS = (
    "patient_id",
    "patient_name",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "instance_number",
)
# Unlikely digits, so that the placeholders are found nowhere else in a file.
_PLACEHOLDER = InstanceKey(study=98765432, series=987, instance=98764)


def _build_public_id(*parts: str) -> str:
    """Orthanc's identifier: SHA-1 of the joined DICOM identifiers, in five groups."""
    digest = hashlib.sha1("|".join(parts).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))


class Template:
    """One encoded instance and the places of its identifiers.

    Parameters
    ----------
    content
        A DICOM file that carries the identifiers of the placeholder.

    Raises
    ------
    BenchmarkError
        If an identifier does not occur where the standard puts it.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._slots = tuple(
            (offset, field) for field in _FIELDS for offset in _find_all(content, field)
        )

    def patch(self, buffer: bytearray, key: InstanceKey, *, start: int = 0) -> None:
        """Give the file that starts at ``start`` of ``buffer`` the identifiers of ``key``."""
        for offset, field in self._slots:
            text = getattr(key, field).encode("ascii")
            buffer[start + offset : start + offset + len(text)] = text

    def render(self, key: InstanceKey) -> bytearray:
        """Build the DICOM file of one instance."""
        buffer = bytearray(self.content)
        self.patch(buffer, key)
        return buffer


def _find_all(content: bytes, field: str) -> list[int]:
    """Offsets of one identifier of the placeholder."""
    text = getattr(_PLACEHOLDER, field).encode("ascii")
    offsets = []
    offset = content.find(text)
    while offset >= 0:
        offsets.append(offset)
        offset = content.find(text, offset + 1)
    # The SOP Instance UID also stands in the file meta information (PS3.10 §7.1).
    expected = 2 if field == "sop_instance_uid" else 1
    if len(offsets) != expected:
        raise BenchmarkError(f"template: {field} occurs {len(offsets)} times, not {expected}")
    return offsets


def study_keys(study: int, series: int, instances: int) -> list[InstanceKey]:
    """Keys of one study of ``series`` series with ``instances`` instances each."""
    return [InstanceKey(study, s, i) for s in range(series) for i in range(instances)]


def encode_file(header: Dataset, *, key: InstanceKey = _PLACEHOLDER) -> bytes:
    """Encode a data set as a DICOM file in Explicit VR Little Endian.

    Parameters
    ----------
    header
        The data set; it receives the identifiers.
    key
        The identifiers.

    Returns
    -------
    bytes
        The file with preamble and file meta information.

    References
    ----------
    PS3.10 §7.1
    """
    header.PatientID = key.patient_id
    header.PatientName = key.patient_name
    header.StudyInstanceUID = key.study_instance_uid
    header.SeriesInstanceUID = key.series_instance_uid
    header.FrameOfReferenceUID = f"{_UID_ROOT}.4.1"
    header.SOPInstanceUID = key.sop_instance_uid
    header.InstanceNumber = key.instance + 1
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian)
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    stream = BytesIO()
    dcmwrite(stream, header, enforce_file_format=True)
    return stream.getvalue()


def _iter_pixels(edge: int, noise: float) -> Iterator[int]:
    """Yield 12-bit values of a round phantom with Gaussian noise."""
    generator = random.Random(_SEED)
    center = edge / 2
    for row in range(edge):
        for column in range(edge):
            inside = (row - center) ** 2 + (column - center) ** 2 < (0.4 * edge) ** 2
            level = 900 + column * 200 / edge if inside else 120
            yield min(4095, max(0, round(generator.gauss(level, noise))))


def _build_native(modality: str) -> bytes:
    """Build the uncompressed template of a modality."""
    header = build_header(modality)
    edge = int(header.Rows)
    pixels = array("H", _iter_pixels(edge, _MR_NOISE if modality == "MR" else 30.0))
    header.add_new("PixelData", "OW", pixels.tobytes())
    return encode_file(header)


def _compress(native: Path, compressed: Path) -> None:
    """Compress with JPEG lossless SV1 (1.2.840.10008.1.2.4.70), which keeps the identifiers."""
    subprocess.run([find_program("dcmcjpeg"), "+e1", native, compressed], check=True)


def load_template(modality: str, cache: Path) -> Template:
    """Load the template of a modality, building it at the first call.

    Parameters
    ----------
    modality
        ``CT`` (native, 525 kB) or ``MR`` (JPEG lossless SV1, 54 kB).
    cache
        Folder that keeps the templates between runs.

    Returns
    -------
    Template
        Ready to be patched.

    Raises
    ------
    BenchmarkError
        If DCMTK is not installed.
    """
    path = cache / f"{modality.lower()}-{_CACHE_VERSION}.dcm"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        native = path.with_suffix(".native")
        native.write_bytes(_build_native(modality))
        if modality == "MR":
            _compress(native, path)
            native.unlink()
        else:
            native.rename(path)
    return Template(path.read_bytes())


def write_files(template: Template, keys: list[InstanceKey], folder: Path) -> None:
    """Write one file per key into a new folder."""
    folder.mkdir(parents=True)
    for number, key in enumerate(keys):
        (folder / f"{number:05d}.dcm").write_bytes(template.render(key))

"""The DICOM protocol against other implementations: pynetdicom and DCMTK, in both directions."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation, UserIdentityNegotiation

from isocenter.dimse.acceptor import AcceptorOptions, AssociationAcceptor
from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import build_proposals
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget, open_association
from isocenter.dimse.user_information import RoleSelection, UserIdentity
from isocenter.errors import AssociationRejectedError, RemoteError
from isocenter.scu.echo import send_echo
from isocenter.scu.store import InstanceToStore, build_storage_contexts, open_storage_association
from tests.support.scripted_peer import (
    DEADLINE_S,
    EXPLICIT_VR,
    MR_IMAGE_STORAGE,
    PATIENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    VERIFICATION,
    RecordingHandler,
    answer_success,
)

DCMTK_TOOLS = ("echoscu", "storescu", "storescp")
needs_dcmtk = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in DCMTK_TOOLS), reason="DCMTK is not installed"
)

LENGTHS = (0, 1000, 54_000, 600_000)


def build_data_set(length: int) -> Dataset:
    """Build a synthetic instance with about ``length`` bytes of pixel data."""
    data_set = Dataset()
    data_set.SOPClassUID = MR_IMAGE_STORAGE
    data_set.SOPInstanceUID = generate_uid()
    data_set.PatientName = "Test^Synthetic"
    data_set.PatientID = "T1"
    data_set.StudyInstanceUID = "1.2.3"
    data_set.SeriesInstanceUID = "1.2.3.4"
    data_set.add_new(0x7FE00010, "OW", bytes(length))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    data_set.file_meta = meta
    return data_set


def encode_data_set(data_set: Dataset) -> bytes:
    """Encode without file meta information, in explicit VR little endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, data_set)
    return buffer.getvalue()


def decode_data_set(content: bytes | None) -> Dataset:
    """Decode what `encode_data_set` wrote."""
    assert content is not None
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    buffer.write(content)
    buffer.seek(0)
    return dcmread(buffer, force=True) if not content else _read_plain(content)


def target(port: int, *, ssl_context: ssl.SSLContext | None = None) -> AssociationTarget:
    return AssociationTarget(
        "127.0.0.1", port, "REMOTE", "LOCAL", DEADLINE_S, ssl_context=ssl_context
    )

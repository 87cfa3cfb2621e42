"""The DICOM protocol: what both servers negotiate, whom they admit, how they answer C-STORE."""

import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import pynetdicom.sop_class
import pytest
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import EVT_PDU_RECV, Event
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.presentation import PresentationContext
from tests.interop.accepted import NEWER_SYNTAXES, NO_ANSWER, STORE
from tests.support.dicom_files import (
    CT_IMAGE_STORAGE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    build_data_set,
    encode_element,
    encode_meta,
    identifiers,
)
from tests.support.orthanc import AE_TITLE, Pair, Server, run_pair

from isocenter.dicom.sop_classes import STORAGE_SOP_CLASSES
from isocenter.dicom.transfer_syntaxes import TRANSFER_SYNTAXES

_VERIFICATION = "1.2.840.10008.1.1"
_MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_JPEG_LS = "1.2.840.10008.1.2.4.80"
_JPEG_2000 = "1.2.840.10008.1.2.4.91"
_UNKNOWN = "1.2.826.0.1.3680043.2.1"
_TIMEOUT_S = 10
# Where no answer is expected.
_PATIENCE_S = 1.0
_MOST_CONTEXTS = 128

# What a requestor may offer together in one presentation context.
_OFFERS = (
    (IMPLICIT_LITTLE, EXPLICIT_LITTLE),
    (EXPLICIT_LITTLE, IMPLICIT_LITTLE),
    (EXPLICIT_BIG, IMPLICIT_LITTLE),
    (EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE),
    (_JPEG_BASELINE, EXPLICIT_LITTLE),
    (_DEFLATED, IMPLICIT_LITTLE),
    (IMPLICIT_LITTLE, _JPEG_2000, _JPEG_LS),
    (_UNKNOWN, _JPEG_2000, _JPEG_LS),
    (_UNKNOWN,),
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers, open to everybody."""
    with run_pair(tmp_path_factory.mktemp("storage-service") / "pair") as pair:
        yield pair


def _associate(
    server: Server,
    contexts: list[PresentationContext],
    *,
    calling: str = "SENDER",
    called: str = AE_TITLE,
    rejections: list[tuple[int | None, ...]] | None = None,
) -> Association:
    """Open an association; the reasons of a rejection go to the list."""

    def take_note(event: Event) -> None:
        if rejections is not None and isinstance(event.pdu, A_ASSOCIATE_RJ):
            rejections.append((event.pdu.result, event.pdu.source, event.pdu.reason_diagnostic))

    ae = AE(calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = _TIMEOUT_S
    return ae.associate(
        "127.0.0.1",
        server.dicom_port,
        contexts=contexts,
        ae_title=called,
        evt_handlers=[(EVT_PDU_RECV, take_note)],
    )


def _negotiate(server: Server, offers: Sequence[tuple[str, Sequence[str]]]) -> list[str | None]:
    """Propose contexts; answer the transfer syntax of each, or ``None``."""
    chosen: list[str | None] = []
    for start in range(0, len(offers), _MOST_CONTEXTS):
        part = offers[start : start + _MOST_CONTEXTS]
        association = _associate(
            server, [build_context(abstract, list(syntaxes)) for abstract, syntaxes in part]
        )
        answers = {c.context_id: str(c.transfer_syntax[0]) for c in association.accepted_contexts}
        association.release()
        # pynetdicom numbers its contexts 1, 3, 5, …
        chosen.extend(answers.get(2 * index + 1) for index in range(len(part)))
    return chosen


def _list_sop_classes() -> list[str]:
    named = (getattr(pynetdicom.sop_class, name) for name in dir(pynetdicom.sop_class))
    known = {str(uid) for uid in named if isinstance(uid, pynetdicom.sop_class.SOPClass)}
    return sorted({*known, *STORAGE_SOP_CLASSES, _UNKNOWN, f"{CT_IMAGE_STORAGE}.99"})


def test_sop_classes_are_negotiated_as_by_orthanc(pair: Pair) -> None:
    classes = _list_sop_classes()
    offers = [(uid, (IMPLICIT_LITTLE, EXPLICIT_LITTLE)) for uid in classes]
    ours, theirs = (_negotiate(server, offers) for server in (pair.isocenter, pair.orthanc))
    different = {
        uid
        for uid, one, other in zip(classes, ours, theirs, strict=True)
        # Newer storage classes that Orthanc 1.10 does not know are accepted.
        if one != other and not (other is None and uid in STORAGE_SOP_CLASSES)
    }
    assert not different


def test_transfer_syntaxes_are_negotiated_as_by_orthanc(pair: Pair) -> None:
    offers = [
        *((CT_IMAGE_STORAGE, (uid,)) for uid in sorted(TRANSFER_SYNTAXES)),
        *((CT_IMAGE_STORAGE, offer) for offer in _OFFERS),
        *((_VERIFICATION, offer) for offer in _OFFERS),
    ]
    ours, theirs = (_negotiate(server, offers) for server in (pair.isocenter, pair.orthanc))
    different = {
        offer
        for offer, one, other in zip(offers, ours, theirs, strict=True)
        if one != other and not (other is None and offer[1][0] in NEWER_SYNTAXES)
    }
    # Of these two, ours is implicit little endian; big endian is retired (PS3.5 §A.3).
    assert different == {(_VERIFICATION, (EXPLICIT_BIG, IMPLICIT_LITTLE))}


@pytest.mark.parametrize("called", [AE_TITLE, AE_TITLE.lower(), "OTHER", f"{AE_TITLE}X"])
@pytest.mark.parametrize("calling", ["KNOWN", "known", "STRANGER", "ECHOING"])
@pytest.mark.parametrize("abstract_syntax", [_VERIFICATION, CT_IMAGE_STORAGE])
def test_callers_are_admitted_as_by_orthanc(
    called: str, calling: str, abstract_syntax: str, strict_pair: Pair
) -> None:
    contexts = [build_context(abstract_syntax)]
    outcomes = []
    for server in (strict_pair.isocenter, strict_pair.orthanc):
        rejections: list[tuple[int | None, ...]] = []
        association = _associate(
            server, contexts, calling=calling, called=called, rejections=rejections
        )
        outcomes.append(rejections or _use(association))
    assert outcomes[0] == outcomes[1]


@pytest.fixture(scope="module")
def strict_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers, open to known modalities under the right title only."""
    options = {
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomModalities": {
            "known": ["KNOWN", "127.0.0.1", 104],
            "echoing": {
                "AET": "ECHOING",
                "Host": "127.0.0.1",
                "Port": 104,
                "AllowEcho": True,
                "AllowStore": False,
            },
        },
    }
    with run_pair(tmp_path_factory.mktemp("strict") / "pair", options) as pair:
        yield pair


def _use(association: Association) -> str | int:
    """Use the one service that was proposed; answer its status."""
    if not association.is_established:
        return "no context"
    context = association.accepted_contexts[0]
    if context.abstract_syntax == _VERIFICATION:
        outcome: str | int = association.send_c_echo().get("Status", NO_ANSWER)
    else:
        syntax = context.transfer_syntax[0]
        data = build_data_set(identifiers(), syntax=syntax)
        outcome = _send(association, Store("", data, syntax=syntax))
    association.abort() if outcome == NO_ANSWER else association.release()
    return outcome


@dataclass(frozen=True, slots=True)
class Store:
    """A C-STORE request."""

    name: str
    data: bytes
    sop_instance_uid: str = "1.2.3.1.1.1"
    sop_class_uid: str = CT_IMAGE_STORAGE
    syntax: str = EXPLICIT_LITTLE


def _send(association: Association, store: Store, *, timeout_s: float = _TIMEOUT_S) -> int | str:
    """Send a request with its data set as it is; answer the status, or that there is none."""
    request = C_STORE()
    request.MessageID = 1
    request.Priority = 2
    request.AffectedSOPClassUID = store.sop_class_uid
    request.AffectedSOPInstanceUID = store.sop_instance_uid
    request.DataSet = BytesIO(store.data)
    context_id = association.accepted_contexts[0].context_id or 0
    # As pynetdicom's own send_c_store does: its reactor must not take the answer.
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, context_id)
    status = _receive_status(association, timeout_s)
    association._reactor_checkpoint.set()
    return status


def _receive_status(association: Association, timeout_s: float) -> int | str:
    try:
        _, response = association.dimse.msg_queue.get(timeout=timeout_s)
    except queue.Empty:
        return NO_ANSWER
    return NO_ANSWER if response is None or response.Status is None else int(response.Status)


def _iter_stores() -> Iterator[Store]:
    def build(**changes: tuple[str, bytes | str] | None) -> bytes:
        elements = dict(identifiers())
        for name, element in changes.items():
            tag = int(name.removeprefix("x"), 16)
            elements.pop(tag, None)
            if element is not None:
                elements[tag] = element
        return build_data_set(elements)

    whole = build()
    yield Store("the instance", whole)
    for tag in ("00080016", "00080018", "00100020", "0020000d", "0020000e"):
        yield Store(f"missing {tag}", build(**{f"x{tag}": None}), "1.2.3.1.1.1")
        yield Store(f"empty {tag}", build(**{f"x{tag}": ("UI", "")}), "1.2.3.1.1.1")
    yield Store("another instance announced", whole, "1.2.3.9")
    yield Store("another class announced", whole, sop_class_uid=_MR_IMAGE_STORAGE)
    yield Store("an announced UID with blanks", build(x00080018=("UI", b"1.2.3.1.1.1 ")))
    for syntax in (IMPLICIT_LITTLE, EXPLICIT_BIG):
        data = build_data_set(identifiers(instance=f"{syntax}.1"), syntax=syntax)
        yield Store(f"instance in {syntax}", data, f"{syntax}.1", syntax=syntax)
        yield Store(f"{syntax} in a context of explicit little endian", data, f"{syntax}.1")
        yield Store(f"explicit little endian in a context of {syntax}", whole, syntax=syntax)
    yield Store("truncated", whole[:-3])
    yield Store("truncated in a header", whole[:-14])
    yield Store("garbage", b"\x7f\x03garbage" * 5)
    yield Store("garbage behind", build(x00080018=("UI", "1.2.3.1.1.2")) + b"gar", "1.2.3.1.1.2")
    yield Store("a whole file", encode_meta() + whole)
    meta = encode_element(0x00020010, "UI", IMPLICIT_LITTLE)
    yield Store("meta elements in front", meta + whole)


_STORES = tuple(_iter_stores())


@pytest.mark.parametrize("store", _STORES, ids=[store.name for store in _STORES])
def test_store_is_answered_as_by_orthanc(store: Store, pair: Pair) -> None:
    accepted = STORE.get(store.name)
    ours = _store(pair.isocenter, store, timeout_s=_TIMEOUT_S)
    has_answer = accepted is None or accepted.theirs[0] != NO_ANSWER
    theirs = _store(pair.orthanc, store, timeout_s=_TIMEOUT_S if has_answer else _PATIENCE_S)
    if accepted is None:
        assert ours == theirs
    else:
        assert (ours, theirs) == (accepted.ours, accepted.theirs)


def _store(server: Server, store: Store, *, timeout_s: float) -> tuple[int | str, int]:
    """Send one request; answer the status and the number of instances, then empty the server."""
    association = _associate(server, [build_context(store.sop_class_uid, store.syntax)])
    status = _send(association, store, timeout_s=timeout_s)
    association.abort() if status == NO_ANSWER else association.release()
    count = int(server.request("GET", "/statistics").json()["CountInstances"])
    for public_id in server.request("GET", "/instances").json():
        server.request("DELETE", f"/instances/{public_id}")
    return status, count

"""What the DICOM door takes and how text is read, changed at run time."""

from collections.abc import Iterator

import pytest
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api

from isocenter.archive.acceptance import build_acceptance
from isocenter.dicom.sop_classes import STORAGE_SOP_CLASSES
from isocenter.dicom.transfer_syntaxes import TRANSFER_SYNTAXES

pytestmark = pytest.mark.asyncio(loop_scope="module")

JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in range(50, 60)}
# Behaviour manual §15.5.
ENCODINGS = (
    *("Ascii", "Utf8", "Latin1", "Latin2", "Latin3", "Latin4", "Latin5", "Cyrillic", "Windows1251"),
    *("Arabic", "Greek", "Hebrew", "Thai", "Japanese", "JapaneseKanji", "Korean"),
    *("SimplifiedChinese", "Chinese"),
)


@pytest.fixture(autouse=True)
def _restored(api: Api) -> Iterator[None]:
    yield
    configured = build_acceptance(api.configuration)
    api.archive.acceptance.transfer_syntaxes = configured.transfer_syntaxes
    api.archive.acceptance.has_unknown_classes = configured.has_unknown_classes
    api.archive.settings.default_encoding = "Latin1"


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_default_encoding_is_set_in_any_case_and_answered(api: Api, encoding: str) -> None:
    for text in (encoding, encoding.lower(), encoding.upper()):
        result = await api.request("PUT", "/tools/default-encoding", body=text.encode())
        assert (result.status_code, result.text) == (200, encoding)
        assert (await api.get("/tools/default-encoding")).text == encoding


@pytest.mark.parametrize("body", [b"", b"Latin6", b'"Utf8"', b"Utf8 ", b"ISO_IR 100", b"\xff"])
async def test_unknown_default_encoding_is_refused(api: Api, body: bytes) -> None:
    result = await api.request("PUT", "/tools/default-encoding", body=body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 3)
    assert (await api.get("/tools/default-encoding")).text == "Latin1"


async def test_default_encoding_counts_at_once_for_old_and_new_files(api: Api) -> None:
    name = "Иванов"
    encoded = {0x00100010: ("PN", name.encode("iso8859-5"))}
    old = await api.store(build_synthetic(encoded))
    tags = f"/instances/{old.instance}/simplified-tags"
    assert (await api.get_json(tags))["PatientName"] != name
    await api.request("PUT", "/tools/default-encoding", body=b"Cyrillic")
    assert (await api.get_json(tags))["PatientName"] == name
    new = await api.store(build_synthetic(encoded))
    assert (await api.get_json(f"/patients/{new.patient}"))["MainDicomTags"]["PatientName"] == name
    await api.request("PUT", "/tools/default-encoding", body=b"Latin1")
    assert (await api.get_json(tags))["PatientName"] != name


async def test_all_known_transfer_syntaxes_are_accepted_at_first(api: Api) -> None:
    listed = await api.get_json("/tools/accepted-transfer-syntaxes")
    assert listed == sorted(TRANSFER_SYNTAXES)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('["1.2.840.10008.1.2"]', {"1.2.840.10008.1.2"}),
        ('["1.2.840.10008.1.2.4.5*","1.2.840.10008.1.2"]', JPEG | {"1.2.840.10008.1.2"}),
        ('"1.2.840.10008.1.2.4.5?"', JPEG),
        ("1.2.840.10008.1.2.4.5?", JPEG),
        ("*", set(TRANSFER_SYNTAXES)),
        ("1.2.840.10008.1.2.5", {"1.2.840.10008.1.2.5"}),
        ('["1.2.840.10008.1.2.5","1.2.840.10008.1.2.5"]', {"1.2.840.10008.1.2.5"}),
        ('["1.3.46.670589.33.1.4.1"]', {"1.3.46.670589.33.1.4.1"}),
        ('["nothing", ""]', set()),
        ("[]", set()),
        ("", set()),
    ],
)
async def test_accepted_transfer_syntaxes_are_set_by_patterns(
    api: Api, body: str, expected: set[str]
) -> None:
    result = await api.request("PUT", "/tools/accepted-transfer-syntaxes", body=body.encode())
    assert (result.status_code, result.json) == (200, sorted(expected))
    assert await api.get_json("/tools/accepted-transfer-syntaxes") == sorted(expected)
    assert set(api.archive.acceptance.transfer_syntaxes) == expected


@pytest.mark.parametrize("body", ["{}", "[1]", "null", "5", "true", '["' + "1" * 200 + '"]'])
async def test_accepted_transfer_syntaxes_of_wrong_type_are_refused(api: Api, body: str) -> None:
    result = await api.request("PUT", "/tools/accepted-transfer-syntaxes", body=body.encode())
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)
    assert len(await api.get_json("/tools/accepted-transfer-syntaxes")) == len(TRANSFER_SYNTAXES)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[\xff]", b'"\xff"', b"[" * 5000])
async def test_accepted_transfer_syntaxes_of_no_text_are_no_bug(api: Api, body: bytes) -> None:
    result = await api.request("PUT", "/tools/accepted-transfer-syntaxes", body=body)
    assert result.status_code in {200, 400}


async def test_pattern_of_many_asterisks_takes_no_time(api: Api) -> None:
    # With plain backtracking this would take longer than the sun will shine.
    body = b'["' + b"*1" * 60 + b'x"]'
    result = await api.request("PUT", "/tools/accepted-transfer-syntaxes", body=body)
    assert (result.status_code, result.json) == (200, [])


async def test_huge_list_of_transfer_syntaxes_is_413(api: Api) -> None:
    result = await api.request("PUT", "/tools/accepted-transfer-syntaxes", body=b" " * 70_000)
    assert result.status_code == 413


async def test_accepted_sop_classes_are_listed(api: Api) -> None:
    assert await api.get_json("/tools/accepted-sop-classes") == sorted(STORAGE_SOP_CLASSES)


async def test_unknown_sop_classes_are_accepted_on_demand(api: Api) -> None:
    path = "/tools/unknown-sop-class-accepted"
    assert (await api.get(path)).text == "0"
    for body, expected in ((b"1", "1"), (b"false", "0"), (b"true", "1")):
        result = await api.request("PUT", path, body=body)
        assert (result.status_code, result.content) == (200, b"")
        assert (await api.get(path)).text == expected
        assert api.archive.acceptance.is_stored("1.2.3.4") == (expected == "1")
    refused = await api.request("PUT", path, body=b"yes")
    assert (refused.status_code, refused.json["OrthancStatus"]) == (400, 15)


async def test_conformance_statement_follows_what_is_accepted(api: Api) -> None:
    statement = await api.get("/tools/dicom-conformance")
    assert statement.headers["content-type"] == "text/plain"
    assert "1.2.840.10008.1.2.4.70" in statement.text
    await api.request("PUT", "/tools/accepted-transfer-syntaxes", body=b'["1.2.840.10008.1.2"]')
    assert "1.2.840.10008.1.2.4.70" not in (await api.get("/tools/dicom-conformance")).text

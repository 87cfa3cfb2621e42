"""The bytes of single elements."""

import pytest
from tests.support.dicom_files import encode_element, encode_fragments, encode_sequence
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
UNKNOWN = "-".join(["11111111"] * 5)
PIXELS = 0x7FE00010
# More than is answered at once.
LARGE = bytes(range(256)) * 10_000


def build_nested() -> SyntheticFile:
    code = encode_sequence(0x0040A168, [encode_element(0x00080100, "SH", "T1 ")])
    sequence = encode_sequence(0x0040A730, [b"", code])
    return build_synthetic({0x00100010: ("PN", "DOE^JANE ")}, tail=sequence)


def build_target(file: SyntheticFile, path: str) -> str:
    return f"/instances/{file.instance}/content{path}"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/0040-a730", ["0", "1"]),
        ("/ContentSequence/", ["0", "1"]),
        ("/0040A730/0", []),
        ("/0040,a730/1", ["0040-a168"]),
        ("/0040-a730/01/0040-a168", ["0"]),
        ("/0040-a730//1/0040-a168/0", ["0008-0100"]),
    ],
)
async def test_sequences_are_listed(api: Api, path: str, expected: list[str]) -> None:
    file = await api.store(build_nested())
    assert await api.get_json(build_target(file, path)) == expected


async def test_tags_are_listed(api: Api) -> None:
    file = await api.store(build_nested())
    listed = await api.get_json(build_target(file, ""))
    assert listed[:3] == ["0008-0016", "0008-0018", "0010-0010"]
    assert listed == sorted(listed)
    assert await api.get_json(build_target(file, "/")) == listed


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/0010-0010", b"DOE^JANE"),
        ("/PatientName", b"DOE^JANE"),
        ("/00100010/", b"DOE^JANE"),
        ("/0010,0010", b"DOE^JANE"),
        ("/0040-a730/1/0040-a168/0/CodeValue", b"T1"),
    ],
)
async def test_value_is_bytes_without_padding(api: Api, path: str, expected: bytes) -> None:
    file = await api.store(build_nested())
    result = await api.get(build_target(file, path))
    assert (result.status_code, result.content) == (200, expected)
    assert result.headers["content-type"] == "application/octet-stream"
    assert result.headers["content-length"] == str(len(expected))


@pytest.mark.parametrize(
    "path",
    [
        *("/0010-0021", "/9999-9999", "/0002-0010", "/7fe0-0010", "/7fe0-0010/0", "/0010-0010/0"),
        *("/0040-a730/2", "/0040-a730/x", "/0040-a730/-1", "/0040-a730/0/0040-a168"),
        "/0040-a730/1/0040-a168/0/0008-0100/0",
    ],
)
async def test_what_is_not_there_is_404_without_body(api: Api, path: str) -> None:
    file = await api.store(build_nested())
    result = await api.get(build_target(file, path))
    assert (result.status_code, result.content) == (404, b"")


@pytest.mark.parametrize("name", ["NoSuchTag", "patientname", "0010", "%00", "%F0%9F%98%80"])
async def test_unknown_tag_is_400(api: Api, name: str) -> None:
    file = await api.store()
    for path in (f"/{name}", f"/0040-a730/0/{name}"):
        result = await api.get(build_target(file, path))
        assert (result.status_code, result.json["OrthancStatus"]) == (400, 27)


async def test_unknown_instance_is_404_with_the_json_error(api: Api) -> None:
    for path in ("", "/0010-0010", "/NoSuchTag", "/0040-a730/x"):
        result = await api.get(f"/instances/{UNKNOWN}/content{path}")
        assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)


async def test_frames_are_listed_and_read(api: Api) -> None:
    native = await api.store(build_synthetic({PIXELS: ("OW", b"abcd")}))
    assert await api.get_json(build_target(native, "/7fe0-0010")) == ["0"]
    assert (await api.get(build_target(native, "/PixelData/0"))).content == b"abcd"
    tail = encode_fragments([b"ab", b"cdef"])
    fragments = await api.store(build_synthetic(tail=tail))
    assert await api.get_json(build_target(fragments, "/7fe0-0010")) == ["0", "1", "2"]
    contents = [
        (await api.get(build_target(fragments, f"/7fe0-0010/{number}"))).content
        for number in range(3)
    ]
    assert contents == [b"", b"ab", b"cdef"]
    assert (await api.get(build_target(fragments, "/7fe0-0010/3"))).status_code == 404


async def test_large_value_is_streamed_with_its_length(api: Api) -> None:
    file = await api.store(build_synthetic({PIXELS: ("OW", LARGE)}))
    target = build_target(file, "/7fe0-0010/0")
    result = await api.get(target)
    assert result.content == LARGE
    head = await api.request("HEAD", target)
    assert head.content == b""
    for answer in (result, head):
        assert answer.headers["content-length"] == str(len(LARGE))


def build_report(
    mime_type: str, document: bytes | None, *, length: int | None = None
) -> SyntheticFile:
    tail = b"" if document is None else encode_element(0x00420011, "OB", document)
    tail += encode_element(0x00420012, "LO", mime_type.encode())
    if length is not None:
        tail += encode_element(0x00420015, "UL", length.to_bytes(4, "little"))
    return build_synthetic(tail=tail)


@pytest.mark.parametrize("document", [b"%PDF-1.4 short\0", LARGE + b"x\0"], ids=["short", "long"])
@pytest.mark.parametrize("is_padded", [True, False])
async def test_pdf_is_returned_without_its_padding(
    api: Api, document: bytes, *, is_padded: bool
) -> None:
    size = len(document) - is_padded
    file = await api.store(build_report("application/pdf ", document, length=size))
    answer = await api.get(f"/instances/{file.instance}/pdf")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.content == document[:size]


async def test_pdf_of_unknown_length_is_returned_whole(api: Api) -> None:
    for length in (None, 5, 2**32 - 1):
        file = await api.store(build_report("application/pdf ", b"%PDF-1.4 ab\0", length=length))
        assert (await api.get(f"/instances/{file.instance}/pdf")).content == b"%PDF-1.4 ab\0"


@pytest.mark.parametrize(
    "file",
    [
        build_synthetic(),
        build_report("application/pdf ", None),
        build_report("model/stl ", b"solid "),
    ],
    ids=["no document", "type alone", "another type"],
)
async def test_instance_without_pdf_is_404(api: Api, file: SyntheticFile) -> None:
    stored = await api.store(file)
    assert (await api.get(f"/instances/{stored.instance}/pdf")).status_code == 404


async def test_pdf_of_an_unknown_instance_is_404(api: Api) -> None:
    assert (await api.get(f"/instances/{UNKNOWN}/pdf")).status_code == 404

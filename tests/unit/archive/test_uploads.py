import gzip
import io
import zipfile
from collections.abc import AsyncIterator

import pytest
from tests.unit.archive.parts import REST, Parts, build_numbered

from isocenter.archive.received import Content, StoreOutcome, StoreStatus
from isocenter.archive.uploads import Uploads
from isocenter.errors import BadFileFormatError, BodyTooLargeError, FullStorageError
from isocenter.index.reading import get_statistics
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Buffer

LARGE = 100_000


async def iter_pieces(data: bytes, size: int = 1500) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def read(content: Content) -> bytes:
    if isinstance(content, bytes):
        return content
    with content:
        return b"".join(bytes(chunk) for chunk in content.iter_chunks())


def build_zip(*files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(files):
            archive.writestr(f"folder {number % 3}/IM{number:04}", content)
    return out.getvalue()


async def upload(
    uploads: Uploads, data: bytes, *, is_gzip: bool = False, is_announced: bool = True
) -> StoreOutcome | list[StoreOutcome]:
    size = len(data) if is_announced else None
    content = await uploads.receive(iter_pieces(data), size=size, is_gzip=is_gzip)
    return await uploads.store(content, REST)


def count_instances(parts: Parts) -> int:
    return parts.database.read(get_statistics).instances


@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize("size", [0, 100, 4096, 4097, 50_000])
async def test_receive_body_of_any_size_is_whole(
    parts: Parts, size: int, is_announced: bool
) -> None:
    data = (b"0123456789" * (size // 10 + 1))[:size]

    content = await parts.new_uploads().receive(
        iter_pieces(data), size=size if is_announced else None
    )

    assert isinstance(content, bytes) == (is_announced and size <= 4096)
    assert read(content) == data
    assert parts.list_temporary() == []


async def test_receive_much_is_moved_to_disk_meanwhile(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.archive.uploads._FLUSH_BYTES", 10_000)
    data = bytes(range(256)) * 400

    content = await parts.new_uploads().receive(iter_pieces(data))

    assert not isinstance(content, bytes)
    assert content.pending_bytes < 20_000
    assert read(content) == data


@pytest.mark.parametrize("is_announced", [True, False])
async def test_receive_body_over_limit_raises(parts: Parts, is_announced: bool) -> None:
    uploads = parts.new_uploads(largest_body=5000)
    size = 5001 if is_announced else None

    with pytest.raises(BodyTooLargeError):
        await uploads.receive(iter_pieces(bytes(5001)), size=size)

    content = await uploads.receive(iter_pieces(bytes(5000)))
    assert read(content) == bytes(5000)
    assert parts.list_temporary() == []


async def test_receive_broken_connection_leaves_nothing(parts: Parts) -> None:
    async def iter_broken() -> AsyncIterator[bytes]:
        yield bytes(LARGE)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await parts.new_uploads().receive(iter_broken())

    assert parts.list_temporary() == []


async def test_receive_gzip_is_unpacked(parts: Parts) -> None:
    data = build_numbered(1, pixels=LARGE)

    content = await parts.new_uploads().receive(iter_pieces(gzip.compress(data)), is_gzip=True)

    assert read(content) == data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"\x1f\x8b\x08\x00garbage, garbage",
        gzip.compress(bytes(LARGE), mtime=0)[:-4],
    ],
)
async def test_receive_bad_gzip_raises_and_leaves_nothing(parts: Parts, body: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        await parts.new_uploads().receive(iter_pieces(body), size=len(body), is_gzip=True)

    assert parts.list_temporary() == []


async def test_receive_gzip_bomb_raises_and_leaves_nothing(parts: Parts) -> None:
    with pytest.raises(BodyTooLargeError):
        await parts.new_uploads().receive(
            iter_pieces(gzip.compress(bytes(30_000_000))), is_gzip=True
        )

    assert parts.list_temporary() == []


@pytest.mark.parametrize("pixels", [64, LARGE])
@pytest.mark.parametrize("is_announced", [True, False])
async def test_store_file_answers_one_outcome(
    parts: Parts, pixels: int, is_announced: bool
) -> None:
    data = build_numbered(1, pixels=pixels)

    outcome = await upload(parts.new_uploads(), data, is_announced=is_announced)

    assert isinstance(outcome, StoreOutcome)
    assert outcome.status is StoreStatus.SUCCESS
    assert parts.list_blobs() == [data]


async def test_store_gzipped_file_answers_one_outcome(parts: Parts) -> None:
    data = build_numbered(1, pixels=LARGE)

    outcome = await upload(parts.new_uploads(), gzip.compress(data), is_gzip=True)

    assert isinstance(outcome, StoreOutcome)
    assert parts.list_blobs() == [data]


@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize("pixels", [64, LARGE])
async def test_store_zip_answers_outcomes_in_order(
    parts: Parts, pixels: int, is_announced: bool
) -> None:
    files = [build_numbered(n, pixels=pixels) for n in range(20)]
    first = await parts.store(files[3])

    outcomes = await upload(
        parts.new_uploads(),
        build_zip(*files[:10], b"README", *files[10:], files[0]),
        is_announced=is_announced,
    )

    assert isinstance(outcomes, list)
    assert len(outcomes) == 21
    assert outcomes[3].public_ids == first.public_ids
    assert [n for n, o in enumerate(outcomes) if o.status is StoreStatus.ALREADY_STORED] in (
        [3, 20],
        [0, 3],
    )
    assert outcomes[20].public_ids == outcomes[0].public_ids
    assert count_instances(parts) == 20
    assert sorted(parts.list_blobs()) == sorted(files)
    assert parts.list_temporary() == []


@pytest.mark.parametrize("files", [(), (b"README",), (b"", b"x" * LARGE)])
async def test_store_zip_without_dicom_answers_empty_list(
    parts: Parts, files: tuple[bytes, ...]
) -> None:
    assert await upload(parts.new_uploads(), build_zip(*files)) == []
    assert parts.list_temporary() == []


@pytest.mark.parametrize("is_announced", [True, False])
async def test_store_damaged_zip_raises_and_keeps_whole_entries(
    parts: Parts, is_announced: bool
) -> None:
    data = bytearray(build_zip(*(build_numbered(n) for n in range(30))))
    at = data.rindex(b"PK\x03\x04")
    data[at + 60 : at + 100] = bytes(40)

    with pytest.raises(BadFileFormatError):
        await upload(parts.new_uploads(), bytes(data), is_announced=is_announced)

    assert len(parts.list_blobs()) == count_instances(parts) <= 29
    assert parts.list_temporary() == []


async def test_store_zip_bomb_raises_and_leaves_nothing(parts: Parts) -> None:
    with pytest.raises(BodyTooLargeError):
        await upload(parts.new_uploads(), build_zip(bytes(20_000_000)))

    assert parts.list_temporary() == []


async def test_store_zip_on_full_storage_raises_its_error(parts: Parts) -> None:
    class Full(MemoryStorage):
        def write_many(self, blobs: object, memos: object = ()) -> None:
            raise FullStorageError

        def write(self, attachment_uuid: str, content: Buffer) -> None:
            raise FullStorageError

    uploads = parts.new_uploads(parts.new_ingest(storage=Full()))

    with pytest.raises(FullStorageError):
        await upload(uploads, build_zip(*(build_numbered(n) for n in range(30))))

    assert count_instances(parts) == 0
    assert parts.list_temporary() == []


async def test_store_small_zip_content_in_memory_is_unpacked(parts: Parts) -> None:
    files = [build_numbered(n) for n in range(3)]
    content = parts.new_content(build_zip(*files), 1 << 20)

    outcomes = await parts.new_uploads().store(content, REST)

    assert isinstance(outcomes, list)
    assert len(outcomes) == 3


async def test_store_not_dicom_raises(parts: Parts) -> None:
    for body in (b"", b"text", b"x" * LARGE):
        with pytest.raises(BadFileFormatError):
            await upload(parts.new_uploads(), body)
    assert parts.list_temporary() == []

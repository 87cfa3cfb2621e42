"""Stored instances in the forms of the DICOM model."""

import base64
import json

import pytest
from tests.support.dicom_files import build_data_set, build_file, identifiers
from tests.unit.archive.parts import REST, Parts, build_numbered

from isocenter.archive.models import ModelForm, ModelReader
from isocenter.archive.settings import Settings
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.errors import BadFileFormatError, MissingFileError

PIXELS = bytes(range(256)) * 12_000


def new_reader(parts: Parts) -> ModelReader:
    return ModelReader(
        parts.workers, parts.new_buffers(), settings=Settings(), dictionary=DEFAULT_DICTIONARY
    )


@pytest.mark.parametrize("is_compressed", [True, False])
async def test_model_comes_in_pieces_of_a_bounded_size(parts: Parts, is_compressed: bool) -> None:
    data = build_file(build_data_set({**identifiers(), 0x7FE00010: ("OW", PIXELS)}))
    outcome = await parts.new_ingest(is_compressed=is_compressed).store(data, REST)
    reader = new_reader(parts)

    pieces = [p async for p in reader.iter_model(outcome.public_ids.instance, ModelForm.JSON)]

    assert max(map(len, pieces)) <= 512 * 1024
    document = json.loads(b"".join(pieces))
    assert base64.b64decode(document["7FE00010"]["InlineBinary"]) == PIXELS


async def test_unknown_instance_has_no_model(parts: Parts) -> None:
    for form in ModelForm:
        assert [p async for p in new_reader(parts).iter_model("unknown", form)] == []


async def test_unreadable_file_is_an_error(parts: Parts) -> None:
    outcome = await parts.store(build_numbered(1))
    [name] = parts.storage.iter_uuids()
    data = parts.storage.read(name)
    reader = new_reader(parts)

    parts.storage.write(name, data[:140] + b"\1" * (len(data) - 140))
    with pytest.raises(BadFileFormatError):
        [p async for p in reader.iter_model(outcome.public_ids.instance, ModelForm.XML)]
    parts.storage.remove(name)
    with pytest.raises(MissingFileError):
        [p async for p in reader.iter_model(outcome.public_ids.instance, ModelForm.XML)]


async def test_model_that_is_given_up_is_closed(parts: Parts) -> None:
    outcome = await parts.store(build_numbered(1, pixels=2_000_000))
    pieces = new_reader(parts).iter_model(outcome.public_ids.instance, ModelForm.JSON)

    await anext(pieces)
    await pieces.aclose()

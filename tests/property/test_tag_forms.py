"""Tags, contents and the DICOM model of any data set, against pydicom's view of the same file."""

import contextlib
import io
import json
from typing import Any
from xml.etree import ElementTree as ET

import pydicom
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from tests.support import dicom_files
from tests.support.data_sets import SYNTAXES, rich_data_sets, write_data_set

from isocenter.dicom.dicomweb_json import iter_dicom_json
from isocenter.dicom.dicomweb_xml import iter_native_xml
from isocenter.dicom.element_paths import ItemList, TagList, Value, find_content
from isocenter.dicom.json_forms import Shape, build_some_tags_json, build_tags_json
from isocenter.dicom.modules import MODULE_TAGS
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.dicom.tags_writer import TagsWriter
from isocenter.dicom.values import reverse_words
from isocenter.errors import ServerError

_UNTIMED = settings(deadline=None, max_examples=30)
_NAMESPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
_BINARY = frozenset({"OB", "OW", "UN"})
_REAL = frozenset({"FL", "FD"})
# Numbers that are text, which pydicom keeps as it was.
_WRITTEN = frozenset({"DS", "IS"})


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def list_values(element: DataElement) -> list[Any]:
    if element.is_empty:
        return []
    value = element.value
    return list(value) if isinstance(value, MultiValue | list) else [value]


def show(element: DataElement) -> Any:
    """Write a value of pydicom as the short shape does."""
    if element.VR == "SQ":
        return [show_all(item) for item in element.value]
    values = list_values(element)
    if element.VR in _BINARY or (not values and element.VR in {"US", "SS", "UL", "SL", "AT"}):
        return None
    if element.VR in _REAL:
        return "\\".join(f"{value:.17g}" for value in values) if values else None
    if element.VR == "AT":
        return "\\".join(f"{tag >> 16:04x},{tag & 0xFFFF:04x}" for tag in values)
    if element.VR in _WRITTEN:
        values = [getattr(value, "original_string", value) for value in values]
    text = "\\".join(map(str, values))
    return None if len(text.encode()) > 256 else text


def show_all(ds: Dataset) -> dict[str, Any]:
    return {f"{e.tag >> 16:04x},{e.tag & 0xFFFF:04x}": show(e) for e in ds}


@_UNTIMED
@given(rich_data_sets(), st.sampled_from(SYNTAXES))
def test_tags_are_the_values_that_pydicom_reads(ds: Dataset, syntax: str) -> None:
    data = write_data_set(ds, syntax)

    assert build_tags_json(data, Shape.SHORT, whole=True) == show_all(read(data))


@_UNTIMED
@given(rich_data_sets(), st.sampled_from(SYNTAXES))
def test_shapes_and_modules_hold_the_same_values(ds: Dataset, syntax: str) -> None:
    data = write_data_set(ds, syntax)
    short = build_tags_json(data, Shape.SHORT)
    full = build_tags_json(data, Shape.FULL)

    assert {key: entry["Value"] for key, entry in full.items() if entry["Type"] != "Sequence"} == {
        key: value for key, value in short.items() if not isinstance(value, list)
    }
    for tags in MODULE_TAGS.values():
        wanted = {DEFAULT_DICTIONARY.get_name(tag) for tag in tags}
        human = build_tags_json(data, Shape.HUMAN)
        assert build_some_tags_json(data, Shape.HUMAN, tags) == {
            name: value for name, value in human.items() if name in wanted
        }


@_UNTIMED
@given(st.lists(st.tuples(rich_data_sets(), st.sampled_from(SYNTAXES)), min_size=1, max_size=3))
def test_writer_of_many_files_writes_each_as_if_it_were_alone(
    files: list[tuple[Dataset, str]],
) -> None:
    contents = [write_data_set(ds, syntax) for ds, syntax in files]
    for shape in Shape:
        writer = TagsWriter(
            shape,
            ignore_length=frozenset(),
            default_encoding="Latin1",
            dictionary=DEFAULT_DICTIONARY,
        )
        for data in contents * 2:
            assert writer.write(data) == build_tags_json(data, shape)


@_UNTIMED
@given(rich_data_sets(), st.sampled_from(SYNTAXES))
def test_every_element_is_found_by_its_path(ds: Dataset, syntax: str) -> None:
    data = write_data_set(ds, syntax)

    # pydicom writes words as they are, whatever the byte order.
    is_turned = syntax == dicom_files.EXPLICIT_BIG
    check_contents(data, read(data), (), word_size=2 if is_turned else 1)


def check_contents(data: bytes, ds: Dataset, path: tuple[int, ...], *, word_size: int) -> None:
    found = find_content(data, path, DEFAULT_DICTIONARY)
    tags = [f"{element.tag >> 16:04x}-{element.tag & 0xFFFF:04x}" for element in ds]
    assert found == TagList(tags)
    for element in ds:
        tag = int(element.tag)
        if element.VR == "SQ":
            assert find_content(data, (*path, tag), DEFAULT_DICTIONARY) == ItemList(
                len(element.value)
            )
            for number, item in enumerate(element.value):
                check_contents(data, item, (*path, tag, number), word_size=word_size)
        elif tag == 0x7FE00010 and not path:
            assert read_value(data, tag, 0) == reverse_words(element.value or b"", word_size)
        elif element.VR == "OB":
            assert read_value(data, *path, tag) == (element.value or b"")
        elif element.VR == "LO":
            values = "\\".join(map(str, list_values(element)))
            assert read_value(data, *path, tag) == values.encode()


def read_value(data: bytes, *path: int) -> bytes:
    found = find_content(data, path, DEFAULT_DICTIONARY)
    assert isinstance(found, Value)
    value = data[found.start : found.stop] if found.data is None else found.data
    return reverse_words(value, found.word_size)


def build_json(data: bytes) -> dict[str, Any]:
    pieces = iter_dicom_json(data, default_encoding="Latin1", dictionary=DEFAULT_DICTIONARY)
    document: dict[str, Any] = json.loads(b"".join(pieces))
    return document


def build_xml(data: bytes) -> ET.Element:
    pieces = iter_native_xml(data, default_encoding="Latin1", dictionary=DEFAULT_DICTIONARY)
    return ET.fromstring(b"".join(pieces))  # noqa: S314 - our own document


def normalize(model: dict[str, Any]) -> dict[str, Any]:
    """Drop what pydicom writes of an empty value: ``Value`` of nothing."""
    normal = {}
    for key, attribute in model.items():
        kept = {name: value for name, value in attribute.items() if value not in ([], "")}
        if attribute["vr"] == "SQ":
            items = [normalize(item) for item in attribute.get("Value", [])]
            kept = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        normal[key] = kept
    return normal


# pydicom leaves words of big endian as they are, so it is no judge of these.
@_UNTIMED
@given(rich_data_sets(), st.sampled_from([*SYNTAXES[1:3]]))
def test_json_model_is_that_of_pydicom(ds: Dataset, syntax: str) -> None:
    data = write_data_set(ds, syntax)
    expected = read(data).to_json_dict(bulk_data_threshold=1 << 30)

    assert normalize(build_json(data)) == normalize(expected)


@_UNTIMED
@given(rich_data_sets())
def test_json_model_is_the_same_in_all_transfer_syntaxes(ds: Dataset) -> None:
    models = [build_json(write_data_set(ds, syntax)) for syntax in SYNTAXES]
    # Nobody knows what a private element is in implicit encoding, and pydicom writes words as they
    # are, whatever the byte order.
    for model in models:
        drop_binary(model)

    assert all(model == models[0] for model in models)


def drop_binary(model: dict[str, Any]) -> None:
    for key in [key for key in model if model[key]["vr"] in _BINARY]:
        del model[key]
    for attribute in model.values():
        if attribute["vr"] == "SQ":
            for item in attribute.get("Value", []):
                drop_binary(item)


@_UNTIMED
@given(rich_data_sets(), st.sampled_from(SYNTAXES))
def test_xml_model_holds_what_json_holds(ds: Dataset, syntax: str) -> None:
    data = write_data_set(ds, syntax)

    compare_models(build_xml(data), build_json(data))


def compare_models(xml: ET.Element, model: dict[str, Any]) -> None:
    attributes = {element.attrib["tag"]: element for element in xml}
    assert list(attributes) == list(model)
    for tag, element in attributes.items():
        assert element.attrib["vr"] == model[tag]["vr"]
        values = model[tag].get("Value", [])
        if element.attrib["vr"] == "SQ":
            assert len(element) == len(values)
            for item, below in zip(element, values, strict=True):
                compare_models(item, below)
        elif "InlineBinary" in model[tag]:
            assert element.findtext(f"{_NAMESPACE}InlineBinary") == model[tag]["InlineBinary"]
        else:
            assert len(element) == sum(value is not None for value in values)


def _read_everything(data: bytes) -> None:
    for path in ((), (0x00081140,), (0x00081140, 0), (0x7FE00010,), (0x7FE00010, 1)):
        with contextlib.suppress(ServerError):
            find_content(data, path, DEFAULT_DICTIONARY)
    for iterate in (iter_dicom_json, iter_native_xml):
        with contextlib.suppress(ServerError):
            list(iterate(data, default_encoding="Latin1", dictionary=DEFAULT_DICTIONARY))


@_UNTIMED
@given(rich_data_sets(), st.sampled_from(SYNTAXES), st.data())
def test_damaged_file_raises_our_errors_only(ds: Dataset, syntax: str, draw: st.DataObject) -> None:
    data = bytearray(write_data_set(ds, syntax))
    places = st.tuples(st.integers(132, len(data) - 1), st.integers(0, 255))
    for position, value in draw.draw(st.lists(places, max_size=8)):
        data[position] = value
    _read_everything(bytes(data[: draw.draw(st.integers(0, len(data)))]))


@_UNTIMED
@given(st.integers(1, 3000), st.booleans())
def test_deep_nesting_raises_our_errors_only(depth: int, is_unknown: bool) -> None:
    vr = b"UN" if is_unknown else b"SQ"
    head = b"\x08\0\x40\x11" + vr + b"\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    _read_everything(dicom_files.encode_meta() + head * depth)

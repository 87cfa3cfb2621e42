"""The rewriter against pydicom: the same changes give the same data set."""

from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence

from isocenter.dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Layout
from isocenter.dicom.rewriting import (
    Action,
    Decision,
    Element,
    NewElement,
    NewItems,
    Path,
    rewrite_data_set,
)
from isocenter.errors import BadFileFormatError, ServerError

_LAYOUTS = {
    "1.2.840.10008.1.2": IMPLICIT_LITTLE,
    "1.2.840.10008.1.2.1": EXPLICIT_LITTLE,
    "1.2.840.10008.1.2.2": EXPLICIT_BIG,
}
_TEXTS = {0x00080050: "SH", 0x00080060: "CS", 0x00100010: "PN", 0x00100020: "LO", 0x0020000D: "UI"}
_SEQUENCES = (0x00081140, 0x00400275, 0x00540410)
_PRIVATE = {0x00090010: "LO", 0x00091001: "LO"}
_text = st.text("ABC123", max_size=9)


class Table:
    """Rules that are a table of decisions by tag, at any depth."""

    def __init__(self, decisions: dict[int, Decision], additions: dict[int, NewElement]) -> None:
        self.decisions = decisions
        self.additions = additions
        self.lasting: dict[int, bool] | None = None
        self.removes_unreadable = False

    def depends_on_value(self, _: Element) -> bool:
        return False

    def decide(self, element: Element) -> Decision:
        return self.decisions.get(element.tag, Action.DESCEND)

    def get_additions(self, path: Path) -> Mapping[int, NewElement | NewItems]:
        return self.additions if not path else {}


def _data_sets(depth: int = 2) -> st.SearchStrategy[Dataset]:
    def build(parts: tuple[dict[int, str], dict[int, list[Dataset]], bool]) -> Dataset:
        texts, sequences, is_undefined = parts
        data_set = Dataset()
        for tag, text in texts.items():
            vr = _TEXTS.get(tag) or _PRIVATE[tag]
            data_set.add_new(tag, vr, text if vr != "UI" else "1.2." + str(len(text)))
        for tag, items in sequences.items():
            for item in items:
                item.is_undefined_length_sequence_item = is_undefined
            data_set.add_new(tag, "SQ", Sequence(items))
            data_set[tag].is_undefined_length = is_undefined
        return data_set

    texts = st.dictionaries(st.sampled_from([*_TEXTS, *_PRIVATE]), _text, max_size=5)
    nested = st.lists(_data_sets(depth - 1), max_size=2) if depth else st.just([])
    sequences = st.dictionaries(st.sampled_from(_SEQUENCES), nested, max_size=2 if depth else 0)
    return st.tuples(texts, sequences, st.booleans()).map(build)


def _encode(data_set: Dataset, syntax: str) -> bytes:
    buffer = BytesIO()
    file = FileDataset(buffer, data_set)
    little, implicit = syntax != "1.2.840.10008.1.2.2", syntax == "1.2.840.10008.1.2"
    dcmwrite(buffer, file, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    return buffer.getvalue()


def _decode(data: bytes, syntax: str) -> Dataset:
    little, implicit = syntax != "1.2.840.10008.1.2.2", syntax == "1.2.840.10008.1.2"
    return pydicom.filereader.read_dataset(BytesIO(data), implicit, little)


def _rewrite(data: bytes, layout: Layout, rules: Table) -> bytes:
    return b"".join(rewrite_data_set(data, 0, layout, rules))


def _change(data_set: Dataset, removed: set[int], replaced: dict[int, str]) -> None:
    for tag in list(data_set.keys()):
        if int(tag) in removed:
            del data_set[tag]
        elif int(tag) in replaced:
            data_set[tag].value = replaced[int(tag)]
        elif data_set[tag].VR == "SQ":
            for item in data_set[tag].value:
                _change(item, removed, replaced)


_syntaxes = st.sampled_from(sorted(_LAYOUTS))


@settings(max_examples=200)
@given(_data_sets(), _syntaxes)
def test_rules_that_change_nothing_give_the_same_bytes(data_set: Dataset, syntax: str) -> None:
    data = _encode(data_set, syntax)
    assert _rewrite(data, _LAYOUTS[syntax], Table({}, {})) == data


@settings(max_examples=300)
@given(
    _data_sets(),
    _syntaxes,
    st.sets(st.sampled_from([*_TEXTS, *_PRIVATE, *_SEQUENCES]), max_size=3),
    st.dictionaries(st.sampled_from([t for t in _TEXTS if t != 0x0020000D]), _text, max_size=3),
    st.dictionaries(st.sampled_from([0x00081030, 0x00100040, 0x7FE10010]), _text, max_size=2),
)
def test_changes_are_those_of_pydicom(
    data_set: Dataset,
    syntax: str,
    removed: set[int],
    replaced: dict[int, str],
    added: dict[int, str],
) -> None:
    layout = _LAYOUTS[syntax]
    data = _encode(data_set, syntax)
    decisions: dict[int, Decision] = {
        tag: NewElement(_TEXTS[tag], text.encode()) for tag, text in replaced.items()
    }
    decisions |= dict.fromkeys(removed, Action.REMOVE)
    additions = {tag: NewElement("LO", text.encode()) for tag, text in added.items()}
    result = _rewrite(data, layout, Table(decisions, additions))

    expected = _decode(data, syntax)
    _change(expected, removed, {t: v for t, v in replaced.items() if t not in removed})
    for tag, text in added.items():
        expected.add_new(tag, "LO", text)
    assert _decode(result, syntax) == _decode(_encode(expected, syntax), syntax)


@settings(max_examples=200)
@given(
    st.lists(_data_sets(), min_size=2, max_size=3),
    _syntaxes,
    st.dictionaries(st.sampled_from([0x00080050, 0x00081030, 0x00100040]), _text, max_size=2),
)
def test_what_was_learned_from_other_files_changes_nothing(
    data_sets: list[Dataset], syntax: str, added: dict[int, str]
) -> None:
    layout = _LAYOUTS[syntax]
    decisions: dict[int, Decision] = {0x00100010: Action.REMOVE, 0x00091001: Action.REMOVE}
    additions = {tag: NewElement("LO", text.encode()) for tag, text in added.items()}
    learning = Table(decisions, additions)
    learning.lasting = {}
    for data in (_encode(data_set, syntax) for data_set in data_sets):
        expected = _rewrite(data, layout, Table(decisions, additions))
        assert _rewrite(data, layout, learning) == expected


@settings(max_examples=200)
@given(_data_sets(), _syntaxes, st.data())
def test_damaged_data_are_refused_or_rewritten(
    data_set: Dataset, syntax: str, choice: st.DataObject
) -> None:
    data = bytearray(_encode(data_set, syntax))
    if data:
        for _ in range(3):
            data[choice.draw(st.integers(0, len(data) - 1))] = choice.draw(st.integers(0, 255))
    decisions: dict[int, Decision] = {0x00100010: Action.REMOVE}
    with suppress(ServerError):
        _rewrite(bytes(data), _LAYOUTS[syntax], Table(decisions, {}))


def test_deep_nesting_is_refused() -> None:
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    sequence = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"
    with pytest.raises(BadFileFormatError):
        _rewrite((sequence + item) * 1000, EXPLICIT_LITTLE, Table({}, {}))

"""The rewriter against pydicom: the same changes give the same data set."""

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence

from isocenter.dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Layout
from isocenter.dicom.new_elements import NewElement, NewItems
from isocenter.dicom.recipes import Recipe, Source, record_rewriting, repeat_rewriting
from isocenter.dicom.rewriting import Action, Decision, Element, Path, Piece, rewrite_data_set
from isocenter.errors import BadFileFormatError, ServerError

_LAYOUTS = {
    "1.2.840.10008.1.2": IMPLICIT_LITTLE,
    "1.2.840.10008.1.2.1": EXPLICIT_LITTLE,
    "1.2.840.10008.1.2.2": EXPLICIT_BIG,
}
EXPLICIT = "1.2.840.10008.1.2.1"
_TEXTS = {0x00080050: "SH", 0x00080060: "CS", 0x00100010: "PN", 0x00100020: "LO", 0x0020000D: "UI"}
_SEQUENCES = (0x00081140, 0x00400275, 0x00540410)
_PRIVATE = {0x00090010: "LO", 0x00091001: "LO"}
_text = st.text("ABC123", max_size=9)


class Table:
    """Rules that are a table of decisions by tag, at any depth."""

    def __init__(self, decisions: dict[int, Decision], additions: dict[int, NewElement]) -> None:
        self.decisions = decisions
        self.additions = additions
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


class Choosy(Table):
    """Rules that look at values: what has a B in it goes, and UIDs get others."""

    def depends_on_value(self, element: Element) -> bool:
        return element.tag in {0x00080050, 0x0020000D}

    def decide(self, element: Element) -> Decision:
        if element.tag == 0x00080050 and b"B" in element.value:
            return Action.REMOVE
        if element.tag == 0x0020000D:
            return NewElement("UI", b"9." + element.value)
        return super().decide(element)


def _repeat(source: Source, rules: Table, recipe: Recipe) -> tuple[list[Piece], Recipe] | None:
    match = recipe.pattern.match(source.buffer, source.start)
    if match is None:
        learned = recipe.pattern.learn(source.buffer, source.start)
        if learned is None:
            return None
        recipe, match = recipe.change_pattern(learned[0]), learned[1]
    return repeat_rewriting(source, rules, recipe, match), recipe


def _vary(data_set: Dataset, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Dataset:
    """Change some values, and sometimes what there is."""
    varied = copy.deepcopy(data_set)
    for tag in draw(st.lists(st.sampled_from([*_TEXTS, *_PRIVATE, *_SEQUENCES]), max_size=3)):
        if tag in _TEXTS and tag in varied:
            varied[tag].value = "1.2.9" if tag == 0x0020000D else draw(_text)
        elif tag in varied and draw(st.booleans()):
            del varied[tag]
        elif tag in _PRIVATE:
            varied.add_new(tag, "LO", draw(_text))
    return varied


@settings(max_examples=400)
@given(
    _data_sets(),
    _syntaxes,
    st.dictionaries(st.sampled_from([0x00080050, 0x00081030, 0x00100040]), _text, max_size=2),
    st.booleans(),
    st.data(),
)
def test_alike_data_sets_are_rewritten_as_alone(
    data_set: Dataset, syntax: str, added: dict[int, str], has_pixels: bool, data: st.DataObject
) -> None:
    layout = _LAYOUTS[syntax]
    decisions: dict[int, Decision] = {0x00100010: Action.REMOVE, 0x00091001: Action.REMOVE}
    additions = {tag: NewElement("LO", text.encode()) for tag, text in added.items()}
    rules = Choosy(decisions, additions)
    recipe: Recipe | None = None
    for _ in range(4):
        varied = _vary(data_set, data.draw)
        if has_pixels:
            varied.add_new(0x7FE00010, "OW", data.draw(st.sampled_from([b"", b"\1\2"])))
        encoded = _encode(varied, syntax)
        source = Source(encoded, 0, layout)
        repeated = None if recipe is None else _repeat(source, rules, recipe)
        if repeated is None:
            pieces, recipe = record_rewriting(
                source, rules, fixed={0x00100020}, observed={0x00080060}
            )
        else:
            pieces, recipe = repeated
        assert b"".join(pieces) == _rewrite(encoded, layout, rules)


def test_alike_data_sets_are_found_to_be_alike() -> None:
    """Else the test above would prove nothing."""
    rules = Choosy({}, {})
    texts = [{0x00080050: "A" * n, 0x00100010: "C", 0x0020000D: f"1.{n}"} for n in range(4)]
    data_sets = [Dataset() for _ in texts]
    for data_set, values in zip(data_sets, texts, strict=True):
        for tag, text in values.items():
            data_set.add_new(tag, _TEXTS[tag], text)
    sources = [Source(_encode(one, EXPLICIT), 0, EXPLICIT_LITTLE) for one in data_sets]
    _, recipe = record_rewriting(sources[0], rules, fixed=(), observed=())
    for source in sources[1:]:
        assert recipe is not None
        repeated = _repeat(source, rules, recipe)
        assert repeated is not None
        assert b"".join(repeated[0]) == _rewrite(bytes(source.buffer), EXPLICIT_LITTLE, rules)
        recipe = repeated[1]
    assert recipe is not None
    assert len(recipe.pattern.variable) == 2


def test_elements_whose_values_are_known_beforehand_may_not_differ() -> None:
    rules = Choosy({}, {})
    sources = []
    for text in ("A", "B"):
        data_set = Dataset()
        data_set.add_new(0x00100020, "LO", text)
        sources.append(Source(_encode(data_set, EXPLICIT), 0, EXPLICIT_LITTLE))
    _, recipe = record_rewriting(sources[0], rules, fixed={0x00100020}, observed=())
    assert recipe is not None
    assert _repeat(sources[1], rules, recipe) is None


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

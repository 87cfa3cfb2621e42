"""The order of the slices of series, asked of both servers."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.support.orthanc import Pair, run_pair
from tests.support.server import build_synthetic

_POSITION = 0x00200032
_ORIENTATION = 0x00200037
_NUMBER = 0x00200013
_INDEX = 0x00541330
_FRAMES = 0x00280008

Elements = Mapping[int, tuple[str, bytes | str]]


def _place(z: str, orientation: str = "1\\0\\0\\0\\1\\0", **more: str) -> Elements:
    number = {_NUMBER: ("IS", more["number"])} if more else {}
    return {_POSITION: ("DS", f"0\\0\\{z}"), _ORIENTATION: ("DS", orientation), **number}


def _number(text: str, frames: str = "") -> Elements:
    return {_NUMBER: ("IS", text)} | ({_FRAMES: ("IS", frames)} if frames else {})


SERIES: dict[str, list[Elements]] = {
    "volume": [_place("3"), _place("1"), _place("2")],
    "volume against its numbers": [_place("3", number="1"), _place("1", number="2")],
    "volume the other way round": [_place(z, "1\\0\\0\\0\\-1\\0") for z in "312"],
    "same place": [_place("1"), _place("1"), _place("3")],
    "same place with numbers": [_place("1", number="2"), _place("1", number="1")],
    "nearly the same place": [_place("1.0000001"), _place("1")],
    "close": [_place("1.00001"), _place("1")],
    "other planes": [_place("3"), _place("1", "1\\0\\0\\0\\0\\1")],
    "place that is none": [_place("x", number="2"), _place("1", number="1")],
    "some with a place": [_place("3", number="3"), _number("1")],
    "numbers": [_number("3"), _number("1")],
    "negative numbers": [_number("-3"), _number("-5")],
    "some with a number": [_number("3"), {}],
    "image indexes": [{_INDEX: ("US", b"\3\0")}, {_INDEX: ("US", b"\1\0")}],
    "frames": [_number("2", "4"), _number("1", "2")],
    "frames that are none": [_number("2", "x"), _number("1")],
    "nothing": [{}, {}],
    "one": [{}],
    "one with a place": [_place("1")],
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder: Path = tmp_path_factory.mktemp("slices")
    with run_pair(folder) as pair:
        yield pair


@pytest.mark.parametrize("name", SERIES)
def test_slices_are_in_the_same_order(pair: Pair, name: str) -> None:
    number = list(SERIES).index(name)
    files = [
        build_synthetic(extra, patient_id="P", study="2.25.1", series=f"2.25.{number + 10}")
        for extra in SERIES[name]
    ]
    pair.load([file.content for file in files])

    ours, theirs = pair.both("GET", f"{files[0].paths['series']}/ordered-slices")

    if theirs.status == 500:
        # The order is unknown to both; that is no failure of the server.
        assert (ours.status, ours.json()["OrthancStatus"]) == (400, theirs.json()["OrthancStatus"])
    else:
        assert (ours.status, ours.json()) == (theirs.status, theirs.json())

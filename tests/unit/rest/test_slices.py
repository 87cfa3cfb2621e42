"""The slices of a series in order."""

import pytest
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_slices_are_answered_with_their_frames(api: Api) -> None:
    series = "2.25.4711"
    last, first = [
        await api.store(
            build_synthetic(
                {0x00200013: ("IS", number), 0x00280008: ("IS", frames)},
                patient_id="P",
                study="2.25.1",
                series=series,
            )
        )
        for number, frames in (("9", "2"), ("-1", ""))
    ]
    path = f"{first.paths['series']}/ordered-slices"
    assert await api.get_json(path) == {
        "Type": "Sequence",
        "Dicom": [f"/instances/{one.instance}/file" for one in (first, last)],
        "Slices": [
            f"/instances/{one.instance}/frames/{frame}"
            for one, frame in ((first, 0), (last, 0), (last, 1))
        ],
        "SlicesShort": [[first.instance, 0, 1], [last.instance, 0, 2]],
    }


@pytest.mark.parametrize(
    "elements", [({}, {}), ({0x00200013: ("IS", "1"), 0x00280008: ("IS", "100001")},)]
)
async def test_series_without_an_order_is_an_error_of_the_caller(
    api: Api, elements: tuple[dict[int, tuple[str, str]], ...]
) -> None:
    series = f"2.25.{len(elements)}"
    for extra in elements:
        file = await api.store(
            build_synthetic(extra, patient_id="Q", study="2.25.2", series=series)
        )
    result = await api.get(f"{file.paths['series']}/ordered-slices")
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 2040)

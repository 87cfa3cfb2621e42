"""The log of exports."""

import re

import pytest
from tests.unit.rest.api import Api

from isocenter.dicom.levels import Level

pytestmark = pytest.mark.asyncio(loop_scope="module")
LEVELS = {
    Level.PATIENT: "Patient",
    Level.STUDY: "Study",
    Level.SERIES: "Series",
    Level.INSTANCE: "Instance",
}


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {"LogExportedResources": True}


async def test_exports_are_described_down_to_their_level(api: Api) -> None:
    file = await api.store()
    paths = [path.removeprefix("/") for path in file.paths.values()]
    first = (await api.get_json("/exports?last"))["Last"] + 1
    resources = [(level, path.split("/")[1]) for level, path in zip(Level, paths, strict=True)]

    await api.archive.exports.add(resources, remote_modality="pacs")

    page = await api.get_json(f"/exports?since={first - 1}")
    assert (page["First"], page["Last"], page["Done"]) == (first, first + 3, True)
    identifiers = {
        "PatientID": file.patient_id,
        "StudyInstanceUID": file.uids[0],
        "SeriesInstanceUID": file.uids[1],
        "SOPInstanceUID": file.uids[2],
    }
    for entry, (level, title) in zip(page["Exports"], LEVELS.items(), strict=True):
        assert re.fullmatch(r"\d{8}T\d{6}", entry.pop("Date"))
        assert entry == {
            "Seq": first + level,
            "ResourceType": title,
            "ID": resources[level][1],
            "Path": f"/{paths[level]}",
            "RemoteModality": "pacs",
            **dict(list(identifiers.items())[: level + 1]),
        }


async def test_exports_outlive_their_resource_until_they_are_cleared(api: Api) -> None:
    file = await api.store()
    await api.archive.exports.add([(Level.STUDY, file.study)], remote_modality="pacs")
    await api.request("DELETE", f"/studies/{file.study}")
    last = await api.get_json("/exports?last")
    assert [entry["ID"] for entry in last["Exports"]] == [file.study]

    cleared = await api.request("DELETE", "/exports")

    assert (cleared.status_code, cleared.content) == (200, b"")
    assert await api.get_json("/exports") == {"Exports": [], "Done": True, "Last": 0}
    file = await api.store()
    await api.archive.exports.add([(Level.STUDY, file.study)], remote_modality="pacs")
    assert (await api.get_json("/exports"))["First"] == last["Last"] + 1


@pytest.mark.parametrize("query", ["since=x", "limit=x", "since=-1", "limit=1.5", "since=1&limit="])
async def test_exports_take_bad_numbers_for_none(api: Api, query: str) -> None:
    file = await api.store()
    await api.request("DELETE", "/exports")
    resources = [(Level.STUDY, file.study)] * 101
    await api.archive.exports.add(resources, remote_modality="pacs")

    page = await api.get_json(f"/exports?{query}")

    assert (len(page["Exports"]), page["Done"]) == (100, False)
    assert len((await api.get_json("/exports?limit=1000"))["Exports"]) == 101

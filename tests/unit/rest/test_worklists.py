"""Entries of the modality worklist over REST, and what modalities see of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.dicom_files import build_data_set, build_file
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api, open_api

from isocenter.dicom.data_sets import DataSet, Element, get_text

STEP = {
    "Modality": "CT",
    "ScheduledStationAETitle": "ROOM1\\ROOM2",
    "ScheduledProcedureStepStartDate": "20240105",
}
TAGS = {
    "PatientName": "Иванов^Иван",
    "PatientID": "P1",
    "0008,0050": "ACC1",
    "ScheduledProcedureStepSequence": [STEP],
}
NAME, STEPS, STATION = 0x00100010, 0x00400100, 0x00400001


async def create(api: Api, tags: Any) -> str:
    body = json.dumps({"Tags": tags}).encode()
    result = await api.request("POST", "/worklists/create", body=body)
    assert result.status_code == 200, result.text
    answer = result.json
    assert answer["Path"] == f"/worklists/{answer['ID']}"
    return str(answer["ID"])


async def find(api: Api, keys: DataSet, calling: str = "ROOM1") -> list[DataSet]:
    return await api.archive.worklists.find(keys, calling)


async def test_entry_is_created_read_replaced_and_deleted(tmp_path: Path) -> None:
    async with open_api(tmp_path, {}) as api:
        name = await create(api, TAGS)
        tags = await api.get_json(f"/worklists/{name}?format=Simplify")
        assert tags["PatientName"] == "Иванов^Иван"
        assert tags["SpecificCharacterSet"] == "ISO_IR 192"
        assert tags["ScheduledProcedureStepSequence"] == [STEP]
        assert tags["StudyInstanceUID"].startswith("2.25.")
        short = await api.get_json(f"/worklists/{name}?format=Short")
        assert short["0010,0020"] == "P1"
        full = await api.get_json(f"/worklists/{name}")
        assert full["0010,0020"] == {"Name": "PatientID", "Type": "String", "Value": "P1"}
        listed = await api.get_json("/worklists?format=Short")
        assert listed == [{"ID": name, "Tags": short}]

        body = json.dumps({"Tags": {"PatientID": "P2"}}).encode()
        result = await api.request("PUT", f"/worklists/{name}", body=body)
        assert result.json == {"ID": name, "Path": f"/worklists/{name}"}
        assert (await api.get_json(f"/worklists/{name}?format=Simplify"))["PatientID"] == "P2"

        assert (await api.request("DELETE", f"/worklists/{name}")).status_code == 200
        assert (await api.request("DELETE", f"/worklists/{name}")).status_code == 404
        assert (await api.get(f"/worklists/{name}")).status_code == 404
        assert await api.get_json("/worklists") == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 15),
        (b"[]", 15),
        (b"{}", 8),
        (b'{"Tags": []}', 8),
        (b'{"Tags": {"Nope": "x"}}', 27),
        (b'{"Tags": {"PatientID": 5}}', 22),
        (b'{"Tags": {"PatientID": [{}]}}', None),
        (b'{"Tags": {"SpecificCharacterSet": "NONSENSE"}}', 3),
        (b'{"Tags": {"SpecificCharacterSet": []}}', 22),
        (b'{"Tags": {"StudyInstanceUID": [{}]}}', 22),
        (b'{"Tags": {"0002,0010": "1.2"}}', 3),
        (b'{"Tags": {"ScheduledProcedureStepSequence": "x"}}', 3),
        (b'{"Tags": {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "\xd0\x98"}}', 3),
    ],
    ids=range(13),
)
async def test_wrong_entry_is_refused(tmp_path: Path, body: bytes, code: int | None) -> None:
    async with open_api(tmp_path, {}) as api:
        for method, path in (("POST", "/worklists/create"), ("PUT", "/worklists/x")):
            result = await api.request(method, path, body=body)
            if code is None:
                assert result.status_code in (200, 400)
                return
            assert result.status_code == 400
            assert "OrthancStatus" in result.json
        assert await api.get_json("/worklists") == []


async def test_unknown_format_is_refused(tmp_path: Path) -> None:
    async with open_api(tmp_path, {}) as api:
        assert (await api.get("/worklists?format=nope")).status_code == 400


async def test_modalities_find_entries_of_clients_and_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "entries"
    folder.mkdir()
    file = build_file(build_data_set({0x00100020: ("LO", "F1"), 0x00100010: ("PN", "File^A")}))
    (folder / "one.wl").write_bytes(file)
    async with open_api(tmp_path, {"Worklists.Directory": str(folder)}) as api:
        name = await create(api, TAGS)
        every = await find(api, {NAME: Element("PN", "")})
        assert sorted(get_text(entry, NAME) for entry in every) == ["File^A", "Иванов^Иван"]
        step = Element("SQ", [{STATION: Element("AE", "ROOM2")}])
        (found,) = await find(api, {STEPS: step})
        assert get_text(found, NAME) == "Иванов^Иван"
        # What changes is seen at once.
        await api.request("PUT", f"/worklists/{name}", body=b'{"Tags": {"PatientID": "P2"}}')
        assert await find(api, {STEPS: step}) == []
        listed = await api.get_json("/worklists?format=Simplify")
        assert sorted(entry["Tags"]["PatientID"] for entry in listed) == ["F1", "P2"]
        assert (await api.get_json("/worklists/one?format=Simplify"))["PatientID"] == "F1"
        assert (await api.request("DELETE", "/worklists/one")).status_code == 404


async def test_caller_sees_its_own_entries_only_if_configured(tmp_path: Path) -> None:
    async with open_api(tmp_path, {"Worklists.FilterIssuerAet": True}) as api:
        await create(api, TAGS)
        await create(api, {"PatientID": "P2"})
        counts = [len(await find(api, {}, title)) for title in ("ROOM1", "ROOM2", "ROOM3")]
        assert counts == [1, 1, 0]


async def test_answers_are_limited_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"Worklists.LimitAnswers": 2, "Worklists.LogMatchedWorklistIds": True}
    async with open_api(tmp_path, options) as api:
        for number in range(3):
            await create(api, {"PatientID": f"P{number}"})
        with caplog.at_level("INFO"):
            assert len(await find(api, {})) == 2
        assert "entries of the worklist match" in caplog.text


async def test_study_uid_is_not_invented_if_so_configured(tmp_path: Path) -> None:
    async with open_api(tmp_path, {"Worklists.SetStudyInstanceUidIfMissing": False}) as api:
        name = await create(api, {"PatientID": "P1", "SpecificCharacterSet": "ISO_IR 100"})
        tags = await api.get_json(f"/worklists/{name}?format=Simplify")
        assert tags == {"PatientID": "P1", "SpecificCharacterSet": "ISO_IR 100"}


@pytest.mark.parametrize("is_dropped", [True, False])
async def test_entry_goes_when_its_study_is_stable(tmp_path: Path, *, is_dropped: bool) -> None:
    options = {
        "StableAge": 0,
        "Worklists.Enable": True,
        "Worklists.DeleteWorklistsOnStableStudy": is_dropped,
    }
    async with open_api(tmp_path, options) as api:
        await create(api, {"StudyInstanceUID": "1.2.3"})
        await api.store(build_synthetic(study="1.2.3"))
        await api.archive.workers.run(api.archive.stability.settle_some)
        await api.archive.worklists._clean_up()
        assert len(await api.get_json("/worklists")) == (0 if is_dropped else 1)


async def test_number_of_entries_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.archive.worklists._MOST_ENTRIES", 1)
    async with open_api(tmp_path, {}) as api:
        name = await create(api, {})
        body = b'{"Tags": {}}'
        assert (await api.request("POST", "/worklists/create", body=body)).status_code == 400
        assert (await api.request("PUT", f"/worklists/{name}", body=body)).status_code == 200

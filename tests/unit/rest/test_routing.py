"""Rules of routing over REST, and their dry run."""

import json
from typing import Any

import pytest
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api

from isocenter.archive.received import Origin, OriginKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULE = {"Destination": {"Modality": "pacs"}}


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {
        "DicomModalities": {"pacs": ["PACS", "127.0.0.1", 1]},
        "OrthancPeers": {"far": ["http://127.0.0.1:1/"]},
        "Isocenter.Routing": {"fixed": RULE | {"Modality": ["CT"]}},
    }


async def put(api: Api, name: str, value: Any) -> Any:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return await api.request("PUT", f"/routing/{name}", body=body)


async def test_rules_are_created_read_and_forgotten(api: Api) -> None:
    assert await api.get_json("/routing") == ["fixed"]
    assert (await put(api, "new", RULE | {"Delay": 5})).content == b""
    assert await api.get_json("/routing") == ["fixed", "new"]
    rule = await api.get_json("/routing/new")
    assert (rule["Delay"], rule["Source"], rule["Trigger"]) == (5, "Database", "StableStudy")
    assert (await put(api, "new", rule | {"Delay": 6})).status_code == 200
    expanded = await api.get_json("/routing?expand")
    assert (expanded["new"]["Delay"], expanded["fixed"]["Source"]) == (6, "Configuration")
    assert (await api.request("DELETE", "/routing/new")).status_code == 200
    assert (await api.get("/routing/new")).status_code == 404
    assert (await api.request("DELETE", "/routing/new")).status_code == 404


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("x.y", RULE, 400),
        ("x", b"garbage", 400),
        ("x", {}, 400),
        ("x", RULE | {"Nonsense": 1}, 400),
        ("x", RULE | {"Tags": {"nope": "x"}}, 400),
        ("x", RULE | {"Tags": {"Rows": "5"}}, 400),
        ("x", RULE | {"Tags": {"StudyDate": "2024*"}}, 400),
        ("x", {"Destination": {"Modality": "nope"}}, 400),
        ("x", {"Destination": {"Peer": "nope"}}, 400),
        ("x", {"Destination": {"Peer": "pacs"}}, 400),
        ("fixed", RULE, 409),
    ],
)
async def test_wrong_rule_is_refused(api: Api, name: str, body: Any, status: int) -> None:
    assert (await put(api, name, body)).status_code == status
    assert await api.get_json("/routing") == ["fixed"]


async def test_rule_of_the_configuration_stays(api: Api) -> None:
    assert (await api.request("DELETE", "/routing/fixed")).status_code == 409


async def test_dry_run_tells_which_rules_match_and_why(api: Api) -> None:
    file = await api.store(build_synthetic({0x00080060: ("CS", "CT"), 0x00081030: ("LO", "Head")}))
    rule = RULE | {"Tags": {"StudyDescription": "FOOT*"}, "OriginAet": ["SCANNER"]}
    await put(api, "other", rule)
    body = json.dumps({"Study": file.study}).encode()
    answer = (await api.request("POST", "/routing/test", body=body)).json
    fixed, other = answer
    assert (fixed["Rule"], fixed["Matches"], fixed["Resources"]) == ("fixed", True, [file.study])
    assert fixed["Series"] == [
        {
            "ID": file.series,
            "Matches": True,
            "Conditions": [
                {"Condition": "Modality", "Expected": "CT", "Value": "CT", "Matches": True}
            ],
        }
    ]
    assert (other["Matches"], other["Resources"]) == (False, [])
    assert other["Series"][0]["Conditions"] == [
        {"Condition": "OriginAet", "Expected": "SCANNER", "Value": "", "Matches": False},
        {"Condition": "StudyDescription", "Expected": "FOOT*", "Value": "Head", "Matches": False},
    ]
    assert (await api.get_json("/jobs")) == []
    await api.request("DELETE", "/routing/other")


async def test_dry_run_tries_a_rule_that_is_not_there(api: Api) -> None:
    file = await api.store()
    body = json.dumps({"Series": file.series, "Rule": RULE}).encode()
    (answer,) = (await api.request("POST", "/routing/test", body=body)).json
    assert (answer["Rule"], answer["Resources"]) == ("", [file.series])


async def test_rule_may_send_to_a_peer(api: Api) -> None:
    rule = {"Destination": {"Peer": "far"}}
    assert (await put(api, "http", rule)).status_code == 200
    assert (await api.get_json("/routing/http"))["Destination"] == {"Peer": "far"}
    file = await api.store()
    body = json.dumps({"Study": file.study, "Rule": rule}).encode()
    (answer,) = (await api.request("POST", "/routing/test", body=body)).json
    assert (answer["Destination"], answer["IsDestinationKnown"]) == ({"Peer": "far"}, True)
    assert answer["Resources"] == [file.study]
    await api.request("DELETE", "/routing/http")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b'{"Study": 5}', 400),
        (b'{"Study": "a", "Series": "b"}', 400),
        (b'{"Study": "11111111-11111111-11111111-11111111-11111111"}', 404),
    ],
)
async def test_dry_run_with_wrong_body_is_refused(api: Api, body: bytes, status: int) -> None:
    assert (await api.request("POST", "/routing/test", body=body)).status_code == status


async def test_dry_run_says_that_nothing_goes_back_to_its_origin(api: Api) -> None:
    file = build_synthetic({0x00080060: ("CS", "CT")})
    destination = api.archive.remotes.modalities[RULE["Destination"]["Modality"]]
    origin = Origin(OriginKind.DICOM_PROTOCOL, remote_aet=destination.ae_title)
    await api.archive.ingest.store(file.content, origin)
    body = json.dumps({"Study": file.study, "Rule": RULE}).encode()
    (answer,) = (await api.request("POST", "/routing/test", body=body)).json
    assert (answer["Matches"], answer["Resources"]) == (False, [])
    assert answer["Series"][0]["Conditions"][-1] == {
        "Condition": "OriginAet",
        "Expected": f"not {destination.ae_title}",
        "Value": destination.ae_title,
        "Matches": False,
    }

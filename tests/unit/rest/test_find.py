import json
from typing import Any

import pytest
from tests.support.dicom_files import build_data_set, encode_sequence
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {"UserMetadata": {"MyState": 1024}}


async def ask(api: Api, body: Any, path: str = "/tools/find") -> Any:
    result = await api.request("POST", path, body=json.dumps(body).encode())
    assert result.status_code == 200, result.text
    assert result.headers["content-type"] == "application/json; charset=utf-8"
    return result.json


def study(wanted: Any = None, **fields: Any) -> dict[str, Any]:
    return {"Level": "Study", "Query": {} if wanted is None else wanted, **fields}


async def store_two(api: Api) -> tuple[SyntheticFile, SyntheticFile]:
    first = await api.store(
        build_synthetic({0x00100010: ("PN", "Doe^Jane"), 0x00080060: ("CS", "CT")})
    )
    second = await api.store(
        build_synthetic({0x00100010: ("PN", "Roe^Rick"), 0x00080060: ("CS", "MR")})
    )
    return first, second


async def test_find_answers_identifiers(api: Api) -> None:
    first, second = await store_two(api)

    assert await ask(api, study({"PatientName": "doe*"})) == [first.study]
    assert await ask(api, study({"0010,0010": "doe*"})) == [first.study]
    assert await ask(api, study()) == sorted([first.study, second.study])
    assert await ask(api, study({"PatientName": "x*"})) == []
    assert await ask(api, study({"Nope": ""})) == sorted([first.study, second.study])


@pytest.mark.parametrize("name", ["Patient", "PATIENTS", "study", "Studies", "Series", "series"])
async def test_find_takes_the_names_of_levels_in_any_case(api: Api, name: str) -> None:
    await store_two(api)
    assert len(await ask(api, {"Level": name, "Query": {}})) == 2


@pytest.mark.parametrize("name", ["Instance", "instances", "Image", "images"])
async def test_find_takes_all_names_of_instances(api: Api, name: str) -> None:
    first, _ = await store_two(api)
    body = {"Level": name, "Query": {"PatientID": first.patient_id}}
    assert await ask(api, body) == [first.instance]


async def test_find_expanded_answers_objects_as_lists_do(api: Api) -> None:
    await store_two(api)
    listed = await api.get_json("/studies?expand")

    assert await ask(api, study(Expand=True)) == listed
    assert await ask(api, study(Expand=True, Short=True)) == await api.get_json(
        "/studies?expand&short"
    )


async def test_find_answers_the_parts_and_tags_that_are_asked_for(api: Api) -> None:
    first, _ = await store_two(api)
    body = study({"PatientName": "doe*"}, ResponseContent=["Labels"])
    assert await ask(api, body) == [{"ID": first.study, "Type": "Study", "Labels": []}]

    body |= {"RequestedTags": ["PatientID", "ModalitiesInStudy"]}
    (found,) = await ask(api, body)
    assert found["RequestedTags"] == {"ModalitiesInStudy": "CT", "PatientID": first.patient_id}


async def test_find_follows_the_order(api: Api) -> None:
    first, second = await store_two(api)
    order = {"Type": "DicomTag", "Key": "PatientName", "Direction": "desc"}

    assert await ask(api, study(OrderBy=[order])) == [second.study, first.study]
    shown = await ask(api, study(OrderBy=[order], Expand=True))
    assert [one["ID"] for one in shown] == [second.study, first.study]
    assert await ask(api, study(OrderBy=[order], Since=1, Limit=1)) == [first.study]


async def test_find_by_parents_labels_and_metadata(api: Api) -> None:
    first, second = await store_two(api)
    await api.request("PUT", f"/studies/{first.study}/labels/good")
    await api.request("PUT", f"/studies/{second.study}/metadata/MyState", body=b"Open")

    assert await ask(api, study(Labels=["good"])) == [first.study]
    assert await ask(api, study(Labels=["good"], LabelsConstraint="None")) == [second.study]
    assert await ask(api, study(Labels=[], LabelsConstraint="None")) == [second.study]
    assert await ask(api, study(Labels=["\0"])) == []
    assert await ask(api, study(MetadataQuery={"MyState": "op*"})) == [second.study]
    assert await ask(api, study(MetadataQuery={"1024": "OPEN"})) == [second.study]
    assert await ask(api, study(ParentPatient=first.patient)) == [first.study]
    assert await ask(api, study(ParentPatient="nobody\0")) == []
    both = {"ParentPatient": first.patient, "ParentStudy": second.study}
    assert await ask(api, {"Level": "Series", "Query": {}, **both}) == []


async def test_find_by_items_of_a_sequence_reads_the_files(api: Api) -> None:
    # RequestAttributesSequence is kept for answers, the other one is not.
    for tag, name in ((0x00400275, "RequestAttributesSequence"), (0x00081110, "0008,1110")):
        step = build_data_set({0x00400009: ("SH", "STEP1"), 0x00401001: ("SH", "PROC1")})
        found = await api.store(build_synthetic(tail=encode_sequence(tag, [b"", step])))
        keys = {"ScheduledProcedureStepID": "step*", "0040,1001": "PROC1"}

        assert await ask(api, study({name: [keys]})) == [found.study]
        assert await ask(api, study({name: [keys]}, Limit=1)) == [found.study]
        assert await ask(api, study({name: [keys | {"0040,1001": "OTHER"}]})) == []
        assert await ask(api, study({name: [keys]}, CaseSensitive=True)) == []
        everything = study({name: [{"0040,1001": ""}], "PatientID": found.patient_id})
        assert await ask(api, everything) == [found.study]


async def test_find_sees_what_was_stored_since_the_same_was_asked(api: Api) -> None:
    body = study({"PatientName": "doe*"}, Expand=True)
    assert await ask(api, body) == []
    first, second = await store_two(api)
    assert [one["ID"] for one in await ask(api, body)] == [first.study]
    assert [one["ID"] for one in await ask(api, body)] == [first.study]

    await api.request("PUT", f"/studies/{first.study}/labels/new")
    assert [one["Labels"] for one in await ask(api, body)] == [["new"]]
    await api.request("DELETE", f"/patients/{first.patient}")
    assert await ask(api, body) == []
    assert await ask(api, study()) == [second.study]


async def test_count_counts_what_find_finds(api: Api) -> None:
    await store_two(api)
    path = "/tools/count-resources"

    assert await ask(api, study(), path) == {"Count": 2}
    assert await ask(api, study({"PatientName": "doe*"}, Limit=0, Since=5), path) == {"Count": 1}
    assert await ask(api, study({"Nope": ""}), path) == {"Count": 2}
    assert await ask(api, study(CaseSensitive=False), path) == {"Count": 2}


# Status and code of wrong bodies (behaviour manual §15.1, §15.2, quirks 5 and 43).
ORDER = {"Type": "DicomTag", "Key": "PatientName", "Direction": "ASC"}
NO_TEXTS: tuple[Any, ...] = (1, None, True, [], {}, 1.5)
NO_INTEGERS: tuple[Any, ...] = ("1", 1.0, 1.5, None, True, [], 2**63, 10**30)
NO_BOOLEANS: tuple[Any, ...] = (1, "true", None, [])
NO_LISTS_OF_TEXTS: tuple[Any, ...] = ("a", {}, None, [1], [None])
WRONG: list[tuple[dict[str, Any], int, int]] = [
    ({}, 400, 8),
    ({"Level": "Study"}, 400, 8),
    ({"Query": {}}, 400, 8),
    ({"Level": 1, "Query": {}}, 400, 8),
    ({"Level": None, "Query": {}}, 400, 8),
    ({"Level": "Foo", "Query": {}}, 400, 3),
    ({"Level": "Study ", "Query": {}}, 400, 3),
    ({"Level": "Study", "Query": []}, 400, 8),
    ({"Level": "Study", "Query": "x"}, 400, 8),
    *((study({"PatientID": value}), 400, 8) for value in NO_TEXTS),
    (study({"Nope": "*"}), 400, 27),
    (study({"": "x"}), 400, 27),
    (study({"StudyDate": "2026*"}), 400, 3),
    (study({"StudyDate": "*"}), 400, 3),
    (study({"StudyInstanceUID": "1.2?"}), 400, 3),
    (study({"Rows": "1*"}), 400, 3),
    (study({"PatientName": "*" + "a" * 2000}), 400, 3),
    (study({f"0009,{number:04x}": "x" for number in range(0x1000, 0x1033)}), 400, 8),
    *((study(**{name: value}), 400, 8) for name in ("Limit", "Since") for value in NO_INTEGERS),
    (study(Limit=-1), 400, 3),
    (study(Since=-1), 400, 3),
    (study({"Rows": "16"}, Since=1), 400, 8),
    *(
        (study(**{name: value}), 400, 8)
        for name in ("Expand", "CaseSensitive", "Full", "Short", "Simplify")
        for value in NO_BOOLEANS
    ),
    *((study(Labels=value), 400, 8) for value in NO_LISTS_OF_TEXTS),
    (study(Labels=["a"] * 1001), 400, 8),
    (study(LabelsConstraint="Some"), 400, 3),
    (study(LabelsConstraint="all"), 400, 3),
    (study(LabelsConstraint=1), 400, 8),
    (study(MetadataQuery=[]), 400, 8),
    (study(MetadataQuery={"MyState": 1}), 400, 8),
    (study(MetadataQuery={"Nope": "x"}), 404, 7),
    (study(MetadataQuery={"Nope": ""}), 404, 7),
    (study(MetadataQuery={"9" * 30: "x"}), 400, 5),
    (study(OrderBy={}), 400, 8),
    (study(OrderBy=["x"]), 400, 8),
    (study(OrderBy=[ORDER] * 11), 400, 8),
    *((study(OrderBy=[{**ORDER, name: 1}]), 400, 8) for name in ORDER),
    *(
        (study(OrderBy=[{key: ORDER[key] for key in ORDER if key != name}]), 400, 8)
        for name in ORDER
    ),
    (study(OrderBy=[{**ORDER, "Type": "Nope"}]), 400, 3),
    (study(OrderBy=[{**ORDER, "Direction": "UP"}]), 400, 3),
    (study(OrderBy=[{**ORDER, "Key": "Nope"}]), 400, 27),
    (study(OrderBy=[{**ORDER, "Key": "Rows"}]), 400, 8),
    (study(OrderBy=[{**ORDER, "Type": "Metadata", "Key": "Nope"}]), 404, 7),
    (study(ParentPatient=1), 400, 8),
    (study(ParentStudy="x"), 400, 6),
    (study(ParentSeries="x"), 400, 6),
    (study(ResponseContent=["Nope"]), 400, 3),
    (study(ResponseContent="Labels"), 400, 8),
    (study(RequestedTags=["Nope"], Expand=True), 400, 8),
    (study(RequestedTags="PatientID"), 400, 8),
]
NOT_COUNTED = [
    (study({"RequestAttributesSequence": [{"ScheduledProcedureStepID": "1"}]}), 400, 8),
    (study(CaseSensitive=True), 400, 3),
    (study({"Rows": "16"}), 400, 8),
]
# No count is asked for in parts or in an order that it could not have.
FIND_ONLY = ("ResponseContent", "RequestedTags", "Expand", "Full", "Short", "Simplify", "Since")


@pytest.mark.parametrize(("body", "status", "code"), WRONG)
async def test_find_wrong_body_is_refused_with_the_code(
    api: Api, body: dict[str, Any], status: int, code: int
) -> None:
    result = await api.request("POST", "/tools/find", body=json.dumps(body).encode())
    assert (result.status_code, result.json["OrthancStatus"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        *NOT_COUNTED,
        *(case for case in WRONG if not set(case[0]) & {*FIND_ONLY, "OrderBy"}),
    ],
)
async def test_count_wrong_body_is_refused_with_the_code(
    api: Api, body: dict[str, Any], status: int, code: int
) -> None:
    result = await api.request("POST", "/tools/count-resources", body=json.dumps(body).encode())
    assert (result.status_code, result.json["OrthancStatus"]) == (status, code)


@pytest.mark.parametrize("path", ["/tools/find", "/tools/count-resources"])
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"1", b'"a"', b"null", b"\xff", b'{"Level":"Study","Query":{}} x'),
        b'{"Level":"Study","Query":{"PatientID":"\xff"}}',
        b'{"Level":"Study","Query":{"PatientID":"\\ud800"}}',
        b'{"Level":"Study","Query":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"Level":"Study","Query":{},"x":1e999}',
        b'{"Level":"Study","Query":{},"x":' + b"9" * 100_000 + b"}",
    ],
)
async def test_body_that_is_no_json_object_is_refused(api: Api, path: str, body: bytes) -> None:
    result = await api.request("POST", path, body=body)
    assert result.status_code in {200, 400}
    assert result.status_code == 400 or body.endswith(b"9}")
    if result.status_code == 400:
        assert result.json["OrthancStatus"] == 8


async def test_body_that_is_too_long_is_refused(api: Api) -> None:
    result = await api.request("POST", "/tools/find", body=b" " * (16 * 1024 * 1024 + 1))
    assert result.status_code == 413

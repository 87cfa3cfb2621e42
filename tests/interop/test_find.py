"""Searches are answered as by Orthanc 1.10.1, but for what `accepted.FIND` lists."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.interop.accepted import FIND as ACCEPTED
from tests.interop.comparing import Difference, compare, find_unexpected, find_unmet
from tests.support.dicom_files import build_data_set, build_instance, encode_sequence
from tests.support.orthanc import Pair, run_pair

Results = dict[str, list[Difference]]


LEVELS = ("Patient", "Study", "Series", "Instance")
UTF8 = {0x00080005: ("CS", "ISO_IR 192")}


def _build(number: int, extra: dict[int, tuple[str, bytes | str]], **fields: Any) -> bytes:
    ids = {"patient_id": f"P{number}", "study": f"1.2.{number}", "series": f"1.2.{number}.1"}
    names = {**ids, "instance": f"1.2.{number}.1.1", **fields}
    return build_instance({**UTF8, **extra}, **names)


FILES = (
    _build(
        1,
        {
            0x00080008: ("CS", "ORIGINAL\\PRIMARY"),
            0x00080020: ("DA", "20200101"),
            0x00080030: ("TM", "101010"),
            0x00080050: ("SH", "ACC1"),
            0x00080060: ("CS", "CT"),
            0x00081030: ("LO", ""),
            0x00090010: ("LO", "ACME"),
            0x00091001: ("LO", "priv"),
            0x00100010: ("PN", "Doe^Jane"),
            0x00280010: ("US", b"\x10\0"),
        },
    ),
    _build(
        1,
        {0x00080060: ("CS", "MR"), 0x00100010: ("PN", "Doe^Jane"), 0x00200013: ("IS", "7")},
        series="1.2.1.2",
        instance="1.2.1.2.1",
    ),
    _build(
        2,
        {
            0x00080020: ("DA", ""),
            0x00080050: ("SH", " LEAD"),
            0x00080060: ("CS", "MR"),
            0x00081030: ("LO", "50%_a[b]c"),
            0x00081070: ("PN", "Roe^R\\Low^L"),
            0x00100010: ("PN", "Smith^John"),
        },
    ),
    _build(
        3,
        {
            0x00080020: ("DA", "20210101"),
            0x00080060: ("CS", "CT"),
            0x00081030: ("LO", "Stra\u00dfe ".encode()),
            0x00100010: (
                "PN",
                "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d".encode(),
            ),
            0x00204000: ("LT", "multi\\line"),
        },
    ),
    _build(
        4,
        {0x00100010: ("PN", "M\u00dcLLER^\u00c4nne".encode())},
        tail=encode_sequence(0x00081140, [build_data_set({0x00081155: ("UI", "1.2.3")})]),
    ),
)

# Level, tag, patterns.
_PATTERNS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Study",
        "StudyDate",
        (
            "*",
            "",
            "\\",
            "20200101",
            "20200101\\20210101",
            "-",
            "-20201231",
            "20200101-",
            "2020-2021-2022",
            "20200101-20201231\\20210101",
            "20200101\\20210101-",
            "*-",
            "2020",
            " 20200101",
            "20200101 ",
        ),
    ),
    ("Study", "StudyTime", ("1000-1100", "10*", "101010", "-")),
    (
        "Study",
        "StudyDescription",
        (
            "*",
            "Str*",
            "strasse",
            "straße",
            "Stra?e*",
            "50%_a[b]c",
            "50%*",
            "*[b]*",
            "5?%*",
            "*%*",
            "*_*",
            "*\\*",
            "?",
            "",
            "**",
        ),
    ),
    (
        "Study",
        "PatientName",
        (
            "doe^jane",
            "DOE*",
            "doe*\\smith*",
            "doe^jane\\smith^john",
            "Doe^Jane ",
            "*山田*",
            "山田*",
            "やまだ*",
            "yamada*",
            "muller*",
            "müller*",
            "M?LLER*",
            "müller^änne",
            "*",
            "nobody",
            "\x00",
        ),
    ),
    ("Study", "AccessionNumber", ("ACC1", "acc1", " ACC1", "LEAD", " LEAD", "acc1 ", "A?C*")),
    ("Study", "PatientID", ("P1", "p1\\P3", "P*", "P?")),
    ("Study", "StudyInstanceUID", ("1.2.1", "1.2.1\\1.2.3", "1.2.*", "1.2")),
    ("Series", "OperatorsName", ("Roe^R", "Low*", "roe*", "*low*")),
    ("Instance", "ImageType", ("PRIMARY", "ORIGINAL\\PRIMARY", "*PRIM*", "orig*")),
    ("Instance", "0009,1001", ("priv", "PRIV", "p*", "*", "")),
    ("Instance", "Rows", ("16", "1*", "16\\17", "016", " 16")),
    ("Instance", "ReferencedImageSequence", ("x", "*", "")),
    ("Instance", "ImageComments", ("multi\\line", "line", "*line")),
    ("Instance", "InstanceNumber", ("7", "07", "7\\8", "7*")),
    ("Instance", "SOPInstanceUID", ("1.2.1.1.1", "1.2.1.1.1\\1.2.2.1.1", "1.2.1.1.1*")),
    ("Instance", "SOPClassUID", ("1.2.840.10008.5.1.4.1.1.2", "1.2")),
    ("Instance", "TransferSyntaxUID", ("1.2.840.10008.1.2.1", "*")),
    ("Study", "SpecificCharacterSet", ("ISO_IR 192", "iso*")),
    ("Study", "PixelData", ("x",)),
    ("Study", "SOPClassesInStudy", ("1.2.840.10008.5.1.4.1.1.2",)),
    ("Study", "InstanceAvailability", ("ONLINE", "OFFLINE")),
    ("Study", "NumberOfStudyRelatedInstances", ("1", "2", "02", "*", "1\\2")),
    ("Study", "Nope", ("", "*", "x")),
    ("Study", "0099,9999", ("x", "")),
    ("Study", "patientname", ("x",)),
    *((level, "ModalitiesInStudy", ("CT", "ct\\mr", "C*", "*", "")) for level in LEVELS),
    *((level, "Modality", ("CT", "mr", "*")) for level in LEVELS),
    *((level, "PatientName", ("doe*", "")) for level in LEVELS),
)
_WRONG_NUMBERS: tuple[Any, ...] = (-1, "1", 1.5, 1.0, 10**20)
_WRONG_QUERIES: tuple[Any, ...] = ([], {"PatientID": 1}, {"PatientID": None})
_FIELDS: tuple[dict[str, Any], ...] = (
    *({"Level": level, "Query": {}} for level in LEVELS),
    *({"Level": level, "Query": {}, "Expand": True} for level in LEVELS),
    *(
        {"Level": name, "Query": {}}
        for name in ("patients", "STUDIES", "image", "Images", "serie", "Study ", "", "Foo")
    ),
    *(
        {"Level": "Study", "Query": {}, "Expand": True, shape: True}
        for shape in ("Full", "Short", "Simplify")
    ),
    {"Level": "Study", "Query": {"PatientName": "doe*"}, "CaseSensitive": True},
    {"Level": "Study", "Query": {"PatientName": "Doe*"}, "CaseSensitive": True},
    {"Level": "Study", "Query": {"StudyDate": "20200101", "PatientName": "doe*"}},
    {"Level": "Series", "Query": {"PatientID": "P1", "Modality": "MR"}},
    {"Level": "Instance", "Query": {"PatientID": "P1"}},
    {"Level": "Instance", "Query": {"Rows": "16"}, "Since": 1},
    {"Level": "Study", "Query": {}, "Limit": 0},
    {"Level": "Study", "Query": {}, "Limit": 100, "Since": 0},
    {"Level": "Study", "Query": {}, "Since": 100},
    {
        "Level": "Study",
        "Query": {"PatientName": "doe*"},
        "Expand": True,
        "RequestedTags": ["PatientName", "ModalitiesInStudy", "NumberOfStudyRelatedSeries"],
    },
    *(
        {"Level": "Study", "Query": {}, name: value}
        for name in ("Limit", "Since")
        for value in _WRONG_NUMBERS
    ),
    *({"Level": "Study", "Query": value} for value in _WRONG_QUERIES),
    {"Level": "Study", "Query": {}, "CaseSensitive": "x"},
    {"Level": "Study", "Query": {}, "CaseSensitive": []},
    *({"Level": "Study", "Query": {}, name: "x"} for name in ("Expand", "Full", "RequestedTags")),
    {"Level": "Study", "Query": {}, "Expand": 1},
    {"Level": "Study"},
    {"Query": {}},
    {"Level": 1, "Query": {}},
)
_BODIES = {
    **{
        f"find {level} {tag} {pattern!r}": {"Level": level, "Query": {tag: pattern}}
        for level, tag, patterns in _PATTERNS
        for pattern in patterns
    },
    **{f"find {json.dumps(fields)}": fields for fields in _FIELDS},
}
_RAW = (b"", b"{", b"[]", b"null", b'"x"', b'{"Level":"Study","Query":{}} x')
CASES = {
    **{case: json.dumps(body).encode() for case, body in _BODIES.items()},
    **{f"find raw {body!r}": body for body in _RAW},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """Ask both everything, once."""
    with run_pair(tmp_path_factory.mktemp("find") / "pair") as pair:
        pair.load(list(FILES))
        yield {case: _ask(pair, case, body) for case, body in CASES.items()}


def _ask(pair: Pair, case: str, body: bytes) -> list[Difference]:
    return compare(case, *pair.both("POST", "/tools/find", body))


@pytest.mark.parametrize("case", CASES)
def test_search_is_answered_as_by_orthanc(case: str, results: Results) -> None:
    assert find_unexpected(results[case], ACCEPTED) == []


def test_accepted_differences_of_searches_all_occur(results: Results) -> None:
    differences = [difference for found in results.values() for difference in found]
    assert find_unmet(differences, ACCEPTED) == []

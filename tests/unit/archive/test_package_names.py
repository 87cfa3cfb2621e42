"""Names of folders and files in archives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.archive.package_names import build_file_names, build_folder_name, make_unique
from isocenter.dicom.levels import Level


@pytest.mark.parametrize(
    ("level", "tags", "name"),
    [
        (Level.PATIENT, {"PatientID": "P1", "PatientName": "DOE^JANE"}, "P1 - DOE^JANE"),
        (Level.PATIENT, {"PatientName": "DOE"}, "DOE"),
        (Level.PATIENT, {"PatientID": "", "PatientName": " "}, "Unknown Patient"),
        (Level.STUDY, {"AccessionNumber": "A", "StudyDescription": "HEAD"}, "A - HEAD"),
        (Level.STUDY, {}, "Unknown Study"),
        (
            Level.SERIES,
            {"SeriesNumber": "3", "Modality": "CT", "SeriesDescription": "A/B"},
            "3 - CT - A B",
        ),
        (Level.SERIES, {}, "Unknown Series"),
        (Level.STUDY, {"StudyDescription": "..\\../etc\0passwd"}, "etc passwd"),
        (Level.STUDY, {"StudyDescription": ".."}, "Unknown Study"),
        (Level.STUDY, {"StudyDescription": "Sch\u00e4del"}, "Schdel"),
        (Level.STUDY, {"StudyDescription": 'C:*?<>|"x\n'}, "C x"),
        (Level.STUDY, {"StudyDescription": "x" * 300}, "x" * 120),
    ],
)
def test_build_folder_name(level: Level, tags: dict[str, str], name: str) -> None:
    assert build_folder_name(level, tags, is_utf8=False) == name


def test_build_folder_name_keeps_letters_if_asked() -> None:
    tags = {"PatientName": "Sch\u00e4fer^山田"}
    assert build_folder_name(Level.PATIENT, tags, is_utf8=True) == tags["PatientName"]
    long = build_folder_name(Level.PATIENT, {"PatientName": "山" * 100}, is_utf8=True)
    assert long == "山" * 40


@given(st.text(), st.booleans())
def test_build_folder_name_never_leaves_its_folder(text: str, is_utf8: bool) -> None:
    name = build_folder_name(Level.STUDY, {"StudyDescription": text}, is_utf8=is_utf8)
    assert name
    assert name not in {".", ".."}
    assert not set(name) & set('/\\:*?"<>|\0\r\n')
    assert is_utf8 or name.isascii()
    assert len(name.encode()) <= 120


def test_make_unique_numbers_siblings() -> None:
    assert make_unique(["a", "b", "A", "a", "a-2"]) == ["a", "b", "A-2", "a-3", "a-2-2"]


@given(st.lists(st.sampled_from(["a", "A", "a-2", "a-3", "b"])))
def test_make_unique_leaves_no_two_alike(names: list[str]) -> None:
    unique = make_unique(names)
    assert len({name.casefold() for name in unique}) == len(names)


@pytest.mark.parametrize(
    ("modality", "numbers", "names"),
    [
        ("CT", [1, 2], ["CT000001.dcm", "CT000002.dcm"]),
        ("CT", [7, 7, 3], ["CT000001.dcm", "CT000002.dcm", "CT000003.dcm"]),
        ("MR", [None, 1, -5, 0], ["MR000002.dcm", "MR000001.dcm", "MR000003.dcm", "MR000004.dcm"]),
        ("", [12], ["00000012.dcm"]),
        ("RTSTRUCT", [1], ["RT000001.dcm"]),
        ("m", [1], ["M0000001.dcm"]),
        ("CT", [1_000_000], ["CT000001.dcm"]),
        ("CT", [], []),
    ],
)
def test_build_file_names(modality: str, numbers: list[int | None], names: list[str]) -> None:
    assert build_file_names(modality, numbers) == names


@given(st.lists(st.one_of(st.none(), st.integers(-3, 8))))
def test_build_file_names_are_unique(numbers: list[int | None]) -> None:
    assert len(set(build_file_names("CT", numbers))) == len(numbers)

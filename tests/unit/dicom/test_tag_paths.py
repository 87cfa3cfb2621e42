"""Paths to elements inside sequences."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.dicom.tag_paths import TagPath, parse_tag_path
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.errors import RequestError, ServerError

_SEQUENCE, _OTHER, _UID, _NAME = 0x00081140, 0x00400275, 0x00081155, 0x00100010


def _parse(text: str) -> TagPath:
    return parse_tag_path(text, DEFAULT_DICTIONARY)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("PatientName", TagPath((), _NAME)),
        ("0010-0010", TagPath((), _NAME)),
        ("0008,1140[*].0008,1155", TagPath(((_SEQUENCE, None),), _UID)),
        (
            "RequestAttributesSequence[0].ReferencedImageSequence[12].ReferencedSOPInstanceUID",
            TagPath(((_OTHER, 0), (_SEQUENCE, 12)), _UID),
        ),
    ],
)
def test_path_is_parsed(text: str, path: TagPath) -> None:
    assert _parse(text) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "Nonsense",
        "ReferencedImageSequence.PatientName",
        "ReferencedImageSequence[-1].PatientName",
        "ReferencedImageSequence[x].PatientName",
        "ReferencedImageSequence[0]",
        "ReferencedImageSequence[0].",
        "ReferencedImageSequence[9999999999].PatientName",
        "ReferencedImageSequence[0]." * 100 + "PatientName",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ServerError):
        _parse(text)


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(RequestError):
        _parse(text)


def test_path_fits_its_data_sets() -> None:
    path = _parse("ReferencedImageSequence[*].RequestAttributesSequence[1].PatientName")
    assert path.fits(((_SEQUENCE, 7), (_OTHER, 1)))
    assert not path.fits(((_SEQUENCE, 7), (_OTHER, 0)))
    assert not path.fits(((_SEQUENCE, 7),))
    assert path.leads_through(())
    assert path.leads_through(((_SEQUENCE, 7),))
    assert not path.leads_through(((_OTHER, 7),))
    assert not path.leads_through(((_SEQUENCE, 7), (_OTHER, 1), (_OTHER, 1)))

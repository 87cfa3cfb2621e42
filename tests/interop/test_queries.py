"""C-FIND is answered as by Orthanc 1.10.1, but for what `accepted.FINDINGS` lists."""

from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from tests.interop.accepted import FINDINGS
from tests.support.dicom_files import build_data_set, build_instance, encode_sequence
from tests.support.orthanc import AE_TITLE, Pair, Server, run_pair
from tests.support.query_identifiers import ask

pytestmark = [
    # pydicom warns of values that the standard forbids.
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

PATIENT_ROOT, STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")
OPTIONS = {"DicomAlwaysAllowFind": True}
_TIMEOUT_S = 20

_CODE = build_data_set({0x00080100: ("SH", "CHEST"), 0x00080104: ("LO", "Chest")})
_DOE = {0x00100010: ("PN", "Doe^John"), 0x00100030: ("DA", "19700101")}
FILES = (
    build_instance(
        {
            **_DOE,
            0x00080020: ("DA", "20200101"),
            0x00080030: ("TM", "101112"),
            0x00080050: ("SH", "ACC1"),
            0x00080060: ("CS", "CT"),
            0x00081030: ("LO", "Chest"),
            0x00280010: ("US", b"\x10\0"),
        },
        patient_id="P1",
        study="1.2.1",
        series="1.2.1.1",
        instance="1.2.1.1.1",
        tail=encode_sequence(0x00321064, [_CODE]),
    ),
    build_instance(
        {**_DOE, 0x00080060: ("CS", "MR"), 0x0008103E: ("LO", "Second")},
        patient_id="P1",
        study="1.2.1",
        series="1.2.1.2",
        instance="1.2.1.2.1",
    ),
    build_instance(
        {
            0x00080005: ("CS", "ISO_IR 100"),
            0x00080020: ("DA", "20210101"),
            0x00080060: ("CS", "CT"),
            0x00100010: ("PN", b"M\xfcller^Hans"),
        },
        patient_id="P2",
        study="1.2.2",
        series="1.2.2.1",
        instance="1.2.2.1.1",
    ),
    build_instance(
        {
            0x00080005: ("CS", "ISO_IR 144"),
            0x00080060: ("CS", "CT"),
            0x00100010: ("PN", "Иванов".encode("iso8859_5")),
        },
        patient_id="P3",
        study="1.2.3",
        series="1.2.3.1",
        instance="1.2.3.1.1",
    ),
)


def _ask_private() -> Dataset:
    identifier = ask()
    identifier.add_new(0x00091001, "LO", "")
    return identifier


_COUNTS = {
    "ModalitiesInStudy": "",
    "NumberOfStudyRelatedSeries": "",
    "NumberOfStudyRelatedInstances": "",
    "SOPClassesInStudy": "",
}
QUESTIONS: dict[str, Dataset] = {
    "all studies": ask(StudyInstanceUID="", PatientID="", StudyDate="", StudyTime=""),
    "all patients": ask("PATIENT", PatientID="", NumberOfPatientRelatedStudies=""),
    "all series": ask("SERIES", SeriesInstanceUID="", Modality="", StudyDate=""),
    "counts of series": ask("SERIES", NumberOfSeriesRelatedInstances="", SeriesInstanceUID=""),
    "all images": ask("IMAGE", SOPInstanceUID="", SOPClassUID="", Rows=None, InstanceNumber=""),
    "all instances": ask("INSTANCE", SOPInstanceUID=""),
    "level in small letters": ask("study", StudyInstanceUID=""),
    "no level": ask(None, StudyInstanceUID=""),
    "wrong level": ask("FRAME", StudyInstanceUID=""),
    "computed": ask(StudyInstanceUID="", **_COUNTS),
    "modalities": ask(ModalitiesInStudy="MR\\US", StudyInstanceUID=""),
    "one patient": ask(PatientID="P1", PatientBirthDate="", PatientSex=""),
    "patient in small letters": ask(PatientID="p1"),
    "name in small letters": ask(PatientName="doe*"),
    "name with a question mark": ask(PatientName="D?e^John"),
    "description in small letters": ask(StudyDescription="chest"),
    "description": ask(StudyDescription="Ches*"),
    "any description": ask(StudyDescription="*"),
    "two studies": ask(StudyInstanceUID=["1.2.1", "1.2.2", "9.9"]),
    "dates from": ask(StudyDate="20200601-", StudyInstanceUID=""),
    "dates until": ask(StudyDate="-20200601", StudyInstanceUID=""),
    "a date": ask(StudyDate="20200101"),
    "a wildcard in a date": ask(StudyDate="2020*"),
    "a star as a date": ask(StudyDate="*"),
    "a wildcard in a UID": ask(StudyInstanceUID="1.2*"),
    "modality of series": ask("SERIES", Modality="MR", SeriesInstanceUID=""),
    "series by the patient": ask("SERIES", PatientID="P1", SeriesInstanceUID=""),
    "keys of lower levels": ask(StudyInstanceUID="", Modality="", SeriesDescription="", Rows=None),
    "a key of the file": ask("IMAGE", Rows=16, SOPInstanceUID=""),
    "keys that files lack": ask(PatientID="P1", PatientAge="", PatientComments=""),
    "nothing": ask(PatientID="nobody"),
    "a study by the modality of its series": ask(Modality="MR", StudyInstanceUID=""),
    "counters of other levels": ask(
        StudyInstanceUID="", NumberOfPatientRelatedStudies="", RetrieveAETitle=""
    ),
    "availability": ask("IMAGE", SOPInstanceUID="", InstanceAvailability=""),
    "a name beyond the default character set": ask(PatientID="P3", PatientName=""),
    "a name in Latin letters": ask(PatientID="P2", PatientName=""),
    "a name in Cyrillic": ask(SpecificCharacterSet="ISO_IR 144", PatientName="Иванов"),
    "all names in UTF-8": ask(SpecificCharacterSet="ISO_IR 192", PatientName=""),
    "all names in Japanese": ask(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=""),
    "a name without its accent": ask(PatientName="muller*"),
    "a time zone": ask(TimezoneOffsetFromUTC="+0100"),
    "a sequence": ask(PatientID="P2", ReferencedStudySequence=[]),
    "an item of a sequence": ask(
        StudyInstanceUID="", RequestedProcedureCodeSequence=[ask(None, CodeValue="CHEST")]
    ),
    "items that nothing has": ask(
        StudyInstanceUID="", RequestedProcedureCodeSequence=[ask(None, CodeValue="HEAD")]
    ),
    "a private tag without its creator": _ask_private(),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with run_pair(tmp_path_factory.mktemp("queries") / "pair", OPTIONS) as pair:
        pair.load(list(FILES))
        yield pair


def associate(server: Server, syntax: str = SYNTAXES[0]) -> Association:
    ae = AE("ASKER")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = _TIMEOUT_S
    for uid in (PATIENT_ROOT, STUDY_ROOT):
        ae.add_requested_context(uid, [syntax])
    association = ae.associate("127.0.0.1", server.dicom_port, ae_title=AE_TITLE)
    assert association.is_established
    return association


def find(association: Association, identifier: Dataset, root: str) -> list[tuple[int, str]]:
    """Ask, and put the answers into an order."""
    answers = [
        (status.Status if "Status" in status else -1, str(answer or ""))
        for status, answer in association.send_c_find(identifier, root)
    ]
    return sorted(answers)


@pytest.fixture(scope="module")
def associations(pair: Pair) -> Iterator[tuple[Association, Association]]:
    both = associate(pair.isocenter), associate(pair.orthanc)
    yield both
    for association in both:
        association.release()


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_is_answered_as_by_orthanc(
    associations: tuple[Association, Association], name: str
) -> None:
    identifier = QUESTIONS[name]
    root = PATIENT_ROOT if "PATIENT" in identifier.get("QueryRetrieveLevel", "") else STUDY_ROOT
    ours, theirs = (find(association, identifier, root) for association in associations)
    assert (ours != theirs) == (name in FINDINGS), (ours, theirs)


@pytest.mark.parametrize("syntax", SYNTAXES[1:])
def test_other_transfer_syntaxes_are_answered_as_by_orthanc(pair: Pair, syntax: str) -> None:
    answers = []
    for server in (pair.isocenter, pair.orthanc):
        association = associate(server, syntax)
        identifier = ask(PatientID="P1", NumberOfStudyRelatedSeries="", PatientName="")
        answers.append(find(association, identifier, STUDY_ROOT))
        association.release()
    assert answers[0] == answers[1]
    assert [status for status, _ in answers[0]] == [0, 0xFF00]


def test_accepted_differences_are_those_of_questions() -> None:
    assert not set(FINDINGS) - set(QUESTIONS)


def test_items_of_sequences_are_matched(associations: tuple[Association, Association]) -> None:
    codes = [
        find(
            associations[0],
            ask(RequestedProcedureCodeSequence=[ask(None, CodeValue=value)]),
            STUDY_ROOT,
        )
        for value in ("CHEST", "C*", "HEAD", "")
    ]
    assert [len(answers) - 1 for answers in codes] == [1, 1, 0, 3]
    assert "CHEST" in codes[0][1][1]
    # What the question does not name is not answered.
    assert "Code Meaning" not in codes[0][1][1]


def test_sequence_is_answered_with_its_items(
    associations: tuple[Association, Association],
) -> None:
    identifier = ask(PatientID="P1", RequestedProcedureCodeSequence=[])
    (_, (_, answer)) = find(associations[0], identifier, STUDY_ROOT)
    assert "CHEST" in answer
    assert "Code Meaning" in answer

"""The generator of the tables."""

from pathlib import Path

from isocenter.dicom import dictionary, sop_classes
from isocenter.dicom.build_dictionary import write_tables

STANDARD = """# Comment
(0010,0010)\tPN\tPatientName\t1\tDICOM
(0014,1020)\tDA\tExpiryDate\t1\tDICOM/DICONDE
(6000-60FF,0010)\tUS\tOverlayRows\t1\tDICOM
"""
PRIVATE = """# Comment
(0009,"SOMEBODY",01)\tLO\tFull Name\t1\tPrivateTag
(0009,"SOMEBODY",1001)\tLO\tOther\t1\tPrivateTag
(0009,"SOMEBODY",1002)\txs\tSecond\t1-n\tPrivateTag
(0009,"SOMEBODY",1103)\tLO\tElsewhere\t1\tPrivateTag
(6001-o-60ff,"SOMEBODY",10)\tUS\tRows\t1\tPrivateTag
"""


def _build_rows(folder: Path) -> list[str]:
    (folder / "dicom.dic").write_text(STANDARD)
    (folder / "private.dic").write_text(PRIVATE)
    write_tables(folder, folder)
    return (folder / "data_elements.tsv").read_text().splitlines()


def test_elements_of_all_sources_are_written(tmp_path: Path) -> None:
    rows = _build_rows(tmp_path)
    assert "00100010\t\tPN\t1\tPatientName" in rows
    assert "00141020\t\tDA\t1\tExpiryDate" in rows
    assert "60xx0010\t\tUS\t1\tOverlayRows" in rows
    assert "00324000\t\tLT\t1\tRETIRED_StudyComments" in rows
    assert "00101000\t\tLO\t1-n\tOtherPatientIDs" in rows


def test_private_elements_are_written_without_their_block(tmp_path: Path) -> None:
    rows = [row for row in _build_rows(tmp_path) if "SOMEBODY" in row]
    assert rows == [
        "0009xx01\tSOMEBODY\tLO\t1\tFullName",
        "0009xx02\tSOMEBODY\tUS or SS\t1-n\tSecond",
        "6001xx10\tSOMEBODY\tUS\t1\tRows",
    ]


def test_shipped_tables_hold_the_generated_standard_rows(tmp_path: Path) -> None:
    rows = [row.split("\t") for row in _build_rows(tmp_path)]
    shipped = dictionary.load_element_table().standard
    generated = {
        int(tag, 16): name for tag, creator, _, _, name in rows if "x" not in tag + creator
    }
    del generated[0x00141020]
    assert all(shipped[tag].name == name for tag, name in generated.items())


def test_shipped_storage_classes_are_the_generated_ones(tmp_path: Path) -> None:
    _build_rows(tmp_path)
    text = (tmp_path / "_storage_classes.py").read_text()
    assert text.count("    ('1.2.840") == len(sop_classes.STORAGE_SOP_CLASSES)

"""The generated table of data elements."""

from pydicom.datadict import dictionary_keyword, dictionary_VM, dictionary_VR

from isocenter.dicom.dictionary import load_element_table


def test_standard_elements_agree_with_pydicom() -> None:
    for tag in (0x00080005, 0x00100010, 0x00280106, 0x00283006, 0x00324000, 0x30060085):
        known = load_element_table().standard[tag]
        assert known.name.removeprefix("RETIRED_") == dictionary_keyword(tag)
        assert (known.vr, known.vm) == (dictionary_VR(tag), dictionary_VM(tag))


def test_names_hold_no_blanks_and_are_never_empty() -> None:
    table = load_element_table()
    names = [known.name for known in table.standard.values()]
    names += [known.name for _, _, known in table.repeating]
    names += [known.name for block in table.private.values() for known in block.values()]
    assert all(name and " " not in name for name in names)


def test_private_keys_are_odd_groups_and_a_byte() -> None:
    blocks = load_element_table().private.values()
    assert all(key >> 8 & 1 for block in blocks for key in block)

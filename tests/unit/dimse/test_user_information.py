import pytest

from isocenter.dicom import uids
from isocenter.dimse.protocol_error import ProtocolViolationError
from isocenter.dimse.user_information import (
    DEFAULT_MAXIMUM_LENGTH,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    OperationsWindow,
    RoleSelection,
    UserIdentity,
    UserInformation,
    decode_user_information,
    encode_user_information,
)

# Each sub-item typed from PS3.8 Table D.1-1 and PS3.7 Tables D.3-1 to D.3-15.
SUB_ITEMS = [
    ("51000004 00004000", {"maximum_length": 16384}),
    ("52000003 312E32", {"implementation_class_uid": "1.2"}),
    ("53000004 0003 0000", {"operations_window": OperationsWindow(3, 0)}),
    ("54000007 0003 312E32 00 01", {"roles": (RoleSelection("1.2", is_scu=False, is_scp=True),)}),
    ("55000002 5831", {"implementation_version_name": "X1"}),
    (
        "56000007 0003 312E32 0102",
        {"extended_negotiations": (ExtendedNegotiation("1.2", b"\1\2"),)},
    ),
    (
        "57000011 0003 312E32 0003 312E33 0005 0003 312E34",
        {"common_extended_negotiations": (CommonExtendedNegotiation("1.2", "1.3", ("1.4",)),)},
    ),
    (
        "58000009 02 01 0001 75 0002 7077",
        {"user_identity": UserIdentity(2, b"u", b"pw", is_response_requested=True)},
    ),
    ("59000004 0002 6F6B", {"user_identity_response": b"ok"}),
]


@pytest.mark.parametrize(("encoded", "fields"), SUB_ITEMS)
def test_decode_sub_item_gives_field(encoded: str, fields: dict[str, object]) -> None:
    information = decode_user_information(memoryview(bytes.fromhex(encoded)))
    assert {name: getattr(information, name) for name in fields} == fields


@pytest.mark.parametrize(("encoded", "fields"), SUB_ITEMS)
def test_encode_field_gives_sub_item(encoded: str, fields: dict[str, object]) -> None:
    information = UserInformation(**fields)  # type: ignore[arg-type]
    assert bytes.fromhex(encoded) in encode_user_information(information)


@pytest.mark.parametrize(
    "encoded",
    [
        "51000003 000040",
        "53000003 000100",
        "54000006 0003 312E32 00",
        "56000003 0003 31",
        "57000005 0003 312E32",
        "5700000C 0003 312E32 0003 312E33 0005",
        "58000001 02",
        "58000004 02 01 0001",
        "59000001 00",
        "51000004 0000",
    ],
)
def test_decode_cut_off_sub_item_raises(encoded: str) -> None:
    with pytest.raises(ProtocolViolationError):
        decode_user_information(memoryview(bytes.fromhex(encoded)))


def test_decode_unknown_sub_item_is_skipped() -> None:
    encoded = bytes.fromhex("7F000002 0000 51000004 00001000")
    assert decode_user_information(memoryview(encoded)).maximum_length == 4096


def test_decode_common_extended_without_related_list_is_tolerated() -> None:
    encoded = bytes.fromhex("5700000A 0003 312E32 0003 312E33")
    negotiation = decode_user_information(memoryview(encoded)).common_extended_negotiations[0]
    assert negotiation.related_sop_class_uids == ()


def test_decode_nothing_tells_nothing_about_peer() -> None:
    information = decode_user_information(memoryview(b""))
    assert information.maximum_length == DEFAULT_MAXIMUM_LENGTH
    assert information.implementation_class_uid == ""
    assert information.implementation_version_name is None


def test_encode_default_names_this_implementation() -> None:
    decoded = decode_user_information(memoryview(encode_user_information(UserInformation())))
    assert decoded.implementation_class_uid == IMPLEMENTATION_CLASS_UID
    assert decoded.implementation_version_name == IMPLEMENTATION_VERSION_NAME


def test_encode_without_version_name_leaves_it_out() -> None:
    encoded = encode_user_information(UserInformation(implementation_version_name=None))
    assert decode_user_information(memoryview(encoded)).implementation_version_name is None


def test_implementation_identification_is_that_of_written_files() -> None:
    assert IMPLEMENTATION_CLASS_UID == uids.IMPLEMENTATION_CLASS_UID
    assert IMPLEMENTATION_VERSION_NAME == uids.IMPLEMENTATION_VERSION_NAME


def test_implementation_identification_fits_its_fields() -> None:
    assert len(IMPLEMENTATION_CLASS_UID) <= 64
    assert len(IMPLEMENTATION_VERSION_NAME) <= 16
    # A 2.25 UID holds a 128-bit number (PS3.5 §B.2).
    assert int(IMPLEMENTATION_CLASS_UID.removeprefix("2.25.")) < 1 << 128


def test_user_identity_representation_hides_credentials() -> None:
    assert "secret" not in repr(UserIdentity(2, b"name", b"secret"))

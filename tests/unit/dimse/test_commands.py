import pytest

from isocenter.dimse.commands import (
    Command,
    CommandField,
    Priority,
    SubOperationCounters,
    decode_command,
    encode_command,
)
from isocenter.dimse.protocol_error import ProtocolViolationError
from isocenter.errors import BadParameterError

# C-STORE-RQ typed from PS3.7 Tables 9.3-1 and E.1-1: implicit VR little endian.
STORE_REQUEST = bytes.fromhex(
    "0000 0000 04000000 40000000"
    "0000 0200 04000000 312E3200"
    "0000 0001 02000000 0100"
    "0000 1001 02000000 0700"
    "0000 0007 02000000 0000"
    "0000 0008 02000000 0100"
    "0000 0010 04000000 312E3300"
)


def element(number: int, value: bytes) -> bytes:
    return bytes(2) + number.to_bytes(2, "little") + len(value).to_bytes(4, "little") + value


FIELD = element(0x0100, b"\x30\x00")
TYPE = element(0x0800, b"\x01\x01")
MESSAGE_ID = element(0x0110, b"\x01\x00")


def test_encode_command_gives_bytes_of_the_standard() -> None:
    command = Command(
        command_field=CommandField.C_STORE_RQ,
        message_id=7,
        affected_sop_class_uid="1.2",
        affected_sop_instance_uid="1.3",
        priority=Priority.MEDIUM,
    )
    assert encode_command(command, has_data_set=True) == STORE_REQUEST


def test_decode_command_gives_record() -> None:
    assert decode_command(STORE_REQUEST) == Command(
        command_field=CommandField.C_STORE_RQ,
        has_data_set=True,
        message_id=7,
        affected_sop_class_uid="1.2",
        affected_sop_instance_uid="1.3",
        priority=Priority.MEDIUM,
    )


def test_decode_command_all_elements_survive_round_trip() -> None:
    command = Command(
        command_field=CommandField.C_MOVE_RSP,
        message_id=1,
        message_id_being_responded_to=2,
        affected_sop_class_uid="1.2.3",
        requested_sop_class_uid="1.2.4",
        affected_sop_instance_uid="1.5",
        requested_sop_instance_uid="1.6.7",
        status=0xB000,
        priority=Priority.LOW,
        move_destination="DEST",
        move_originator_ae_title="ORIGINATOR",
        move_originator_message_id=3,
        offending_elements=(0x00100020, 0x00080018),
        error_comment="what happened",
        error_id=4,
        event_type_id=5,
        action_type_id=6,
        attribute_identifiers=(0x00100010,),
        remaining_suboperations=7,
        completed_suboperations=8,
        failed_suboperations=9,
        warning_suboperations=10,
    )
    assert decode_command(encode_command(command, has_data_set=False)) == command


def test_decode_command_unknown_and_empty_elements_are_ignored() -> None:
    extra = element(0x0010, b"OLD1") + element(0x0002, b"") + element(0x5110, b"\x01")
    command = decode_command(FIELD + MESSAGE_ID + TYPE + extra)
    assert command == Command(command_field=CommandField.C_ECHO_RQ, message_id=1)


def test_decode_command_unknown_field_is_kept() -> None:
    command = decode_command(element(0x0100, b"\x55\x00") + MESSAGE_ID + TYPE)
    assert command.command_field == 0x55
    assert not command.is_response


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(FIELD[:7], id="header cut off"),
        pytest.param(FIELD[:-1], id="value cut off"),
        pytest.param(b"\x08" + FIELD[1:] + MESSAGE_ID + TYPE, id="group 0008"),
        pytest.param(FIELD + MESSAGE_ID, id="no data set type"),
        pytest.param(MESSAGE_ID + TYPE, id="no field"),
        pytest.param(FIELD + TYPE, id="request without message identifier"),
        pytest.param(element(0x0100, b"\xff\x0f") + TYPE, id="cancel of nothing"),
        pytest.param(
            element(0x0100, b"\x30\x80") + TYPE + element(0x0120, b"\x01\x00"), id="no status"
        ),
        pytest.param(
            element(0x0100, b"\x30\x80") + TYPE + element(0x0900, b"\0\0"), id="no answer"
        ),
        pytest.param(FIELD + element(0x0110, b"\x01") + TYPE, id="US of one byte"),
        pytest.param(FIELD + MESSAGE_ID + TYPE + element(0x0901, b"\0\0"), id="AT of two bytes"),
        pytest.param(FIELD + MESSAGE_ID + TYPE + element(0x0002, b"1.\xff"), id="UID not ASCII"),
    ],
)
def test_decode_command_malformed_raises(data: bytes) -> None:
    with pytest.raises(ProtocolViolationError):
        decode_command(data)


@pytest.mark.parametrize(
    "command",
    [
        Command(command_field=CommandField.C_ECHO_RQ, message_id=0x10000),
        Command(command_field=CommandField.C_ECHO_RQ, affected_sop_class_uid="\N{SNOWMAN}"),
        Command(command_field=CommandField.C_MOVE_RQ, move_destination="\N{SNOWMAN}"),
    ],
)
def test_encode_command_impossible_value_raises(command: Command) -> None:
    with pytest.raises(BadParameterError):
        encode_command(command, has_data_set=False)


def test_encode_command_long_comment_is_cut() -> None:
    command = Command(
        command_field=CommandField.C_ECHO_RSP,
        message_id_being_responded_to=1,
        status=0x0110,
        error_comment="\N{SNOWMAN}" + "x" * 100,
    )
    decoded = decode_command(encode_command(command, has_data_set=False))
    assert decoded.error_comment == "?" + "x" * 63


def test_build_response_repeats_what_identifies_the_request() -> None:
    request = Command(
        command_field=CommandField.N_ACTION_RQ,
        message_id=9,
        requested_sop_class_uid="1.2",
        requested_sop_instance_uid="1.3",
        action_type_id=1,
    )
    assert request.build_response(0x0110, error_comment="why") == Command(
        command_field=CommandField.N_ACTION_RSP,
        message_id_being_responded_to=9,
        affected_sop_class_uid="1.2",
        affected_sop_instance_uid="1.3",
        action_type_id=1,
        status=0x0110,
        error_comment="why",
    )


def test_build_response_counters_are_given() -> None:
    request = Command(command_field=CommandField.C_MOVE_RQ, message_id=9)
    response = request.build_response(0xFF00, counters=SubOperationCounters(1, 2, 3, 4))
    assert response.remaining_suboperations == 1
    assert response.completed_suboperations == 2
    assert response.failed_suboperations == 3
    assert response.warning_suboperations == 4
    assert response.is_response


@pytest.mark.parametrize("value", [b"\0\0", b"  ", b""])
def test_decode_command_value_of_padding_only_counts_as_absent(value: bytes) -> None:
    command = decode_command(FIELD + TYPE + MESSAGE_ID + element(0x1000, value))
    assert command.affected_sop_instance_uid is None


def test_build_response_counters_beyond_16_bits_are_capped() -> None:
    request = Command(command_field=CommandField.C_MOVE_RQ, message_id=1)
    response = request.build_response(0xFF00, counters=SubOperationCounters(65_536, 70_000, 0, 1))
    decoded = decode_command(encode_command(response, has_data_set=False)[12:])
    assert decoded.remaining_suboperations == decoded.completed_suboperations == 0xFFFF
    assert (decoded.failed_suboperations, decoded.warning_suboperations) == (0, 1)

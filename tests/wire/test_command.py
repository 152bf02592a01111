"""Command sets: pynetdicom writes the same bytes, pydicom reads the same values, and what is broken is refused."""

import struct
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pynetdicom import dimse_messages
from pynetdicom.dimse_primitives import C_CANCEL, C_ECHO, C_FIND, C_STORE
from pynetdicom.dsutils import encode as encode_data_set

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.wire import status, uids
from gateway.wire.command import (
    COMMAND_LIMIT_BYTES,
    ERROR_COMMENT_LIMIT,
    PRIORITY_MEDIUM,
    RESPONSE_BIT,
    CCancelRQ,
    CEchoRQ,
    CEchoRSP,
    Command,
    CommandField,
    CStoreRQ,
    CStoreRSP,
    OtherCommand,
    Tag,
    decode,
    encode,
    unrecognized_operation,
)
from tests.wire import strategies
from tests.wire.pair import CT_IMAGE_STORAGE

Primitive = C_ECHO | C_STORE | C_CANCEL | C_FIND


def theirs(message: dimse_messages.DIMSEMessage, primitive: Primitive) -> bytes:
    """The command set pynetdicom sends for a primitive."""
    message.primitive_to_message(primitive)
    encoded = encode_data_set(message.command_set, True, True)
    assert encoded is not None
    return encoded


def read_by_pydicom(encoded: bytes) -> Dataset:
    return read_dataset(BytesIO(encoded), is_implicit_VR=True, is_little_endian=True)


def echo_rq() -> tuple[bytes, Command]:
    primitive = C_ECHO()
    primitive.MessageID = 7
    primitive.AffectedSOPClassUID = uids.VERIFICATION
    return theirs(dimse_messages.C_ECHO_RQ(), primitive), CEchoRQ(7, uids.VERIFICATION)


def echo_rsp() -> tuple[bytes, Command]:
    primitive = C_ECHO()
    primitive.MessageIDBeingRespondedTo = 7
    primitive.AffectedSOPClassUID = uids.VERIFICATION
    primitive.Status = 0
    return theirs(dimse_messages.C_ECHO_RSP(), primitive), CEchoRSP(7, uids.VERIFICATION, status.SUCCESS)


def store_rq() -> tuple[bytes, Command]:
    primitive = C_STORE()
    primitive.MessageID = 65535
    primitive.AffectedSOPClassUID = CT_IMAGE_STORAGE
    primitive.AffectedSOPInstanceUID = "1.2.3.4"
    primitive.Priority = 0
    primitive.MoveOriginatorApplicationEntityTitle = "HOSPITAL_A"
    primitive.MoveOriginatorMessageID = 12
    primitive.DataSet = BytesIO(b"data")
    command = CStoreRQ(65535, CT_IMAGE_STORAGE, "1.2.3.4", PRIORITY_MEDIUM, "HOSPITAL_A", 12)
    return theirs(dimse_messages.C_STORE_RQ(), primitive), command


def store_rsp() -> tuple[bytes, Command]:
    primitive = C_STORE()
    primitive.MessageIDBeingRespondedTo = 1
    primitive.AffectedSOPClassUID = CT_IMAGE_STORAGE
    primitive.AffectedSOPInstanceUID = "1.2.3"
    primitive.Status = 0xA700
    primitive.ErrorComment = "No space"
    command = CStoreRSP(1, CT_IMAGE_STORAGE, "1.2.3", status.OUT_OF_RESOURCES, "No space")
    return theirs(dimse_messages.C_STORE_RSP(), primitive), command


def cancel_rq() -> tuple[bytes, Command]:
    primitive = C_CANCEL()
    primitive.MessageIDBeingRespondedTo = 3
    return theirs(dimse_messages.C_CANCEL_RQ(), primitive), CCancelRQ(3)


def find_rq() -> tuple[bytes, Command]:
    primitive = C_FIND()
    primitive.MessageID = 9
    primitive.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.2.2.1"
    primitive.Priority = 2
    primitive.Identifier = BytesIO(b"data")
    command = OtherCommand(
        command_field=CommandField.C_FIND,
        message_id=9,
        affected_sop_class_uid="1.2.840.10008.5.1.4.1.2.2.1",
        has_data_set=True,
        elements=((Tag.PRIORITY, b"\2\0"),),
    )
    return theirs(dimse_messages.C_FIND_RQ(), primitive), command


@pytest.mark.parametrize("case", [echo_rq, echo_rsp, store_rq, store_rsp, cancel_rq, find_rq])
def test_pynetdicom_means_the_same(case: Callable[[], tuple[bytes, Command]]) -> None:
    encoded, command = case()

    assert decode(encoded) == command
    ours, other = read_by_pydicom(encode(command)), read_by_pydicom(encoded)
    # How a data set is announced is free: anything but 0x0101.
    assert (ours.CommandDataSetType == 0x0101) == (other.CommandDataSetType == 0x0101)
    ours.CommandDataSetType = other.CommandDataSetType
    assert ours == other


@given(strategies.commands)
def test_decoding_gives_what_was_encoded(command: Command) -> None:
    assert decode(encode(command)) == command


@given(strategies.commands)
def test_pydicom_reads_what_is_encoded(command: Command) -> None:
    encoded = encode(command)
    read = read_by_pydicom(encoded)

    assert read.CommandGroupLength == len(encoded) - 12
    assert len(encoded) % 2 == 0
    assert (read.CommandDataSetType != 0x0101) == command.has_data_set
    assert list(read.keys()) == sorted(read.keys())


def elements(*pairs: tuple[int, bytes]) -> bytes:
    """A command set of these elements, with its group length."""
    body = b"".join(struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value for tag, value in pairs)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


ECHO = (
    (0x0002, b"1.2.840.10008.1.1\0"),
    (0x0100, b"\x30\0"),
    (0x0110, b"\7\0"),
    (0x0800, b"\x01\x01"),
)


def changed(tag: int, value: bytes | None) -> bytes:
    """The C-ECHO-RQ with one element changed, added or left out."""
    values = dict(ECHO)
    if value is None:
        del values[tag]
    else:
        values[tag] = value
    return elements(*sorted(values.items()))


@pytest.mark.parametrize("uid", [b"1.2.840.10008.1.1", b"1.2.840.10008.1.1\0", b"1.2.840.10008.1.1 "])
def test_padding_of_uids_is_tolerated(uid: bytes) -> None:
    assert decode(changed(0x0002, uid)) == CEchoRQ(7, uids.VERIFICATION)


def test_elements_nobody_needs_are_tolerated() -> None:
    assert decode(changed(0x0001, bytes(4))) == CEchoRQ(7, uids.VERIFICATION)
    assert decode(changed(0x5010, b"odd")) == CEchoRQ(7, uids.VERIFICATION)


BROKEN = {
    "empty": b"",
    "no group length": elements(*ECHO)[12:],
    "wrong group length": elements(*ECHO)[:8] + b"\0\0\0\0" + elements(*ECHO)[12:],
    "cut": elements(*ECHO)[:-1],
    "cut in a header": elements(*ECHO)[:-7],
    "more after it": elements(*ECHO) + b"\0",
    "order": elements(*reversed(ECHO)),
    "twice": elements(*ECHO, ECHO[-1]),
    "another group": elements(*ECHO, (0x00080016, b"1.2 ")),
    "long length": elements(*ECHO)[:16] + b"\xff\xff\xff\xff" + elements(*ECHO)[20:],
    "no command field": changed(0x0100, None),
    "short command field": changed(0x0100, b"\x30"),
    "unknown command": changed(0x0100, b"\x31\0"),
    "response to cancel": changed(0x0100, b"\xff\x8f"),
    "no message id": changed(0x0110, None),
    "empty message id": changed(0x0110, b""),
    "no data set type": changed(0x0800, None),
    "an echo with data": changed(0x0800, b"\0\0"),
    "no class": changed(0x0002, None),
    "empty class": changed(0x0002, b""),
    "no uid": changed(0x0002, b"../x"),
    "store without data": changed(0x0100, b"\1\0"),
    "response without status": elements((0x0100, b"\x20\x80"), (0x0120, b"\1\0"), (0x0800, b"\1\1")),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_broken_command_sets_are_refused(name: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(BROKEN[name])


def test_a_store_request_must_announce_its_data_set() -> None:
    announced = encode(CStoreRQ(1, CT_IMAGE_STORAGE, "1.2.3", 0))
    start = announced.index(struct.pack("<HHI", 0, 0x0800, 2)) + 8
    unannounced = announced[:start] + b"\1\1" + announced[start + 2 :]

    with pytest.raises(RemoteProtocolError, match="without a data set"):
        decode(unannounced)


def test_length_is_limited() -> None:
    with pytest.raises(LimitExceeded):
        decode(bytes(COMMAND_LIMIT_BYTES + 1))


def test_comments_of_a_peer_are_cut_and_made_fit_to_show() -> None:
    comment = "비 space".encode("euc-kr") + b"\nx" + b"y" * 100
    response = decode(
        elements((0x0100, b"\1\x80"), (0x0120, b"\1\0"), (0x0800, b"\1\1"), (0x0900, b"\0\xa7"), (0x0902, comment))
    )

    assert isinstance(response, CStoreRSP)
    assert response.error_comment is not None
    assert len(response.error_comment) <= ERROR_COMMENT_LIMIT
    assert response.error_comment.isprintable()


@pytest.mark.parametrize(
    "command",
    [
        CEchoRQ(-1, uids.VERIFICATION),
        CEchoRQ(65536, uids.VERIFICATION),
        CEchoRQ(1, "no uid"),
        CStoreRSP(1, None, None, 0, "x" * 65),
        CStoreRSP(1, None, None, 0, "한글"),
        CStoreRSP(1, None, None, 0, "a\\b"),
        CStoreRQ(1, CT_IMAGE_STORAGE, "1.2", 0, "x" * 17),
        OtherCommand(0x1234, 1, None, False),
        OtherCommand(CommandField.C_ECHO, 1, None, False),
        OtherCommand(CommandField.C_FIND, 1, None, False, status=0),
        OtherCommand(CommandField.C_FIND | RESPONSE_BIT, 1, None, False),
        OtherCommand(CommandField.C_FIND, 1, None, False, elements=((Tag.STATUS, b"\0\0"),)),
        OtherCommand(CommandField.C_FIND, 1, None, False, elements=((0x00080016, b"1.2 "),)),
    ],
)
def test_what_does_not_fit_is_not_sent(command: Command) -> None:
    with pytest.raises(LocalProtocolError):
        encode(command)


@given(strategies.other_requests)
def test_every_request_can_be_answered_with_unrecognized_operation(request: OtherCommand) -> None:
    affected = tuple(element for element in request.elements if element[0] not in (0x0003, 0x1001))
    request = replace(request, elements=affected)

    response = decode(encode(unrecognized_operation(request)))

    assert isinstance(response, OtherCommand)
    assert response.command_field == request.command_field | RESPONSE_BIT
    assert response.message_id == request.message_id
    assert response.status == status.UNRECOGNIZED_OPERATION
    assert response.affected_sop_class_uid == request.affected_sop_class_uid
    assert not response.has_data_set


def test_answer_names_the_requested_instance() -> None:
    request = OtherCommand(
        command_field=CommandField.N_ACTION,
        message_id=4,
        affected_sop_class_uid=None,
        has_data_set=True,
        elements=((Tag.REQUESTED_SOP_CLASS_UID, b"1.2\0"), (Tag.REQUESTED_SOP_INSTANCE_UID, b"1.2.3\0")),
    )

    response = read_by_pydicom(encode(unrecognized_operation(request)))

    assert (response.AffectedSOPClassUID, response.AffectedSOPInstanceUID) == ("1.2", "1.2.3")
    assert "RequestedSOPInstanceUID" not in response


def test_known_requests_are_answered_with_their_own_response() -> None:
    echo = unrecognized_operation(CEchoRQ(1, uids.VERIFICATION))
    store = unrecognized_operation(CStoreRQ(2, CT_IMAGE_STORAGE, "1.2", 0))

    assert echo == CEchoRSP(1, uids.VERIFICATION, status.UNRECOGNIZED_OPERATION)
    assert store == CStoreRSP(2, CT_IMAGE_STORAGE, "1.2", status.UNRECOGNIZED_OPERATION)


@given(strategies.other_responses)
def test_a_response_is_not_answered(response: OtherCommand) -> None:
    with pytest.raises(RemoteProtocolError):
        unrecognized_operation(response)


@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=12)), max_size=8))
def test_garbage_is_refused_or_read(garbage: bytes, pairs: list[tuple[int, bytes]]) -> None:
    for command_set in (
        garbage,
        elements(*sorted(dict(pairs).items())),
        elements(*sorted(dict((*ECHO, *pairs)).items())),
    ):
        try:
            decode(command_set)
        except RemoteProtocolError:
            continue

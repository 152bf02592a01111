"""The seven PDUs: decode of encode is identity, and pynetdicom agrees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import pdu as theirs

from gateway.errors import RemoteProtocolError
from gateway.wire import pdu
from gateway.wire.codes import REJECT_REASONS, AbortReason, RejectReasonUser, RejectResult, RejectSource
from gateway.wire.pdu import PDU_HEADER_BYTES, PDUType, decode_pdu
from tests.wire import strategies


def decoded(encoded: bytes) -> pdu.PDU:
    assert int.from_bytes(encoded[2:PDU_HEADER_BYTES]) == len(encoded) - PDU_HEADER_BYTES
    return decode_pdu(encoded[0], encoded[PDU_HEADER_BYTES:])


@given(strategies.pdus)
def test_decoding_gives_what_was_encoded(value: pdu.PDU) -> None:
    assert decoded(value.encode()) == value


@given(strategies.associate_rjs)
def test_pynetdicom_reads_our_rejection(value: pdu.AssociateRJ) -> None:
    read = theirs.A_ASSOCIATE_RJ()
    read.decode(value.encode())

    assert (read.result, read.source, read.reason_diagnostic) == (value.result, value.source, value.reason)
    assert read.encode() == value.encode()


@given(strategies.p_data_tfs)
def test_pynetdicom_reads_our_p_data(value: pdu.PDataTF) -> None:
    read = theirs.P_DATA_TF()
    read.decode(value.encode())

    assert read.encode() == value.encode()
    assert [
        (item.presentation_context_id, item.message_control_header_byte, item.presentation_data_value[1:])
        for item in read.presentation_data_value_items
    ] == [(pdv.context_id, f"{2 * pdv.is_last + pdv.is_command:08b}", pdv.data) for pdv in value.pdvs]


@given(strategies.aborts)
def test_pynetdicom_reads_our_abort(value: pdu.Abort) -> None:
    read = theirs.A_ABORT_RQ()
    read.decode(value.encode())

    assert (read.source, read.reason_diagnostic) == (value.source, value.reason)


def test_pynetdicom_reads_our_release() -> None:
    assert theirs.A_RELEASE_RQ().encode() == pdu.ReleaseRQ().encode()
    assert theirs.A_RELEASE_RP().encode() == pdu.ReleaseRP().encode()


def test_rejection_is_told_in_words() -> None:
    rejection = pdu.AssociateRJ(
        RejectResult.PERMANENT, RejectSource.SERVICE_USER, RejectReasonUser.CALLED_AE_TITLE_NOT_RECOGNIZED
    )

    assert rejection.words == "rejected permanently by the application: called AE title not recognized"


@pytest.mark.parametrize("source", RejectSource)
@pytest.mark.parametrize("result", RejectResult)
def test_every_rejection_has_words(result: RejectResult, source: RejectSource) -> None:
    words = {pdu.AssociateRJ(result, source, REJECT_REASONS[source](number)).words for number in range(256)}

    assert len(words) == 256


@pytest.mark.parametrize("body", [b"\0\0\1\1", b"\0\1\0\1", b"\0\3\1\1", b"\0\1\4\1"])
def test_rejection_with_unknown_result_or_source_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_pdu(PDUType.ASSOCIATE_RJ, body)


def test_abort_with_a_reserved_source_is_still_an_abort() -> None:
    assert decode_pdu(PDUType.ABORT, b"\xff\xff\1\2") == pdu.Abort(pdu.AbortSource.SERVICE_PROVIDER, 2)


@pytest.mark.parametrize("pdu_type", [0, 8, 255])
def test_unknown_types_are_refused(pdu_type: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_pdu(pdu_type, bytes(4))
    assert caught.value.reason == AbortReason.UNRECOGNIZED_PDU


@pytest.mark.parametrize("pdu_type", [PDUType.ASSOCIATE_RJ, PDUType.RELEASE_RQ, PDUType.RELEASE_RP, PDUType.ABORT])
@pytest.mark.parametrize("length", [0, 3, 5])
def test_short_pdus_have_four_bytes(pdu_type: PDUType, length: int) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_pdu(pdu_type, bytes(length))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0\2\1",
        b"\0\0\0\1\1\0",
        b"\0\0\0\3\1\0",
        b"\xff\xff\xff\xff\1\0",
        b"\0\0\0\2\1\0\0",
    ],
)
def test_p_data_lengths_must_add_up(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_pdu(PDUType.P_DATA_TF, body)


@given(st.integers(0, 255), st.binary(max_size=200))
def test_garbage_is_refused_or_read(pdu_type: int, body: bytes) -> None:
    try:
        value = decode_pdu(pdu_type, body)
    except RemoteProtocolError:
        return
    assert decoded(value.encode()) == value

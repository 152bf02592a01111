"""A-ASSOCIATE-RQ and -AC: pynetdicom reads what we write, we read what it writes, and nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import AE
from pynetdicom import pdu as theirs
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import build_context

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.wire import uids
from gateway.wire.associate import (
    PRESENTATION_CONTEXT_LIMIT,
    TRANSFER_SYNTAXES_PER_CONTEXT_LIMIT,
    UNKNOWN_ITEM_LIMIT,
    AssociateAC,
    AssociateRQ,
    NegotiatedContext,
    ProposedContext,
    decode_associate_ac,
    decode_associate_rq,
)
from gateway.wire.codes import ContextResult, ItemType
from gateway.wire.items import PDU_HEADER_BYTES, encode_item
from gateway.wire.user_information import AsynchronousOperationsWindow, RoleSelection
from tests.wire import strategies
from tests.wire.pair import CT_IMAGE_STORAGE, a_request, an_acceptance

FIXED_BYTES = 68


def decoded_rq(pdu: bytes) -> AssociateRQ:
    return decode_associate_rq(memoryview(pdu)[PDU_HEADER_BYTES:])


def decoded_ac(pdu: bytes) -> AssociateAC:
    return decode_associate_ac(memoryview(pdu)[PDU_HEADER_BYTES:])


@given(strategies.associate_rqs)
def test_request_comes_back(request: AssociateRQ) -> None:
    assert decoded_rq(request.encode()) == request


@given(strategies.associate_acs)
def test_acceptance_comes_back(response: AssociateAC) -> None:
    assert decoded_ac(response.encode()) == response


@given(strategies.associate_rqs)
def test_pynetdicom_reads_and_rewrites_our_request(request: AssociateRQ) -> None:
    request = replace(request, user_information=replace(request.user_information, other_items=()))
    encoded = request.encode()

    read = theirs.A_ASSOCIATE_RQ()
    read.decode(encoded)
    assert read.encode() == encoded
    assert read.called_ae_title == request.called_ae_title
    assert read.calling_ae_title == request.calling_ae_title
    assert [
        (context.presentation_context_id, context.abstract_syntax, tuple(context.transfer_syntax))
        for context in read.presentation_context
    ] == [
        (context.context_id, context.abstract_syntax, context.transfer_syntaxes)
        for context in request.presentation_contexts
    ]


@given(strategies.associate_acs)
def test_pynetdicom_reads_and_rewrites_our_acceptance(response: AssociateAC) -> None:
    response = replace(response, user_information=replace(response.user_information, other_items=()))
    encoded = response.encode()

    read = theirs.A_ASSOCIATE_AC()
    read.decode(encoded)
    assert [(context.presentation_context_id, context.result) for context in read.presentation_context] == [
        (context.context_id, context.result) for context in response.presentation_contexts
    ]
    assert read.user_information.maximum_length == response.user_information.maximum_length


def their_primitive() -> A_ASSOCIATE:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = uids.APPLICATION_CONTEXT
    primitive.calling_ae_title = "HOSPITAL_A"
    primitive.called_ae_title = "GATEWAY"
    length = MaximumLengthNotification()
    length.maximum_length_received = 16382
    class_uid = ImplementationClassUIDNotification()
    class_uid.implementation_class_uid = "1.2.3.4"
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = "THEIRS"
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 3
    window.maximum_number_operations_performed = 2
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = CT_IMAGE_STORAGE, False, True
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field = 1, b"name"
    primitive.user_information = [length, class_uid, version, window, role, identity]
    return primitive


def test_request_of_pynetdicom_is_read() -> None:
    primitive = their_primitive()
    context = build_context(CT_IMAGE_STORAGE, [uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.JPEG_LOSSLESS_SV1])
    context.context_id = 7
    primitive.presentation_context_definition_list = [context]
    pdu = theirs.A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)

    request = decoded_rq(pdu.encode())

    assert (request.called_ae_title, request.calling_ae_title) == ("GATEWAY", "HOSPITAL_A")
    assert request.presentation_contexts == (
        ProposedContext(7, CT_IMAGE_STORAGE, (uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.JPEG_LOSSLESS_SV1)),
    )
    information = request.user_information
    assert information.maximum_length == 16382
    assert information.implementation_class_uid == "1.2.3.4"
    assert information.implementation_version_name == "THEIRS"
    assert information.asynchronous_operations_window == AsynchronousOperationsWindow(3, 2)
    assert information.role_selections == (RoleSelection(CT_IMAGE_STORAGE, scu=False, scp=True),)
    assert [item_type for item_type, _ in information.other_items] == [ItemType.USER_IDENTITY_RQ]


def test_acceptance_of_pynetdicom_is_read() -> None:
    primitive = their_primitive()
    primitive.user_information = primitive.user_information[:2]
    accepted = build_context(CT_IMAGE_STORAGE, uids.EXPLICIT_VR_LITTLE_ENDIAN)
    accepted.context_id, accepted.result = 1, 0
    refused = build_context(uids.VERIFICATION, uids.IMPLICIT_VR_LITTLE_ENDIAN)
    refused.context_id, refused.result = 3, 3
    primitive.presentation_context_definition_results_list = [accepted, refused]
    primitive.result = 0
    pdu = theirs.A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)

    response = decoded_ac(pdu.encode())

    assert response.presentation_contexts[0] == NegotiatedContext(
        1, ContextResult.ACCEPTANCE, uids.EXPLICIT_VR_LITTLE_ENDIAN
    )
    assert response.presentation_contexts[1].result is ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED


def test_every_standard_context_of_pynetdicom_fits() -> None:
    """An entity that proposes 128 contexts with all syntaxes there are stays below the limits."""
    entity = AE()
    syntaxes = [f"1.2.840.10008.1.2.4.{number}" for number in range(50, 58)]
    contexts = [build_context(f"{uids.STORAGE_ROOT}{number}", syntaxes) for number in range(1, 129)]
    entity.requested_contexts = contexts
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    primitive = their_primitive()
    primitive.presentation_context_definition_list = contexts
    pdu = theirs.A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)

    assert len(decoded_rq(pdu.encode()).presentation_contexts) == PRESENTATION_CONTEXT_LIMIT


def with_title(called: bytes) -> bytes:
    """A request whose called AE title is these 16 bytes."""
    pdu = bytearray(a_request().encode())
    pdu[PDU_HEADER_BYTES + 4 : PDU_HEADER_BYTES + 20] = called
    return bytes(pdu)


@pytest.mark.parametrize(
    ("field", "title"),
    [
        (b"GATEWAY         ", "GATEWAY"),
        (b"  GATEWAY       ", "GATEWAY"),
        (b"GATEWAY\0\0\0\0\0\0\0\0\0", "GATEWAY"),
        (b"A B             ", "A B"),
        (b"0123456789ABCDEF", "0123456789ABCDEF"),
    ],
)
def test_padding_of_titles_means_nothing(field: bytes, title: str) -> None:
    assert decoded_rq(with_title(field)).called_ae_title == title


@pytest.mark.parametrize(
    "field", [b" " * 16, bytes(16), b"A\\B             ", b"A\nB             ", b"A\0B             ", b"\x7f" * 16]
)
def test_titles_that_are_none_are_refused(field: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decoded_rq(with_title(field))


def test_reserved_fields_are_not_tested() -> None:
    pdu = bytearray(a_request().encode())
    pdu[1] = 0xFF
    pdu[PDU_HEADER_BYTES + 2 : PDU_HEADER_BYTES + 4] = b"\xff\xff"
    pdu[PDU_HEADER_BYTES + 36 : PDU_HEADER_BYTES + FIXED_BYTES] = b"\xff" * 32
    first_item = PDU_HEADER_BYTES + FIXED_BYTES
    pdu[first_item + 1] = 0xFF

    assert decoded_rq(bytes(pdu)) == a_request()


def test_titles_of_an_acceptance_are_not_tested() -> None:
    pdu = bytearray(an_acceptance(a_request()).encode())
    pdu[PDU_HEADER_BYTES + 4 : PDU_HEADER_BYTES + 36] = b"\0\x01\xff" * 10 + b"\0\0"

    assert len(decoded_ac(bytes(pdu)).presentation_contexts) == 3


def body_of(*items: bytes) -> memoryview:
    return memoryview(b"\0\1\0\0" + b"GATEWAY".ljust(16) + b"A".ljust(16) + bytes(32) + b"".join(items))


APPLICATION = encode_item(ItemType.APPLICATION_CONTEXT, uids.APPLICATION_CONTEXT.encode())
USER = encode_item(ItemType.USER_INFORMATION, b"")
ABSTRACT = encode_item(ItemType.ABSTRACT_SYNTAX, b"1.2")
SYNTAX = encode_item(ItemType.TRANSFER_SYNTAX, b"1.2.3")


def proposed(context_id: int, *parts: bytes) -> bytes:
    return encode_item(ItemType.PROPOSED_CONTEXT, bytes((context_id, 0, 0, 0)) + b"".join(parts))


def negotiated(context_id: int, result: int, *parts: bytes) -> bytes:
    return encode_item(ItemType.NEGOTIATED_CONTEXT, bytes((context_id, 0, result, 0)) + b"".join(parts))


GOOD = proposed(1, ABSTRACT, SYNTAX)


def test_items_come_in_any_order_and_unknown_ones_are_ignored() -> None:
    request = decode_associate_rq(body_of(encode_item(0x77, b"?"), USER, proposed(1, SYNTAX, ABSTRACT), APPLICATION))

    assert request.presentation_contexts == (ProposedContext(1, "1.2", ("1.2.3",)),)


@pytest.mark.parametrize(
    "items",
    [
        (APPLICATION, USER),
        (APPLICATION, GOOD),
        (GOOD, USER),
        (APPLICATION, APPLICATION, GOOD, USER),
        (APPLICATION, GOOD, USER, USER),
        (APPLICATION, proposed(2, ABSTRACT, SYNTAX), USER),
        (APPLICATION, proposed(0, ABSTRACT, SYNTAX), USER),
        (APPLICATION, GOOD, GOOD, USER),
        (APPLICATION, proposed(1, ABSTRACT), USER),
        (APPLICATION, proposed(1, SYNTAX), USER),
        (APPLICATION, proposed(1, ABSTRACT, ABSTRACT, SYNTAX), USER),
        (APPLICATION, encode_item(ItemType.PROPOSED_CONTEXT, b"\1\0\0"), USER),
        (APPLICATION, GOOD, USER, b"\x20"),
        (APPLICATION, GOOD, USER, b"\x20\0\0\5"),
    ],
)
def test_broken_requests_are_refused(items: tuple[bytes, ...]) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_associate_rq(body_of(*items))


@pytest.mark.parametrize("length", [0, 1, FIXED_BYTES - 1])
def test_fixed_part_must_be_there(length: int) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_associate_rq(body_of()[:length])


def test_numbers_of_contexts_syntaxes_and_items_are_limited() -> None:
    full = TRANSFER_SYNTAXES_PER_CONTEXT_LIMIT
    too_many_contexts = [proposed(1, ABSTRACT, SYNTAX)] * (PRESENTATION_CONTEXT_LIMIT + 1)
    too_many_syntaxes = [proposed(1, ABSTRACT, *[SYNTAX] * (full + 1))]
    too_many_in_all = [proposed(2 * number + 1, ABSTRACT, *[SYNTAX] * full) for number in range(17)]
    too_many_unknown = [GOOD, *[encode_item(0x77, b"")] * (UNKNOWN_ITEM_LIMIT + 1)]

    assert len(decode_associate_rq(body_of(APPLICATION, USER, *too_many_in_all[:16])).presentation_contexts) == 16
    for items in (too_many_contexts, too_many_syntaxes, too_many_in_all, too_many_unknown):
        with pytest.raises(LimitExceeded):
            decode_associate_rq(body_of(APPLICATION, USER, *items))


def test_syntax_of_a_refused_context_means_nothing() -> None:
    for parts in ((), (encode_item(ItemType.TRANSFER_SYNTAX, b""),), (encode_item(ItemType.TRANSFER_SYNTAX, b"?"),)):
        response = decode_associate_ac(body_of(APPLICATION, USER, negotiated(1, 3, *parts)))
        assert response.presentation_contexts == (
            NegotiatedContext(1, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, ""),
        )


@pytest.mark.parametrize(
    "item",
    [
        negotiated(1, 0),
        negotiated(1, 0, SYNTAX, SYNTAX),
        negotiated(1, 0, encode_item(ItemType.TRANSFER_SYNTAX, b"?")),
        negotiated(1, 5, SYNTAX),
        negotiated(2, 0, SYNTAX),
    ],
)
def test_broken_acceptances_are_refused(item: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_associate_ac(body_of(APPLICATION, USER, item))


@pytest.mark.parametrize(
    "change",
    [
        {"called_ae_title": ""},
        {"called_ae_title": " "},
        {"calling_ae_title": "A\\B"},
        {"calling_ae_title": "A" * 17},
        {"calling_ae_title": "병원"},
        {"application_context": "x"},
        {"presentation_contexts": ()},
        {"presentation_contexts": (ProposedContext(2, "1.2", ("1.2.3",)),)},
        {"presentation_contexts": (ProposedContext(1, "1.2", ()),)},
        {"presentation_contexts": (ProposedContext(1, "1.2", ("1.2.3",) * 65),)},
        {"presentation_contexts": (ProposedContext(1, "1.2", ("1.2.3",)),) * 2},
        {"presentation_contexts": (ProposedContext(1, "?", ("1.2.3",)),)},
    ],
)
def test_what_does_not_fit_is_not_sent(change: dict[str, object]) -> None:
    with pytest.raises(LocalProtocolError):
        replace(a_request(), **change).encode()


@given(st.binary(max_size=400))
def test_garbage_is_refused_or_read(garbage: bytes) -> None:
    for decode in (decode_associate_rq, decode_associate_ac):
        for body in (memoryview(garbage), body_of(garbage), body_of(APPLICATION, USER, garbage)):
            try:
                decode(body)
            except RemoteProtocolError:
                continue

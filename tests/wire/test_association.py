"""One association without I/O: handshake, messages, release, abort; limits hold from the first byte."""

import struct
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.wire import pdu, uids
from gateway.wire.association import INITIAL_BUFFER_BYTES, Association, Limits, Role
from gateway.wire.codes import AbortReason, PDUType, RejectReasonUser, RejectResult, RejectSource
from gateway.wire.command import CEchoRQ, CEchoRSP, CStoreRQ, CStoreRSP, encode
from gateway.wire.events import (
    Aborted,
    AssociateAccepted,
    AssociateRejected,
    AssociateRequested,
    CommandReceived,
    ReleaseCompleted,
    ReleaseRequested,
    TransportClosed,
)
from gateway.wire.items import FRAGMENT_HEADER
from gateway.wire.message import fragment_command
from gateway.wire.pdu import AbortSource, AssociateRJ, ContextResult, NegotiatedContext
from gateway.wire.states import REFUSING_ACTIONS, TRANSITIONS, ProtocolEvent, State
from gateway.wire.status import SUCCESS
from gateway.wire.user_information import UserInformation
from tests.wire import strategies
from tests.wire.pair import (
    CT_CONTEXT,
    CT_IMAGE_STORAGE,
    ECHO_CONTEXT,
    MAXIMUM_LENGTH,
    REFUSED_CONTEXT,
    Data,
    Pair,
    a_request,
    an_acceptance,
    coalesced,
    drained,
    fed,
)

REJECTION = AssociateRJ(
    RejectResult.PERMANENT, RejectSource.SERVICE_USER, RejectReasonUser.CALLING_AE_TITLE_NOT_RECOGNIZED
)
STORE = CStoreRQ(1, CT_IMAGE_STORAGE, "1.2.3", 0)


def closed(association: Association) -> list[object]:
    """The peer closes the transport."""
    association.receive_buffer()
    association.received(0)
    return list(drained(association))


@pytest.mark.parametrize("piece_bytes", [None, 1, 7])
def test_handshake(piece_bytes: int | None) -> None:
    pair = Pair()
    assert pair.acceptor.state is State.AWAITING_ASSOCIATE_RQ
    assert pair.acceptor.artim_running
    assert pair.requestor.state is State.AWAITING_TRANSPORT_OPEN

    pair.establish(piece_bytes)

    for association in (pair.requestor, pair.acceptor):
        assert association.state is State.DATA_TRANSFER
        assert not association.artim_running
        assert set(association.contexts) == {ECHO_CONTEXT, CT_CONTEXT}
        assert association.contexts[CT_CONTEXT].transfer_syntax == uids.EXPLICIT_VR_LITTLE_ENDIAN
        assert association.peer_maximum_length == MAXIMUM_LENGTH


def test_echo() -> None:
    pair = Pair().establish()
    request, response = CEchoRQ(1, uids.VERIFICATION), CEchoRSP(1, uids.VERIFICATION, SUCCESS)

    assert pair.to_acceptor(pair.requestor.send_command(ECHO_CONTEXT, request)) == [
        CommandReceived(ECHO_CONTEXT, request)
    ]
    assert pair.to_requestor(pair.acceptor.send_command(ECHO_CONTEXT, response)) == [
        CommandReceived(ECHO_CONTEXT, response)
    ]


@pytest.mark.parametrize("piece_bytes", [11, 4096, 100_000])
def test_store(piece_bytes: int) -> None:
    pair = Pair().establish()
    frame = pair.requestor.fragment_frame(CT_CONTEXT, memoryview(bytearray(40_000)))
    content = bytes(range(256)) * 400
    stream = pair.requestor.send_command(CT_CONTEXT, STORE)
    for start in range(0, len(content), len(frame.payload)):
        piece = content[start : start + len(frame.payload)]
        frame.payload[: len(piece)] = piece
        stream += b"".join(frame.framed(len(piece), last=start + len(piece) == len(content)))

    assert pair.to_acceptor(stream, repeat(piece_bytes)) == [
        CommandReceived(CT_CONTEXT, STORE),
        Data(CT_CONTEXT, content, last=True),
    ]
    response = CStoreRSP(1, CT_IMAGE_STORAGE, "1.2.3", SUCCESS)
    assert pair.to_requestor(pair.acceptor.send_command(CT_CONTEXT, response)) == [
        CommandReceived(CT_CONTEXT, response)
    ]


def test_rejection() -> None:
    pair = Pair()
    pair.to_acceptor(pair.requestor.request(a_request()))

    assert pair.to_requestor(pair.acceptor.reject(REJECTION)) == [AssociateRejected(REJECTION)]
    assert pair.requestor.is_closed
    assert pair.acceptor.state is State.AWAITING_TRANSPORT_CLOSE
    assert pair.acceptor.artim_running
    assert closed(pair.acceptor) == []
    assert pair.acceptor.is_closed
    assert not pair.acceptor.artim_running


@pytest.mark.parametrize("asking", ["requestor", "acceptor"])
def test_release(asking: str) -> None:
    pair = Pair().establish()
    asker, other = pair.requestor, pair.acceptor
    if asking == "acceptor":
        asker, other = other, asker

    assert list(fed(other, asker.release())) == [ReleaseRequested()]
    assert other.state is State.AWAITING_LOCAL_RELEASE_RESPONSE
    assert list(fed(asker, other.respond_release())) == [ReleaseCompleted()]
    assert asker.is_closed
    assert other.artim_running
    assert closed(other) == []
    assert other.is_closed


def test_release_collision() -> None:
    pair = Pair().establish()
    from_requestor, from_acceptor = pair.requestor.release(), pair.acceptor.release()

    assert pair.to_requestor(from_acceptor) == [ReleaseRequested()]
    assert pair.to_acceptor(from_requestor) == [ReleaseRequested()]
    assert pair.requestor.state is State.COLLISION_REQUESTOR_AWAITING_LOCAL_RESPONSE
    assert pair.acceptor.state is State.COLLISION_ACCEPTOR_AWAITING_RELEASE_RP
    with pytest.raises(LocalProtocolError):
        pair.acceptor.respond_release()
    assert pair.to_acceptor(pair.requestor.respond_release()) == [ReleaseCompleted()]
    assert pair.to_requestor(pair.acceptor.respond_release()) == [ReleaseCompleted()]
    assert pair.requestor.is_closed
    assert closed(pair.acceptor) == []
    assert pair.acceptor.is_closed


def test_data_may_come_after_the_release_was_asked_for() -> None:
    pair = Pair().establish()
    pair.requestor.release()
    response = CEchoRSP(1, uids.VERIFICATION, SUCCESS)

    assert pair.to_requestor(pair.acceptor.send_command(ECHO_CONTEXT, response)) == [
        CommandReceived(ECHO_CONTEXT, response)
    ]


def test_data_may_be_sent_before_the_release_is_answered() -> None:
    pair = Pair().establish()
    pair.to_acceptor(pair.requestor.release())

    assert pair.acceptor.send_command(ECHO_CONTEXT, CEchoRSP(1, uids.VERIFICATION, SUCCESS))


@pytest.mark.parametrize("source", AbortSource)
def test_abort(source: AbortSource) -> None:
    pair = Pair().establish()

    assert pair.to_acceptor(pair.requestor.abort(source, 3)) == [Aborted(source, 3)]
    assert pair.acceptor.is_closed
    assert pair.requestor.state is State.AWAITING_TRANSPORT_CLOSE
    assert pair.requestor.artim_running
    assert pair.requestor.abort() == b""
    assert pair.requestor.next_event() is None


def test_what_arrives_after_an_abort_is_ignored() -> None:
    pair = Pair().establish()
    pair.acceptor.abort()

    late = pair.requestor.send_command(ECHO_CONTEXT, CEchoRQ(1, uids.VERIFICATION))
    assert pair.to_acceptor(late * 2000 + b"garbage" * 1000) == []
    pair.acceptor.artim_expired()
    assert pair.acceptor.is_closed
    assert pair.acceptor.next_event() is None


def test_abort_in_the_midst_of_a_data_set_is_seen_after_the_data() -> None:
    pair = Pair().establish()
    frame = pair.requestor.fragment_frame(CT_CONTEXT, memoryview(bytearray(1000)))
    stream = [
        pair.requestor.send_command(CT_CONTEXT, STORE), *frame.framed(1000, last=False), pair.requestor.abort()
    ]  # fmt: skip

    assert pair.to_acceptor(b"".join(stream)) == [
        CommandReceived(CT_CONTEXT, STORE),
        Data(CT_CONTEXT, bytes(1000), last=False),
        Aborted(AbortSource.SERVICE_USER, 0),
    ]


def test_nothing_is_aborted_before_there_is_an_association() -> None:
    acceptor = Association(Role.ACCEPTOR)
    requestor = Association(Role.REQUESTOR)

    assert acceptor.abort() == b""
    assert not acceptor.is_closed
    assert requestor.abort() == b""
    assert requestor.is_closed


def test_broken_rules_are_answered_with_an_abort_of_the_provider() -> None:
    acceptor = Association(Role.ACCEPTOR)
    with pytest.raises(RemoteProtocolError) as caught:
        list(fed(acceptor, b"GET / HTTP/1.1\r\n"))

    answer = acceptor.protocol_abort(caught.value)

    assert pdu.decode_pdu(answer[0], answer[6:]) == pdu.Abort(
        AbortSource.SERVICE_PROVIDER, AbortReason.UNRECOGNIZED_PDU
    )
    assert acceptor.state is State.AWAITING_TRANSPORT_CLOSE
    assert acceptor.protocol_abort(caught.value) == b""
    assert acceptor.next_event() is None


def test_the_error_is_raised_again_until_it_is_answered() -> None:
    acceptor = Association(Role.ACCEPTOR)
    for _ in range(3):
        with pytest.raises(RemoteProtocolError):
            list(fed(acceptor, b"\xff" * 10))
        with pytest.raises(RemoteProtocolError):
            acceptor.next_event()


@pytest.mark.parametrize("role", Role)
def test_transport_lost_before_the_association(role: Role) -> None:
    assert closed(Association(role)) == [TransportClosed()]


@pytest.mark.parametrize("cut", [0, 5, 300])
def test_transport_lost_later(cut: int) -> None:
    pair = Pair().establish()
    list(fed(pair.acceptor, pair.requestor.send_command(CT_CONTEXT, STORE)[:cut]))

    assert closed(pair.acceptor)[-1] == TransportClosed()
    assert pair.acceptor.is_closed
    assert closed(pair.acceptor) == []


def test_what_arrived_before_the_transport_was_lost_is_delivered_first() -> None:
    pair = Pair().establish()
    stream = pair.requestor.send_command(ECHO_CONTEXT, CEchoRQ(1, uids.VERIFICATION)) + pair.requestor.release()
    buffer = pair.acceptor.receive_buffer()
    buffer[: len(stream)] = stream
    pair.acceptor.received(len(stream))
    pair.acceptor.received(0)

    assert list(drained(pair.acceptor)) == [
        CommandReceived(ECHO_CONTEXT, CEchoRQ(1, uids.VERIFICATION)),
        ReleaseRequested(),
        TransportClosed(),
    ]


def test_artim_counts_only_while_it_runs() -> None:
    acceptor = Association(Role.ACCEPTOR)
    acceptor.artim_expired()
    assert acceptor.is_closed
    with pytest.raises(LocalProtocolError):
        acceptor.artim_expired()
    with pytest.raises(LocalProtocolError):
        Pair().establish().acceptor.artim_expired()


# --- limits
# ----------------------------------------------------------------------------------------------------------


def header(pdu_type: int, length: int) -> bytes:
    return struct.pack(">BxI", pdu_type, length)


def refused(association: Association, stream: bytes) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        list(fed(association, stream))
    return caught.value


@pytest.mark.parametrize("pdu_type", [0, 8, 0x47, 255])
def test_unknown_pdus_are_refused_by_their_header(pdu_type: int) -> None:
    for association in (Association(Role.ACCEPTOR), Pair().establish().acceptor, Pair().establish().requestor):
        assert refused(association, header(pdu_type, 0xFFFFFFFF)).reason == AbortReason.UNRECOGNIZED_PDU


def test_association_request_is_limited_by_its_header() -> None:
    error = refused(Association(Role.ACCEPTOR), header(PDUType.ASSOCIATE_RQ, Limits().associate_pdu_bytes + 1))

    assert isinstance(error, LimitExceeded)
    assert list(fed(Association(Role.ACCEPTOR), header(PDUType.ASSOCIATE_RQ, Limits().associate_pdu_bytes))) == []


@pytest.mark.parametrize("length", [0, 3, 5, 0xFFFFFFFF])
@pytest.mark.parametrize("pdu_type", [PDUType.RELEASE_RQ, PDUType.ABORT])
def test_short_pdus_have_four_bytes(pdu_type: PDUType, length: int) -> None:
    assert refused(Pair().establish().acceptor, header(pdu_type, length)).reason == AbortReason.INVALID


def way(pair: Pair, is_collision: bool) -> Iterator[None]:
    """A whole association step by step, ending in a release by the requestor, or by both at once."""
    yield
    request = pair.requestor.request(a_request())
    yield
    pair.to_acceptor(request)
    yield
    pair.to_requestor(pair.acceptor.accept(an_acceptance(a_request())))
    yield
    from_requestor = pair.requestor.release()
    from_acceptor = pair.acceptor.release() if is_collision else b""
    yield
    pair.to_acceptor(from_requestor)
    pair.to_requestor(from_acceptor)
    yield
    answer = pair.requestor.respond_release() if is_collision else b""
    yield
    pair.to_acceptor(answer)
    yield


def association_in(state: State) -> Association:
    """An association brought into `state` by its peer and its own primitives."""
    for is_collision in (False, True):
        pair = Pair()
        for _ in way(pair, is_collision):
            for association in (pair.acceptor, pair.requestor):
                if association.state is state:
                    return association
    raise AssertionError(f"{state} is not on the way")


REACHED = [
    state for state in State if state not in (State.IDLE, State.AWAITING_TRANSPORT_OPEN, State.AWAITING_TRANSPORT_CLOSE)
]
SAMPLES = {
    ProtocolEvent.ASSOCIATE_RQ_PDU: a_request().encode(),
    ProtocolEvent.ASSOCIATE_AC_PDU: an_acceptance(a_request()).encode(),
    ProtocolEvent.ASSOCIATE_RJ_PDU: REJECTION.encode(),
    ProtocolEvent.P_DATA_TF_PDU: fragment_command(ECHO_CONTEXT, encode(CEchoRQ(1, uids.VERIFICATION)), 0),
    ProtocolEvent.RELEASE_RQ_PDU: pdu.ReleaseRQ().encode(),
    ProtocolEvent.RELEASE_RP_PDU: pdu.ReleaseRP().encode(),
    ProtocolEvent.ABORT_PDU: pdu.Abort(AbortSource.SERVICE_USER).encode(),
}


@pytest.mark.parametrize("state", REACHED)
@pytest.mark.parametrize("event", SAMPLES)
def test_every_pdu_in_every_state_does_what_the_table_says(state: State, event: ProtocolEvent) -> None:
    association = association_in(state)
    assert association.state is state
    transition = TRANSITIONS[state, event]

    if transition.action in REFUSING_ACTIONS:
        error = refused(association, SAMPLES[event])
        assert error.reason == AbortReason.UNEXPECTED_PDU
        assert association.state is state
        assert association.protocol_abort(error)
        assert association.state is State.AWAITING_TRANSPORT_CLOSE
    else:
        assert len(list(fed(association, SAMPLES[event]))) == 1
        assert association.state in transition.next_states


PRIMITIVES = {
    ProtocolEvent.ASSOCIATE_RESPONSE_ACCEPT: lambda a: a.accept(an_acceptance(a_request())),
    ProtocolEvent.ASSOCIATE_RESPONSE_REJECT: lambda a: a.reject(REJECTION),
    ProtocolEvent.TRANSPORT_CONFIRMED: lambda a: a.request(a_request()),
    ProtocolEvent.P_DATA_REQUEST: lambda a: a.send_command(ECHO_CONTEXT, CEchoRQ(1, uids.VERIFICATION)),
    ProtocolEvent.RELEASE_REQUEST: lambda a: a.release(),
    ProtocolEvent.RELEASE_RESPONSE: lambda a: a.respond_release(),
}


@pytest.mark.parametrize("state", REACHED)
@pytest.mark.parametrize("event", PRIMITIVES)
def test_every_primitive_in_every_state_does_what_the_table_says(state: State, event: ProtocolEvent) -> None:
    association = association_in(state)

    if (state, event) in TRANSITIONS:
        assert PRIMITIVES[event](association)
        assert association.state in TRANSITIONS[state, event].next_states
    else:
        with pytest.raises(LocalProtocolError):
            PRIMITIVES[event](association)
        assert association.state is state


def test_acceptance_must_answer_what_was_proposed() -> None:
    pair = Pair()
    request = a_request()
    pair.requestor.request(request)
    wrong = replace(
        an_acceptance(request), presentation_contexts=(NegotiatedContext(9, ContextResult.ACCEPTANCE, "1.2"),)
    )

    assert refused(pair.requestor, wrong.encode()).reason == AbortReason.INVALID
    pair = Pair()
    pair.to_acceptor(pair.requestor.request(request))
    with pytest.raises(LocalProtocolError):
        pair.acceptor.accept(wrong)
    assert pair.acceptor.accept(an_acceptance(request))


@pytest.mark.parametrize("maximum_length", [0, 1, 7, Limits().maximum_length + 1])
def test_only_a_sensible_maximum_length_is_advertised(maximum_length: int) -> None:
    with pytest.raises(LocalProtocolError):
        Association(Role.REQUESTOR).request(a_request(maximum_length))
    pair = Pair()
    pair.to_acceptor(pair.requestor.request(a_request()))
    with pytest.raises(LocalProtocolError):
        pair.acceptor.accept(an_acceptance(a_request(), maximum_length))


@pytest.mark.parametrize("maximum_length", [1, 7])
def test_a_peer_that_takes_nothing_is_refused(maximum_length: int) -> None:
    request = replace(a_request(), user_information=UserInformation(maximum_length))

    assert refused(Association(Role.ACCEPTOR), request.encode()).reason == AbortReason.INVALID


def test_a_peer_without_a_limit_is_sent_large_pdus() -> None:
    pair = Pair()
    request = a_request()
    unlimited = replace(request, user_information=UserInformation(0))
    list(fed(pair.acceptor, unlimited.encode()))
    pair.acceptor.accept(an_acceptance(request))

    assert pair.acceptor.peer_maximum_length == 0
    frame = pair.acceptor.fragment_frame(CT_CONTEXT, memoryview(bytearray(120_000)))
    assert [len(buffer) for buffer in frame.framed(120_000, last=True)] == [FRAGMENT_HEADER.size, 120_000]


def test_nothing_is_sent_on_a_context_that_is_not_in_force() -> None:
    pair = Pair().establish()
    for context_id in (REFUSED_CONTEXT, 7):
        with pytest.raises(LocalProtocolError):
            pair.requestor.send_command(context_id, CEchoRQ(1, uids.VERIFICATION))
        with pytest.raises(LocalProtocolError):
            pair.requestor.fragment_frame(context_id, memoryview(bytearray(1000)))


@pytest.mark.parametrize("count", [-1, INITIAL_BUFFER_BYTES + 1])
def test_more_than_the_buffer_cannot_have_been_received(count: int) -> None:
    acceptor = Association(Role.ACCEPTOR)
    acceptor.receive_buffer()
    with pytest.raises(LocalProtocolError):
        acceptor.received(count)


def test_buffer_is_small_until_the_association_is_established() -> None:
    pair = Pair()

    assert len(pair.acceptor.receive_buffer()) == INITIAL_BUFFER_BYTES
    pair.establish()
    assert len(pair.acceptor.receive_buffer()) == Limits().receive_buffer_bytes
    assert len(pair.requestor.receive_buffer()) == Limits().receive_buffer_bytes


def held_bytes(association: Association, stream: bytes, size: int) -> int:
    """The most memory taken while `stream` is fed over and over, up to `size` bytes or an error."""
    tracemalloc.start()
    try:
        for _ in range(max(1, size // len(stream))):
            list(fed(association, stream))
    except RemoteProtocolError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


def test_a_stranger_makes_us_hold_little() -> None:
    """Half an A-ASSOCIATE-RQ is held as far as it has arrived, whatever length it claims."""
    limit = Limits().associate_pdu_bytes
    start = a_request().encode()[6:]

    claimed = held_bytes(Association(Role.ACCEPTOR), header(PDUType.ASSOCIATE_RQ, limit) + start, 1)
    assert claimed < 16 * 1024
    sent = header(PDUType.ASSOCIATE_RQ, limit) + start + bytes(limit - len(start) - 1)
    assert held_bytes(Association(Role.ACCEPTOR), sent, 1) < 2 * limit


def test_contexts_without_end_are_cut_short() -> None:
    limit = Limits().associate_pdu_bytes
    context = b"\x20\0\0\x11\1\0\0\0\x30\0\0\3" + b"1.2" + b"\x40\0\0\2" + b"1."
    body = a_request().encode()[6:74] + context * ((limit - 68) // len(context))
    acceptor = Association(Role.ACCEPTOR)

    assert held_bytes(acceptor, header(PDUType.ASSOCIATE_RQ, len(body)) + body, 1) < 3 * limit
    with pytest.raises(LimitExceeded):
        acceptor.next_event()


def test_commands_and_fragments_without_end_are_cut_short() -> None:
    held = Limits().receive_buffer_bytes + 128 * 1024
    endless_command = pdu.PDataTF((pdu.PDV(ECHO_CONTEXT, True, False, bytes(1000)),)).encode()
    endless_empty = pdu.PDataTF((pdu.PDV(ECHO_CONTEXT, True, False, b""),) * 100).encode()

    for stream in (endless_command, endless_empty):
        acceptor = Pair().establish().acceptor
        assert held_bytes(acceptor, stream, 10_000_000) < held
        with pytest.raises(LimitExceeded):
            acceptor.next_event()


def test_endless_data_is_passed_on_and_not_held() -> None:
    acceptor = Pair().establish().acceptor
    list(fed(acceptor, fragment_command(CT_CONTEXT, encode(STORE), 0)))
    endless = pdu.PDataTF((pdu.PDV(CT_CONTEXT, False, False, bytes(16_000)),)).encode()

    assert held_bytes(acceptor, endless, 5_000_000) < Limits().receive_buffer_bytes + 128 * 1024


# --- any bytes, any order
# --------------------------------------------------------------------------------------------


@given(strategies.associate_rqs, st.lists(st.integers(1, 200), max_size=60))
@settings(max_examples=50)
def test_any_request_however_cut(request: pdu.AssociateRQ, sizes: list[int]) -> None:
    taken = replace(request, user_information=replace(request.user_information, maximum_length=100))

    assert list(fed(Association(Role.ACCEPTOR), taken.encode(), sizes)) == [AssociateRequested(taken)]


@given(st.sampled_from(REACHED), st.lists(strategies.pdus, max_size=3), st.binary(max_size=100), st.data())
@settings(max_examples=150)
def test_any_bytes_in_any_state_give_events_or_a_declared_error(
    state: State, pdus: list[pdu.PDU], garbage: bytes, data: st.DataObject
) -> None:
    stream = bytearray(b"".join(value.encode() for value in pdus) + garbage)
    for _ in range(data.draw(st.integers(0, 3)) if stream else 0):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    outcomes = []
    for sizes in (repeat(3), ()):
        association = association_in(state)
        seen: list[object] = []
        try:
            for event in fed(association, bytes(stream), sizes):
                seen.append(event)
        except RemoteProtocolError as error:
            seen += [str(error), association.protocol_abort(error), association.next_event()]
        outcomes.append(coalesced(seen))
    assert outcomes[0] == outcomes[1]


class Talk(RuleBasedStateMachine):
    """Two associations do whatever the table allows them, with the bytes under way in any order of delivery.

    Neither ever accuses the other, and both end where the standard says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.sides = {Role.REQUESTOR: self.pair.requestor, Role.ACCEPTOR: self.pair.acceptor}
        self.under_way = {Role.REQUESTOR: self.pair.requestor.request(a_request()), Role.ACCEPTOR: b""}

    def allowed(self, role: Role, event: ProtocolEvent) -> bool:
        return (self.sides[role].state, event) in TRANSITIONS

    @rule(role=st.sampled_from(Role), count=st.integers(1, 200))
    def deliver(self, role: Role, count: int) -> None:
        other = self.sides[Role.ACCEPTOR if role is Role.REQUESTOR else Role.REQUESTOR]
        stream = self.under_way[role]
        for event in fed(other, stream[:count]):
            if isinstance(event, AssociateAccepted):
                assert set(other.contexts) == {ECHO_CONTEXT, CT_CONTEXT}
        self.under_way[role] = stream[count:]

    @precondition(lambda self: self.allowed(Role.ACCEPTOR, ProtocolEvent.ASSOCIATE_RESPONSE_ACCEPT))
    @rule(is_accepted=st.booleans())
    def respond(self, is_accepted: bool) -> None:
        acceptor = self.pair.acceptor
        answer = acceptor.accept(an_acceptance(a_request())) if is_accepted else acceptor.reject(REJECTION)
        self.under_way[Role.ACCEPTOR] += answer

    @rule(role=st.sampled_from(Role))
    def command(self, role: Role) -> None:
        if self.allowed(role, ProtocolEvent.P_DATA_REQUEST):
            self.under_way[role] += self.sides[role].send_command(ECHO_CONTEXT, CEchoRQ(1, uids.VERIFICATION))

    @rule(role=st.sampled_from(Role))
    def release(self, role: Role) -> None:
        if self.allowed(role, ProtocolEvent.RELEASE_REQUEST):
            self.under_way[role] += self.sides[role].release()

    @rule(role=st.sampled_from(Role))
    def respond_release(self, role: Role) -> None:
        if self.allowed(role, ProtocolEvent.RELEASE_RESPONSE):
            self.under_way[role] += self.sides[role].respond_release()

    @rule(role=st.sampled_from(Role), rarely=st.integers(0, 9))
    def abort(self, role: Role, rarely: int) -> None:
        if rarely == 0:
            self.under_way[role] += self.sides[role].abort()


Talk.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestTalk = Talk.TestCase

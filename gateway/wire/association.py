"""One association without I/O, for both roles (PS3.8 §9.2): bytes in, events out; primitives in, bytes out.

    while not association.is_closed:
        association.received(sock.recv_into(association.receive_buffer()))
        while (event := association.next_event()) is not None:
            ...

Every received PDU and every primitive goes through the state table in `states`. What a peer can make us hold
before the association is established is `INITIAL_BUFFER_BYTES` and one A-ASSOCIATE PDU as far as it has
arrived.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.wire import command as commands
from gateway.wire import message, pdu
from gateway.wire.codes import AbortReason
from gateway.wire.command import Command
from gateway.wire.events import (
    Aborted,
    AssociateAccepted,
    AssociateRejected,
    AssociateRequested,
    Event,
    ReleaseCompleted,
    ReleaseRequested,
    TransportClosed,
)
from gateway.wire.items import PDU_HEADER, PDU_HEADER_BYTES, invalid
from gateway.wire.message import FragmentFrame
from gateway.wire.negotiation import AcceptedContext, accepted_contexts
from gateway.wire.pdu import AbortSource, AssociateAC, AssociateRJ, AssociateRQ, PDUType
from gateway.wire.reassembly import MessageReceiver
from gateway.wire.states import ARTIM_STARTS, ARTIM_STOPS, REFUSING_ACTIONS, TRANSITIONS, ProtocolEvent, State

INITIAL_BUFFER_BYTES = 4 * 1024
"""Receive buffer until the association is established: an A-ASSOCIATE PDU fits in a few of them."""

SHORT_BODY_BYTES = 4
"""Of A-ASSOCIATE-RJ, A-RELEASE-RQ, A-RELEASE-RP and A-ABORT after the header (PS3.8 §9.3.4 to §9.3.8)."""

_PDU_EVENTS: Mapping[int, ProtocolEvent] = MappingProxyType(
    {
        PDUType.ASSOCIATE_RQ: ProtocolEvent.ASSOCIATE_RQ_PDU,
        PDUType.ASSOCIATE_AC: ProtocolEvent.ASSOCIATE_AC_PDU,
        PDUType.ASSOCIATE_RJ: ProtocolEvent.ASSOCIATE_RJ_PDU,
        PDUType.P_DATA_TF: ProtocolEvent.P_DATA_TF_PDU,
        PDUType.RELEASE_RQ: ProtocolEvent.RELEASE_RQ_PDU,
        PDUType.RELEASE_RP: ProtocolEvent.RELEASE_RP_PDU,
        PDUType.ABORT: ProtocolEvent.ABORT_PDU,
    }
)
_OVER = (State.IDLE, State.AWAITING_TRANSPORT_CLOSE)


class Role(Enum):
    """Who asked for the association (PS3.8 §7.1)."""

    REQUESTOR = "requestor"
    ACCEPTOR = "acceptor"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may make us hold."""

    associate_pdu_bytes: int = 256 * 1024
    """Of an A-ASSOCIATE PDU: 128 contexts with every known transfer syntax need about 150 KB."""

    maximum_length: int = 128 * 1024
    """The most we advertise, and so the most a P-DATA-TF may have after its header; 0 is never advertised."""

    command_bytes: int = commands.COMMAND_LIMIT_BYTES
    """Of a command set."""

    empty_pdv_count: int = 64
    """Fragments without content in one message: legal, useless, and work for us."""

    receive_buffer_bytes: int = 256 * 1024
    """Of the receive buffer once the association is established: one system call fills it."""


DEFAULT_LIMITS = Limits()


class Association:
    """The upper layer of one association. The caller owns transport and clock; one thread owns this object.

    A requestor is created when the transport connection stands, and begins with `request`. An acceptor is
    created when a connection has come in, and waits for `AssociateRequested`.
    """

    def __init__(self, role: Role, limits: Limits = DEFAULT_LIMITS) -> None:
        """Begins in the state after the transport connection was made."""
        self.role = role
        self._limits = limits
        self._state = State.IDLE
        self._is_artim_running = False
        self._takes_p_data = False
        self._is_transport_closed = False
        self._failure: RemoteProtocolError | None = None
        self._request: AssociateRQ | None = None
        self._contexts: Mapping[int, AcceptedContext] = MappingProxyType({})
        self._peer_maximum_length = 0
        self._advertised_length = limits.maximum_length
        self._receiver: MessageReceiver | None = None
        self._buffer = memoryview(bytearray(min(INITIAL_BUFFER_BYTES, limits.receive_buffer_bytes)))
        self._start = 0  # of the bytes not parsed yet
        self._end = 0
        self._pdu_type: PDUType | None = None  # of the PDU whose body is being collected
        self._body = bytearray()
        self._body_bytes = 0
        is_requestor = role is Role.REQUESTOR
        self._apply(ProtocolEvent.ASSOCIATE_REQUEST if is_requestor else ProtocolEvent.TRANSPORT_INDICATED)

    @property
    def state(self) -> State:
        """State of PS3.8 §9.2."""
        return self._state

    @property
    def artim_running(self) -> bool:
        """Whether the caller must call `artim_expired` if the peer does not act within its ARTIM time."""
        return self._is_artim_running

    @property
    def is_closed(self) -> bool:
        """Whether the association is over: the caller closes the transport, or has seen it closed."""
        return self._state is State.IDLE

    @property
    def contexts(self) -> Mapping[int, AcceptedContext]:
        """The presentation contexts in force by id; empty before the association is established."""
        return self._contexts

    @property
    def peer_maximum_length(self) -> int:
        """What the peer takes in a P-DATA-TF after its header; 0 is no limit."""
        return self._peer_maximum_length

    @property
    def likely_bytes(self) -> int:
        """How much more is likely to come before there is something to answer; 0 when nobody knows.

        Whoever waits for that much at once is woken less often, and must not wait long: it is a guess.
        """
        receiver = self._receiver
        if receiver is None or not receiver.likely_bytes:
            return 0
        pending = self._end - self._start
        return max(0, min(receiver.likely_bytes, self._limits.receive_buffer_bytes) - pending)

    def receive_buffer(self) -> memoryview:
        """Where the next received bytes go, never of length zero.

        Every view handed out before, by this method or in an event, is invalid from now on.

        Raises:
            LocalProtocolError: the buffer is full because `next_event` was not called until None.
        """
        pending = self._end - self._start
        size = self._limits.receive_buffer_bytes if self._receiver is not None else len(self._buffer)
        if len(self._buffer) < size:
            larger = memoryview(bytearray(size))
            larger[:pending] = self._buffer[self._start : self._end]
            self._buffer = larger
        elif self._start:
            self._buffer[:pending] = self._buffer[self._start : self._end]
        self._start, self._end = 0, pending
        if pending == len(self._buffer):
            raise LocalProtocolError("receive buffer is full: take all events first")
        return self._buffer[pending:]

    def received(self, count: int) -> None:
        """`count` bytes were put at the start of `receive_buffer()`; 0 says the peer closed the transport."""
        if not 0 <= count <= len(self._buffer) - self._end:
            raise LocalProtocolError(f"{count} bytes cannot have been received")
        self._end += count
        if count == 0:
            self._is_transport_closed = True
        self._settle()

    def next_event(self) -> Event | None:
        """The next event in the bytes received; None when more bytes are needed or the association is over.

        Raises:
            RemoteProtocolError: the peer broke a rule. The caller sends `protocol_abort(error)`; until then
            every
                further call raises the same error.
        """
        if self._state in _OVER:
            return None
        if self._failure is not None:
            raise self._failure
        try:
            event = self._parse()
        except RemoteProtocolError as error:
            self._failure = error
            raise
        if event is None and self._is_transport_closed:
            self._apply(ProtocolEvent.TRANSPORT_CLOSED)
            return TransportClosed()
        return event

    def request(self, request: AssociateRQ) -> bytes:
        """A-ASSOCIATE request: the bytes to send."""
        self._check_advertised(request.user_information.maximum_length)
        encoded = request.encode()
        self._apply(ProtocolEvent.TRANSPORT_CONFIRMED)
        self._request = request
        self._advertised_length = request.user_information.maximum_length
        return encoded

    def accept(self, response: AssociateAC) -> bytes:
        """A-ASSOCIATE response (accept): the bytes to send. `negotiation.negotiate` makes its contexts."""
        self._check_advertised(response.user_information.maximum_length)
        encoded = response.encode()
        try:
            contexts = accepted_contexts(self._proposal(), response)
        except RemoteProtocolError as error:
            raise LocalProtocolError(str(error)) from None
        self._apply(ProtocolEvent.ASSOCIATE_RESPONSE_ACCEPT)
        self._advertised_length = response.user_information.maximum_length
        self._establish(contexts)
        return encoded

    def reject(self, response: AssociateRJ) -> bytes:
        """A-ASSOCIATE response (reject): the bytes to send; then the peer closes, or ARTIM expires."""
        self._apply(ProtocolEvent.ASSOCIATE_RESPONSE_REJECT)
        return response.encode()

    def send_command(self, context_id: int, command: Command) -> bytes:
        """A command set as P-DATA-TF PDUs; a data set, if it has one, follows in a `fragment_frame`."""
        self._check_sending(context_id)
        return message.fragment_command(context_id, commands.encode(command), self._peer_maximum_length)

    def fragment_frame(self, context_id: int, buffer: memoryview, unit_bytes: int = 2) -> FragmentFrame:
        """A frame over a buffer, for data sets on this context; it may be used for any number of them."""
        self._check_sending(context_id)
        return FragmentFrame(context_id, self._peer_maximum_length, buffer, unit_bytes)

    def release(self) -> bytes:
        """A-RELEASE request: the bytes to send; then take events until `ReleaseCompleted`."""
        self._apply(ProtocolEvent.RELEASE_REQUEST)
        return pdu.ReleaseRQ().encode()

    def respond_release(self) -> bytes:
        """A-RELEASE response: the bytes to send.

        When both sides asked at once, the requestor responds to `ReleaseRequested` immediately, the acceptor
        only after its own `ReleaseCompleted` (PS3.8 §9.2, states 9 to 12).
        """
        self._apply(ProtocolEvent.RELEASE_RESPONSE)
        return pdu.ReleaseRP().encode()

    def abort(self, source: AbortSource = AbortSource.SERVICE_USER, reason: int = 0) -> bytes:
        """A-ABORT request: the bytes to send; empty where there is nothing to abort, so repeat it freely."""
        if (self._state, ProtocolEvent.ABORT_REQUEST) not in TRANSITIONS:
            return b""
        self._apply(ProtocolEvent.ABORT_REQUEST)
        return b"" if self.is_closed else pdu.Abort(source, reason).encode()

    def protocol_abort(self, error: RemoteProtocolError) -> bytes:
        """A-ABORT by the service provider, with the reason of `error`: the bytes to send, empty when over.

        Before A-ASSOCIATE-RQ the table wants the service user as source; the provider is named there too,
        because only then the reason counts.
        """
        if self._state in _OVER or (self._state, ProtocolEvent.INVALID_PDU) not in TRANSITIONS:
            return b""
        self._apply(ProtocolEvent.INVALID_PDU)
        return pdu.Abort(AbortSource.SERVICE_PROVIDER, error.reason & 0xFF).encode()

    def artim_expired(self) -> None:
        """The ARTIM time has passed while `artim_running`: the association is over."""
        self._apply(ProtocolEvent.ARTIM_EXPIRED)

    def _apply(self, event: ProtocolEvent) -> None:
        transition = TRANSITIONS.get((self._state, event))
        if transition is None:
            raise LocalProtocolError(f"{event.name} is not possible in state {self._state.value} {self._state.name}")
        next_states = transition.next_states
        is_second = event is ProtocolEvent.RELEASE_RQ_PDU and self.role is Role.ACCEPTOR
        self._state = next_states[-1] if is_second else next_states[0]
        if transition.action in ARTIM_STARTS:
            self._is_artim_running = True
        elif transition.action in ARTIM_STOPS or self._state is State.IDLE:
            self._is_artim_running = False
        p_data = TRANSITIONS.get((self._state, ProtocolEvent.P_DATA_TF_PDU))
        self._takes_p_data = p_data is not None and p_data.action not in REFUSING_ACTIONS
        self._settle()

    def _settle(self) -> None:
        """Once the association is over, bytes are dropped and the end of the transport is taken note of."""
        if self._state in _OVER:
            self._start = self._end = 0
            if self._is_transport_closed and self._state is State.AWAITING_TRANSPORT_CLOSE:
                self._apply(ProtocolEvent.TRANSPORT_CLOSED)

    def _check_advertised(self, maximum_length: int) -> None:
        if not message.SMALLEST_MAXIMUM_LENGTH <= maximum_length <= self._limits.maximum_length:
            raise LocalProtocolError(
                f"maximum length {maximum_length} advertised, the limit is {self._limits.maximum_length}"
            )

    def _check_sending(self, context_id: int) -> None:
        if (self._state, ProtocolEvent.P_DATA_REQUEST) not in TRANSITIONS:
            raise LocalProtocolError(f"no data can be sent in state {self._state.value} {self._state.name}")
        if context_id not in self._contexts:
            raise LocalProtocolError(f"presentation context {context_id} was not accepted")

    def _proposal(self) -> AssociateRQ:
        if self._request is None:
            raise LocalProtocolError("no A-ASSOCIATE-RQ has been sent or received")
        return self._request

    def _establish(self, contexts: dict[int, AcceptedContext]) -> None:
        self._contexts = MappingProxyType(contexts)
        limits = self._limits
        self._receiver = MessageReceiver(
            contexts, self._advertised_length, limits.command_bytes, limits.empty_pdv_count
        )

    def _parse(self) -> Event | None:
        while True:
            if self._pdu_type is not None:
                return self._collect_body(self._pdu_type)
            receiver = self._receiver
            if receiver is not None and self._takes_p_data:
                event = receiver.next_event(self._buffer, self._start, self._end)
                self._start = receiver.position
                if event is not None or receiver.is_inside_pdu:
                    return event
            if not self._read_header():
                return None

    def _read_header(self) -> bool:
        """Reads and judges the header of a PDU that is not P-DATA; False if it is not there yet."""
        if self._end - self._start < PDU_HEADER_BYTES:
            return False
        number, length = PDU_HEADER.unpack_from(self._buffer, self._start)
        event = _PDU_EVENTS.get(number)
        if event is None:
            raise RemoteProtocolError(f"unknown PDU type 0x{number:02X}", AbortReason.UNRECOGNIZED_PDU)
        if TRANSITIONS[self._state, event].action in REFUSING_ACTIONS:
            raise RemoteProtocolError(
                f"{event.name} in state {self._state.value} {self._state.name}", AbortReason.UNEXPECTED_PDU
            )
        pdu_type = PDUType(number)
        if pdu_type in (PDUType.ASSOCIATE_RQ, PDUType.ASSOCIATE_AC):
            if length > self._limits.associate_pdu_bytes:
                raise LimitExceeded(
                    f"an A-ASSOCIATE PDU of {length} bytes, {self._limits.associate_pdu_bytes} is the limit",
                    AbortReason.INVALID,
                )
        elif length != SHORT_BODY_BYTES:
            raise invalid(f"{pdu_type.name} with {length} bytes instead of {SHORT_BODY_BYTES}")
        self._start += PDU_HEADER_BYTES
        self._pdu_type = pdu_type
        self._body_bytes = length
        return True

    def _collect_body(self, pdu_type: PDUType) -> Event | None:
        count = min(self._body_bytes - len(self._body), self._end - self._start)
        self._body += self._buffer[self._start : self._start + count]
        self._start += count
        if len(self._body) < self._body_bytes:
            return None
        received = pdu.decode_pdu(pdu_type, bytes(self._body))
        self._pdu_type = None
        self._body = bytearray()
        return self._take_pdu(received, _PDU_EVENTS[pdu_type])

    def _take_pdu(self, received: pdu.PDU, protocol_event: ProtocolEvent) -> Event:
        event: Event
        match received:
            case AssociateRQ():
                self._take_peer_maximum_length(received.user_information.maximum_length)
                self._request = received
                event = AssociateRequested(received)
            case AssociateAC():
                self._take_peer_maximum_length(received.user_information.maximum_length)
                self._establish(accepted_contexts(self._proposal(), received))
                event = AssociateAccepted(received)
            case AssociateRJ():
                event = AssociateRejected(received)
            case pdu.ReleaseRQ():
                event = ReleaseRequested()
            case pdu.ReleaseRP():
                event = ReleaseCompleted()
            case pdu.Abort(source, reason):
                event = Aborted(source, reason)
            case pdu.PDataTF():
                raise LocalProtocolError("P-DATA-TF is read by the message receiver")
        self._apply(protocol_event)
        return event

    def _take_peer_maximum_length(self, maximum_length: int) -> None:
        if 0 < maximum_length < message.SMALLEST_MAXIMUM_LENGTH:
            raise invalid(f"a maximum length of {maximum_length} bytes leaves no room for a fragment")
        self._peer_maximum_length = maximum_length

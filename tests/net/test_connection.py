"""One socket driving one association: deadlines, last words, and ends from other threads."""

import select
import socket
import struct
import threading
from contextlib import suppress
from statistics import median
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import AssociationAborted, ConnectionLost, DeadlineExceeded, RemoteProtocolError
from gateway.net.connection import UNSENT_LIMIT_BYTES, USER_TIMEOUT_MS, Connection
from gateway.net.deadline import Deadline
from gateway.wire.association import Association, Role
from gateway.wire.codes import AbortReason
from gateway.wire.command import CEchoRQ, CEchoRSP
from gateway.wire.events import AssociateRequested, CommandReceived
from tests.net.tcp import ECHO_ID, accept, acceptor, established, requestor, sockets, soon
from tests.scp.raw import P_DATA, VERIFICATION, associate_rq, echo_rq, p_data, pdu, pdv
from tests.wait import PATIENCE_S, wait_until

ABORT_BY_USER = pdu(7, bytes(4))
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

DELAYED_ACKNOWLEDGEMENT_S = 0.04
"""What Linux lets a lone small segment wait at least, when nobody asks it not to."""


def read_all(sock: socket.socket) -> bytes:
    """Everything until the end, be it an orderly one or a reset."""
    content = b""
    try:
        while piece := sock.recv(65_536):
            content += piece
    except ConnectionError:
        pass
    return content


def read_for_ever(connection: Connection) -> None:
    while True:
        connection.next_event(soon())


def test_an_echo_there_and_back() -> None:
    with established() as (one, other):
        one.send([one.association.send_command(ECHO_ID, CEchoRQ(7, VERIFICATION))], soon())
        assert other.next_event(soon()) == CommandReceived(ECHO_ID, CEchoRQ(7, VERIFICATION))
        other.send([other.association.send_command(ECHO_ID, CEchoRSP(7, VERIFICATION, 0))], soon())
        assert one.next_event(soon()) == CommandReceived(ECHO_ID, CEchoRSP(7, VERIFICATION, 0))


def test_the_kernel_is_told_not_to_wait_and_not_to_hoard() -> None:
    with requestor() as (connection, _):
        sock = connection._sock
        options = {name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in
                   ("TCP_NODELAY", "TCP_NOTSENT_LOWAT", "TCP_USER_TIMEOUT")}  # fmt: skip

        assert options == {
            "TCP_NODELAY": 1,
            "TCP_NOTSENT_LOWAT": UNSENT_LIMIT_BYTES,
            "TCP_USER_TIMEOUT": USER_TIMEOUT_MS,
        }
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_a_peer_that_leaves_nagle_on_never_waits_for_our_acknowledgement() -> None:
    """Two small writes for each message: with delayed acknowledgements that costs 40 ms each time."""
    with acceptor() as (connection, far):

        def serve() -> None:
            accept(connection)
            for _ in range(50):
                assert isinstance(connection.next_event(soon()), CommandReceived)
                answer = connection.association.send_command(ECHO_ID, CEchoRSP(1, VERIFICATION, 0))
                connection.send([answer], soon())

        server = threading.Thread(target=serve)
        server.start()
        far.sendall(associate_rq())
        assert far.recv(65_536)
        request = p_data(pdv(ECHO_ID, echo_rq(), command=True))
        times_s = []
        for _ in range(50):
            began = monotonic()
            far.sendall(request[:20])
            far.sendall(request[20:])
            assert far.recv(65_536)[0] == P_DATA
            times_s.append(monotonic() - began)
        server.join()

    assert median(times_s) < DELAYED_ACKNOWLEDGEMENT_S, "most exchanges waited for a delayed acknowledgement"


# --- deadlines --------------------------------------------------------------------------------------------------------


def test_a_silent_peer_costs_no_more_than_the_deadline() -> None:
    with acceptor() as (connection, _):
        began = monotonic()
        with pytest.raises(DeadlineExceeded):
            connection.next_event(Deadline.after(0.2))
        assert 0.15 < monotonic() - began < PATIENCE_S


def test_a_dripping_peer_costs_no_more_either() -> None:
    with acceptor() as (connection, far):
        stop = threading.Event()

        def drip() -> None:
            for byte in associate_rq():
                if stop.wait(0.02):
                    return
                far.sendall(bytes([byte]))

        dripping = threading.Thread(target=drip)
        dripping.start()
        began = monotonic()
        with pytest.raises(DeadlineExceeded):
            connection.next_event(Deadline.after(0.3))
        assert 0.2 < monotonic() - began < PATIENCE_S
        stop.set()
        dripping.join()


def test_a_deadline_that_has_passed_is_over_before_anything_is_read() -> None:
    with acceptor() as (connection, far):
        far.sendall(associate_rq())
        with pytest.raises(DeadlineExceeded):
            connection.next_event(Deadline.after(-1.0))
        assert isinstance(connection.next_event(soon()), AssociateRequested)


def test_a_peer_that_takes_nothing_costs_no_more_than_the_deadline() -> None:
    with requestor() as (connection, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        began = monotonic()
        with pytest.raises(DeadlineExceeded):
            connection.send([bytes(64 << 20)], Deadline.after(0.3))
        assert 0.2 < monotonic() - began < PATIENCE_S


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 300_000), max_size=12))
def test_all_buffers_arrive_in_order_whatever_their_sizes(sizes: list[int]) -> None:
    buffers = [bytes([index + 1]) * size for index, size in enumerate(sizes)]
    with requestor() as (connection, far):
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(read_all(far)))
        reader.start()
        connection.send(buffers, soon())
        connection.close()
        reader.join()
    assert received == [b"".join(buffers)]


# --- ends -------------------------------------------------------------------------------------------------------------


def test_the_ways_a_peer_may_leave_are_told_apart() -> None:
    with acceptor() as (connection, far):
        far.close()
        with pytest.raises(ConnectionLost, match="closed"):
            connection.next_event(soon())
    with acceptor() as (connection, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        far.close()
        with pytest.raises(ConnectionLost, match="reset"):
            connection.next_event(soon())
    with established() as (one, other):
        other.send([other.association.abort()], soon())
        with pytest.raises(AssociationAborted) as aborted:
            one.next_event(soon())
        assert (aborted.value.source, aborted.value.reason) == (0, 0)


def test_sending_to_a_peer_that_left_is_a_lost_connection() -> None:
    with requestor() as (connection, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        far.close()
        with pytest.raises(ConnectionLost):
            connection.send([bytes(65_536)] * 100, soon())


def test_a_broken_rule_is_answered_with_its_reason() -> None:
    with acceptor() as (connection, far):
        far.sendall(pdu(0x42, bytes(4)))
        with pytest.raises(RemoteProtocolError) as broken:
            connection.next_event(soon())
        connection.refuse(broken.value, soon())

        assert read_all(far) == pdu(7, bytes([0, 0, 2, AbortReason.UNRECOGNIZED_PDU]))


def test_the_last_word_is_not_overtaken_by_a_reset() -> None:
    """The peer is still sending when we abort; it reads our word, and it is for the peer to close."""
    with established() as (one, other):
        sock = one._sock
        heard: list[bytes] = []

        def send_until_told_otherwise() -> None:
            while not select.select([sock], [], [], 0)[0]:
                sock.sendall(bytes(65_536))
            with suppress(BlockingIOError):  # nothing more to read, and no reset
                while piece := sock.recv(65_536):
                    heard.append(piece)
            one.close()

        sending = threading.Thread(target=send_until_told_otherwise)
        sending.start()
        wait_until(lambda: len(other._sock.recv(1 << 20, socket.MSG_PEEK)) > 65_536)
        other.abort(soon())
        sending.join()

        assert b"".join(heard) == ABORT_BY_USER


def test_a_peer_that_never_closes_is_not_waited_for() -> None:
    with established() as (_, other):
        began = monotonic()
        other.abort(soon())
        assert monotonic() - began < PATIENCE_S


def test_closing_and_aborting_again_does_no_harm() -> None:
    with established() as (one, other):
        one.abort(soon(0.1))
        one.abort(soon(0.1))
        one.close()
        one.reset()
        one.wake()
        with pytest.raises(AssociationAborted):
            other.next_event(soon())


# --- from other threads -----------------------------------------------------------------------------------------------


def test_reset_ends_the_owners_wait_and_drops_the_connection() -> None:
    with established() as (one, other):
        timer = threading.Timer(0.1, one.reset)
        timer.start()
        with pytest.raises(ConnectionLost):
            one.next_event(soon())
        one.close()
        with pytest.raises(ConnectionLost):
            other.next_event(soon())
        timer.join()


def test_reset_ends_the_owners_sending() -> None:
    with requestor() as (connection, _):
        timer = threading.Timer(0.1, connection.reset)
        timer.start()
        began = monotonic()
        with pytest.raises(ConnectionLost):
            connection.send([bytes(64 << 20)], soon(20.0))
        assert monotonic() - began < PATIENCE_S
        timer.join()


def test_wake_ends_this_wait_and_every_later_one_but_not_sending() -> None:
    with established() as (one, other):
        timer = threading.Timer(0.1, other.wake)
        timer.start()
        with pytest.raises(DeadlineExceeded):
            other.next_event(soon())
        timer.join()
        one.send([one.association.send_command(ECHO_ID, CEchoRQ(1, VERIFICATION))], soon())
        with pytest.raises(DeadlineExceeded):
            other.next_event(soon())
        other.abort(soon())
        with pytest.raises(AssociationAborted):
            one.next_event(soon())


def test_wake_ends_the_wait_for_a_peer_that_never_pauses() -> None:
    with established() as (one, other):
        stop = threading.Event()
        request = one.association.send_command(ECHO_ID, CEchoRQ(1, VERIFICATION))

        def chatter() -> None:
            try:
                while not stop.is_set():
                    one._sock.sendall(request)
            except OSError:
                pass

        chattering = threading.Thread(target=chatter)
        chattering.start()
        threading.Timer(0.1, other.wake).start()
        began = monotonic()
        with pytest.raises(DeadlineExceeded):
            read_for_ever(other)
        assert monotonic() - began < PATIENCE_S
        stop.set()
        other.close()
        chattering.join()


def test_a_socket_that_is_gone_is_closed_and_said_to_be_lost() -> None:
    with sockets() as (near, _):
        near.close()
        with pytest.raises(ConnectionLost):
            Connection(near, Association(Role.ACCEPTOR), "PEER")

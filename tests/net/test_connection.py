"""One socket driving one association: deadlines, last words, and ends from other threads."""

import errno
import os
import select
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from random import Random
from statistics import median
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import AssociationAborted, ConnectionLost, DeadlineExceeded, RemoteProtocolError
from gateway.net.connection import GATHERED_COUNT, UNSENT_LIMIT_BYTES, USER_TIMEOUT_MS, Connection
from gateway.net.deadline import Deadline
from gateway.wire.association import Association, Role
from gateway.wire.codes import AbortReason
from gateway.wire.command import CEchoRQ, CEchoRSP
from gateway.wire.events import AssociateRequested, CommandReceived, DataReceived
from gateway.wire.reassembly import FRAGMENTS_PER_EVENT_LIMIT
from tests.net.tcp import CT_ID, ECHO_ID, accept, acceptor, established, requestor, sockets, soon
from tests.scp.raw import ABORT, P_DATA, VERIFICATION, associate_rq, echo_rq, p_data, pdu, pdv, store_rq
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


@pytest.mark.parametrize("empty_count", [0, 2000])
@pytest.mark.parametrize("count", [GATHERED_COUNT - 1, GATHERED_COUNT, GATHERED_COUNT + 1, 3 * GATHERED_COUNT])
def test_more_buffers_than_one_system_call_takes_arrive_in_order(count: int, empty_count: int) -> None:
    random = Random(count)
    buffers = [b""] * empty_count + [memoryview(random.randbytes(random.randrange(50))) for _ in range(count)]
    with requestor() as (connection, far):
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(read_all(far)))
        reader.start()
        connection.send(buffers, soon())
        connection.close()
        reader.join()
    assert received == [b"".join(buffers)]


# --- waiting for as much as is likely to come -------------------------------------------------------------------------


def store(content: bytes, fragment_bytes: int = 10_000) -> bytes:
    """A C-STORE with this data set."""
    pieces = [content[start : start + fragment_bytes] for start in range(0, len(content), fragment_bytes)]
    *others, last = [p_data(pdv(CT_ID, piece, last=False)) for piece in pieces[:-1]] + [p_data(pdv(CT_ID, pieces[-1]))]
    return b"".join([p_data(pdv(CT_ID, store_rq("1.2.3"), command=True)), *others, last])


def pattern(size_bytes: int) -> bytes:
    return (bytes(range(251)) * (size_bytes // 251 + 1))[:size_bytes]


def receive_store(connection: Connection) -> bytes:
    """The data set of the C-STORE that comes next."""
    assert isinstance(connection.next_event(soon()), CommandReceived)
    content = b""
    while True:
        event = connection.next_event(soon())
        assert isinstance(event, DataReceived)
        content += b"".join(event.fragments)
        if event.last:
            return content


@contextmanager
def after_a_long_one() -> Iterator[tuple[Connection, socket.socket]]:
    """An acceptor that knows a long data set, and so waits for as much of the next one."""
    with acceptor() as (connection, far):
        far.sendall(associate_rq())
        accept(connection)
        assert far.recv(65_536)
        content = pattern(100_000)
        far.sendall(store(content))
        assert receive_store(connection) == content
        yield connection, far


def send_when_taken(far: socket.socket, pieces: Iterable[bytes], connection: Connection) -> threading.Thread:
    """Send piece by piece; each when the one before has been taken, so that none comes with the next."""

    def send() -> None:
        sent_bytes = connection.received_bytes
        for piece in pieces:
            far.sendall(piece)
            sent_bytes += len(piece)
            wait_until(lambda so_far=sent_bytes: connection.received_bytes == so_far)  # type: ignore[misc]

    sending = threading.Thread(target=send)
    sending.start()
    return sending


@pytest.mark.parametrize("size_bytes", [2, 2_000, 50_000])
def test_a_data_set_shorter_than_the_one_before_arrives_whole(size_bytes: int) -> None:
    """All of it comes with the command, and then nothing, because the peer waits for the answer."""
    with after_a_long_one() as (connection, far):
        content = pattern(size_bytes)
        far.sendall(store(content))
        assert receive_store(connection) == content


@pytest.mark.parametrize("cuts", [[50], [150], [200, 1000, 5000], [19_990]])
def test_a_shorter_data_set_that_comes_with_pauses_arrives_whole(cuts: list[int]) -> None:
    with after_a_long_one() as (connection, far):
        content = pattern(20_000)
        stream = store(content)
        ends = [*cuts, len(stream)]
        pieces = [stream[start:end] for start, end in zip([0, *cuts], ends, strict=True)]
        sending = send_when_taken(far, pieces, connection)
        assert receive_store(connection) == content
        sending.join()


def test_a_shorter_data_set_in_more_fragments_than_one_event_takes_arrives_whole() -> None:
    with after_a_long_one() as (connection, far):
        content = pattern(4 * FRAGMENTS_PER_EVENT_LIMIT)
        far.sendall(store(content, fragment_bytes=2))
        assert receive_store(connection) == content


def test_an_abort_where_more_data_was_likely_is_seen() -> None:
    with after_a_long_one() as (connection, far):
        begun = p_data(pdv(CT_ID, store_rq("1.2.3"), command=True)) + p_data(pdv(CT_ID, pattern(1000), last=False))
        far.sendall(begun + pdu(ABORT, bytes(4)))
        assert isinstance(connection.next_event(soon()), CommandReceived)
        assert isinstance(connection.next_event(soon()), DataReceived)
        with pytest.raises(AssociationAborted):
            connection.next_event(soon())


def test_an_end_where_more_data_was_likely_is_seen_after_what_came() -> None:
    with after_a_long_one() as (connection, far):
        far.sendall(p_data(pdv(CT_ID, store_rq("1.2.3"), command=True)) + p_data(pdv(CT_ID, pattern(1000), last=False)))
        far.shutdown(socket.SHUT_WR)
        assert isinstance(connection.next_event(soon()), CommandReceived)
        event = connection.next_event(soon())
        assert isinstance(event, DataReceived)
        assert b"".join(event.fragments) == pattern(1000)
        with pytest.raises(ConnectionLost, match="closed"):
            connection.next_event(soon())


@pytest.mark.parametrize("segment_bytes", [100, 1460])
def test_data_sets_in_small_segments_arrive_whole(segment_bytes: int) -> None:
    """As plain senders write them: a command in one call, then each PDU, cut as the network likes."""
    with after_a_long_one() as (connection, far):
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        contents = [pattern(size) for size in (100_000, 100_002, 60_000, 300_000)]

        def send() -> None:
            for content in contents:
                stream = store(content)
                for start in range(0, len(stream), segment_bytes):
                    far.sendall(stream[start : start + segment_bytes])

        sending = threading.Thread(target=send)
        sending.start()
        assert [receive_store(connection) for _ in contents] == contents
        sending.join()


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


class Waiting(threading.Thread):
    """The owner of a connection, in a wait that takes longer than any test."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.error: Exception | None = None
        self._connection = connection

    def run(self) -> None:
        try:
            self._connection.next_event(soon(10 * PATIENCE_S))
        except DeadlineExceeded as error:
            self.error = error

    def ends(self) -> bool:
        self.join(PATIENCE_S)
        return self.error is not None


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_wake_ends_a_long_wait() -> None:
    with acceptor() as (connection, _):
        files = open_files()
        owner = Waiting(connection)
        owner.start()
        wait_until(lambda: open_files() > files)  # what it can be woken by
        connection.wake()
        assert owner.ends()


def test_wake_ends_a_wait_that_has_not_begun() -> None:
    with acceptor() as (connection, _):
        connection.wake()
        owner = Waiting(connection)
        owner.start()
        assert owner.ends()


def test_wake_ends_a_wait_that_is_just_about_to_be_a_long_one() -> None:
    class WokenInBetween(Connection):
        def _wait_for_input(self, deadline: Deadline) -> None:
            self.wake()
            super()._wait_for_input(deadline)

    with sockets() as (near, _), closing(WokenInBetween(near, Association(Role.ACCEPTOR), "PEER")) as connection:
        owner = Waiting(connection)
        owner.start()
        assert owner.ends()


class CountedSocket(socket.socket):
    """Counts how often it is read from."""

    reads = 0

    def recv_into(self, *arguments: object) -> int:  # type: ignore[override]
        self.reads += 1
        return super().recv_into(*arguments)  # type: ignore[arg-type]


def test_an_idle_connection_costs_nothing() -> None:
    with sockets() as (near, _):
        counted = CountedSocket(fileno=near.detach())
        with closing(Connection(counted, Association(Role.ACCEPTOR), "PEER")) as connection:
            with pytest.raises(DeadlineExceeded):
                connection.next_event(soon(0.3))
            assert counted.reads == 1


def test_a_connection_that_waited_long_leaves_nothing_open() -> None:
    with sockets() as (near, far):
        connection = Connection(near, Association(Role.ACCEPTOR), "PEER")
        files = open_files()
        for _ in range(2):
            with pytest.raises(DeadlineExceeded):
                connection.next_event(soon(0.05))
        assert open_files() == files + 1
        connection.close()
        connection.close()
        connection.wake()
        assert open_files() == files - 1
        assert far.recv(1) == b""


def test_a_wait_without_a_file_to_spare_is_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with acceptor() as (connection, _):
        monkeypatch.setattr(os, "eventfd", refused)
        with pytest.raises(ConnectionLost, match="Too many open files"):
            connection.next_event(soon())


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

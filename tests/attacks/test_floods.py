"""Many at once: connections that say nothing, associations, slow ones; and others who must not notice."""

import socket
from contextlib import ExitStack, suppress
from threading import Thread
from time import monotonic

import pytest

from tests.attacks.victim import ASSOCIATIONS_PER_PEER, MEMORY_BYTES, Victim, ends
from tests.scp.raw import (
    ABORT,
    AC,
    CT_ID,
    ECHO_ID,
    RJ,
    RawPeer,
    associate_rq,
    data_set,
    echo_rq,
    new_uid,
    p_data,
    pdv,
    store_rq,
)
from tests.scp.site import CONSENTING
from tests.wait import PATIENCE_S

pytestmark = pytest.mark.torture

RESET_ON_CLOSE = b"\1\0\0\0\0\0\0\0"


def drip(peer: RawPeer, data: bytes, pause_s: float = 0.05) -> None:
    """Byte after byte until the other side has enough."""
    peer.sock.settimeout(pause_s)
    with suppress(ConnectionError):
        for index in range(len(data)):
            with suppress(TimeoutError):
                peer.sock.sendall(data[index : index + 1])
                if peer.sock.recv(1, socket.MSG_PEEK):
                    break
                return
    peer.sock.settimeout(10.0)


def test_five_hundred_connections_that_say_nothing(victim: Victim) -> None:
    with victim.costs_at_most(4 * MEMORY_BYTES), ExitStack() as connections:
        for _ in range(500):
            with suppress(OSError):
                connections.enter_context(victim.peer())
        victim.check_aftermath_of_others()


def test_five_hundred_connections_that_are_reset(victim: Victim) -> None:
    with victim.costs_at_most(4 * MEMORY_BYTES):
        for _ in range(500):
            with suppress(OSError), victim.peer() as peer:
                peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


def test_connections_that_say_nothing_from_many_addresses(victim: Victim) -> None:
    began = monotonic()
    with victim.costs_at_most(6 * MEMORY_BYTES), ExitStack() as connections:
        silent = [connections.enter_context(victim.peer(f"127.0.1.{n}")) for n in range(1, 101)]
        assert all(peer.read_pdu() is None for peer in silent)
    assert monotonic() - began < PATIENCE_S


def test_two_hundred_associations_at_once(victim: Victim) -> None:
    """More than there may be: some are accepted, the others are told so or turned away."""
    with victim.costs_at_most((ASSOCIATIONS_PER_PEER + 2) * MEMORY_BYTES), ExitStack() as connections:
        answers = []
        for _ in range(200):
            with suppress(OSError):
                peer = connections.enter_context(victim.peer())
                peer.send(associate_rq())
                answer = peer.read_pdu()
                answers.append(answer and answer[0])
        assert answers.count(AC) == ASSOCIATIONS_PER_PEER
        assert set(answers) <= {AC, RJ, None}
        victim.check_aftermath_of_others()


def test_associations_opened_and_dropped_as_fast_as_can_be(victim: Victim) -> None:
    with victim.costs_at_most((ASSOCIATIONS_PER_PEER + 2) * MEMORY_BYTES):
        for _ in range(200):
            with suppress(OSError), victim.peer() as peer:
                peer.send(associate_rq())


def test_strangers_in_a_crowd(victim: Victim) -> None:
    with victim.costs_at_most(4 * MEMORY_BYTES):
        for _ in range(200):
            with suppress(OSError), victim.peer("127.0.0.2") as peer:
                peer.send_while_taken([associate_rq()])
                assert ends(peer) in ([RJ], [])


def test_slow_requests_on_every_connection_there_may_be(victim: Victim) -> None:
    with victim.costs_at_most(4 * MEMORY_BYTES), ExitStack() as connections:
        slow = [connections.enter_context(victim.peer()) for _ in range(8)]
        began = monotonic()
        threads = [Thread(target=drip, args=(peer, associate_rq())) for peer in slow]
        for thread in threads:
            thread.start()
        victim.check_aftermath_of_others()
        for thread in threads:
            thread.join()
        assert monotonic() - began < PATIENCE_S
        assert [ends(peer) for peer in slow] == [[]] * 8


def test_slow_data_sets_on_every_association_there_may_be(victim: Victim) -> None:
    with victim.costs_at_most((ASSOCIATIONS_PER_PEER + 2) * MEMORY_BYTES), ExitStack() as connections:
        slow = [connections.enter_context(victim.peer()) for _ in range(ASSOCIATIONS_PER_PEER)]
        for peer in slow:
            uid = new_uid()
            peer.associate()
            peer.send(p_data(pdv(CT_ID, store_rq(uid), command=True)))
            peer.send(p_data(pdv(CT_ID, data_set(uid, CONSENTING), last=False)))
        crumbs = b"".join(p_data(pdv(CT_ID, b"\0\0", last=False)) for _ in range(1000))
        began = monotonic()
        threads = [Thread(target=drip, args=(peer, crumbs)) for peer in slow]
        for thread in threads:
            thread.start()
        victim.check_aftermath_of_others()
        for thread in threads:
            thread.join()
        assert monotonic() - began < PATIENCE_S
        assert [ends(peer) for peer in slow] == [[ABORT]] * ASSOCIATIONS_PER_PEER


def test_peers_that_take_no_answers(victim: Victim) -> None:
    echoes = p_data(pdv(ECHO_ID, echo_rq(), command=True)) * 2000
    with victim.costs_at_most(4 * MEMORY_BYTES), RawPeer(victim.port, receive_buffer_bytes=4096) as peer:
        peer.associate()
        peer.sock.settimeout(1.0)
        peer.send_while_taken([echoes] * 50)
        victim.check_aftermath_of_others()

"""Opening associations, to pynetdicom and to peers made of bytes that answer whatever they like."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
from pynetdicom import AE, evt

from gateway.domain.peer import ApplicationEntity
from gateway.errors import (
    AssociationAborted,
    AssociationRejected,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    RemoteProtocolError,
)
from gateway.net.connection import Connection
from gateway.net.dial import CONTEXT_LIMIT_COUNT, DialSettings, Proposal, dial, release
from gateway.ops.counterparts import free_port
from tests.scp.raw import ABORT, AC, CT, EXPLICIT, IMPLICIT, LOOPBACK, RELEASE_RQ, RJ, RQ, VERIFICATION, pdu
from tests.scp.site import HOSPITAL_B
from tests.wait import PATIENCE_S, wait_until

SETTINGS = DialSettings("CALLER", connect_timeout_s=1.0, associate_timeout_s=0.5, response_timeout_s=1.0)
ECHO = [Proposal(VERIFICATION, IMPLICIT)]


def ae(port: int, title: str = "CALLED") -> ApplicationEntity:
    return ApplicationEntity(title, HOSPITAL_B, LOOPBACK, port)


@contextmanager
def answering(answer: bytes, *, closes: bool = True) -> Iterator[tuple[int, list[bytes]]]:
    """A peer that takes one connection and answers its first bytes so; its port, and all it was sent."""
    heard: list[bytes] = []
    done = threading.Event()
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(2.0)
                heard.append(sock.recv(65_536))
                sock.sendall(answer)
                if not closes:
                    done.wait(5.0)
                    return
                try:
                    while piece := sock.recv(65_536):
                        heard.append(piece)
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], heard
        finally:
            done.set()
            thread.join()


@pytest.fixture
def server() -> Iterator[tuple[int, list[evt.Event]]]:
    """pynetdicom: its port, and the associations that ended in order."""
    scp = AE("CALLED")
    scp.require_called_aet = True
    scp.require_calling_aet = ["CALLER"]
    scp.add_supported_context(VERIFICATION)
    scp.add_supported_context(CT, [EXPLICIT])
    released: list[evt.Event] = []
    running = scp.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_RELEASED, released.append)])
    assert running is not None
    yield running.socket.getsockname()[1], released
    running.shutdown()


def test_what_the_peer_accepts_is_in_force_and_the_end_is_in_order(server: tuple[int, list[evt.Event]]) -> None:
    port, released = server
    accepted_ones = [Proposal(VERIFICATION, IMPLICIT), Proposal(CT, EXPLICIT)]
    proposals = [*accepted_ones, Proposal(CT, IMPLICIT), Proposal("1.2.3", IMPLICIT)]

    connection = dial(ae(port), proposals, SETTINGS)
    accepted = [Proposal(c.abstract_syntax, c.transfer_syntax) for c in connection.association.contexts.values()]
    release(connection, 2.0)

    assert accepted == accepted_ones
    wait_until(lambda: len(released) == 1)


@pytest.mark.parametrize(("title", "calling", "reason"), [("OTHER", "CALLER", 7), ("CALLED", "STRANGER", 3)])
def test_a_rejection_says_why(server: tuple[int, list[evt.Event]], title: str, calling: str, reason: int) -> None:
    stranger = DialSettings(calling, 1.0, 1.0, 1.0)

    with pytest.raises(AssociationRejected) as rejected:
        dial(ae(server[0], title), ECHO, stranger)

    assert (rejected.value.result, rejected.value.source, rejected.value.reason) == (1, 1, reason)
    assert title in str(rejected.value)


def test_no_more_contexts_are_proposed_than_there_can_be(server: tuple[int, list[evt.Event]]) -> None:
    proposals = [Proposal(f"1.2.{number}", IMPLICIT) for number in range(CONTEXT_LIMIT_COUNT)]

    connection = dial(ae(server[0]), [Proposal(VERIFICATION, IMPLICIT), *proposals], SETTINGS)

    assert list(connection.association.contexts) == [1]
    release(connection, 2.0)


def test_nobody_there_is_said_so() -> None:
    with pytest.raises(ConnectFailed, match="refused"):
        dial(ae(free_port()), ECHO, SETTINGS)


def test_a_peer_that_says_nothing_is_given_up_in_time() -> None:
    with answering(b"", closes=False) as (port, _):
        began = monotonic()
        with pytest.raises(DeadlineExceeded):
            dial(ae(port), ECHO, SETTINGS)
        assert monotonic() - began < PATIENCE_S


def test_a_peer_whose_queue_is_full_is_given_up_in_time() -> None:
    with socket.create_server((LOOPBACK, 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        began = monotonic()
        with pytest.raises((ConnectFailed, DeadlineExceeded)):
            dial(ae(full.getsockname()[1]), ECHO, SETTINGS)
        assert monotonic() - began < PATIENCE_S
        for sock in waiting:
            sock.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(pdu(RJ, bytes([0, 2, 3, 2])), AssociationRejected, id="busy"),
        pytest.param(pdu(ABORT, bytes([0, 0, 2, 1])), AssociationAborted, id="abort"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", RemoteProtocolError, id="another protocol"),
        pytest.param(pdu(RQ, bytes(100)), RemoteProtocolError, id="a request"),
        pytest.param(pdu(RELEASE_RQ, bytes(4)), RemoteProtocolError, id="a release"),
        pytest.param(pdu(4, bytes(20)), RemoteProtocolError, id="data"),
        pytest.param(pdu(AC, bytes(2)), RemoteProtocolError, id="a short acceptance"),
        pytest.param(pdu(AC, length=0xFFFF_FFFF), RemoteProtocolError, id="an acceptance of 4 GiB"),
    ],
)
def test_answers_that_are_no_acceptance(answer: bytes, error: type[Exception]) -> None:
    with answering(answer) as (port, heard), pytest.raises(error):
        dial(ae(port), ECHO, SETTINGS)
    if error is RemoteProtocolError:
        assert b"".join(heard)[-10:-4] == pdu(ABORT, length=4)


def test_a_peer_that_closes_is_a_lost_connection() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:

        def close() -> None:
            sock, _ = listener.accept()
            sock.close()

        closer = threading.Thread(target=close)
        closer.start()
        with pytest.raises(ConnectionLost):
            dial(ae(listener.getsockname()[1]), ECHO, SETTINGS)
        closer.join()


def test_a_release_that_is_not_answered_ends_all_the_same(server: tuple[int, list[evt.Event]]) -> None:
    connection = dial(ae(server[0]), ECHO, SETTINGS)
    deaf = Connection(connection._sock.dup(), connection.association, "PEER")
    began = monotonic()

    release(deaf, 0.0)
    release(connection, 0.2)

    assert monotonic() - began < PATIENCE_S

"""TCP connections of this machine with itself."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

from gateway.net.connection import Connection
from gateway.net.deadline import Deadline
from gateway.wire.association import Association, Role
from gateway.wire.events import AssociateAccepted, AssociateRequested
from gateway.wire.negotiation import negotiate
from gateway.wire.pdu import AssociateAC, AssociateRQ, ProposedContext, UserInformation
from tests.scp.raw import CT, EXPLICIT, IMPLICIT, LOOPBACK, VERIFICATION

ECHO_ID, CT_ID = 1, 3


def soon(seconds: float = 5.0) -> Deadline:
    return Deadline.after(seconds)


@contextmanager
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        far.settimeout(5.0)
        yield near, far


@contextmanager
def requestor() -> Iterator[tuple[Connection, socket.socket]]:
    """A requestor's connection, and the far end of its socket."""
    with sockets() as (near, far), closing(Connection(near, Association(Role.REQUESTOR), "PEER")) as connection:
        yield connection, far


@contextmanager
def acceptor() -> Iterator[tuple[Connection, socket.socket]]:
    """An acceptor's connection, and the far end of its socket."""
    with sockets() as (near, far), closing(Connection(near, Association(Role.ACCEPTOR), "PEER")) as connection:
        yield connection, far


@contextmanager
def established() -> Iterator[tuple[Connection, Connection]]:
    """A requestor and an acceptor with an association between them."""
    with (
        sockets() as (near, far),
        closing(Connection(near, Association(Role.REQUESTOR), "ACCEPTOR")) as one,
        closing(Connection(far, Association(Role.ACCEPTOR), "REQUESTOR")) as other,
    ):
        one.send([one.association.request(a_request())], soon())
        accept(other)
        assert isinstance(one.next_event(soon()), AssociateAccepted)
        yield one, other


def accept(connection: Connection) -> None:
    """Answer an A-ASSOCIATE-RQ with everything it asks for."""
    event = connection.next_event(soon())
    assert isinstance(event, AssociateRequested)
    contexts = negotiate(event.request, lambda _: True)
    answer = AssociateAC(
        event.request.called_ae_title, event.request.calling_ae_title, contexts, UserInformation(16_384)
    )
    connection.send([connection.association.accept(answer)], soon())


def a_request() -> AssociateRQ:
    contexts = (ProposedContext(ECHO_ID, VERIFICATION, (IMPLICIT,)), ProposedContext(CT_ID, CT, (EXPLICIT,)))
    return AssociateRQ("ACCEPTOR", "REQUESTOR", contexts, UserInformation(16_384))

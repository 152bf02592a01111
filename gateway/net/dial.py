"""Opening an association to a peer."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.domain.peer import ApplicationEntity
from gateway.errors import (
    AssociationRejected,
    ConnectFailed,
    LocalProtocolError,
    NetworkError,
    RemoteProtocolError,
)
from gateway.net.connection import Connection
from gateway.net.deadline import Deadline
from gateway.wire import uids
from gateway.wire.association import Association, Limits, Role
from gateway.wire.events import AssociateAccepted, AssociateRejected, ReleaseCompleted
from gateway.wire.pdu import AssociateRQ, ProposedContext, UserInformation

CONTEXT_LIMIT_COUNT = 128
"""PS3.8 §9.3.2.2: context ids are the odd numbers up to 255."""

ABORT_TIMEOUT_S = 1.0
"""How long a polite goodbye may take on a connection that is being given up."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A SOP class with the one transfer syntax its instances have: one presentation context."""

    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class DialSettings:
    """Who we say we are, and how long a peer has for each step."""

    calling_ae_title: str
    connect_timeout_s: float
    associate_timeout_s: float
    response_timeout_s: float


def dial(ae: ApplicationEntity, proposals: Sequence[Proposal], settings: DialSettings) -> Connection:
    """An established association with at most 128 proposed contexts; the caller releases or aborts it.

    Raises:
        ConnectFailed: nothing listens there, or it does not answer.
        AssociationRejected: the peer does not want this association; says why.
        NetworkError, RemoteProtocolError: the peer misbehaved while negotiating.
    """
    request = AssociateRQ(
        called_ae_title=ae.title,
        calling_ae_title=settings.calling_ae_title,
        presentation_contexts=tuple(
            ProposedContext(2 * index + 1, proposal.abstract_syntax, (proposal.transfer_syntax,))
            for index, proposal in enumerate(proposals[:CONTEXT_LIMIT_COUNT])
        ),
        user_information=UserInformation(
            maximum_length=Limits().maximum_length,
            implementation_class_uid=uids.IMPLEMENTATION_CLASS_UID,
            implementation_version_name=uids.IMPLEMENTATION_VERSION_NAME,
        ),
    )
    connection = Connection(_connect(ae, settings.connect_timeout_s), Association(Role.REQUESTOR), str(ae))
    deadline = Deadline.after(settings.associate_timeout_s)
    try:
        connection.send([connection.association.request(request)], deadline)
        match connection.next_event(deadline):
            case AssociateAccepted():
                return connection
            case AssociateRejected(rejection):
                raise AssociationRejected(
                    f"{ae} rejected the association: {rejection.words}",
                    int(rejection.result), int(rejection.source), int(rejection.reason),
                )  # fmt: skip
            case event:
                raise LocalProtocolError(f"{type(event).__name__} while an answer to A-ASSOCIATE-RQ was due")
    except RemoteProtocolError as error:
        connection.refuse(error, Deadline.after(ABORT_TIMEOUT_S))
        raise
    except (NetworkError, LocalProtocolError):
        connection.close()
        raise


def release(connection: Connection, timeout_s: float) -> None:
    """End an association in order; whatever goes wrong, the connection is closed afterwards."""
    deadline = Deadline.after(timeout_s)
    try:
        connection.send([connection.association.release()], deadline)
        while not isinstance(connection.next_event(deadline), ReleaseCompleted):
            pass
    except (NetworkError, RemoteProtocolError, LocalProtocolError):
        pass
    connection.close()


def _connect(ae: ApplicationEntity, timeout_s: float) -> socket.socket:
    try:
        return socket.create_connection((ae.host, ae.port), timeout_s)
    except OSError as error:
        why = error.strerror or "no answer"
        raise ConnectFailed(f"cannot connect to {ae}: {why}; check host, port and that it is running") from error

"""The life of one inbound association: admitted or rejected, message after message, released, aborted or lost."""

import threading
from collections import Counter
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import socket
from time import monotonic

from gateway import log
from gateway.domain.decision import new_id
from gateway.domain.network import Network
from gateway.domain.peer import ApplicationEntity
from gateway.domain.transfer import Arrival
from gateway.errors import (
    ConnectionLost,
    DeadlineExceeded,
    LimitExceeded,
    LocalProtocolError,
    NetworkError,
    RemoteProtocolError,
    StoreError,
)
from gateway.metrics import Metrics, Stage
from gateway.net.connection import Connection
from gateway.net.deadline import Deadline, Pace
from gateway.planning import Authority
from gateway.scp.admission import BUSY, NOT_NOW, admit
from gateway.scp.echo import echo
from gateway.scp.registry import SOPClasses, choose_transfer_syntax, not_performed
from gateway.scp.store import Fragments, Store
from gateway.wire import uids
from gateway.wire.association import Association, Limits, Role
from gateway.wire.command import CCancelRQ, CEchoRQ, Command, CStoreRQ, OtherCommand
from gateway.wire.events import AssociateRequested, CommandReceived, DataReceived, Event, ReleaseRequested
from gateway.wire.negotiation import negotiate
from gateway.wire.pdu import AssociateAC, AssociateRJ, AssociateRQ, UserInformation

ABORT_TIMEOUT_S = 1.0
"""How long a last word may take on an association that is given up."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Who we are to peers, and what they may cost us."""

    ae_title: str
    maximum_length_bytes: int
    association_count: int
    association_count_per_peer: int
    associate_timeout_s: float
    idle_timeout_s: float
    minimum_rate_bytes_per_s: int
    minimum_rate_window_s: float
    data_set_limit_bytes: int
    """Where a refused data set is not read to its end any more: then its sender gets an A-ABORT for an answer."""


class AssociationServer:
    """Serves connections, each on its caller's thread; knows all that are running, to stop them."""

    def __init__(
        self,
        settings: ServerSettings,
        authority: Authority,
        sop_classes: SOPClasses,
        store: Store,
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.sop_classes = sop_classes
        self.store = store
        self.metrics = metrics
        self._authority = authority
        self._lock = threading.Lock()
        self._running: set[_InboundAssociation] = set()
        self._peers: Counter[str] = Counter()
        self._draining = False

    def __call__(self, sock: socket, address: str, established: Callable[[], None]) -> None:
        """Serve one connection to its end."""
        began_at = monotonic()
        logger = log.get(__name__).bind(address=address)
        limits = Limits(maximum_length=self.settings.maximum_length_bytes)
        try:
            connection = Connection(sock, Association(Role.ACCEPTOR, limits), address)
        except ConnectionLost as error:
            logger.info("association_lost", error=error)
            return
        with _ended_in_order(connection, logger):
            request = self._requested(connection)
            admitted = self._admit(request, address)
            if isinstance(admitted, AssociateRJ):
                self._log_rejection(logger, request, admitted)
                self._reject(connection, admitted)
            else:
                self._serve(connection, request, admitted, established, began_at)

    def drain(self) -> None:
        """Take no more messages: idle associations end now, busy ones after the message under way."""
        with self._lock:
            self._draining = True
            running = list(self._running)
        for association in running:
            association.drain()

    def stop(self) -> None:
        """Break off whatever is still running, with A-ABORT."""
        for connection in self._connections():
            connection.wake()

    def reset(self) -> None:
        """Drop whatever did not even take an A-ABORT."""
        for connection in self._connections():
            connection.reset()

    def _connections(self) -> list[Connection]:
        with self._lock:
            return [association.connection for association in self._running]

    def _requested(self, connection: Connection) -> AssociateRQ:
        deadline = Deadline.after(self.settings.associate_timeout_s)
        match connection.next_event(deadline):
            case AssociateRequested(request):
                return request
            case event:
                raise LocalProtocolError(f"{type(event).__name__} before A-ASSOCIATE-RQ")

    def _serve(
        self,
        connection: Connection,
        request: AssociateRQ,
        peer: ApplicationEntity,
        established: Callable[[], None],
        began_at: float,
    ) -> None:
        address = connection.peer
        logger = log.get(__name__).bind(ae_title=peer.title, address=address)
        arrival = Arrival(peer.title, request.called_ae_title, address, peer.institution_oid, association_id=new_id())
        association = _InboundAssociation(self, connection, peer, arrival)
        if not self._enter(association):
            logger.warning("association_limit")
            self._reject(connection, BUSY)
            return
        established()
        try:
            with _ended_in_order(connection, logger):
                deadline = Deadline.after(self.settings.associate_timeout_s)
                connection.send([connection.association.accept(self._acceptance(request))], deadline)
                self.metrics.stages.add(Stage.ACCEPT, monotonic() - began_at)
                association.run()
        finally:
            self.leave(association)

    def _reject(self, connection: Connection, rejection: AssociateRJ) -> None:
        self.metrics.associations_refused.labels(rejection.words).inc()
        connection.send([connection.association.reject(rejection)], Deadline.after(ABORT_TIMEOUT_S))
        connection.part()

    def _log_rejection(self, logger: log.Logger, request: AssociateRQ, rejection: AssociateRJ) -> None:
        """With the titles that were claimed; only here is it told that a title is known, but not from that address."""
        is_registered = request.calling_ae_title in self._registered_titles()
        logger.warning(
            "association_rejected",
            calling_ae_title=request.calling_ae_title,
            called_ae_title=request.called_ae_title,
            reason=rejection.words,
            diagnostic="its AE title is registered" if is_registered else "its AE title is not registered",
        )

    def _registered_titles(self) -> Container[str]:
        try:
            return self._authority.view().network.application_entities
        except StoreError:
            return ()

    def _admit(self, request: AssociateRQ, address: str) -> ApplicationEntity | AssociateRJ:
        if self._draining:
            return NOT_NOW
        try:
            network: Network = self._authority.view().network
        except StoreError as error:
            log.get(__name__).error("authority_unreadable", error=error)
            return NOT_NOW
        return admit(request, address, network, self.settings.ae_title)

    def _acceptance(self, request: AssociateRQ) -> AssociateAC:
        return AssociateAC(
            called_ae_title=request.called_ae_title,
            calling_ae_title=request.calling_ae_title,
            presentation_contexts=negotiate(request, self.sop_classes.is_supported, choose_transfer_syntax),
            user_information=UserInformation(
                maximum_length=self.settings.maximum_length_bytes,
                implementation_class_uid=uids.IMPLEMENTATION_CLASS_UID,
                implementation_version_name=uids.IMPLEMENTATION_VERSION_NAME,
            ),
        )

    def _enter(self, association: "_InboundAssociation") -> bool:
        title = association.peer.title
        with self._lock:
            crowded = (
                self._draining
                or len(self._running) >= self.settings.association_count
                or self._peers[title] >= self.settings.association_count_per_peer
            )
            if not crowded:
                self._running.add(association)
                self._peers[title] += 1
                self.metrics.associations.labels("inbound", title).inc()
            return not crowded

    def leave(self, association: "_InboundAssociation") -> None:
        """For an association: give its slot back. Harmless a second time."""
        with self._lock:
            if association in self._running:
                self._running.discard(association)
                self._peers[association.peer.title] -= 1
                self.metrics.associations.labels("inbound", association.peer.title).dec()


@contextmanager
def _ended_in_order(connection: Connection, logger: log.Logger) -> Iterator[None]:
    """Whatever ends an association, the peer is told if it can be, and the connection is closed."""
    try:
        yield
    except RemoteProtocolError as error:
        logger.warning("protocol_error", error=error)
        connection.refuse(error, Deadline.after(ABORT_TIMEOUT_S))
    except DeadlineExceeded as error:
        logger.warning("deadline_exceeded", error=error)
        connection.abort(Deadline.after(ABORT_TIMEOUT_S))
    except LocalProtocolError as error:
        logger.error("association_failed", error=error)
        connection.abort(Deadline.after(ABORT_TIMEOUT_S))
    except NetworkError as error:
        logger.info("association_lost", error=error)
    finally:
        connection.close()


class _InboundAssociation:
    """An established association. Everything here happens on its own thread, except `drain`."""

    def __init__(
        self, server: AssociationServer, connection: Connection, peer: ApplicationEntity, arrival: Arrival
    ) -> None:
        self.connection = connection
        self.peer = peer
        self._server = server
        self._settings = server.settings
        self._store = server.store.on(peer, arrival)
        self._lock = threading.Lock()
        self._idle = False
        self._draining = False

    def run(self) -> None:
        """Serve messages until the peer releases, or we drain."""
        while True:
            match self._next_message():
                case None:
                    self.connection.abort(Deadline.after(ABORT_TIMEOUT_S))
                    return
                case ReleaseRequested():
                    self._server.leave(self)  # before the answer: a peer that comes again at once finds room
                    self._send(self.connection.association.respond_release())
                    return
                case CommandReceived(context_id, command):
                    self._answer(context_id, command)
                case event:
                    raise LocalProtocolError(f"{type(event).__name__} between messages")

    def drain(self) -> None:
        """From any thread: end after the message under way; at once where there is none."""
        with self._lock:
            self._draining = True
            if self._idle:
                self.connection.wake()

    def _next_message(self) -> Event | None:
        """The next event between messages; None when draining."""
        with self._lock:
            if self._draining:
                return None
            self._idle = True
        try:
            return self.connection.next_event(Deadline.after(self._settings.idle_timeout_s))
        except DeadlineExceeded:
            if self._is_draining():
                return None
            raise
        finally:
            with self._lock:
                self._idle = False

    def _is_draining(self) -> bool:
        with self._lock:
            return self._draining

    def _answer(self, context_id: int, command: Command) -> None:
        context = self.connection.association.contexts[context_id]
        data = self._data_set() if command.has_data_set else iter(())
        match command:
            case CStoreRQ(affected_sop_class_uid=uid) if (
                uid == context.abstract_syntax and self._server.sop_classes.is_storage(uid)
            ):
                response: Command = self._store.store(command, context.transfer_syntax, data)
            case CEchoRQ() if context.abstract_syntax == uids.VERIFICATION:
                response = echo(command)
            case CCancelRQ():
                return  # what it would cancel has been answered already
            case CStoreRQ() | CEchoRQ() | OtherCommand(is_response=False):
                for _ in data:
                    pass
                response = not_performed(command)
            case _:
                raise RemoteProtocolError("a response arrived where only requests can")
        self._send(self.connection.association.send_command(context_id, response))

    def _data_set(self) -> Iterator[Fragments]:
        """The fragments of the data set under way, as they arrive, at no less than the minimum rate."""
        settings = self._settings
        pace = Pace(settings.minimum_rate_bytes_per_s, settings.minimum_rate_window_s)
        pace.start(monotonic())
        counted_bytes = began_bytes = self.connection.received_bytes
        while True:
            event = self.connection.next_event(Deadline.after(settings.idle_timeout_s))
            if not isinstance(event, DataReceived):
                raise RemoteProtocolError(f"{type(event).__name__} inside a data set")
            arrived_bytes = self.connection.received_bytes - counted_bytes
            counted_bytes += arrived_bytes
            if not pace.kept(arrived_bytes, monotonic()):
                raise DeadlineExceeded(f"{self.peer.title} sends more slowly than the minimum rate")
            if counted_bytes - began_bytes > settings.data_set_limit_bytes:
                raise LimitExceeded("a data set far beyond the size of any instance accepted")
            yield event.fragments
            if event.last:
                return

    def _send(self, data: bytes) -> None:
        self.connection.send([data], Deadline.after(self._settings.idle_timeout_s))

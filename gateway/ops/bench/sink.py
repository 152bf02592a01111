"""A destination that keeps nothing but the count, the digest and the moment of what it is sent.

Runs as a process of its own, `python -m gateway.ops.bench.sink FOLDER`: listens on a free port of this machine, writes
its number to FOLDER/port, and one line for each instance to FOLDER/arrivals: SOP Instance UID, SHA-256, bytes, and when
the first and the last byte of its data set were there (seconds of the monotonic clock, which all processes share).
"""

import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from time import monotonic

from gateway.errors import NetworkError, RemoteProtocolError
from gateway.net.connection import Connection
from gateway.net.deadline import Deadline
from gateway.net.listener import HalfOpenLimits, Listener
from gateway.ops.bench.ready import announce
from gateway.ops.middleman import ADDRESS
from gateway.wire import uids
from gateway.wire.association import Association, Limits, Role
from gateway.wire.command import CEchoRQ, CEchoRSP, CStoreRQ, CStoreRSP
from gateway.wire.events import AssociateRequested, CommandReceived, DataReceived, ReleaseRequested
from gateway.wire.negotiation import negotiate, prefer_as_sent
from gateway.wire.pdu import AssociateAC, UserInformation
from gateway.wire.status import SUCCESS

SILENCE_LIMIT_S = 600.0
"""A peer may be silent that long: comparators store a whole object before they send it on."""
HALF_OPEN_COUNT = 64
ARRIVALS_FILE = "arrivals"


@dataclass(frozen=True, slots=True)
class Arrived:
    """An instance that reached the sink."""

    sop_instance_uid: str
    sha256: str
    data_bytes: int
    first_byte_at: float
    last_byte_at: float

    def line(self) -> bytes:
        return (
            f"{self.sop_instance_uid} {self.sha256} {self.data_bytes} {self.first_byte_at!r} {self.last_byte_at!r}\n"
        ).encode()


def arrivals(folder: Path) -> Iterator[Arrived]:
    """What has reached the sink so far."""
    for line in (folder / ARRIVALS_FILE).read_text().splitlines():
        uid, sha256, data_bytes, first, last = line.split()
        yield Arrived(uid, sha256, int(data_bytes), float(first), float(last))


class Sink:
    """Answers every C-STORE with success, after its last byte was looked at."""

    def __init__(self, folder: Path) -> None:
        self._arrivals = os.open(folder / ARRIVALS_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, sock: socket, address: str, established: Callable[[], None]) -> None:
        """One association, to its end."""
        connection = Connection(sock, Association(Role.ACCEPTOR), address)
        try:
            self._serve(connection, established)
        except RemoteProtocolError as error:
            connection.refuse(error, Deadline.after(1.0))
        except NetworkError:
            pass
        finally:
            connection.close()

    def _serve(self, connection: Connection, established: Callable[[], None]) -> None:
        while True:
            match connection.next_event(Deadline.after(SILENCE_LIMIT_S)):
                case AssociateRequested(request):
                    answer = AssociateAC(
                        called_ae_title=request.called_ae_title,
                        calling_ae_title=request.calling_ae_title,
                        presentation_contexts=negotiate(request, lambda _: True, prefer_as_sent),
                        user_information=UserInformation(
                            maximum_length=Limits().maximum_length,
                            implementation_class_uid=uids.IMPLEMENTATION_CLASS_UID,
                            implementation_version_name=uids.IMPLEMENTATION_VERSION_NAME,
                        ),
                    )
                    _send(connection, connection.association.accept(answer))
                    established()
                case CommandReceived(context_id, CStoreRQ() as request):
                    os.write(self._arrivals, _received(connection, request.affected_sop_instance_uid).line())
                    stored = CStoreRSP(
                        request.message_id,
                        request.affected_sop_class_uid,
                        request.affected_sop_instance_uid,
                        SUCCESS,
                    )
                    _send(connection, connection.association.send_command(context_id, stored))
                case CommandReceived(context_id, CEchoRQ() as request):
                    echo = CEchoRSP(request.message_id, request.affected_sop_class_uid, SUCCESS)
                    _send(connection, connection.association.send_command(context_id, echo))
                case ReleaseRequested():
                    _send(connection, connection.association.respond_release())
                    return
                case event:
                    raise RemoteProtocolError(f"{type(event).__name__} is nothing the sink knows")


def _received(connection: Connection, sop_instance_uid: str) -> Arrived:
    """Take the data set under way."""
    digest = hashlib.sha256()
    data_bytes = 0
    first_byte_at = 0.0
    while True:
        event = connection.next_event(Deadline.after(SILENCE_LIMIT_S))
        if not isinstance(event, DataReceived):
            raise RemoteProtocolError(f"{type(event).__name__} inside a data set")
        first_byte_at = first_byte_at or monotonic()
        for fragment in event.fragments:
            digest.update(fragment)
            data_bytes += len(fragment)
        if event.last:
            return Arrived(sop_instance_uid, digest.hexdigest(), data_bytes, first_byte_at, monotonic())


def _send(connection: Connection, data: bytes) -> None:
    connection.send([data], Deadline.after(SILENCE_LIMIT_S))


def main(folder: Path) -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    listener = Listener(ADDRESS, 0, Sink(folder), HalfOpenLimits(HALF_OPEN_COUNT, HALF_OPEN_COUNT))
    listener.start()
    announce(folder, listener.port)
    while True:
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

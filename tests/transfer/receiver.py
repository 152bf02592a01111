"""A destination: pynetdicom's storage SCP, which keeps what it is sent and can be made to misbehave."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from socket import socket
from typing import Any

from pynetdicom import AE, build_context, evt
from pynetdicom.transport import ThreadedAssociationServer

from gateway.domain.peer import ApplicationEntity
from tests.build import CT_IMAGE, EXPLICIT_VR_LITTLE_ENDIAN, HOSPITAL_B, PACS_B, ae

WAIT_S = 30.0
"""How long a held-up answer waits to be let go."""

POLL_S = 0.02
"""How soon the server notices that it is to stop; pynetdicom's own choice is half a second for each test."""


@dataclass
class Receiver:
    """What a destination got, and how it answers.

    `answer` gets the SOP Instance UID and how often it has come, the first time being 1; it may abort the association.
    """

    title: str = PACS_B
    port: int = 0
    sop_classes: tuple[str, ...] = (CT_IMAGE,)
    maximum_length: int = 16382
    maximum_associations: int = 10
    calling_ae_titles: tuple[str, ...] = ()
    answer: Callable[[str, int], int] = lambda _uid, _times: 0x0000
    received: list[tuple[str, bytes]] = field(default_factory=list)
    associations: list[object] = field(default_factory=list)
    received_bytes: int = 0
    """All that came over the network, PDU headers included."""
    aborted_count: int = 0
    """Associations that ended without a release."""
    storing_count: int = 0
    most_at_once: int = 0
    aborting: frozenset[int] = frozenset()
    """Abort instead of answering the n-th C-STORE, counted from 1."""
    go_on: threading.Event = field(default_factory=threading.Event)
    """Answers wait for it; set unless a test holds them up."""
    read_on: threading.Event = field(default_factory=threading.Event)
    """Reading from the network waits for it; set unless a test stops it."""

    def __post_init__(self) -> None:
        self.go_on.set()
        self.read_on.set()
        self._lock = threading.Lock()

    @property
    def ae(self) -> ApplicationEntity:
        return ae(self.title, HOSPITAL_B, self.port)

    @property
    def uids(self) -> list[str]:
        """SOP Instance UIDs in the order in which they were answered or refused."""
        return [uid for uid, _ in self.received]

    @contextmanager
    def listening(self) -> Iterator["Receiver"]:
        """Listens until the block ends."""
        server = self._start()
        self.port = server.server_address[1]
        try:
            yield self
        finally:
            self.go_on.set()
            self.read_on.set()
            server.shutdown()

    def _start(self) -> ThreadedAssociationServer:
        entity = AE(self.title)
        entity.supported_contexts = [build_context(uid, EXPLICIT_VR_LITTLE_ENDIAN) for uid in self.sop_classes]
        entity.maximum_pdu_size = self.maximum_length
        entity.maximum_associations = self.maximum_associations
        entity.require_calling_aet = list(self.calling_ae_titles)
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_DATA_RECV, self._read),
            (evt.EVT_ABORTED, self._aborted),
            (evt.EVT_ACCEPTED, lambda event: self.associations.append(event.assoc)),
        ]
        server = entity.make_server(("127.0.0.1", self.port), evt_handlers=handlers)
        entity._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True).start()
        return server

    def _read(self, event: evt.Event) -> None:
        with self._lock:
            self.received_bytes += len(event.data)
        self.read_on.wait(WAIT_S)

    def _aborted(self, _: evt.Event) -> None:
        with self._lock:
            self.aborted_count += 1

    def _store(self, event: evt.Event) -> int:
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID)
        with self._lock:
            self.storing_count += 1
            self.most_at_once = max(self.most_at_once, self.storing_count)
        self.go_on.wait(WAIT_S)
        with self._lock:
            self.storing_count -= 1
            self.received.append((uid, request.DataSet.getvalue()))
            times, number = self.uids.count(uid), len(self.received)
        if number in self.aborting:
            event.assoc.abort()
        return self.answer(uid, times)


@contextmanager
def silent_listener() -> Iterator[socket]:
    """A port that accepts connections and never says anything."""
    with socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def unused_port() -> int:
    """A port nobody listens on at the moment."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

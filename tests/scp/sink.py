"""A destination that remembers what it was sent, byte for byte: pynetdicom as storage SCP."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt

from tests.scp.raw import EXPLICIT, LOOPBACK, VERIFICATION

SUCCESS = 0x0000

SYNTAXES = [EXPLICIT, *(uid for uid in ALL_TRANSFER_SYNTAXES if uid != EXPLICIT)]
"""All transfer syntaxes in the gateway's own order of preference, so that a sender does the same for both."""


@dataclass(frozen=True)
class Received:
    """One data set as it came over the wire."""

    sop_instance_uid: str
    transfer_syntax: str
    sha256: str
    calling_ae_title: str


class Sink:
    """What arrived at a destination, in order. `answer` decides on the status of each; it may take its time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self.answer: Callable[[Received], int] = lambda _: SUCCESS
        self.port = 0
        self.associations = 0

    @property
    def received(self) -> list[Received]:
        with self._lock:
            return list(self._received)

    @property
    def digests(self) -> dict[str, set[str]]:
        """The digests of the data sets that were taken, by SOP Instance UID."""
        digests: dict[str, set[str]] = {}
        for one in self.received:
            digests.setdefault(one.sop_instance_uid, set()).add(one.sha256)
        return digests

    def count(self, sop_instance_uid: str) -> int:
        return sum(one.sop_instance_uid == sop_instance_uid for one in self.received)

    def on_store(self, event: evt.Event) -> int:
        data = event.request.DataSet.getvalue()
        received = Received(
            str(event.request.AffectedSOPInstanceUID),
            str(event.context.transfer_syntax),
            sha256(data).hexdigest(),
            str(event.assoc.requestor.ae_title),
        )
        status = self.answer(received)
        if status == SUCCESS:
            with self._lock:
                self._received.append(received)
        return status

    def on_established(self, _: evt.Event) -> None:
        with self._lock:
            self.associations += 1


@contextmanager
def running_sink(port: int = 0, ae_title: str = "HOSPITAL_B") -> Iterator[Sink]:
    """A destination for every storage SOP class in every transfer syntax, until the block ends."""
    sink = Sink()
    with sink_serving(sink, port, ae_title):
        yield sink


@contextmanager
def sink_serving(sink: Sink, port: int = 0, ae_title: str = "HOSPITAL_B") -> Iterator[None]:
    """Let a sink listen; its memory outlives the block."""
    ae = AE(ae_title)
    ae.maximum_associations = 64
    ae.require_called_aet = True
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, SYNTAXES)
    ae.add_supported_context(VERIFICATION)
    handlers = [(evt.EVT_C_STORE, sink.on_store), (evt.EVT_ESTABLISHED, sink.on_established)]
    server = ae.start_server((LOOPBACK, port), block=False, evt_handlers=handlers)  # type: ignore[arg-type]
    assert server is not None
    sink.port = server.socket.getsockname()[1]
    try:
        yield
    finally:
        server.shutdown()

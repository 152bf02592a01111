"""A sender whose instance comes in as far as a test lets it, straight into the storage service of an association."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue

from gateway.errors import ConnectionLost
from gateway.scp.store import Store
from gateway.wire.command import PRIORITY_MEDIUM, CStoreRQ
from tests.build import ARRIVAL, CT_IMAGE, EXPLICIT_VR_LITTLE_ENDIAN, PATIENT, new_uid
from tests.scp.raw import data_set
from tests.transfer.node import SENDER, Node

PIECE_BYTES = 1 << 18
INSTANCE_LIMIT_BYTES = 16 << 20


def image(uid: str, size_bytes: int, filler: bytes = b"\x01\x02") -> bytes:
    """A CT image of the patient who has consented, in a study of its own."""
    return data_set(uid, PATIENT.patient_id, study=new_uid(), pixels=filler * (size_bytes // len(filler)))


class Upload:
    """One C-STORE of hospital A."""

    def __init__(self, node: Node, data: bytes, uid: str) -> None:
        self.data = data
        self.uid = uid
        self.status: int | None = None
        """What the sender was answered; None as long as it was not."""
        self._sent_bytes = 0
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        store = Store(node.planner, node.spool, node.arrivals, node.metrics, node.clock, INSTANCE_LIMIT_BYTES)
        self._store = store.on(SENDER, ARRIVAL)
        self._request = CStoreRQ(1, CT_IMAGE, uid, PRIORITY_MEDIUM)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, count: int) -> None:
        """Let that many bytes more come in."""
        for start in range(self._sent_bytes, self._sent_bytes + count, PIECE_BYTES):
            self._pieces.put(self.data[start : min(start + PIECE_BYTES, self._sent_bytes + count)])
        self._sent_bytes += count

    def finish(self) -> int:
        """Let all of it come in; the status."""
        self.send(len(self.data) - self._sent_bytes)
        self._thread.join(30)
        assert self.status is not None
        return self.status

    def break_off(self) -> None:
        """Let the sender go away."""
        self._pieces.put(None)
        self._thread.join(30)
        assert self.status is None

    def _run(self) -> None:
        with suppress(ConnectionLost):
            self.status = self._store.store(self._request, EXPLICIT_VR_LITTLE_ENDIAN, self._data()).status

    def _data(self) -> Iterator[list[memoryview]]:
        arrived_bytes = 0
        while arrived_bytes < len(self.data):
            piece = self._pieces.get()
            if piece is None:
                raise ConnectionLost("the sender is gone")
            arrived_bytes += len(piece)
            yield [memoryview(piece)]

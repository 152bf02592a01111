"""Senders that keep a record of their own: what they sent, and what was acknowledged."""

import random
import threading
from hashlib import sha256

from gateway.transfer.cut_through import CUT_THROUGH_BYTES
from tests.scp.raw import RawPeer, data_set, new_uid

SUCCESS = 0x0000
LARGEST_TAIL_WORDS = 200_000
LARGE_SHARE = 0.02
"""Of the instances, so many are large enough to leave while they arrive."""
LARGE_TAIL_WORDS = CUT_THROUGH_BYTES
RECONNECT_S = 0.05


class Sender:
    """Stores instances one after another until told to stop, reconnecting whenever the gateway is gone.

    `sent` maps every SOP Instance UID ever begun to the SHA-256 of its data set; `acknowledged` are those answered
    with 0x0000; `refused` are the other statuses.
    """

    def __init__(self, port: int, patient_id: str, seed: int) -> None:
        self.sent: dict[str, str] = {}
        self.acknowledged: set[str] = set()
        self.refused: list[int] = []
        self._port = port
        self._patient_id = patient_id
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with RawPeer(self._port) as peer:
                    peer.associate()
                    while not self._stop.is_set():
                        self._store(peer)
                    peer.release()
            except (OSError, AssertionError):  # the gateway was killed under us
                self._stop.wait(RECONNECT_S)

    def _store(self, peer: RawPeer) -> None:
        uid = new_uid()
        is_large = self._random.random() < LARGE_SHARE
        words = LARGE_TAIL_WORDS if is_large else self._random.randrange(1, LARGEST_TAIL_WORDS)
        tail = self._random.randbytes(2 * words)
        data = data_set(uid, self._patient_id, pixels=tail)
        self.sent[uid] = sha256(data).hexdigest()
        status = peer.store(uid, data)
        if status == SUCCESS:
            self.acknowledged.add(uid)
        else:
            self.refused.append(status)

"""Cut-through: a large instance begins to leave while it still arrives.

    association's thread      begin, publish ... ; then the record is durable and goes to the index
    index (writer's thread)   taken_by: from here on the ledger counts on those who took it
    arrivals                  complete, when the ledger has it; or end, when it will not
    delivery workers          beyond, again and again; give_back when an attempt failed; finished

Nothing is complete at a destination before it is durable here and in the ledger: the last bytes are withheld until
then. A sender that breaks off, an instance that turns out to be another one under a known UID, and a stall all end in
A-ABORT towards the destination, and the delivery, if there is still one to make, is made in the ordinary way.
"""

import threading
from collections.abc import Iterable
from enum import Enum, auto
from time import monotonic

from gateway.domain.transfer import DeliveryId, SpoolRecord
from gateway.errors import ConnectionLost, DeadlineExceeded
from gateway.store.pages import PAGE_BYTES
from gateway.transfer.send import Extent

CUT_THROUGH_BYTES = 4 << 20
"""What must have come before an instance leaves early: below, it is whole sooner than an association is open."""

WITHHELD_BYTES = PAGE_BYTES
"""What is kept back of an instance that is not complete, and never becomes so without it; a page, as all is read in
pages."""

STALL_S = 2.0
"""How long a destination is kept waiting for a sender. Longer, and its own time-out would end the association."""


LEDGER_PATIENCE_S = 30.0
"""How long a failed early delivery waits for the ledger to be told of it: as long as any caller of the writer."""


class _State(Enum):
    ARRIVING = auto()
    ENTERED = auto()
    """The ledger is being told who took it, or has been."""
    COMPLETE = auto()
    GONE = auto()


class Arriving:
    """One instance on its way in, and those who have begun to deliver it. Safe to use from any thread."""

    def __init__(self, record_id: str, stall_s: float = STALL_S) -> None:
        self.record_id = record_id
        self._stall_s = stall_s
        self._changed = threading.Condition()
        self._state = _State.ARRIVING
        self._takers: set[str] = set()
        self._written_bytes = 0
        self._whole: Extent | None = None

    def take(self, ae_title: str) -> None:
        """Somebody is going to deliver it there. Only before anybody could have begun."""
        self._takers.add(ae_title)

    def publish(self, written_bytes: int) -> None:
        """That many bytes of the data set can be read from the spool."""
        with self._changed:
            self._written_bytes = written_bytes
            self._changed.notify_all()

    def taken_by(self) -> frozenset[str]:
        """The destinations that need no other delivery. From now on those who took it answer to the ledger."""
        with self._changed:
            if self._state is _State.ARRIVING:
                self._state = _State.ENTERED
            return frozenset(self._takers)

    def complete(self, whole: Extent) -> None:
        """It is durable and in the ledger: the rest may go."""
        with self._changed:
            self._whole = whole
            self._state = _State.COMPLETE
            self._changed.notify_all()

    def end(self) -> None:
        """There will be no such record."""
        with self._changed:
            self._state = _State.GONE
            self._changed.notify_all()

    def beyond(self, offset: int) -> Extent:
        """What may be sent by now: more than `offset` bytes, or the whole.

        Raises:
            DeadlineExceeded: nothing came for so long that the sender seems to pause.
            ConnectionLost: there will be no such record.
        """
        with self._changed:
            patient_until = monotonic() + self._stall_s
            while True:
                if self._state is _State.GONE:
                    raise ConnectionLost("the sender did not finish the instance, or it may not be delivered")
                if self._whole is not None:
                    return self._whole
                end = self._written_bytes // PAGE_BYTES * PAGE_BYTES - WITHHELD_BYTES
                if end > offset:
                    return Extent(end, is_whole=False)
                if not self._changed.wait(max(0.0, patient_until - monotonic())) and monotonic() >= patient_until:
                    raise DeadlineExceeded(f"the sender paused for {self._stall_s:g} s")

    def give_back(self, ae_title: str) -> bool:
        """An attempt failed: whether somebody else makes the delivery.

        Not so once the ledger counts on the taker, who then has to report how it ended. While the ledger is being told,
        that is waited for; should it not answer, a report is the safe side.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._state is not _State.ENTERED, LEDGER_PATIENCE_S)
            self._takers.discard(ae_title)
            return self._state not in (_State.ENTERED, _State.COMPLETE)

    def finished(self, ae_title: str) -> None:
        """The attempt to deliver it there is over."""
        with self._changed:
            self._takers.discard(ae_title)

    @property
    def is_over(self) -> bool:
        """Whether nobody needs it any more."""
        with self._changed:
            return self._state in (_State.COMPLETE, _State.GONE) and not self._takers


class CutThrough:
    """The instances that leave while they arrive. Safe to use from any thread."""

    def __init__(self, stall_s: float = STALL_S) -> None:
        self._stall_s = stall_s
        self._lock = threading.Lock()
        self._arriving: dict[str, Arriving] = {}
        self._identities: dict[tuple[str, str], str] = {}

    def begin(self, record_id: str, identity: tuple[str, str], ae_titles: Iterable[str]) -> Arriving | None:
        """Let an instance be taken by the workers of these destinations.

        `identity` is issuer and SOP Instance UID; None when the same instance is arriving from somebody else.
        """
        with self._lock:
            if identity in self._identities:
                return None
            arriving = Arriving(record_id, self._stall_s)
            for ae_title in ae_titles:
                arriving.take(ae_title)
            self._arriving[record_id] = arriving
            self._identities[identity] = record_id
            return arriving

    def of(self, record_id: str) -> Arriving | None:
        """The instance, as long as it arrives or somebody delivers it early."""
        return self._arriving.get(record_id)

    def complete(self, record: SpoolRecord) -> None:
        """The ledger has the record."""
        if arriving := self.of(record.record_id):
            arriving.complete(Extent(record.data_bytes, True, record.sha256, record.xxh3_128))
            self._forget(arriving)

    def end(self, record_id: str) -> None:
        """There will be no such record, or it is not to be delivered. Harmless for any other."""
        if arriving := self.of(record_id):
            arriving.end()
            self._forget(arriving)

    def give_back(self, delivery_id: DeliveryId) -> bool:
        """An early delivery failed: whether it need not be reported, because another one is made, or none."""
        arriving = self.of(delivery_id.record_id)
        if arriving is None:
            return True
        given_back = arriving.give_back(delivery_id.destination_ae_title)
        self._forget(arriving)
        return given_back

    def finished(self, delivery_id: DeliveryId) -> None:
        """An early delivery is over."""
        if arriving := self.of(delivery_id.record_id):
            arriving.finished(delivery_id.destination_ae_title)
            self._forget(arriving)

    def _forget(self, arriving: Arriving) -> None:
        if not arriving.is_over:
            return
        with self._lock:
            self._arriving.pop(arriving.record_id, None)
            for identity in [key for key, record_id in self._identities.items() if record_id == arriving.record_id]:
                del self._identities[identity]

"""The delivery service: finds due work, claims it, and gives it to the pools of its destinations."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from gateway import log
from gateway.domain.peer import ApplicationEntity
from gateway.domain.transfer import Delivery, DeliveryOutcome, SpoolRecord
from gateway.errors import ConnectFailed, DecisionUnavailable, StoreError
from gateway.metrics import Metrics
from gateway.net.deadline import Deadline
from gateway.planning import Authority
from gateway.store.database import Database
from gateway.store.index import Claim, Claims, mark_released, releasable_record_ids
from gateway.store.queue import claim, destinations_with_work, finish
from gateway.store.spool import Spool
from gateway.store.writer import Combiner, Writer
from gateway.transfer.deliver import Deliverer
from gateway.transfer.pool import Pool, PoolContext, PoolSettings

POLL_S = 0.5
"""How often work that became due by time alone is looked for; arrivals are told of at once."""

BREAK_OFF_GRACE_S = 2.0
"""How long workers have to notice that their sends were broken off."""

SWEEP_S = 10.0
"""How often delivered data sets past their retention are removed."""

SWEEP_COUNT = 500
"""Data sets removed per sweep and transaction, so that a sweep never holds the database for long."""


class DeliveryService:
    """Owns the pools. Starts one thread; pools start their own."""

    def __init__(
        self,
        *,
        database: Database,
        writer: Writer,
        spool: Spool,
        authority: Authority,
        deliverer: Deliverer,
        settings: PoolSettings,
        retention_s: float,
        metrics: Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._writer = writer
        self._spool = spool
        self._authority = authority
        self._deliverer = deliverer
        self._retention = timedelta(seconds=retention_s)
        self._clock = clock
        self._pools: dict[str, Pool] = {}
        self._pools_lock = threading.Lock()
        self._backlogged: set[str] = set()  # destinations with due work in the queue; for the writer's thread
        outcomes = Combiner(writer, finish, self._finished)
        self._context = PoolContext(settings, deliverer, metrics, outcomes.add, self._find_peer)
        self._wake = threading.Event()
        self._stopping = False
        self._starved = False  # work was due for a pool that had no room
        self._swept_at: datetime | None = None
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._log = log.get(__name__)

    def start(self) -> None:
        self._thread.start()

    def notify(self) -> None:
        """From any thread: there may be new work."""
        self._wake.set()

    def claims(self) -> Claims:
        """What of the records of one transaction goes to its pool without passing through the queue.

        On the writer's thread, like every claim: as long as older deliveries wait in the queue, new ones line up there.
        """
        rooms: dict[str, int] = {}

        def claim(_record: SpoolRecord, ae_title: str) -> Claim:
            if ae_title not in rooms:
                rooms[ae_title] = 0 if ae_title in self._backlogged else self._pool(ae_title).room
            if not rooms[ae_title]:
                self._backlogged.add(ae_title)
                return Claim.QUEUE
            rooms[ae_title] -= 1
            return Claim.HAND_OVER

        return claim

    def hand_over(self, deliveries: Sequence[Delivery]) -> None:
        """From any thread: deliveries that are ACTIVE in the ledger already."""
        by_title: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            by_title.setdefault(delivery.destination_ae_title, []).append(delivery)
        for ae_title, group in by_title.items():
            self._pool(ae_title).add(group)

    def offer(self, delivery: Delivery) -> bool:
        """From any thread: an instance that is still arriving; whether its delivery begins at once."""
        return not self._stopping and self._pool(delivery.destination_ae_title).offer(delivery)

    def enforce(self) -> None:
        """From any thread: consent or participation changed; break off every send that may not go on."""
        broken_off = self._deliverer.active.break_off(self._may_go_on)
        if broken_off:
            self._log.warning("sends_broken_off", count=broken_off)

    def stop(self, timeout_s: float) -> None:
        """Let the sends under way finish, up to `timeout_s` seconds; the rest is queued again."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._pools_lock:
            pools = list(self._pools.values())
        _stop_all(pools, timeout_s)
        if broken_off := self._deliverer.active.break_off(lambda _: False):
            self._log.warning("sends_broken_off", count=broken_off)
            _stop_all(pools, BREAK_OFF_GRACE_S)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(POLL_S)
            self._wake.clear()
            try:
                while self._hand_out():
                    pass
                self._sweep()
            except StoreError as error:
                self._log.error("queue_unreadable", error=error)
            except Exception as error:  # the outermost frame of the thread: other deliveries go on
                self._log.error("delivery_round_failed", exc_info=error)

    def _hand_out(self) -> bool:
        """Claim what there is room for; whether anything was claimed."""
        if self._stopping:
            return False
        with self._database.read() as session:
            titles = destinations_with_work(session, self._clock())
        rooms = {title: self._pool(title).room for title in titles}
        self._starved = 0 in rooms.values()
        claimed = [self._claim(self._pool(title), room) for title, room in rooms.items() if room]
        return any(claimed)

    def _pool(self, title: str) -> Pool:
        with self._pools_lock:
            if title not in self._pools:
                self._pools[title] = Pool(title, self._context)
                if self._stopping:  # it came too late for `stop`, and begins nothing
                    self._pools[title].stop(0.0)
            return self._pools[title]

    def _claim(self, pool: Pool, limit_count: int) -> bool:
        def operation(session: Session) -> list[Delivery]:
            claimed = claim(session, pool.ae_title, self._clock(), limit_count)
            if len(claimed) < limit_count:
                self._backlogged.discard(pool.ae_title)
            return claimed

        deliveries = self._writer.write(operation)
        pool.add(deliveries)
        return bool(deliveries)

    def _finished(self, _: Sequence[DeliveryOutcome], results: Sequence[DeliveryOutcome | Exception]) -> None:
        for result in results:
            if isinstance(result, Exception):
                self._log.error("outcome_not_recorded", error=result)
        if self._starved:
            self._wake.set()

    def _find_peer(self, title: str) -> ApplicationEntity:
        peer = self._authority.view().network.application_entities.get(title)
        if peer is None:
            raise ConnectFailed(f"AE title {title} is not registered any more; register it or remove its deliveries")
        return peer

    def _may_go_on(self, delivery: Delivery) -> bool:
        try:
            return self._deliverer.decide(delivery).verdict.permitted
        except DecisionUnavailable:
            return False

    def _sweep(self) -> None:
        """Remove data sets that were delivered everywhere longer than the retention ago."""
        now = self._clock()
        if self._swept_at is not None and now - self._swept_at < timedelta(seconds=SWEEP_S):
            return
        self._swept_at = now
        with self._database.read() as session:
            record_ids = releasable_record_ids(session, now - self._retention, SWEEP_COUNT)
        if record_ids:
            for record_id in self._writer.write(lambda session: mark_released(session, record_ids)):
                self._spool.release(record_id)


def _stop_all(pools: Sequence[Pool], timeout_s: float) -> None:
    """Stop pools side by side, so that each has the whole time; one that waits for the database is left behind."""
    stoppers = [threading.Thread(target=pool.stop, args=(timeout_s,), daemon=True) for pool in pools]
    for stopper in stoppers:
        stopper.start()
    deadline = Deadline.after(timeout_s + BREAK_OFF_GRACE_S)
    for stopper in stoppers:
        stopper.join(max(0.0, deadline.remaining_s))

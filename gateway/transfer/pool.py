"""A destination's pool of associations.

Workers are started when there is work and end when there is none, so that no association is held idle: some
archives (Orthanc) give each one of a handful of threads for as long as it is open. An association lasts
while deliveries keep coming, and `linger_s` beyond.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from gateway import log
from gateway.domain.peer import ApplicationEntity
from gateway.domain.transfer import Delivery, DeliveryOutcome, DeliveryState
from gateway.errors import AssociationRejected, DecisionUnavailable, GatewayError, NetworkError
from gateway.metrics import Metrics, Stage
from gateway.net.connection import Connection
from gateway.net.deadline import Deadline
from gateway.net.dial import CONTEXT_LIMIT_COUNT, DialSettings, Proposal, dial, release
from gateway.transfer.deliver import Deliverer
from gateway.transfer.dispatch import Dispatch
from gateway.transfer.send import Sender

STOPPED = "the gateway was stopped before it was sent"

TRANSIENT_REJECTION = 2
"""PS3.8 §9.3.4: the result field of A-ASSOCIATE-RJ, rejected-transient."""

CLAIMED_PER_ASSOCIATION_COUNT = 64
"""Deliveries kept in memory for each association, 1 KB each: what fits needs no claiming, and a crash returns all."""

REJECTION_MEMORY_S = 60.0
"""How long a destination that rejected an association for want of room is treated with fewer of them."""

GOODBYE_TIMEOUT_S = 2.0
"""How long a peer may take over A-RELEASE-RP or an A-ABORT; the deliveries do not depend on it."""


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How a destination is treated."""

    association_count: int
    linger_s: float
    stall_timeout_s: float
    response_timeout_s: float
    dial: DialSettings


@dataclass(frozen=True, slots=True)
class PoolContext:
    """What a pool works with. `finish` enters an outcome in the ledger; `find_peer` names the destination now."""

    settings: PoolSettings
    deliverer: Deliverer
    metrics: Metrics
    finish: Callable[[DeliveryOutcome], None]
    find_peer: Callable[[str], ApplicationEntity]


class Pool:
    """The deliveries of one destination that are in memory, and the workers that make them."""

    def __init__(self, ae_title: str, context: PoolContext) -> None:
        self.ae_title = ae_title
        self._context = context
        self._condition = threading.Condition()
        self._dispatch = Dispatch()
        self._proposals: dict[Proposal, None] = {}
        self._workers: set[threading.Thread] = set()
        self._seeking_count = 0  # workers that have no delivery
        self._association_count = context.settings.association_count
        self._failures = 0
        self._paused_until = 0.0
        self._rejected_at = -REJECTION_MEMORY_S
        self._stopping = False
        self._log = log.get(__name__).bind(destination=ae_title)

    @property
    def room(self) -> int:
        """How many more deliveries should be claimed for it now: none while the destination is left in peace."""
        with self._condition:
            most = CLAIMED_PER_ASSOCIATION_COUNT * self._context.settings.association_count
            well_supplied = len(self._dispatch) > most // 2
            if self._stopping or well_supplied or monotonic() < self._paused_until:
                return 0
            return most - len(self._dispatch)

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Take claimed deliveries over; every one ends in an outcome."""
        with self._condition:
            stopping = self._stopping
            if not stopping:
                self._add(deliveries)
        if stopping:
            self._postpone(deliveries, NetworkError(STOPPED), 0.0)

    def offer(self, delivery: Delivery) -> bool:
        """Take an instance that is still arriving, unless others wait or the destination is left in peace."""
        with self._condition:
            busy = len(self._dispatch) or len(self._workers) - self._seeking_count >= self._association_count
            if self._stopping or self._failures or busy:
                return False
            self._add([delivery])
            return True

    def _add(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._proposals.setdefault(Proposal(delivery.sop_class_uid, delivery.transfer_syntax_uid))
        self._dispatch.add(deliveries)
        self._condition.notify(len(deliveries))
        self._start_workers()

    def stop(self, timeout_s: float) -> None:
        """Let the sends under way finish, queue the rest again."""
        with self._condition:
            self._stopping = True
            waiting = self._dispatch.give_up()
            workers = list(self._workers)
            self._condition.notify_all()
        self._postpone(waiting, NetworkError(STOPPED), 0.0)
        deadline = Deadline.after(timeout_s)
        for worker in workers:
            worker.join(max(0.0, deadline.remaining_s))

    def _start_workers(self) -> None:
        """As many as there is work for that nobody is about to take; a single one while the destination fails."""
        if self._stopping:
            return
        if monotonic() > self._rejected_at + REJECTION_MEMORY_S:
            self._association_count = self._context.settings.association_count
        most = 1 if self._failures else self._association_count
        for _ in range(min(most - len(self._workers), self._dispatch.ready_count - self._seeking_count)):
            worker = threading.Thread(target=self._work, name=f"deliver {self.ae_title}", daemon=True)
            self._workers.add(worker)
            self._seeking_count += 1
            worker.start()

    def _work(self) -> None:
        worker = _Worker(self, self._context)
        try:
            worker.run()
        except Exception as error:  # the outermost frame of the thread: the other workers go on
            self._log.error("delivery_worker_failed", exc_info=error)
            if delivery := worker.delivery:
                with self._condition:
                    self._dispatch.finished(delivery, delivered=False)
                self._report(delivery, self._context.deliverer.failed(delivery, "an error of the gateway; see its log"))
        with self._condition:
            self._workers.discard(threading.current_thread())
            self._start_workers()

    def take(self) -> Delivery | None:
        """For a worker: the next delivery; None after `linger_s` without one, or when stopping.

        With None the worker is dismissed in the same breath: what comes while it says goodbye to its peer, which may
        take a while, is for a new one.
        """
        deadline = Deadline.after(self._context.settings.linger_s)
        with self._condition:
            while not self._stopping:
                if delivery := self._dispatch.next():
                    self._seeking_count -= 1
                    return delivery
                if deadline.remaining_s <= 0:
                    break
                self._condition.wait(deadline.remaining_s)
            self._seeking_count -= 1
            self._workers.discard(threading.current_thread())
            return None

    def finish(self, delivery: Delivery, outcome: DeliveryOutcome) -> None:
        """For a worker: an attempt ended."""
        delivered = outcome.state is DeliveryState.COMPLETED
        with self._condition:
            is_first = self._dispatch.finished(delivery, delivered=delivered)
            if delivered:
                self._failures = 0
            self._seeking_count += 1
            if is_first:
                self._start_workers()  # it may have taken longer than others wait for the rest of its study
                self._condition.notify_all()
        self._report(delivery, outcome)

    def _report(self, delivery: Delivery, outcome: DeliveryOutcome) -> None:
        """Enter an outcome. An instance that was to leave while it arrives, and did not, has none of its own."""
        context = self._context
        delivered = outcome.state is DeliveryState.COMPLETED
        if delivery.is_arriving:
            if not delivered and context.deliverer.cut_through.give_back(delivery.id):
                self._log.info("cut_through_given_up", record_id=delivery.record_id, reason=outcome.detail)
                return
            context.deliverer.cut_through.finished(delivery.id)
        context.finish(outcome)
        context.metrics.instances_delivered.labels(delivery.calling_ae_title, self.ae_title, outcome.state).inc()
        if delivered:
            context.metrics.delivered_bytes.labels(delivery.calling_ae_title, self.ae_title).inc(outcome.sent_bytes)
        elif outcome.state is DeliveryState.QUEUED:
            self._log.warning("delivery_postponed", record_id=delivery.record_id, reason=outcome.detail)
        else:
            self._log.warning(
                "delivery_ended", record_id=delivery.record_id, state=outcome.state, reason=outcome.detail
            )

    def proposals_for(self, delivery: Delivery) -> list[Proposal]:
        """For a worker: what to propose on a new association; this delivery's pair first."""
        own = Proposal(delivery.sop_class_uid, delivery.transfer_syntax_uid)
        with self._condition:
            others = [proposal for proposal in self._proposals if proposal != own]
        return [own, *others][:CONTEXT_LIMIT_COUNT]

    def unreachable(self, delivery: Delivery, error: GatewayError) -> None:
        """For a worker: no association could be had. Fewer are tried, or the destination is left in peace a while."""
        with self._condition:
            self._dispatch.finished(delivery, delivered=False)
            waiting = [delivery]
            delay_s = 0.0
            others = len(self._workers) - 1
            if _is_busy(error) and others > 0:
                self._association_count = max(1, self._association_count // 2)
                self._rejected_at = monotonic()
                self._log.info("fewer_associations", count=self._association_count)
            else:
                if monotonic() >= self._paused_until:  # what several workers notice at once is one failure
                    self._failures += 1
                delay_s = self._context.deliverer.retries.delay_s(self._failures)
                self._paused_until = monotonic() + delay_s
                waiting += self._dispatch.give_up()
                self._log.warning("destination_unreachable", error=error, delay_s=round(delay_s, 1))
            self._condition.notify_all()
        self._postpone(waiting, error, delay_s)

    def _postpone(self, deliveries: Sequence[Delivery], error: GatewayError, delay_s: float) -> None:
        for delivery in deliveries:
            self._report(delivery, self._context.deliverer.postponed(delivery, error, delay_s))


class _Worker:
    """One association at a time, for as long as there are deliveries."""

    def __init__(self, pool: Pool, context: PoolContext) -> None:
        self.delivery: Delivery | None = None
        self._pool = pool
        self._context = context
        self._connection: Connection | None = None
        self._sender: Sender | None = None

    def run(self) -> None:
        try:
            while delivery := self._pool.take():
                self.delivery = delivery
                goes_on = self._deliver(delivery)
                self.delivery = None
                if not goes_on:
                    return
        finally:
            self._close(release)

    def _deliver(self, delivery: Delivery) -> bool:
        """One attempt; False when this worker had better end."""
        deliverer = self._context.deliverer
        waited = deliverer.clock() - delivery.due_at
        self._context.metrics.stages.add(Stage.QUEUE, max(0.0, waited.total_seconds()))
        outcome = None if self._is_ready_for(delivery) else self._blocked(delivery)
        if outcome is None:
            try:
                connection, sender = self._association_for(delivery)
            except GatewayError as error:
                self._pool.unreachable(delivery, error)
                return False
            if not sender.accepts(delivery.sop_class_uid, delivery.transfer_syntax_uid):
                outcome = self._not_accepted(delivery)
            else:
                attempt = deliverer.attempt(delivery, sender, connection)
                outcome = attempt.outcome
                if not attempt.reusable:
                    self._close(_abort)
        self._pool.finish(delivery, outcome)
        return True

    def _blocked(self, delivery: Delivery) -> DeliveryOutcome | None:
        """Asked before a destination is even called: it shall not learn of what it may not have."""
        try:
            return self._context.deliverer.blocked(delivery)
        except DecisionUnavailable as error:
            deliverer = self._context.deliverer
            return deliverer.postponed(delivery, error, deliverer.retries.first_retry_s)

    def _is_ready_for(self, delivery: Delivery) -> bool:
        """Whether the association that is open will do."""
        return self._sender is not None and self._sender.accepts(delivery.sop_class_uid, delivery.transfer_syntax_uid)

    def _association_for(self, delivery: Delivery) -> tuple[Connection, Sender]:
        if self._sender and self._connection:
            if self._is_ready_for(delivery):
                return self._connection, self._sender
            self._close(release)
        settings = self._context.settings
        peer = self._context.find_peer(self._pool.ae_title)
        began_at = monotonic()
        self._connection = dial(peer, self._pool.proposals_for(delivery), settings.dial)
        self._context.metrics.stages.add(Stage.NEGOTIATE, monotonic() - began_at)
        self._sender = Sender(self._connection, settings.stall_timeout_s, settings.response_timeout_s)
        self._context.metrics.associations.labels("outbound", self._pool.ae_title).inc()
        return self._connection, self._sender

    def _not_accepted(self, delivery: Delivery) -> DeliveryOutcome:
        detail = (
            f"{self._pool.ae_title} does not accept SOP class {delivery.sop_class_uid} "
            f"in transfer syntax {delivery.transfer_syntax_uid}"
        )
        return self._context.deliverer.failed(delivery, detail)

    def _close(self, goodbye: Callable[[Connection, float], None]) -> None:
        if self._connection is not None:
            goodbye(self._connection, GOODBYE_TIMEOUT_S)
            self._context.metrics.associations.labels("outbound", self._pool.ae_title).dec()
        self._connection = self._sender = None


def _abort(connection: Connection, timeout_s: float) -> None:
    connection.abort(Deadline.after(timeout_s))


def _is_busy(error: GatewayError) -> bool:
    return isinstance(error, AssociationRejected) and error.result == TRANSIENT_REJECTION

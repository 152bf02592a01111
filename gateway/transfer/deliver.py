"""Delivering one instance: decide again, send, and say how it ended. Failure is an outcome here, not an exception."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from gateway.domain.decision import Decision
from gateway.domain.instance import content_of
from gateway.domain.transfer import Delivery, DeliveryId, DeliveryOutcome, DeliveryState
from gateway.errors import DecisionUnavailable, GatewayError, NetworkError, ProtocolError, SpoolCorrupt
from gateway.metrics import Stage, StageTimes
from gateway.net.connection import Connection
from gateway.planning import Planner, Subject
from gateway.store.spool import DataReader, Spool
from gateway.transfer.cut_through import CutThrough
from gateway.transfer.retry import RetryPolicy, is_delivered, is_transient
from gateway.transfer.send import Extent, Outgoing, Sender, Sent
from gateway.wire.status import words


@dataclass(slots=True)
class ActiveSends:
    """The sends under way, so that a withdrawal can break them off. Safe to use from any thread."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sends: dict[DeliveryId, tuple[Delivery, Connection]] = field(default_factory=dict)

    def begin(self, delivery: Delivery, connection: Connection) -> None:
        with self._lock:
            self._sends[delivery.id] = (delivery, connection)

    def end(self, delivery: Delivery) -> None:
        with self._lock:
            self._sends.pop(delivery.id, None)

    def break_off(self, may_go_on: Callable[[Delivery], bool]) -> int:
        """Reset every send that may not go on; returns how many.

        A send that begins meanwhile decides after it has begun, so it needs no looking after. `may_go_on` is asked
        without the lock: the answer may take a reading of the database, and that may lead back here.
        """
        with self._lock:
            sends = list(self._sends.values())
        doomed = [(delivery, connection) for delivery, connection in sends if not may_go_on(delivery)]
        with self._lock:
            running = [each for each in doomed if self._sends.get(each[0].id) == each]
            for _, connection in running:
                connection.reset()
        return len(running)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt ended, and whether the association can carry another one."""

    outcome: DeliveryOutcome
    reusable: bool


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Makes single attempts. Holds no state of its own; safe to use from any thread."""

    planner: Planner
    spool: Spool
    retries: RetryPolicy
    active: ActiveSends
    cut_through: CutThrough
    stages: StageTimes
    clock: Callable[[], datetime]

    def attempt(self, delivery: Delivery, sender: Sender, connection: Connection) -> Attempt:
        """One attempt on an association that accepts the instance's SOP class and transfer syntax."""
        self.active.begin(delivery, connection)
        try:
            if blocked := self.blocked(delivery):
                return Attempt(blocked, reusable=False)  # it may just have been broken off
            self._check_old_record(delivery)
            with self.spool.open_data(delivery.record_id) as reader:
                sent = sender.send(self._outgoing(delivery, reader))
            self.stages.add(Stage.SEND, sent.sending_s)
            self.stages.add(Stage.RESPONSE, sent.response_s)
            return Attempt(self._answered(delivery, sent), reusable=True)
        except DecisionUnavailable as error:
            return Attempt(self.postponed(delivery, error, self.retries.first_retry_s), reusable=True)
        except SpoolCorrupt as error:
            return Attempt(self.failed(delivery, f"spool record {delivery.record_id}: {error}"), reusable=False)
        except (NetworkError, ProtocolError) as error:
            return Attempt(self._broken(delivery, error, sender.awaits_answer), reusable=False)
        finally:
            self.active.end(delivery)

    def decide(self, delivery: Delivery) -> Decision:
        """May it go, as of now?

        Raises:
            DecisionUnavailable: nobody can say.
        """
        content = content_of(delivery.sop_class_uid)
        subject = Subject(delivery.study_instance_uid, delivery.patient, delivery.source_oid, content)
        return self.planner.decide_delivery(subject, delivery.destination_ae_title)

    def blocked(self, delivery: Delivery) -> DeliveryOutcome | None:
        """The outcome of a delivery that may not go any more; None when it may."""
        decision = self.decide(delivery)
        if decision.verdict.permitted:
            return None
        return DeliveryOutcome(
            delivery.id,
            DeliveryState.BLOCKED_BY_CONSENT,
            self.clock(),
            delivery.attempts,
            detail=decision.verdict.reason,
            decision=decision,
        )

    def failed(self, delivery: Delivery, detail: str, status: int | None = None) -> DeliveryOutcome:
        """A failure that trying again would not mend."""
        return DeliveryOutcome(delivery.id, DeliveryState.FAILED, self.clock(), delivery.attempts + 1, status, detail)

    def postponed(self, delivery: Delivery, error: GatewayError, delay_s: float) -> DeliveryOutcome:
        """Not tried, through no fault of the instance; due again after `delay_s` seconds."""
        now = self.clock()
        return DeliveryOutcome(
            delivery.id,
            DeliveryState.QUEUED,
            now,
            delivery.attempts,
            detail=str(error),
            due_at=now + timedelta(seconds=delay_s),
        )

    def _answered(self, delivery: Delivery, sent: Sent) -> DeliveryOutcome:
        if is_delivered(sent.status):
            detail = "" if sent.status == 0 else words(sent.status)
            return DeliveryOutcome(
                delivery.id,
                DeliveryState.COMPLETED,
                self.clock(),
                delivery.attempts + 1,
                sent.status,
                detail,
                sent_bytes=sent.data_bytes,
                sent_sha256=sent.sha256,
            )
        detail = f"{delivery.destination_ae_title} answered {words(sent.status)}"
        if is_transient(sent.status):
            return self._again(delivery, detail, sent.status)
        return self.failed(delivery, detail, sent.status)

    def _broken(self, delivery: Delivery, error: GatewayError, all_sent: bool) -> DeliveryOutcome:
        """The association broke: by a withdrawal, or by a fault of the peer or the network."""
        try:
            blocked = self.blocked(delivery)
        except DecisionUnavailable:
            blocked = None
        if blocked is None:
            return self._again(delivery, str(error))
        detail = f"{blocked.detail}; all of it was sent and not answered, the destination may have it"
        return replace(blocked, attempts=delivery.attempts + 1, detail=detail if all_sent else blocked.detail)

    def _again(self, delivery: Delivery, detail: str, status: int | None = None) -> DeliveryOutcome:
        attempts = delivery.attempts + 1
        if attempts >= self.retries.attempt_count:
            return self.failed(delivery, f"given up after {attempts} attempts: {detail}", status)
        now = self.clock()
        due_at = now + timedelta(seconds=self.retries.delay_s(attempts))
        return DeliveryOutcome(delivery.id, DeliveryState.QUEUED, now, attempts, status, detail, due_at=due_at)

    def _check_old_record(self, delivery: Delivery) -> None:
        """A record of an earlier version has no check value to compare on the way, and is compared in advance.

        Raises:
            SpoolCorrupt: it is not what arrived.
        """
        if delivery.xxh3_128 is None and not delivery.is_arriving:
            with self.spool.open(delivery.record_id) as reader:
                reader.verify()

    def _outgoing(self, delivery: Delivery, reader: DataReader) -> Outgoing:
        whole = Extent(delivery.data_bytes, True, delivery.sha256, delivery.xxh3_128)
        arriving = self.cut_through.of(delivery.record_id) if delivery.is_arriving else None
        return Outgoing(
            delivery.sop_class_uid,
            delivery.sop_instance_uid,
            delivery.transfer_syntax_uid,
            _Source(reader, arriving.beyond if arriving else lambda _offset: whole),
        )


@dataclass(frozen=True, slots=True)
class _Source:
    """A spool record as what is sent."""

    reader: DataReader
    beyond: Callable[[int], Extent]

    def read_into(self, buffer: memoryview, count: int, offset: int) -> int:
        return self.reader.read_into(buffer, count, offset)

"""Single attempts: every way in which one can end."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.consent.forms import ConsentMode, EffectiveConsent
from gateway.domain.decision import Outcome, Reason
from gateway.domain.transfer import Delivery, DeliveryId, DeliveryState, SpoolRecord
from gateway.errors import ConnectFailed
from gateway.metrics import StageTimes
from gateway.net.connection import Connection
from gateway.net.deadline import Deadline
from gateway.net.dial import Proposal, dial
from gateway.planning import Planner
from gateway.store.spool import Spool
from gateway.transfer.cut_through import CutThrough
from gateway.transfer.deliver import ActiveSends, Attempt, Deliverer
from gateway.transfer.retry import RetryPolicy
from gateway.transfer.send import Sender
from tests.build import CT_IMAGE, EXPLICIT_VR_LITTLE_ENDIAN, NOON, PATIENT, Registry, delivery, spooled
from tests.transfer.node import DIAL
from tests.transfer.receiver import Receiver
from tests.wait import wait_until

WITHDRAWN = EffectiveConsent(ConsentMode.WITHDRAWN, ("w1",))
RETRIES = RetryPolicy(attempt_count=3, first_retry_s=4.0, longest_retry_s=60.0)


@dataclass
class Bench:
    """A deliverer with a spool, a registry and a destination."""

    spool: Spool
    registry: Registry
    receiver: Receiver
    deliverer: Deliverer

    def spooled(self, data: bytes = b"data") -> Delivery:
        return self.of(spooled(self.spool, data))

    def of(self, made: SpoolRecord) -> Delivery:
        return delivery(
            record_id=made.record_id,
            sop_instance_uid=made.head.sop_instance_uid,
            study_instance_uid=made.head.study_instance_uid,
            data_bytes=made.data_bytes,
            sha256=made.sha256,
        )

    def connect(self) -> Connection:
        return dial(self.receiver.ae, [Proposal(CT_IMAGE, EXPLICIT_VR_LITTLE_ENDIAN)], DIAL)

    def attempt(self, given: Delivery, connection: Connection | None = None) -> Attempt:
        connection = connection or self.connect()
        try:
            return self.deliverer.attempt(given, Sender(connection, 5.0, 5.0), connection)
        finally:
            connection.abort(Deadline.after(1.0))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    spool = Spool(tmp_path / "spool", 0)
    registry = Registry()
    planner = Planner(registry, lambda: NOON)
    with Receiver().listening() as receiver:
        deliverer = Deliverer(planner, spool, RETRIES, ActiveSends(), CutThrough(), StageTimes(), lambda: NOON)
        yield Bench(spool, registry, receiver, deliverer)
    spool.close()


def test_success(bench: Bench) -> None:
    given = bench.spooled(b"some data!")

    attempt = bench.attempt(given)

    assert attempt.reusable
    assert (attempt.outcome.state, attempt.outcome.status, attempt.outcome.attempts) == (DeliveryState.COMPLETED, 0, 1)
    assert (attempt.outcome.sent_sha256, attempt.outcome.detail) == (given.sha256, "")
    assert bench.receiver.received == [(given.sop_instance_uid, b"some data!")]


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_warning_is_success_with_a_word(bench: Bench, status: int) -> None:
    bench.receiver.answer = lambda *_: status

    outcome = bench.attempt(bench.spooled()).outcome

    assert (outcome.state, outcome.status) == (DeliveryState.COMPLETED, status)
    assert outcome.detail


@pytest.mark.parametrize("status", [0xA900, 0xC001, 0x0110, 0x0122])
def test_failure_for_good(bench: Bench, status: int) -> None:
    bench.receiver.answer = lambda *_: status

    attempt = bench.attempt(bench.spooled())

    assert attempt.reusable
    assert (attempt.outcome.state, attempt.outcome.status) == (DeliveryState.FAILED, status)
    assert attempt.outcome.detail.startswith("PACS_B answered")
    assert attempt.outcome.due_at is None


def test_transient_failure_is_tried_again_later(bench: Bench) -> None:
    bench.receiver.answer = lambda *_: 0xA700

    attempt = bench.attempt(bench.spooled())

    assert attempt.reusable
    outcome = attempt.outcome
    assert (outcome.state, outcome.status, outcome.attempts) == (DeliveryState.QUEUED, 0xA700, 1)
    assert outcome.due_at is not None
    assert timedelta(seconds=0.4) <= outcome.due_at - NOON <= timedelta(seconds=4)


def test_last_attempt_ends_it(bench: Bench) -> None:
    bench.receiver.answer = lambda *_: 0xA700
    given = replace(bench.spooled(), attempts=2)

    outcome = bench.attempt(given).outcome

    assert (outcome.state, outcome.attempts, outcome.status) == (DeliveryState.FAILED, 3, 0xA700)
    assert outcome.detail.startswith("given up after 3 attempts: PACS_B answered")


def test_broken_association_is_tried_again(bench: Bench) -> None:
    bench.receiver.aborting = frozenset({1})

    attempt = bench.attempt(bench.spooled())

    assert not attempt.reusable
    assert (attempt.outcome.state, attempt.outcome.attempts) == (DeliveryState.QUEUED, 1)
    assert "aborted" in attempt.outcome.detail


def test_withdrawn_consent_blocks_before_a_byte_leaves(bench: Bench) -> None:
    given = bench.spooled()
    bench.registry.change(consents={PATIENT: WITHDRAWN})

    attempt = bench.attempt(given)

    outcome = attempt.outcome
    assert (outcome.state, outcome.attempts) == (DeliveryState.BLOCKED_BY_CONSENT, 0)
    assert outcome.detail == Reason.WITHDRAWN
    assert outcome.decision is not None
    assert outcome.decision.verdict.outcome is Outcome.DENY
    assert bench.receiver.received == []


def test_association_of_a_blocked_delivery_is_given_up(bench: Bench) -> None:
    """It may have been reset between the two decisions, and the next delivery would pay for it."""
    given = bench.spooled()
    bench.registry.change(consents={PATIENT: WITHDRAWN})

    assert not bench.attempt(given).reusable


MAY_BE_THERE = "all of it was sent and not answered, the destination may have it"


def test_consent_withdrawn_while_sending(bench: Bench) -> None:
    bench.receiver.go_on.clear()
    given = bench.spooled()
    attempts: list[Attempt] = []
    thread = threading.Thread(target=lambda: attempts.append(bench.attempt(given)))
    thread.start()
    wait_until(lambda: bench.receiver.storing_count)

    assert bench.deliverer.active.break_off(lambda each: bench.deliverer.decide(each).verdict.permitted) == 0
    bench.registry.change(consents={PATIENT: WITHDRAWN})
    assert bench.deliverer.active.break_off(lambda each: bench.deliverer.decide(each).verdict.permitted) == 1
    thread.join(5)

    (attempt,) = attempts
    assert (attempt.outcome.state, attempt.outcome.attempts) == (DeliveryState.BLOCKED_BY_CONSENT, 1)
    assert attempt.outcome.detail == f"{Reason.WITHDRAWN}; {MAY_BE_THERE}"
    assert not attempt.reusable


def test_break_off_leaves_others_alone(bench: Bench) -> None:
    bench.receiver.go_on.clear()
    one, other = bench.spooled(), bench.spooled()
    attempts: dict[DeliveryId, Attempt] = {}

    def run(given: Delivery) -> None:
        attempts[given.id] = bench.attempt(given)

    threads = [threading.Thread(target=run, args=(given,)) for given in (one, other)]
    for thread in threads:
        thread.start()
    wait_until(lambda: bench.receiver.storing_count == 2)
    assert bench.deliverer.active.break_off(lambda each: each.id == one.id) == 1
    bench.receiver.go_on.set()
    for thread in threads:
        thread.join(5)

    assert attempts[one.id].outcome.state is DeliveryState.COMPLETED
    assert (
        attempts[other.id].outcome.state is DeliveryState.QUEUED
    )  # still permitted: broken off by a fault, as it seems
    assert bench.deliverer.active.break_off(lambda _: False) == 0


def test_question_about_a_send_may_lead_to_another_breaking_off(bench: Bench) -> None:
    """Whoever asks may find that the state has changed once more."""
    bench.receiver.go_on.clear()
    given = bench.spooled()
    attempts: list[Attempt] = []
    thread = threading.Thread(target=lambda: attempts.append(bench.attempt(given)), daemon=True)
    thread.start()
    wait_until(lambda: bench.receiver.storing_count)

    def may_go_on(_: Delivery) -> bool:
        bench.deliverer.active.break_off(lambda _: False)
        return False

    breaker = threading.Thread(target=bench.deliverer.active.break_off, args=(may_go_on,), daemon=True)
    breaker.start()
    breaker.join(5)
    thread.join(5)

    assert not breaker.is_alive()
    assert attempts[0].outcome.state is DeliveryState.QUEUED


def test_nothing_is_sent_on_a_state_that_cannot_be_read(bench: Bench) -> None:
    given = bench.spooled()
    bench.registry.readable = False

    attempt = bench.attempt(given)

    outcome = attempt.outcome
    assert (outcome.state, outcome.attempts) == (DeliveryState.QUEUED, 0)
    assert outcome.due_at == NOON + timedelta(seconds=RETRIES.first_retry_s)
    assert bench.receiver.received == []


def test_record_that_is_gone(bench: Bench) -> None:
    given = bench.spooled()
    bench.spool.remove(given.record_id)

    outcome = bench.attempt(given).outcome

    assert outcome.state is DeliveryState.FAILED
    assert given.record_id in outcome.detail
    assert bench.receiver.received == []


def test_record_that_rotted_never_arrives(bench: Bench) -> None:
    given = bench.spooled(b"x" * 100_000)
    with bench.spool.path(given.record_id).open("r+b") as file:
        file.seek(99_000)
        file.write(b"y")

    attempt = bench.attempt(given)

    assert attempt.outcome.state is DeliveryState.FAILED
    assert "digest" in attempt.outcome.detail
    assert not attempt.reusable
    assert bench.receiver.received == []


def test_postponed_costs_no_attempt(bench: Bench) -> None:
    given = replace(bench.spooled(), attempts=2)

    outcome = bench.deliverer.postponed(given, ConnectFailed("nobody there"), 7.0)

    assert (outcome.state, outcome.attempts, outcome.detail) == (DeliveryState.QUEUED, 2, "nobody there")
    assert outcome.due_at == NOON + timedelta(seconds=7)

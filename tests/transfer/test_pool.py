"""A destination's pool: how many associations, who goes first, and what happens when the destination does not play."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.domain.peer import ApplicationEntity
from gateway.domain.transfer import Delivery, DeliveryOutcome, DeliveryState
from gateway.errors import ConnectFailed
from gateway.metrics import PREFIX, Metrics, Stage
from gateway.planning import Planner
from gateway.store.spool import Spool
from gateway.transfer.cut_through import Arriving, CutThrough
from gateway.transfer.deliver import ActiveSends, Deliverer
from gateway.transfer.pool import CLAIMED_PER_ASSOCIATION_COUNT, Pool, PoolContext, PoolSettings
from gateway.transfer.retry import RetryPolicy
from gateway.transfer.send import Extent
from tests.build import HOSPITAL_A, HOSPITAL_B, PACS_A, PACS_B, Registry, ae, delivery, new_uid, spooled, utc_now
from tests.transfer.node import RETRIES, SETTINGS
from tests.transfer.receiver import Receiver, silent_listener, unused_port
from tests.wait import wait_until


@dataclass
class Bench:
    """A pool, and what becomes of the deliveries given to it."""

    spool: Spool
    registry: Registry = field(default_factory=Registry)
    metrics: Metrics = field(default_factory=Metrics)
    outcomes: list[DeliveryOutcome] = field(default_factory=list)
    cut_through: CutThrough = field(default_factory=CutThrough)
    retries: RetryPolicy = RETRIES

    def pool(self, find_peer: Callable[[str], ApplicationEntity], settings: PoolSettings = SETTINGS) -> Pool:
        planner = Planner(self.registry, utc_now)
        deliverer = Deliverer(
            planner, self.spool, self.retries, ActiveSends(), self.cut_through, self.metrics.stages, utc_now
        )
        return Pool(PACS_B, PoolContext(settings, deliverer, self.metrics, self.outcomes.append, find_peer))

    def study(self, count: int, data: bytes = b"data", uid: str | None = None) -> list[Delivery]:
        uid = uid or new_uid()
        made = []
        for _ in range(count):
            record = spooled(self.spool, data)
            made.append(
                delivery(
                    record_id=record.record_id,
                    sop_instance_uid=record.head.sop_instance_uid,
                    study_instance_uid=uid,
                    data_bytes=record.data_bytes,
                    sha256=record.sha256,
                )
            )
        return made

    def wait_for(self, count: int) -> list[DeliveryState]:
        """The states of the first outcomes, as soon as there are as many."""
        wait_until(lambda: len(self.outcomes) >= count, 20)
        return [outcome.state for outcome in self.outcomes]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    spool = Spool(tmp_path / "spool", 0)
    yield Bench(spool)
    spool.close()


@contextmanager
def stopped_at_the_end(pool: Pool) -> Iterator[Pool]:
    try:
        yield pool
    finally:
        pool.stop(5.0)


@contextmanager
def pool_to(bench: Bench, receiver: Receiver, settings: PoolSettings = SETTINGS) -> Iterator[Pool]:
    with receiver.listening(), stopped_at_the_end(bench.pool(lambda _: receiver.ae, settings)) as pool:
        yield pool


def test_series_is_delivered_over_several_associations(bench: Bench) -> None:
    receiver = Receiver()
    with pool_to(bench, receiver) as pool:
        given = bench.study(40)
        pool.add(given)
        assert bench.wait_for(40) == [DeliveryState.COMPLETED] * 40

    assert sorted(receiver.uids) == sorted(each.sop_instance_uid for each in given)
    assert receiver.uids[0] == given[0].sop_instance_uid
    assert 1 < len(receiver.associations) <= SETTINGS.association_count


def test_first_of_a_study_goes_alone_however_long_it_takes(bench: Bench) -> None:
    receiver = Receiver()
    receiver.go_on.clear()
    with pool_to(bench, receiver) as pool:
        pool.add(bench.study(5))
        wait_until(lambda: receiver.storing_count == 1)
        wait_until(lambda: len(pool._workers) == 1)  # the others have nothing to do and end

        receiver.go_on.set()
        assert bench.wait_for(5) == [DeliveryState.COMPLETED] * 5

    assert receiver.most_at_once >= 1


def test_rest_fans_out_after_a_slow_first(bench: Bench) -> None:
    """The workers for the rest have ended for want of work by the time the first has arrived."""
    first_done = threading.Event()
    receiver = Receiver()
    receiver.go_on.clear()

    def answer(_uid: str, _times: int) -> int:
        if not first_done.is_set():
            first_done.set()
            receiver.go_on.clear()  # those after the first wait again, so that they can be counted
        return 0

    receiver.answer = answer
    with pool_to(bench, receiver) as pool:
        pool.add(bench.study(20))
        wait_until(lambda: receiver.storing_count == 1)
        wait_until(lambda: len(pool._workers) == 1)
        receiver.go_on.set()
        assert first_done.wait(10)

        wait_until(lambda: receiver.storing_count == SETTINGS.association_count)
        receiver.go_on.set()
        bench.wait_for(20)


def test_long_delivery_does_not_hold_up_another_study(bench: Bench) -> None:
    receiver = Receiver()
    receiver.go_on.clear()
    with pool_to(bench, receiver) as pool:
        pool.add(bench.study(1))
        wait_until(lambda: receiver.storing_count == 1)

        pool.add(bench.study(1))

        wait_until(lambda: receiver.storing_count == 2)
        receiver.go_on.set()
        bench.wait_for(2)


def test_no_association_is_held_idle(bench: Bench) -> None:
    receiver = Receiver()
    with pool_to(bench, receiver) as pool:
        pool.add(bench.study(3))
        bench.wait_for(3)

        wait_until(lambda: not any(assoc.is_alive() for assoc in receiver.associations))  # type: ignore[attr-defined]
        assert bench.metrics.associations.labels("outbound", PACS_B)._value.get() == 0


def test_work_that_comes_while_a_worker_takes_its_leave(bench: Bench) -> None:
    """One at a time, each when the last worker is about to end: none is left lying."""
    receiver = Receiver()
    with pool_to(bench, receiver, replace(SETTINGS, linger_s=0.0)) as pool:
        for number in range(1, 31):
            pool.add(bench.study(1))
            bench.wait_for(number)


def test_association_is_used_for_what_comes_soon(bench: Bench) -> None:
    receiver = Receiver()
    with pool_to(bench, receiver, replace(SETTINGS, linger_s=5.0)) as pool:
        for number in range(1, 11):
            pool.add(bench.study(1))
            bench.wait_for(number)

    assert len(receiver.associations) == 1


def test_no_more_is_claimed_than_there_is_room_for(bench: Bench) -> None:
    receiver = Receiver()
    receiver.go_on.clear()
    most = CLAIMED_PER_ASSOCIATION_COUNT * SETTINGS.association_count
    with pool_to(bench, receiver) as pool:
        assert pool.room == most
        pool.add(bench.study(most))
        wait_until(lambda: receiver.storing_count == 1)
        assert pool.room == 0
        receiver.go_on.set()
        bench.wait_for(most)
        assert pool.room == most


def test_decision_is_asked_for_once_on_an_open_association_and_before_each_call(bench: Bench) -> None:
    receiver = Receiver()
    with pool_to(bench, receiver, replace(SETTINGS, association_count=1, linger_s=5.0)) as pool:
        pool.add(bench.study(1))
        bench.wait_for(1)
        assert bench.registry.asked_count == 2  # before it was called, and before it was sent anything
        pool.add(bench.study(1))
        bench.wait_for(2)
        assert bench.registry.asked_count == 3


def test_stages_are_counted(bench: Bench) -> None:
    receiver = Receiver()
    with pool_to(bench, receiver, replace(SETTINGS, association_count=1)) as pool:
        pool.add(bench.study(3))
        bench.wait_for(3)

    counts = {
        stage: bench.metrics.registry.get_sample_value(f"{PREFIX}stages_total", {"stage": stage}) for stage in Stage
    }
    passed = {stage: count for stage, count in counts.items() if count}
    assert passed == {Stage.QUEUE: 3, Stage.NEGOTIATE: 1, Stage.SEND: 3, Stage.RESPONSE: 3}


# --- instances that still arrive --------------------------------------------------------------------------------------


def arriving(bench: Bench, study: str | None = None) -> tuple[Delivery, Arriving]:
    """A delivery of an instance of which nothing is known but its head; its data set is complete in the spool."""
    (made,) = bench.study(1, uid=study)
    begun = bench.cut_through.begin(made.record_id, (HOSPITAL_A, made.sop_instance_uid), [PACS_B])
    assert begun is not None
    return replace(made, data_bytes=0, sha256="", is_arriving=True), begun


def test_offer_is_taken_by_a_pool_with_nothing_to_do(bench: Bench) -> None:
    receiver = Receiver()
    with pool_to(bench, receiver) as pool:
        given, begun = arriving(bench)
        assert pool.offer(given)
        wait_until(lambda: receiver.associations)
        begun.taken_by()
        begun.complete(Extent(4, True, sha256(b"data").hexdigest()))
        assert bench.wait_for(1) == [DeliveryState.COMPLETED]
        wait_until(lambda: bench.cut_through.of(given.record_id) is None)

    assert receiver.received == [(given.sop_instance_uid, b"data")]
    assert bench.outcomes[0].sent_bytes == 4


def test_offer_is_taken_by_an_association_that_lingers(bench: Bench) -> None:
    receiver = Receiver()
    with pool_to(bench, receiver, replace(SETTINGS, association_count=1, linger_s=30.0)) as pool:
        pool.add(bench.study(1))
        bench.wait_for(1)
        wait_until(lambda: pool._seeking_count == 1)
        given, begun = arriving(bench)
        assert pool.offer(given)
        begun.complete(Extent(4, True, sha256(b"data").hexdigest()))
        bench.wait_for(2)

    assert len(receiver.associations) == 1


def test_offer_is_refused_when_all_associations_are_busy(bench: Bench) -> None:
    receiver = Receiver()
    receiver.go_on.clear()
    with pool_to(bench, receiver, replace(SETTINGS, association_count=2)) as pool:
        pool.add(bench.study(1) + bench.study(1))
        wait_until(lambda: receiver.storing_count == 2)

        assert not pool.offer(arriving(bench)[0])
        receiver.go_on.set()
        bench.wait_for(2)


def test_offer_is_refused_when_others_wait(bench: Bench) -> None:
    receiver = Receiver()
    receiver.go_on.clear()
    with pool_to(bench, receiver) as pool:
        pool.add(bench.study(2))  # the second one waits for the first of its study
        wait_until(lambda: receiver.storing_count == 1)

        assert not pool.offer(arriving(bench)[0])
        receiver.go_on.set()
        bench.wait_for(2)


def test_offer_is_refused_by_a_destination_in_trouble_and_by_one_that_stops(bench: Bench) -> None:
    nobody = ae(PACS_B, HOSPITAL_B, unused_port())
    bench.retries = RetryPolicy(attempt_count=4, first_retry_s=60.0, longest_retry_s=60.0)
    with stopped_at_the_end(bench.pool(lambda _: nobody)) as pool:
        pool.add(bench.study(1))
        bench.wait_for(1)
        assert not pool.offer(arriving(bench)[0])
    with pool_to(bench, Receiver()) as pool:
        pool.stop(1.0)
        assert not pool.offer(arriving(bench)[0])


def test_early_delivery_that_fails_has_no_outcome_of_its_own(bench: Bench) -> None:
    nobody = ae(PACS_B, HOSPITAL_B, unused_port())
    with stopped_at_the_end(bench.pool(lambda _: nobody)) as pool:
        given, begun = arriving(bench)
        assert pool.offer(given)
        wait_until(lambda: pool._failures)

    assert begun.taken_by() == frozenset()  # somebody else makes the delivery
    assert bench.outcomes == []
    assert bench.metrics.registry.get_sample_value(f"{PREFIX}instances_delivered_total") is None


def test_early_delivery_that_fails_when_the_ledger_counts_on_it_is_reported(bench: Bench) -> None:
    nobody = ae(PACS_B, HOSPITAL_B, unused_port())
    with stopped_at_the_end(bench.pool(lambda _: nobody)) as pool:
        given, begun = arriving(bench)
        assert begun.taken_by() == {PACS_B}
        assert pool.offer(given)
        begun.complete(Extent(4, True, sha256(b"data").hexdigest()))
        assert bench.wait_for(1) == [DeliveryState.QUEUED]
        wait_until(lambda: bench.cut_through.of(given.record_id) is None)

    assert (bench.outcomes[0].delivery_id, bench.outcomes[0].attempts) == (given.id, 0)


# --- destinations that do not play ------------------------------------------------------------------------------------


def test_destination_that_does_not_listen_is_left_in_peace(bench: Bench) -> None:
    nobody = ae(PACS_B, HOSPITAL_B, unused_port())
    bench.retries = RetryPolicy(attempt_count=4, first_retry_s=2.0, longest_retry_s=2.0)
    with stopped_at_the_end(bench.pool(lambda _: nobody)) as pool:
        pool.add(bench.study(10))
        assert bench.wait_for(10) == [DeliveryState.QUEUED] * 10

        assert pool.room == 0
        wait_until(lambda: pool.room > 0)
    for outcome in bench.outcomes:
        assert (outcome.attempts, outcome.status) == (0, None)
        assert "cannot connect to PACS_B" in outcome.detail
        assert outcome.due_at is not None
        assert outcome.due_at > outcome.finished_at


def test_studies_that_fail_together_are_one_failure(bench: Bench) -> None:
    """Four workers notice at once; the destination is not left in peace eight times as long for it."""
    nobody = ae(PACS_B, HOSPITAL_B, unused_port())
    start = threading.Barrier(4)

    def find_peer(_: str) -> ApplicationEntity:
        start.wait(10)
        return nobody

    with stopped_at_the_end(bench.pool(find_peer)) as pool:
        pool.add([each for _ in range(4) for each in bench.study(1)])
        bench.wait_for(4)

        assert pool._failures == 1


def test_destination_that_says_nothing_is_given_up(bench: Bench) -> None:
    with silent_listener() as listener:
        peer = ae(PACS_B, HOSPITAL_B, listener.getsockname()[1])
        impatient = replace(SETTINGS, dial=replace(SETTINGS.dial, associate_timeout_s=0.1))
        with stopped_at_the_end(bench.pool(lambda _: peer, impatient)) as pool:
            pool.add(bench.study(2))
            assert bench.wait_for(2) == [DeliveryState.QUEUED] * 2


def test_destination_that_is_not_registered_any_more(bench: Bench) -> None:
    def find_peer(title: str) -> ApplicationEntity:
        raise ConnectFailed(f"AE title {title} is not registered any more")

    with stopped_at_the_end(bench.pool(find_peer)) as pool:
        pool.add(bench.study(2))
        assert bench.wait_for(2) == [DeliveryState.QUEUED] * 2
    assert "not registered any more" in bench.outcomes[0].detail


def test_destination_with_room_for_one_association_gets_one(bench: Bench) -> None:
    receiver = Receiver(maximum_associations=1)
    with pool_to(bench, receiver) as pool:
        todo = {each.id: each for each in bench.study(20)}
        pool.add(list(todo.values()))
        for seen in itertools.count(1):
            bench.wait_for(seen)
            outcome = bench.outcomes[seen - 1]
            if outcome.state is DeliveryState.QUEUED:  # as the service does: when it is due, it comes again
                wait_until(lambda: pool.room)
                pool.add([todo[outcome.delivery_id]])
            else:
                assert outcome.state is DeliveryState.COMPLETED
                del todo[outcome.delivery_id]
                if not todo:
                    break

    assert len(receiver.received) == 20
    assert receiver.most_at_once == 1


def test_permanent_rejection_is_a_failure_of_the_destination(bench: Bench) -> None:
    receiver = Receiver(calling_ae_titles=("SOMEBODY",))
    with pool_to(bench, receiver) as pool:
        pool.add(bench.study(2))
        assert bench.wait_for(2) == [DeliveryState.QUEUED] * 2
        assert pool.room == 0
    assert "rejected the association" in bench.outcomes[0].detail


def test_sop_class_that_is_not_accepted_fails_by_name(bench: Bench) -> None:
    receiver = Receiver()
    with pool_to(bench, receiver) as pool:
        (image, mr) = bench.study(2)
        mr = replace(mr, sop_class_uid="1.2.840.10008.5.1.4.1.1.4")
        pool.add([image, mr])
        bench.wait_for(2)

    by_id = {outcome.delivery_id: outcome for outcome in bench.outcomes}
    assert by_id[image.id].state is DeliveryState.COMPLETED
    assert by_id[mr.id].state is DeliveryState.FAILED
    assert "does not accept SOP class 1.2.840.10008.5.1.4.1.1.4" in by_id[mr.id].detail


def test_sop_class_that_comes_later_gets_an_association_of_its_own(bench: Bench) -> None:
    mr_image = "1.2.840.10008.5.1.4.1.1.4"
    receiver = Receiver(sop_classes=(bench.study(1)[0].sop_class_uid, mr_image))
    with pool_to(bench, receiver, replace(SETTINGS, linger_s=5.0)) as pool:
        pool.add(bench.study(1))
        bench.wait_for(1)
        pool.add([replace(each, sop_class_uid=mr_image) for each in bench.study(1)])
        assert bench.wait_for(2) == [DeliveryState.COMPLETED] * 2

    assert len(receiver.associations) == 2


def test_association_that_breaks_is_replaced(bench: Bench) -> None:
    receiver = Receiver(aborting=frozenset({3, 6}))
    with pool_to(bench, receiver, replace(SETTINGS, association_count=1)) as pool:
        pool.add(bench.study(10))
        states = bench.wait_for(10)

    assert states.count(DeliveryState.QUEUED) == 2
    assert states.count(DeliveryState.COMPLETED) == 8
    assert len(receiver.associations) == 3


def test_destination_never_learns_of_what_it_may_not_have(bench: Bench) -> None:
    receiver = Receiver()
    bench.registry.change(consents={})
    with pool_to(bench, receiver) as pool:
        pool.add(bench.study(3))
        assert bench.wait_for(3) == [DeliveryState.BLOCKED_BY_CONSENT] * 3

    assert receiver.associations == []


def test_decision_that_cannot_be_made_postpones(bench: Bench) -> None:
    receiver = Receiver()
    bench.registry.readable = False
    with pool_to(bench, receiver) as pool:
        pool.add(bench.study(1))
        assert bench.wait_for(1) == [DeliveryState.QUEUED]

    assert receiver.associations == []


def test_error_of_ours_ends_one_delivery_and_not_the_others(bench: Bench) -> None:
    receiver = Receiver()
    calls: list[str] = []

    def find_peer(title: str) -> ApplicationEntity:
        calls.append(title)
        if len(calls) == 1:
            raise KeyError("a bug")
        return receiver.ae

    with receiver.listening(), stopped_at_the_end(bench.pool(find_peer)) as pool:
        pool.add(bench.study(10))
        states = bench.wait_for(10)

    assert states.count(DeliveryState.FAILED) == 1
    assert states.count(DeliveryState.COMPLETED) == 9
    (failed,) = [outcome for outcome in bench.outcomes if outcome.state is DeliveryState.FAILED]
    assert "see its log" in failed.detail


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_stop_lets_running_sends_finish_and_returns_the_rest(bench: Bench) -> None:
    receiver = Receiver()
    receiver.go_on.clear()
    with pool_to(bench, receiver) as pool:
        given = bench.study(10)
        pool.add(given)
        wait_until(lambda: receiver.storing_count == 1)
        stopper = threading.Thread(target=pool.stop, args=(10.0,))
        stopper.start()
        bench.wait_for(9)
        receiver.go_on.set()
        stopper.join(10)

        assert pool.room == 0
    assert sorted(outcome.delivery_id for outcome in bench.outcomes) == sorted(each.id for each in given)
    assert [outcome.state for outcome in bench.outcomes] == [DeliveryState.QUEUED] * 9 + [DeliveryState.COMPLETED]
    assert all(outcome.due_at == outcome.finished_at for outcome in bench.outcomes[:9])
    assert receiver.uids == [given[0].sop_instance_uid]


def test_stop_does_not_wait_for_ever(bench: Bench) -> None:
    receiver = Receiver()
    receiver.go_on.clear()
    with pool_to(bench, receiver) as pool:
        pool.add(bench.study(1))
        wait_until(lambda: receiver.storing_count == 1)
        stopper = threading.Thread(target=pool.stop, args=(0.05,))
        stopper.start()
        stopper.join(5)

        assert not stopper.is_alive()
        receiver.go_on.set()


def test_pool_without_work_stops_at_once(bench: Bench) -> None:
    bench.pool(lambda _: ae(PACS_B, HOSPITAL_B)).stop(5.0)

    assert bench.outcomes == []


def test_outcomes_are_counted(bench: Bench) -> None:
    given = bench.study(3)
    failing = given[1].sop_instance_uid
    receiver = Receiver(answer=lambda uid, _: 0xA900 if uid == failing else 0)
    with pool_to(bench, receiver) as pool:
        pool.add(given)
        bench.wait_for(3)

    def count(state: DeliveryState) -> float:
        return float(bench.metrics.instances_delivered.labels(PACS_A, PACS_B, state)._value.get())

    assert (count(DeliveryState.COMPLETED), count(DeliveryState.FAILED)) == (2, 1)
    assert bench.metrics.delivered_bytes.labels(PACS_A, PACS_B)._value.get() == 8

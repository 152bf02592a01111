"""The delivery service between a real spool, a real database and real destinations."""

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Thread
from time import monotonic

import pytest

from gateway.consent.forms import FormKind
from gateway.domain.decision import Reason
from gateway.domain.institution import ParticipationState
from gateway.domain.transfer import DeliveryState, InstanceState, Route
from gateway.store.decisions import list_decisions
from gateway.store.network import put_ae, put_route, remove_ae, remove_route, set_institution_state
from gateway.store.queue import claim, retry
from gateway.store.spool import Spool
from gateway.transfer.arrivals import recover
from gateway.transfer.retry import RetryPolicy
from tests.build import HOSPITAL_A, HOSPITAL_B, PACS_B, PATIENT, ae, delivery, new_uid, plan, record, utc_now
from tests.transfer.node import RETRIES, SETTINGS, network_with, running_node
from tests.transfer.receiver import Receiver, unused_port
from tests.wait import PATIENCE_S, wait_until

OUT_OF_RESOURCES = 0xA700
ACTIVE, COMPLETED, FAILED = DeliveryState.ACTIVE, DeliveryState.COMPLETED, DeliveryState.FAILED
EAGER = RetryPolicy(attempt_count=100, first_retry_s=0.01, longest_retry_s=0.05)
QUEUED, BLOCKED = DeliveryState.QUEUED, DeliveryState.BLOCKED_BY_CONSENT


def random_bytes(count: int) -> bytes:
    return random.Random(count).randbytes(count)


def test_everything_is_delivered_once_and_unchanged(tmp_path: Path) -> None:
    with (
        Receiver().listening() as receiver,
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        made = [each for study in range(3) for each in node.arrive_series(40, b"study %d " % study)]
        large = node.arrive(random_bytes(3_000_000))
        node.wait_until_all(COMPLETED, 121)

        contents = {each.head.sop_instance_uid: each for each in (*made, large)}
        rows = {row.record_id: row for row in node.deliveries()}
    assert sorted(receiver.uids) == sorted(contents)
    for uid, data in receiver.received:
        assert len(data) == contents[uid].data_bytes
    assert dict(receiver.received)[large.head.sop_instance_uid] == random_bytes(3_000_000)
    for each in contents.values():
        row = rows[each.record_id]
        assert (row.status, row.attempts, row.sent_sha256, row.detail) == (0, 1, each.sha256, "")
        assert row.decision_id == each.plan.destinations[0].decision.id


def test_several_destinations_each_get_everything(tmp_path: Path) -> None:
    with (
        Receiver("ONE").listening() as one,
        Receiver("TWO").listening() as two,
        network_with(tmp_path, one.ae, two.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        made = node.arrive_series(10)
        node.wait_until_all(COMPLETED, 20)

    expected = sorted(each.head.sop_instance_uid for each in made)
    assert sorted(one.uids) == sorted(two.uids) == expected


def test_destination_that_is_down_holds_up_nobody_else(tmp_path: Path) -> None:
    down = ae("DOWN", HOSPITAL_B, unused_port())
    with (
        Receiver().listening() as receiver,
        network_with(tmp_path, down, receiver.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        node.arrive_series(10)
        wait_until(lambda: len(receiver.received) == 10)

        def states(title: str) -> set[str]:
            return {row.state for row in node.deliveries() if row.destination_ae_title == title}

        wait_until(lambda: states(PACS_B) == {COMPLETED})
        wait_until(lambda: sum("cannot connect" in row.detail for row in node.deliveries()) == 10)
        wait_until(lambda: states("DOWN") == {QUEUED})


def test_destination_that_comes_back_gets_everything(tmp_path: Path) -> None:
    receiver = Receiver(port=unused_port())
    with network_with(tmp_path, receiver.ae) as database, running_node(tmp_path, database) as node:
        made = node.arrive_series(10)
        wait_until(lambda: all("cannot connect" in row.detail for row in node.deliveries()) and node.deliveries())
        assert {row.attempts for row in node.deliveries()} == {0}  # no fault of theirs: nothing ends as a dead letter

        with receiver.listening():
            node.wait_until_all(COMPLETED, 10)

    assert sorted(receiver.uids) == sorted(each.head.sop_instance_uid for each in made)


def test_longer_outages_are_asked_about_less_often(tmp_path: Path) -> None:
    nobody = ae(PACS_B, HOSPITAL_B, unused_port())
    with network_with(tmp_path, nobody) as database, running_node(tmp_path, database) as node:
        made = node.arrive()
        waits: dict[str, float] = {}

        def waited(times: int) -> bool:
            row = node.delivery(made)
            if row.finished_at and row.due_at > row.finished_at:
                waits[str(row.finished_at)] = (row.due_at - row.finished_at).total_seconds()
            return len(waits) >= times

        wait_until(lambda: [row for row in node.deliveries() if row.finished_at])
        wait_until(lambda: waited(5), 30)

    assert max(waits.values()) <= RETRIES.longest_retry_s
    assert max(waits.values()) > RETRIES.first_retry_s
    assert min(waits.values()) >= 0.1 * RETRIES.first_retry_s


def test_out_of_resources_is_tried_again(tmp_path: Path) -> None:
    receiver = Receiver(answer=lambda _uid, times: 0xA700 if times < 3 else 0)
    with (
        receiver.listening(),
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        made = node.arrive()
        row = node.wait_for(made, COMPLETED)

    assert (row.attempts, row.status) == (3, 0)
    assert len(receiver.received) == 3


def test_too_many_attempts_are_a_dead_letter_that_can_be_sent_again(tmp_path: Path) -> None:
    receiver = Receiver(answer=lambda _uid, times: 0xA700 if times <= RETRIES.attempt_count else 0)
    with (
        receiver.listening(),
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        made = node.arrive()
        row = node.wait_for(made, FAILED)
        assert (row.attempts, row.status) == (RETRIES.attempt_count, 0xA700)
        assert row.detail.startswith(f"given up after {RETRIES.attempt_count} attempts")

        assert node.writer.write(lambda session: retry(session, node.clock())) == 1
        node.wait_for(made, COMPLETED)


def test_failures_and_warnings(tmp_path: Path) -> None:
    statuses = {"refused": 0xA900, "warned": 0xB000, "fine": 0x0000}
    records: dict[str, str] = {}
    receiver = Receiver(answer=lambda uid, _: statuses[records[uid]])
    with (
        receiver.listening(),
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        for name in statuses:
            instance = new_uid()
            records[instance] = name
            node.arrive(sop_instance_uid=instance)
        wait_until(lambda: node.states() == {COMPLETED, FAILED} and len(node.deliveries()) == 3)
        refused, warned, fine = node.deliveries()

    assert (refused.state, refused.status) == (FAILED, 0xA900)
    assert (warned.state, warned.status) == (COMPLETED, 0xB000)
    assert warned.detail
    assert (fine.state, fine.detail) == (COMPLETED, "")


def test_aborted_association_costs_only_the_instance_on_it(tmp_path: Path) -> None:
    receiver = Receiver(aborting=frozenset({5}))
    with (
        receiver.listening(),
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        node.arrive_series(20)
        node.wait_until_all(COMPLETED, 20)
        attempts = sorted(row.attempts for row in node.deliveries())

    assert attempts == [1] * 19 + [2]
    assert len(receiver.received) == 21


def test_sop_class_that_is_not_accepted(tmp_path: Path) -> None:
    mr_image = "1.2.840.10008.5.1.4.1.1.4"
    with (
        Receiver().listening() as receiver,
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        row = node.wait_for(node.arrive(sop_class_uid=mr_image), FAILED)

    assert mr_image in row.detail
    assert receiver.received == []


# --- consent ----------------------------------------------------------------------------------------------------------


def test_withdrawal_breaks_off_a_running_send_within_a_second(tmp_path: Path) -> None:
    receiver = Receiver()
    with (
        receiver.listening(),
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database, settings=replace(SETTINGS, linger_s=10.0)) as node,
    ):
        small = node.arrive()
        node.wait_for(small, COMPLETED)
        receiver.read_on.clear()  # from here on the destination reads nothing
        large = node.arrive(random_bytes(64 << 20))
        node.wait_for(large, DeliveryState.ACTIVE)
        wait_until(lambda: node.active._sends)

        node.consent(FormKind.ENTIRE_WITHDRAWAL)
        began_at = monotonic()
        row = node.wait_for(large, BLOCKED, 5)
        took_s = monotonic() - began_at
        receiver.read_on.set()
        with node.database.read() as session:
            decision = list_decisions(session, limit_count=1)[0]

    assert took_s < PATIENCE_S
    assert (row.detail, row.decision_id) == (Reason.WITHDRAWN, decision.id)
    assert row.attempts == 1
    assert receiver.uids == [small.head.sop_instance_uid]


def test_withdrawal_stops_what_waits(tmp_path: Path) -> None:
    receiver = Receiver(port=unused_port())
    with network_with(tmp_path, receiver.ae) as database, running_node(tmp_path, database) as node:
        node.arrive_series(5)
        wait_until(lambda: len([row for row in node.deliveries() if row.detail]) == 5)
        node.consent(FormKind.ENTIRE_WITHDRAWAL)
        node.wait_until_all(BLOCKED, 5)
        with receiver.listening():
            node.consent()
            assert node.writer.write(lambda session: retry(session, node.clock())) == 5
            node.wait_until_all(COMPLETED, 5)

    assert len(receiver.received) == 5


def test_withdrawal_of_one_patient_stops_nobody_elses_images(tmp_path: Path) -> None:
    other = replace(PATIENT, patient_id="A-1002")
    receiver = Receiver()
    receiver.go_on.clear()
    with (
        receiver.listening(),
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        node.consent(patient=other)
        node.authority.refresh()
        ours, theirs = node.arrive(), node.arrive(patient=other)
        wait_until(lambda: receiver.storing_count == 2)
        node.consent(FormKind.ENTIRE_WITHDRAWAL)
        node.wait_for(ours, BLOCKED)
        receiver.go_on.set()
        row = node.wait_for(theirs, COMPLETED)

    assert row.attempts == 1


def test_suspension_stops_deliveries(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.go_on.clear()
    with (
        receiver.listening(),
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        made = node.arrive()
        wait_until(lambda: receiver.storing_count)
        with node.database.write() as session:
            set_institution_state(session, HOSPITAL_B, ParticipationState.SUSPENDED)
        row = node.wait_for(made, BLOCKED)

    assert row.detail.startswith(f"{Reason.NOT_OPERATING}; all of it was sent and not answered")


def test_destination_that_is_removed_gets_nothing_more(tmp_path: Path) -> None:
    receiver = Receiver(port=unused_port())
    with network_with(tmp_path, receiver.ae) as database, running_node(tmp_path, database) as node:
        made = node.arrive()
        wait_until(lambda: [row for row in node.deliveries() if row.detail])
        with database.write() as session:
            remove_route(session, f"to {PACS_B}")
            remove_ae(session, PACS_B)
        node.wait_for(made, BLOCKED)
        assert node.delivery(made).detail == Reason.PEER_REMOVED

        with receiver.listening():
            with database.write() as session:
                put_ae(session, receiver.ae)
                put_route(session, Route("again", PACS_B))
            node.authority.refresh()
            node.writer.write(lambda session: retry(session, node.clock()))
            node.wait_for(made, COMPLETED)


# --- restart and stop -------------------------------------------------------------------------------------------------


def test_what_was_under_way_at_a_crash_is_delivered_after_it(tmp_path: Path) -> None:
    with Receiver().listening() as receiver, network_with(tmp_path, receiver.ae) as database:
        spool = Spool(tmp_path / "spool", 0)
        writer = spool.create()
        writer.write([b"data"])
        made = record(record_id=writer.record_id, plan=plan(PACS_B))
        writer.commit(made)
        assert recover(spool, database) == 1
        with database.write() as session:
            assert len(claim(session, PACS_B, utc_now(), 10)) == 1
        recover(spool, database)
        spool.close()

        with running_node(tmp_path, database) as node:
            row = node.wait_for(made, COMPLETED)

    assert row.attempts == 1
    assert receiver.received == [(made.head.sop_instance_uid, b"data")]


def test_stop_lets_running_sends_finish(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.go_on.clear()
    with receiver.listening(), network_with(tmp_path, receiver.ae) as database:
        with running_node(tmp_path, database) as node:
            node.arrive_series(10)
            wait_until(lambda: receiver.storing_count)
            receiver.go_on.set()
            node.stop()
            states = [row.state for row in node.deliveries()]

        assert set(states) <= {COMPLETED, QUEUED}
        assert states.count(COMPLETED) == len(receiver.received) > 0
        with running_node(tmp_path, database, consented=False) as node:
            node.wait_until_all(COMPLETED, 10)
    assert sorted(receiver.uids) == sorted(set(receiver.uids))
    assert len(receiver.received) == 10


def test_stop_breaks_off_what_does_not_end(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.go_on.clear()
    with (
        receiver.listening(),
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        node.arrive_series(5)
        wait_until(lambda: receiver.storing_count)
        began_at = monotonic()
        node.stop(0.1)
        took_s = monotonic() - began_at

        assert took_s < PATIENCE_S
        assert node.states() == {QUEUED}
        assert len(node.deliveries()) == 5


def test_what_is_indexed_after_the_stop_is_left_to_the_queue(tmp_path: Path) -> None:
    """The destination had no pool yet, so none was stopped; none is made any more."""
    receiver = Receiver()
    with (
        receiver.listening(),
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        node.service.stop(1.0)

        node.wait_for(node.arrive(), QUEUED)

    assert receiver.associations == []


def test_stop_does_not_wait_for_a_ledger_that_does_not_answer(tmp_path: Path) -> None:
    """An instance that was to leave early waits for the first of its study, when the database fails half way."""
    receiver = Receiver()
    receiver.go_on.clear()
    with (
        receiver.listening(),
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database) as node,
    ):
        first = node.arrive()
        wait_until(lambda: receiver.storing_count)
        early = delivery(study_instance_uid=first.head.study_instance_uid, is_arriving=True)
        arriving = node.cut_through.begin(early.record_id, (HOSPITAL_A, early.sop_instance_uid), [PACS_B])
        assert arriving is not None
        assert node.service.offer(early)
        assert arriving.taken_by() == {PACS_B}  # on the way to the ledger, and never to arrive there
        stopper = Thread(target=node.service.stop, args=(0.1,), daemon=True)
        stopper.start()
        stopper.join(PATIENCE_S)

        assert not stopper.is_alive()
        arriving.end()


# --- handed over without the queue ------------------------------------------------------------------------------------


def test_new_ones_line_up_behind_those_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.transfer.pool.CLAIMED_PER_ASSOCIATION_COUNT", 4)
    receiver = Receiver()
    receiver.go_on.clear()
    with (
        receiver.listening(),
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database, settings=replace(SETTINGS, association_count=1)) as node,
    ):
        made = [node.arrive()]
        wait_until(lambda: receiver.storing_count)
        for _ in range(15):
            made.append(node.arrive())
            node.wait_for_rows(len(made))
        states = [row.state for row in node.deliveries()]
        assert ACTIVE not in states[states.index(QUEUED) :]
        receiver.go_on.set()
        node.wait_until_all(COMPLETED, len(made))

    assert receiver.uids == [each.head.sop_instance_uid for each in made]


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_delivered_twice_or_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Bursts and pauses, destinations that are full now and then, stops in between: each instance arrives once."""
    monkeypatch.setattr("gateway.transfer.pool.CLAIMED_PER_ASSOCIATION_COUNT", 2)
    chance = random.Random(seed)
    one = Receiver("ONE", answer=lambda _uid, times: OUT_OF_RESOURCES if times == 1 and chance.random() < 0.1 else 0)
    two = Receiver("TWO", maximum_associations=2)
    made: list[str] = []
    with one.listening(), two.listening(), network_with(tmp_path, one.ae, two.ae) as database:
        for run in range(3):
            with running_node(tmp_path, database, retries=EAGER, consented=run == 0) as node:
                for _ in range(chance.randrange(1, 6)):
                    burst = node.arrive_series(chance.randrange(1, 12))
                    made += [each.head.sop_instance_uid for each in burst]
                    if chance.random() < 0.5:
                        node.wait_for_rows(2 * len(made))
                node.stop(PATIENCE_S)
                assert node.states() <= {COMPLETED, QUEUED}
                assert len(node.deliveries()) == 2 * len(made)
        with running_node(tmp_path, database, retries=EAGER, consented=False) as node:
            node.wait_until_all(COMPLETED, 2 * len(made))
            attempts = sum(row.attempts for row in node.deliveries())

    assert sorted(two.uids) == sorted(set(one.uids)) == sorted(made)
    assert attempts == len(one.uids) + len(two.uids)


# --- retention --------------------------------------------------------------------------------------------------------


def test_delivered_data_sets_are_removed_after_their_retention(tmp_path: Path) -> None:
    with (
        Receiver(answer=lambda uid, _: 0xA900 if uid.startswith("1.2.9.") else 0).listening() as receiver,
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database, retention_s=60.0) as node,
    ):
        made = node.arrive_series(5)
        failed = node.arrive(sop_instance_uid="1.2.9.1")
        wait_until(lambda: sorted(row.state for row in node.deliveries()) == sorted([COMPLETED] * 5 + [FAILED]))
        assert len(list(node.spool.record_ids())) == 6

        node.clock.ahead = timedelta(seconds=61)
        wait_until(lambda: list(node.spool.record_ids()) == [failed.record_id])

        expected = {each.record_id: InstanceState.RELEASED for each in made}
        assert node.instance_states() == {**expected, failed.record_id: InstanceState.SPOOLED}
        assert len(node.deliveries()) == 6
        again = node.arrive(b"data" + b"%08d" % 0, sop_instance_uid=made[0].head.sop_instance_uid)
        node.wait_for(again, COMPLETED)


def test_nothing_is_removed_before_its_retention(tmp_path: Path) -> None:
    with (
        Receiver().listening() as receiver,
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database, retention_s=60.0) as node,
    ):
        early = node.arrive()
        node.wait_for(early, COMPLETED)
        node.clock.ahead = timedelta(seconds=5)
        late = node.arrive()
        node.wait_for(late, COMPLETED)
        node.clock.ahead = timedelta(seconds=62)
        wait_until(lambda: list(node.spool.record_ids()) == [late.record_id])


def test_large_series_in_one_go(tmp_path: Path) -> None:
    """More than is claimed at once: taken in portions, delivered once, over the same few associations."""
    count = 300
    with (
        Receiver(maximum_length=65536).listening() as receiver,
        network_with(tmp_path, receiver.ae) as database,
        running_node(tmp_path, database, settings=replace(SETTINGS, linger_s=10.0)) as node,
    ):
        made = node.arrive_series(count)
        node.wait_until_all(COMPLETED, count, 60)

    assert len(receiver.received) == count
    assert set(receiver.uids) == {each.head.sop_instance_uid for each in made}
    assert 1 < len(receiver.associations) <= SETTINGS.association_count

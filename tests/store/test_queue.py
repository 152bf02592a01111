"""The queue of deliveries."""

import threading
from datetime import datetime, timedelta

import pytest

from gateway.domain.decision import Outcome
from gateway.domain.transfer import Delivery, DeliveryId, DeliveryOutcome, DeliveryState
from gateway.store.database import Database
from gateway.store.decisions import list_decisions
from gateway.store.index import index_records
from gateway.store.queue import (
    claim,
    destinations_with_work,
    finish,
    requeue_active,
    retry,
    study_deliveries,
)
from gateway.store.status import destination_statuses
from tests.build import NOON, PACS_A, PACS_B, decision, head, plan, record
from tests.store.postgresql import Server, empty

MINUTE = timedelta(minutes=1)


def enqueue(
    database: Database, count: int = 1, titles: tuple[str, ...] = (PACS_B,), received_at: datetime = NOON
) -> None:
    with database.write() as session:
        index_records(session, [record(plan=plan(*titles), received_at=received_at) for _ in range(count)])


def take(database: Database, title: str = PACS_B, now: datetime = NOON, limit_count: int = 100) -> list[Delivery]:
    with database.write() as session:
        return claim(session, title, now, limit_count)


def end(database: Database, *outcomes: DeliveryOutcome) -> None:
    with database.write() as session:
        finish(session, outcomes)


def work(database: Database, now: datetime = NOON) -> list[str]:
    with database.read() as session:
        return sorted(destinations_with_work(session, now))


def rows(database: Database, study: str) -> list[tuple[str, DeliveryState, int, int | None, str]]:
    with database.read() as session:
        return [
            (row.destination_ae_title, DeliveryState(row.state), row.attempts, row.status, row.detail)
            for _, row in study_deliveries(session, study)
        ]


def test_destinations_with_work(database: Database) -> None:
    assert work(database) == []

    enqueue(database, 3, (PACS_A, PACS_B))
    assert work(database) == [PACS_A, PACS_B]

    take(database, PACS_A)
    assert work(database) == [PACS_B]


def test_oldest_are_claimed_first_and_no_more_than_asked_for(database: Database) -> None:
    for minutes in (3, 1, 4, 2, 0):
        enqueue(database, received_at=NOON + minutes * MINUTE)
    now = NOON + 10 * MINUTE

    first, rest = take(database, now=now, limit_count=2), take(database, now=now)

    assert [delivery.due_at for delivery in first] == [NOON, NOON + MINUTE]
    assert [delivery.due_at for delivery in rest] == [NOON + 2 * MINUTE, NOON + 3 * MINUTE, NOON + 4 * MINUTE]
    assert take(database, now=now) == []


def test_delivery_to_be_tried_again_takes_its_turn_by_when_it_is_due(database: Database) -> None:
    enqueue(database)
    (early,) = take(database)
    end(database, DeliveryOutcome(early.id, DeliveryState.QUEUED, NOON, 1, due_at=NOON + 2 * MINUTE))
    enqueue(database, received_at=NOON + MINUTE)

    one, two = take(database, now=NOON + 2 * MINUTE)

    assert (one.attempts, two.id, two.due_at) == (0, early.id, NOON + 2 * MINUTE)


def test_one_destinations_claim_leaves_those_of_others(database: Database) -> None:
    enqueue(database, 2, (PACS_A, PACS_B))

    assert {delivery.destination_ae_title for delivery in take(database, PACS_A)} == {PACS_A}
    assert len(take(database, PACS_B)) == 2


def test_delivery_is_not_due_before_its_time(database: Database) -> None:
    enqueue(database)
    (delivery,) = take(database)
    end(
        database,
        DeliveryOutcome(delivery.id, DeliveryState.QUEUED, NOON, 1, detail="later", due_at=NOON + MINUTE),
    )

    assert take(database, now=NOON + MINUTE - timedelta(microseconds=1)) == []
    assert work(database, NOON) == []
    (again,) = take(database, now=NOON + MINUTE)
    assert again.attempts == 1


def test_two_claimers_share_the_work_and_nothing_twice(database: Database) -> None:
    enqueue(database, 60)
    start = threading.Barrier(2)
    claimed: list[list[DeliveryId]] = [[], []]

    def claimer(mine: list[DeliveryId]) -> None:
        start.wait()
        while deliveries := take(database, limit_count=3):
            mine.extend(delivery.id for delivery in deliveries)

    threads = [threading.Thread(target=claimer, args=(mine,)) for mine in claimed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ids = claimed[0] + claimed[1]
    assert len(ids) == len(set(ids))
    # With locked rows skipped one may see nothing while the other still holds the last ones: those are not lost.
    assert len(ids) + len(take(database)) == 60


def test_claimers_do_not_wait_for_each_other(postgresql: Server) -> None:
    """Two nodes on one server; SQLite has one writer at a time anyway."""
    database = Database(postgresql.url("node"))
    enqueue(database, 4)
    with database.write() as session:
        first = claim(session, PACS_B, NOON, 3)
        second = take(database)  # while the first claim is not committed yet

    assert (len(first), len(second)) == (3, 1)
    empty(database)
    database.close()


def test_claim_that_is_not_committed_is_none(database: Database) -> None:
    enqueue(database)

    def claim_and_fail() -> None:
        with database.write() as session:
            assert len(claim(session, PACS_B, NOON, 10)) == 1
            raise KeyError

    with pytest.raises(KeyError):
        claim_and_fail()

    assert len(take(database)) == 1


def test_outcome_is_kept(database: Database) -> None:
    made = record(head=head(study_instance_uid="1.2.3"))
    with database.write() as session:
        index_records(session, [made])
    (delivery,) = take(database)

    end(
        database,
        DeliveryOutcome(
            delivery.id, DeliveryState.COMPLETED, NOON + MINUTE, 3, 0xB000, "coercion", sent_sha256=made.sha256
        ),
    )

    assert rows(database, "1.2.3") == [(PACS_B, DeliveryState.COMPLETED, 3, 0xB000, "coercion")]
    with database.read() as session:
        ((uid, row),) = study_deliveries(session, "1.2.3")
        assert uid == made.head.sop_instance_uid
        assert (row.finished_at, row.sent_sha256) == (NOON + MINUTE, made.sha256)
        assert (row.due_at, row.decision_id) == (NOON, delivery.decision_id)


def test_outcome_is_that_of_one_destination(database: Database) -> None:
    enqueue(database, 2, (PACS_A, PACS_B))
    to_a, to_b = take(database, PACS_A), take(database, PACS_B)
    assert {delivery.record_id for delivery in to_a} == {delivery.record_id for delivery in to_b}

    end(database, DeliveryOutcome(to_b[0].id, DeliveryState.COMPLETED, NOON, 1, 0))

    with database.read() as session:
        counts = {status.destination_ae_title: status.counts for status in destination_statuses(session)}
    assert counts == {
        PACS_A: {DeliveryState.ACTIVE: 2},
        PACS_B: {DeliveryState.ACTIVE: 1, DeliveryState.COMPLETED: 1},
    }


def test_outcomes_are_kept_each_for_its_own_delivery(database: Database) -> None:
    study = "1.2.3"
    received = (NOON - 2 * MINUTE, NOON - MINUTE, NOON)
    with database.write() as session:
        index_records(session, [record(head=head(study_instance_uid=study), received_at=at) for at in received])
    one, two, three = take(database)

    end(
        database,
        DeliveryOutcome(one.id, DeliveryState.COMPLETED, NOON, 1, 0),
        DeliveryOutcome(two.id, DeliveryState.FAILED, NOON, 1, 0xA900, "no"),
        DeliveryOutcome(three.id, DeliveryState.QUEUED, NOON, 1, due_at=NOON + MINUTE),
    )

    assert rows(database, study) == [
        (PACS_B, DeliveryState.COMPLETED, 1, 0, ""),
        (PACS_B, DeliveryState.FAILED, 1, 0xA900, "no"),
        (PACS_B, DeliveryState.QUEUED, 1, None, ""),
    ]


def test_decision_that_blocked_a_delivery_is_recorded_with_it(database: Database) -> None:
    enqueue(database)
    (delivery,) = take(database)
    denial = decision(Outcome.DENY)

    end(
        database,
        DeliveryOutcome(delivery.id, DeliveryState.BLOCKED_BY_CONSENT, NOON, 0, detail="withdrawn", decision=denial),
    )

    with database.write() as session:
        assert denial in list_decisions(session, limit_count=10)
        assert retry(session, NOON) == 1
    assert take(database)[0].decision_id == denial.id


def test_what_was_under_way_is_due_again_at_the_start(database: Database) -> None:
    enqueue(database)
    enqueue(database, received_at=NOON - MINUTE)
    taken = take(database, limit_count=1)

    with database.write() as session:
        requeue_active(session)

    assert [delivery.id for delivery in take(database, limit_count=1)] == [delivery.id for delivery in taken]


def test_retry_queues_what_failed_or_was_blocked(database: Database) -> None:
    enqueue(database, 4, (PACS_A, PACS_B))
    ends = (
        DeliveryState.FAILED, DeliveryState.BLOCKED_BY_CONSENT, DeliveryState.COMPLETED, DeliveryState.QUEUED
    )  # fmt: skip
    for title in (PACS_A, PACS_B):
        for delivery, state in zip(take(database, title), ends, strict=True):
            end(database, DeliveryOutcome(delivery.id, state, NOON, 8, due_at=NOON + MINUTE))

    with database.write() as session:
        assert retry(session, NOON, PACS_A) == 2

    again = take(database, PACS_A)
    assert [delivery.attempts for delivery in again] == [0, 0]
    assert take(database, PACS_B) == []
    with database.write() as session:
        assert retry(session, NOON) == 2

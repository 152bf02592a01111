"""How deliveries stand: by destination, and by pair of AEs."""

from datetime import datetime, timedelta

from gateway.domain.transfer import Delivery, DeliveryOutcome, DeliveryState
from gateway.store.database import Database
from gateway.store.index import index_records
from gateway.store.queue import claim, finish
from gateway.store.status import RATE_LOOK_BACK, RATE_WINDOW, PairStatus, destination_statuses, pair_statuses
from tests.build import NOON, PACS_A, PACS_B, plan, record

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
CALLING = record().arrival.calling_ae_title


def enqueue(
    database: Database, count: int = 1, titles: tuple[str, ...] = (PACS_B,), received_at: datetime = NOON
) -> None:
    with database.write() as session:
        index_records(session, [record(plan=plan(*titles), received_at=received_at) for _ in range(count)])


def take(database: Database, title: str = PACS_B, now: datetime = NOON) -> list[Delivery]:
    with database.write() as session:
        return claim(session, title, now, 100)


def end(database: Database, *outcomes: DeliveryOutcome) -> None:
    with database.write() as session:
        finish(session, outcomes)


def delivered(delivery: Delivery, at: datetime) -> DeliveryOutcome:
    return DeliveryOutcome(delivery.id, DeliveryState.COMPLETED, at, 1, 0)


def pairs(database: Database, now: datetime = NOON) -> list[PairStatus]:
    with database.read() as session:
        return pair_statuses(session, now)


def test_statuses_of_destinations(database: Database) -> None:
    with database.read() as session:
        assert destination_statuses(session) == []
    enqueue(database, 3, (PACS_B,), NOON + MINUTE)
    enqueue(database, 1, (PACS_A, PACS_B), NOON)
    _, second, third, _ = take(database, now=NOON + MINUTE)
    end(
        database,
        DeliveryOutcome(second.id, DeliveryState.FAILED, NOON + MINUTE, 1, 0xA900, "earlier"),
        DeliveryOutcome(third.id, DeliveryState.FAILED, NOON + 2 * MINUTE, 1, 0xA900, "later"),
    )

    with database.read() as session:
        a, b = destination_statuses(session)

    assert (a.destination_ae_title, a.counts, a.latest_detail) == (PACS_A, {DeliveryState.QUEUED: 1}, "")
    assert a.oldest_waiting == NOON
    assert b.counts == {DeliveryState.FAILED: 2, DeliveryState.ACTIVE: 2}
    assert (b.latest_detail, b.oldest_waiting) == ("later", NOON)


def test_destination_with_nothing_waiting(database: Database) -> None:
    enqueue(database)
    (delivery,) = take(database)
    end(database, delivered(delivery, NOON))

    with database.read() as session:
        (status,) = destination_statuses(session)
    assert status.oldest_waiting is None


def test_pairs_with_something_waiting_or_just_delivered(database: Database) -> None:
    assert pairs(database) == []
    enqueue(database, 4, (PACS_A, PACS_B))
    first, second, *_ = take(database)
    end(database, delivered(first, NOON), delivered(second, NOON))

    a, b = pairs(database)
    size = record().data_bytes
    assert a == PairStatus(CALLING, PACS_A, 4, 0, 0)
    assert b == PairStatus(CALLING, PACS_B, 2, 2, 2 * size)
    assert b.instances_per_s * RATE_WINDOW.total_seconds() == 2
    assert b.bytes_per_s * RATE_WINDOW.total_seconds() == 2 * size


def test_a_rate_is_that_of_the_last_minute(database: Database) -> None:
    enqueue(database)
    (delivery,) = take(database)
    end(database, delivered(delivery, NOON))

    assert len(pairs(database, NOON + RATE_WINDOW)) == 1
    assert pairs(database, NOON + RATE_WINDOW + SECOND) == []


def test_what_was_due_long_ago_is_no_part_of_a_rate(database: Database) -> None:
    enqueue(database, received_at=NOON - RATE_LOOK_BACK - MINUTE)
    (delivery,) = take(database)
    end(database, delivered(delivery, NOON))

    assert pairs(database, NOON) == []


def test_what_failed_is_no_part_of_a_rate(database: Database) -> None:
    enqueue(database)
    (delivery,) = take(database)
    end(database, DeliveryOutcome(delivery.id, DeliveryState.FAILED, NOON, 1, 0xA900))

    assert pairs(database, NOON) == []

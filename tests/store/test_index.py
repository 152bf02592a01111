"""Records into rows: the same instance twice, and other content under the same UID."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import select

from gateway.domain.decision import Reason
from gateway.domain.person import PatientKey
from gateway.domain.transfer import (
    Delivery,
    DeliveryId,
    DeliveryOutcome,
    DeliveryState,
    InstanceState,
    Plan,
    SpoolRecord,
    delivery_of,
)
from gateway.store.database import Database
from gateway.store.decisions import list_decisions
from gateway.store.index import (
    Claim,
    Claims,
    Entry,
    Indexed,
    StudyKey,
    index_records,
    is_known,
    known_record_ids,
    mark_released,
    releasable_record_ids,
    spooled_record_ids,
    studies_with_uid,
    to_the_queue,
)
from gateway.store.queue import claim, finish, requeue_active
from gateway.store.tables import DeliveryRow, InstanceRow
from tests.build import HOSPITAL_A, HOSPITAL_B, NOON, PACS_A, PACS_B, head, plan, record

LATER = NOON + timedelta(hours=1)
MUCH_LATER = NOON + timedelta(days=1)


def enter(database: Database, *records: SpoolRecord, claims: Claims = to_the_queue) -> list[Entry]:
    with database.write() as session:
        return index_records(session, records, claims)


def index(database: Database, *records: SpoolRecord) -> list[Indexed]:
    """What became of records nobody waits for."""
    entries = enter(database, *records)
    assert [entry.deliveries for entry in entries] == [()] * len(records)
    return [entry.indexed for entry in entries]


def index_all(database: Database, records: Iterable[SpoolRecord], *, in_one_batch: bool) -> list[Indexed]:
    if in_one_batch:
        return index(database, *records)
    return [result for each in records for result in index(database, each)]


def again(first: SpoolRecord, data: bytes = b"data", **changes: object) -> SpoolRecord:
    """The same SOP Instance UID once more."""
    return record(data, head=first.head, **changes)


def deliveries(database: Database, first: SpoolRecord) -> dict[str, str]:
    """State by destination."""
    with database.read() as session:
        rows = session.scalars(select(DeliveryRow).where(DeliveryRow.record_id == first.record_id))
        return {row.destination_ae_title: row.state for row in rows}


def states(database: Database) -> dict[str, str]:
    with database.read() as session:
        return {row.record_id: row.state for row in session.scalars(select(InstanceRow))}


def take(database: Database, title: str = PACS_B) -> list[Delivery]:
    with database.write() as session:
        return claim(session, title, MUCH_LATER, 100)


def end(database: Database, *deliveries: Delivery, state: DeliveryState = DeliveryState.COMPLETED) -> None:
    with database.write() as session:
        finish(session, [DeliveryOutcome(each.id, state, LATER, each.attempts + 1) for each in deliveries])


def test_new_record_is_indexed_and_its_permitted_deliveries_queued(database: Database) -> None:
    made = record(plan=plan(PACS_A, PACS_B, denied=("OTHER",)))

    assert index(database, made) == [Indexed.NEW]

    assert states(database) == {made.record_id: InstanceState.SPOOLED}
    assert deliveries(database, made) == {PACS_A: DeliveryState.QUEUED, PACS_B: DeliveryState.QUEUED}
    with database.read() as session:
        recorded = {decision.id for decision in list_decisions(session, limit_count=10)}
        assert recorded == {planned.decision.id for planned in made.plan.destinations}
        assert known_record_ids(session) == spooled_record_ids(session) == {made.record_id}


def test_claimed_delivery_carries_what_the_record_says(database: Database) -> None:
    made = record(b"x" * 10, xxh3_128="3" * 32)
    index(database, made)

    (delivery,) = take(database)

    assert delivery == Delivery(
        record_id=made.record_id,
        destination_ae_title=PACS_B,
        decision_id=made.plan.destinations[0].decision.id,
        sop_class_uid=made.head.sop_class_uid,
        sop_instance_uid=made.head.sop_instance_uid,
        study_instance_uid=made.head.study_instance_uid,
        transfer_syntax_uid=made.head.transfer_syntax_uid,
        patient=made.head.patient,
        source_oid=HOSPITAL_A,
        calling_ae_title=PACS_A,
        due_at=NOON,
        data_bytes=10,
        sha256=sha256(b"x" * 10).hexdigest(),
        xxh3_128="3" * 32,
        attempts=0,
        is_arriving=False,
    )
    assert delivery.id == DeliveryId(made.record_id, PACS_B)


# --- who makes the first delivery -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim_", "state", "is_handed_over"),
    [
        (Claim.QUEUE, DeliveryState.QUEUED, False),
        (Claim.HAND_OVER, DeliveryState.ACTIVE, True),
        (Claim.TAKEN, DeliveryState.ACTIVE, False),
    ],
)
def test_delivery_is_made_by_whoever_claims_it(
    database: Database, claim_: Claim, state: DeliveryState, is_handed_over: bool
) -> None:
    made = record()

    (entry,) = enter(database, made, claims=lambda *_: claim_)

    handed_over = (delivery_of(made, made.plan.destinations[0]),) if is_handed_over else ()
    assert entry == Entry(Indexed.NEW, handed_over)
    assert deliveries(database, made) == {PACS_B: state}
    assert len(take(database)) == (state is DeliveryState.QUEUED)


def test_delivery_that_is_handed_over_is_the_one_a_claim_would_give(database: Database) -> None:
    made = record(b"x" * 10, xxh3_128="3" * 32)
    ((handed_over,),) = (entry.deliveries for entry in enter(database, made, claims=lambda *_: Claim.HAND_OVER))
    with database.write() as session:
        requeue_active(session)

    assert take(database) == [handed_over]


def test_each_permitted_delivery_is_claimed_for_itself(database: Database) -> None:
    first = record(plan=plan(PACS_A, PACS_B, denied=("OTHER",)))
    second = record(plan=plan(PACS_B))
    asked: list[tuple[str, str]] = []

    def claims(of: SpoolRecord, ae_title: str) -> Claim:
        asked.append((of.record_id, ae_title))
        return Claim.HAND_OVER if (of, ae_title) == (first, PACS_B) else Claim.QUEUE

    entries = enter(database, first, second, claims=claims)

    assert asked == [(first.record_id, PACS_A), (first.record_id, PACS_B), (second.record_id, PACS_B)]
    assert [[each.id for each in entry.deliveries] for entry in entries] == [[(first.record_id, PACS_B)], []]
    assert deliveries(database, first) == {PACS_A: DeliveryState.QUEUED, PACS_B: DeliveryState.ACTIVE}
    assert deliveries(database, second) == {PACS_B: DeliveryState.QUEUED}


@pytest.mark.parametrize("content", [b"data", b"other"])
def test_what_came_before_is_never_handed_over(database: Database, content: bytes) -> None:
    """Sent again it goes by the queue, where its delivery may be already; quarantined it goes nowhere."""
    first = record()
    index(database, first)

    (entry,) = enter(database, again(first, content), claims=lambda *_: pytest.fail("nobody need be asked"))

    assert entry.deliveries == ()


# --- the same instance twice ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_same_content_again_is_the_same_instance(database: Database, in_one_batch: bool) -> None:
    first = record()

    results = index_all(database, [first, again(first), again(first)], in_one_batch=in_one_batch)

    assert results == [Indexed.NEW, Indexed.SENT_AGAIN, Indexed.SENT_AGAIN]
    assert states(database) == {first.record_id: InstanceState.SPOOLED}
    assert len(take(database)) == 1


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_other_content_under_the_same_uid_is_quarantined(database: Database, in_one_batch: bool) -> None:
    first = record()
    other = again(first, b"other")
    third = again(first)
    fourth = again(first, b"other")

    results = index_all(database, [first, other, third, fourth], in_one_batch=in_one_batch)

    assert results == [Indexed.NEW, Indexed.QUARANTINED, Indexed.SENT_AGAIN, Indexed.QUARANTINED]
    assert states(database) == {
        first.record_id: InstanceState.SPOOLED,
        other.record_id: InstanceState.QUARANTINED,
        fourth.record_id: InstanceState.QUARANTINED,
    }
    assert deliveries(database, other) == {}
    assert [delivery.sha256 for delivery in take(database)] == [first.sha256]
    with database.read() as session:
        assert spooled_record_ids(session) == set(states(database))


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_same_uid_of_two_institutions_stays_two(database: Database, in_one_batch: bool) -> None:
    first = record()
    theirs = record(b"other", head=replace(first.head, patient=PatientKey(HOSPITAL_B, "B-1")), plan=plan(PACS_A))

    assert index_all(database, [first, theirs], in_one_batch=in_one_batch) == [Indexed.NEW, Indexed.NEW]

    with database.read() as session:
        studies = set(studies_with_uid(session, first.head.study_instance_uid))
    assert studies == {
        StudyKey(first.head.study_instance_uid, first.head.patient),
        StudyKey(first.head.study_instance_uid, theirs.head.patient),
    }
    assert [delivery.source_oid for delivery in take(database, PACS_A)] == [HOSPITAL_B]


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_study_is_known_once_however_many_instances_it_has(database: Database, in_one_batch: bool) -> None:
    study = head().study_instance_uid
    records = [record(head=head(study_instance_uid=study)) for _ in range(5)]

    index_all(database, records, in_one_batch=in_one_batch)

    with database.read() as session:
        assert len(list(studies_with_uid(session, study))) == 1


@pytest.mark.parametrize("state", [DeliveryState.COMPLETED, DeliveryState.FAILED, DeliveryState.BLOCKED_BY_CONSENT])
def test_instance_sent_again_is_delivered_again_when_its_delivery_had_ended(
    database: Database, state: DeliveryState
) -> None:
    first = record()
    index(database, first)
    (delivery,) = take(database)
    end(database, delivery, state=state)

    index(database, second := again(first))

    (once_more,) = take(database)
    assert (once_more.id, once_more.attempts) == (delivery.id, 0)
    assert once_more.decision_id == second.plan.destinations[0].decision.id


def test_delivery_under_way_is_not_doubled(database: Database) -> None:
    first = record()
    index(database, first)
    assert len(take(database)) == 1

    index(database, again(first))

    assert take(database) == []
    assert deliveries(database, first) == {PACS_B: DeliveryState.ACTIVE}


def test_instance_sent_again_also_goes_where_it_was_not_sent_before(database: Database) -> None:
    first = record()
    index(database, first)

    index(database, again(first, plan=plan(PACS_A, PACS_B)))

    assert deliveries(database, first) == {PACS_A: DeliveryState.QUEUED, PACS_B: DeliveryState.QUEUED}


def test_instance_sent_again_after_its_release_is_a_new_one(database: Database) -> None:
    first = record()
    index(database, first)
    end(database, *take(database))
    with database.write() as session:
        assert mark_released(session, [first.record_id]) == [first.record_id]

    second = again(first)
    assert index(database, second) == [Indexed.NEW]

    assert [delivery.record_id for delivery in take(database)] == [second.record_id]


def test_other_content_after_a_release_is_still_quarantined(database: Database) -> None:
    first = record()
    index(database, first)
    end(database, *take(database))
    with database.write() as session:
        mark_released(session, [first.record_id])

    assert index(database, again(first, b"other")) == [Indexed.QUARANTINED]


def known(database: Database, of: SpoolRecord, issuer_oid: str = HOSPITAL_A) -> bool:
    with database.read() as session:
        return is_known(session, issuer_oid, of.head.sop_instance_uid)


def test_instance_is_known_to_its_institution_once_it_is_indexed(database: Database) -> None:
    first = record()
    assert not known(database, first)

    index(database, first)

    assert known(database, first)
    assert not known(database, record())
    assert not known(database, first, HOSPITAL_B)


def test_released_instance_is_still_known(database: Database) -> None:
    first = record()
    index(database, first)
    end(database, *take(database))
    with database.write() as session:
        mark_released(session, [first.record_id])

    assert known(database, first)


# --- release ----------------------------------------------------------------------------------------------------------


def releasable(database: Database, limit_count: int = 100) -> list[str]:
    with database.read() as session:
        return releasable_record_ids(session, LATER + timedelta(seconds=1), limit_count)


def test_record_is_releasable_when_all_its_deliveries_are_completed(database: Database) -> None:
    made = record(plan=plan(PACS_A, PACS_B))
    index(database, made)
    assert releasable(database) == []

    end(database, *take(database, PACS_A))
    assert releasable(database) == []

    end(database, *take(database, PACS_B))
    assert releasable(database) == [made.record_id]


@pytest.mark.parametrize("state", [DeliveryState.FAILED, DeliveryState.BLOCKED_BY_CONSENT, DeliveryState.QUEUED])
def test_record_that_was_not_delivered_is_kept(database: Database, state: DeliveryState) -> None:
    index(database, record())
    end(database, *take(database), state=state)

    assert releasable(database) == []


def test_record_is_kept_for_its_retention(database: Database) -> None:
    made = record()
    index(database, made)
    end(database, *take(database))

    with database.read() as session:
        assert releasable_record_ids(session, LATER, 100) == []
        assert releasable_record_ids(session, LATER + timedelta(microseconds=1), 100) == [made.record_id]


def test_no_more_are_released_at_once_than_asked_for(database: Database) -> None:
    index(database, *(record() for _ in range(5)))
    end(database, *take(database))

    assert len(releasable(database, limit_count=3)) == 3


def test_quarantined_and_released_records_are_not_released(database: Database) -> None:
    first = record()
    index(database, first, again(first, b"other"))
    end(database, *take(database))

    (record_id,) = releasable(database)
    assert record_id == first.record_id
    with database.write() as session:
        mark_released(session, [record_id])

    assert releasable(database) == []
    with database.read() as session:
        assert first.record_id in known_record_ids(session)
        assert first.record_id not in spooled_record_ids(session)


def test_record_whose_delivery_was_asked_for_again_is_kept(database: Database) -> None:
    """Between the look for records to release and their release, the instance is sent again."""
    first = record()
    index(database, first)
    end(database, *take(database))
    chosen = releasable(database)
    index(database, again(first))

    with database.write() as session:
        assert mark_released(session, chosen) == []

    assert states(database) == {first.record_id: InstanceState.SPOOLED}


def test_nothing_to_index(database: Database) -> None:
    assert index(database) == []


def test_plan_that_permits_nothing_is_kept_without_deliveries(database: Database) -> None:
    made = record(plan=Plan(plan(denied=(PACS_B,)).destinations))
    index(database, made)

    assert made.plan.reason is Reason.NO_CONSENT
    assert deliveries(database, made) == {}
    assert releasable(database) == []

"""Decisions as they were made."""

from datetime import timedelta

from gateway.domain.decision import Decision, Outcome, new_id
from gateway.store.database import Database
from gateway.store.decisions import list_decisions, record_decisions
from tests.build import HOSPITAL_A, HOSPITAL_B, NOON, decision


def record(database: Database, *decisions: Decision) -> None:
    with database.write() as session:
        record_decisions(session, decisions)


def listed(database: Database, limit_count: int = 100, **conditions: str) -> list[Decision]:
    with database.read() as session:
        return list_decisions(session, limit_count=limit_count, **conditions)


def test_decisions_are_read_as_they_were_made(database: Database) -> None:
    made = [
        decision(),
        decision(Outcome.DENY, decided_at=NOON - timedelta(microseconds=1)),
        decision(document_id=new_id(), decided_at=NOON - timedelta(days=1)),
    ]
    record(database, *made)

    assert listed(database) == made


def test_decision_is_kept_once_and_never_changed(database: Database) -> None:
    made = decision()
    record(database, made, made)
    record(database, decision(Outcome.DENY, id=made.id), decision(decided_at=NOON - timedelta(days=1)))

    assert listed(database)[0] == made
    assert len(listed(database)) == 2


def test_nothing_to_record(database: Database) -> None:
    record(database)

    assert listed(database) == []


def test_latest_come_first_and_no_more_than_asked_for(database: Database) -> None:
    made = [decision(decided_at=NOON + timedelta(seconds=second)) for second in (1, 3, 2)]
    record(database, *made)

    assert listed(database, limit_count=2) == [made[1], made[2]]


def test_decisions_of_a_study_and_of_an_institution(database: Database) -> None:
    ours = decision(study_instance_uid="1.1")
    theirs = decision(study_instance_uid="1.1", source_oid=HOSPITAL_B, destination_oid=HOSPITAL_A)
    other = decision(study_instance_uid="1.2")
    record(database, ours, theirs, other)

    assert {d.id for d in listed(database, study_instance_uid="1.1")} == {ours.id, theirs.id}
    assert {d.id for d in listed(database, source_oid=HOSPITAL_A)} == {ours.id, other.id}
    assert listed(database, study_instance_uid="1.1", source_oid=HOSPITAL_A) == [ours]
    assert listed(database, study_instance_uid="1.3") == []

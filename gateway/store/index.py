"""Spool records into rows, and rows back from the spool when they are missing.

The same SOP Instance UID twice: same content is the same instance, sent again; other content is put aside and
delivered nowhere until somebody has looked at it. Nothing is ever overwritten.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from gateway.domain.person import PatientKey
from gateway.domain.transfer import DeliveryState, InstanceState, SpoolRecord
from gateway.store.decisions import record_decision
from gateway.store.tables import DeliveryRow, InstanceRow, StudyRow

_OPEN = (DeliveryState.QUEUED.value, DeliveryState.ACTIVE.value)


class Indexed(StrEnum):
    """What became of a record."""

    NEW = "NEW"
    SENT_AGAIN = "SENT_AGAIN"
    """The same content is in the spool already; the new copy is not needed."""
    QUARANTINED = "QUARANTINED"
    KNOWN = "KNOWN"
    """This very record was indexed before."""


def index_record(session: Session, record: SpoolRecord) -> Indexed:
    """Enter a durable record and queue its permitted deliveries. May be repeated."""
    if session.get(InstanceRow, record.record_id) is not None:
        return Indexed.KNOWN
    for planned in record.plan.destinations:
        record_decision(session, planned.decision)
    _add_study(session, record)
    twins = session.scalars(
        select(InstanceRow).where(
            InstanceRow.sop_instance_uid == record.head.sop_instance_uid,
            InstanceRow.issuer_oid == record.head.patient.issuer_oid,
            InstanceRow.state != InstanceState.QUARANTINED.value,
        )
    ).all()
    if any(twin.sha256 != record.sha256 for twin in twins):
        session.add(_instance(record, InstanceState.QUARANTINED))
        return Indexed.QUARANTINED
    spooled = next((twin for twin in twins if twin.state == InstanceState.SPOOLED.value), None)
    if spooled is None:
        session.add(_instance(record, InstanceState.SPOOLED))
        session.flush()
    _queue_deliveries(session, record, spooled.record_id if spooled else record.record_id)
    return Indexed.SENT_AGAIN if spooled else Indexed.NEW


def known_record_ids(session: Session) -> set[str]:
    """The ids of all indexed records."""
    return set(session.scalars(select(InstanceRow.record_id)))


def spooled_record_ids(session: Session) -> set[str]:
    """The ids of all records whose file must be there."""
    return set(session.scalars(select(InstanceRow.record_id).where(InstanceRow.state != InstanceState.RELEASED.value)))


def releasable_record_ids(session: Session, before: datetime, limit_count: int) -> list[str]:
    """Records with all deliveries completed before a moment: their data sets are not needed any more."""
    unfinished = exists().where(
        DeliveryRow.record_id == InstanceRow.record_id,
        (DeliveryRow.state != DeliveryState.COMPLETED.value) | (DeliveryRow.finished_at >= before),
    )
    delivered = exists().where(DeliveryRow.record_id == InstanceRow.record_id)
    query = (
        select(InstanceRow.record_id)
        .where(InstanceRow.state == InstanceState.SPOOLED.value, delivered, ~unfinished)
        .limit(limit_count)
    )
    return list(session.scalars(query))


def mark_released(session: Session, record_ids: list[str]) -> list[str]:
    """Enter that these data sets are about to be removed; returns those still free of open deliveries."""
    open_ids = set(
        session.scalars(
            select(DeliveryRow.record_id).where(
                DeliveryRow.record_id.in_(record_ids), DeliveryRow.state != DeliveryState.COMPLETED.value
            )
        )
    )
    free = [record_id for record_id in record_ids if record_id not in open_ids]
    session.execute(
        update(InstanceRow).where(InstanceRow.record_id.in_(free)).values(state=InstanceState.RELEASED.value)
    )
    return free


@dataclass(frozen=True, slots=True)
class StudyKey:
    """A study and the patient it belongs to, as its institution names them."""

    study_instance_uid: str
    patient: PatientKey


def studies_with_uid(session: Session, study_instance_uid: str) -> Iterator[StudyKey]:
    """The studies known by this UID: one per institution that sent it."""
    for row in session.scalars(select(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid)):
        yield StudyKey(row.study_instance_uid, PatientKey(row.issuer_oid, row.patient_id))


def _queue_deliveries(session: Session, record: SpoolRecord, record_id: str) -> None:
    """One delivery per permitted destination; one that has ended before is asked for again."""
    for planned in record.plan.permitted:
        row = session.scalar(
            select(DeliveryRow).where(
                DeliveryRow.record_id == record_id, DeliveryRow.destination_ae_title == planned.ae_title
            )
        )
        if row is None:
            session.add(
                DeliveryRow(
                    record_id=record_id,
                    destination_ae_title=planned.ae_title,
                    decision_id=planned.decision.id,
                    state=DeliveryState.QUEUED.value,
                    attempts=0,
                    due_at=record.received_at,
                    detail="",
                )
            )
        elif row.state not in _OPEN:
            row.state = DeliveryState.QUEUED.value
            row.decision_id = planned.decision.id
            row.attempts = 0
            row.due_at = record.received_at


def _add_study(session: Session, record: SpoolRecord) -> None:
    head = record.head
    key = (head.study_instance_uid, head.patient.issuer_oid)
    if session.get(StudyRow, key) is None:
        session.add(
            StudyRow(
                study_instance_uid=head.study_instance_uid,
                issuer_oid=head.patient.issuer_oid,
                patient_id=head.patient.patient_id,
                accession_number=head.accession_number,
                first_received_at=record.received_at,
            )
        )


def _instance(record: SpoolRecord, state: InstanceState) -> InstanceRow:
    head = record.head
    return InstanceRow(
        record_id=record.record_id,
        sop_instance_uid=head.sop_instance_uid,
        sop_class_uid=head.sop_class_uid,
        transfer_syntax_uid=head.transfer_syntax_uid,
        study_instance_uid=head.study_instance_uid,
        series_instance_uid=head.series_instance_uid,
        issuer_oid=head.patient.issuer_oid,
        patient_id=head.patient.patient_id,
        calling_ae_title=record.arrival.calling_ae_title,
        data_bytes=record.data_bytes,
        sha256=record.sha256,
        received_at=record.received_at,
        state=state.value,
    )

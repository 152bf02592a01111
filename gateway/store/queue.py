"""The queue of deliveries: claim, finish, count. One row per instance and destination."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from gateway.domain.person import PatientKey
from gateway.domain.transfer import Delivery, DeliveryOutcome, DeliveryState
from gateway.store.decisions import record_decisions
from gateway.store.tables import DeliveryRow, InstanceRow

_DELIVERY = DeliveryRow.metadata.tables[DeliveryRow.__tablename__]


def destinations_with_work(session: Session, now: datetime) -> list[str]:
    """The destinations for which something is due."""
    return list(
        session.scalars(
            select(DeliveryRow.destination_ae_title)
            .where(DeliveryRow.state == DeliveryState.QUEUED.value, DeliveryRow.due_at <= now)
            .distinct()
        )
    )


def claim(session: Session, destination_ae_title: str, now: datetime, limit_count: int) -> list[Delivery]:
    """Take up to `limit_count` due deliveries of a destination, oldest first; they are ACTIVE from then on."""
    query = (
        select(
            DeliveryRow.id,
            DeliveryRow.record_id,
            DeliveryRow.destination_ae_title,
            DeliveryRow.decision_id,
            InstanceRow.sop_class_uid,
            InstanceRow.sop_instance_uid,
            InstanceRow.study_instance_uid,
            InstanceRow.transfer_syntax_uid,
            InstanceRow.issuer_oid,
            InstanceRow.patient_id,
            InstanceRow.data_bytes,
            InstanceRow.sha256,
            DeliveryRow.attempts,
        )
        .join(InstanceRow, InstanceRow.record_id == DeliveryRow.record_id)
        .where(
            DeliveryRow.destination_ae_title == destination_ae_title,
            DeliveryRow.state == DeliveryState.QUEUED.value,
            DeliveryRow.due_at <= now,
        )
        .order_by(DeliveryRow.id)
        .limit(limit_count)
        .with_for_update(of=DeliveryRow, skip_locked=True)
    )
    claimed = [_claimed(row) for row in session.execute(query)]
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.id.in_([delivery.id for delivery in claimed]))
        .values(state=DeliveryState.ACTIVE.value)
        .execution_options(synchronize_session=False)
    )
    return claimed


def finish(session: Session, outcomes: Sequence[DeliveryOutcome]) -> Sequence[DeliveryOutcome]:
    """Enter how attempts ended."""
    record_decisions(session, (outcome.decision for outcome in outcomes if outcome.decision is not None))
    for outcome in outcomes:
        values: dict[str, object] = {
            "state": outcome.state.value,
            "status": outcome.status,
            "detail": outcome.detail,
            "sent_sha256": outcome.sent_sha256,
            "attempts": outcome.attempts,
            "finished_at": outcome.finished_at,
        }
        if outcome.due_at is not None:
            values["due_at"] = outcome.due_at
        if outcome.decision is not None:
            values["decision_id"] = outcome.decision.id
        session.connection().execute(_DELIVERY.update().where(_DELIVERY.c.id == outcome.delivery_id).values(values))
    return outcomes


def requeue_active(session: Session) -> None:
    """At start: what was under way when the gateway stopped is due again."""
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.state == DeliveryState.ACTIVE.value)
        .values(state=DeliveryState.QUEUED.value)
    )


def retry(session: Session, now: datetime, destination_ae_title: str | None = None) -> int:
    """Queue failed and blocked deliveries again; returns how many."""
    ended = (DeliveryState.FAILED.value, DeliveryState.BLOCKED_BY_CONSENT.value)
    query = update(DeliveryRow).where(DeliveryRow.state.in_(ended))
    if destination_ae_title is not None:
        query = query.where(DeliveryRow.destination_ae_title == destination_ae_title)
    result = session.execute(query.values(state=DeliveryState.QUEUED.value, attempts=0, due_at=now))
    return int(result.rowcount)  # type: ignore[attr-defined]  # an UPDATE yields a cursor result


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """How many deliveries to a destination are in which state, and the latest trouble with it."""

    destination_ae_title: str
    counts: dict[DeliveryState, int]
    oldest_waiting: datetime | None
    latest_detail: str


def destination_statuses(session: Session) -> list[DestinationStatus]:
    """Every destination that ever had a delivery."""
    counts: dict[str, dict[DeliveryState, int]] = {}
    query = select(DeliveryRow.destination_ae_title, DeliveryRow.state, func.count()).group_by(
        DeliveryRow.destination_ae_title, DeliveryRow.state
    )
    for title, state, count in session.execute(query):
        counts.setdefault(title, {})[DeliveryState(state)] = count
    return [
        DestinationStatus(title, states, _oldest_waiting(session, title), _latest_detail(session, title))
        for title, states in sorted(counts.items())
    ]


def study_deliveries(session: Session, study_instance_uid: str) -> Iterable[tuple[str, DeliveryRow]]:
    """The deliveries of a study as (SOP Instance UID, row)."""
    return [
        (uid, row)
        for uid, row in session.execute(
            select(InstanceRow.sop_instance_uid, DeliveryRow)
            .join(InstanceRow, InstanceRow.record_id == DeliveryRow.record_id)
            .where(InstanceRow.study_instance_uid == study_instance_uid)
            .order_by(DeliveryRow.id)
        )
    ]


def _oldest_waiting(session: Session, title: str) -> datetime | None:
    return session.scalar(
        select(func.min(InstanceRow.received_at))
        .join(DeliveryRow, InstanceRow.record_id == DeliveryRow.record_id)
        .where(
            DeliveryRow.destination_ae_title == title,
            DeliveryRow.state.in_((DeliveryState.QUEUED.value, DeliveryState.ACTIVE.value)),
        )
    )


def _latest_detail(session: Session, title: str) -> str:
    query = (
        select(DeliveryRow.detail)
        .where(DeliveryRow.destination_ae_title == title, DeliveryRow.detail != "")
        .order_by(DeliveryRow.finished_at.desc())
        .limit(1)
    )
    return session.scalar(query) or ""


def _claimed(row: Any) -> Delivery:
    return Delivery(
        id=row.id,
        record_id=row.record_id,
        destination_ae_title=row.destination_ae_title,
        decision_id=row.decision_id,
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        study_instance_uid=row.study_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        patient=PatientKey(row.issuer_oid, row.patient_id),
        source_oid=row.issuer_oid,
        data_bytes=row.data_bytes,
        sha256=row.sha256,
        attempts=row.attempts,
    )

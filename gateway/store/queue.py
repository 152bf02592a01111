"""The queue of deliveries: claim, finish, try again. One row per instance and destination."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, func, select, update
from sqlalchemy.orm import Session

from gateway.domain.person import PatientKey
from gateway.domain.transfer import Delivery, DeliveryOutcome, DeliveryState
from gateway.store.decisions import record_decisions
from gateway.store.tables import DeliveryRow, InstanceRow, UtcDateTime, table_of

_DELIVERY = table_of(DeliveryRow)
_INSTANCE = table_of(InstanceRow)

# The statements of the data path are built once: building one costs more processor time than running it.
_DUE = and_(_DELIVERY.c.state == DeliveryState.QUEUED.value, _DELIVERY.c.due_at <= bindparam("now"))
_WITH_WORK = select(_DELIVERY.c.destination_ae_title).where(_DUE).distinct()
_CLAIM = (
    select(
        _DELIVERY.c.record_id,
        _DELIVERY.c.destination_ae_title,
        _DELIVERY.c.decision_id,
        _DELIVERY.c.attempts,
        _DELIVERY.c.due_at,
        _INSTANCE.c.sop_class_uid,
        _INSTANCE.c.sop_instance_uid,
        _INSTANCE.c.study_instance_uid,
        _INSTANCE.c.transfer_syntax_uid,
        _INSTANCE.c.issuer_oid,
        _INSTANCE.c.patient_id,
        _INSTANCE.c.calling_ae_title,
        _INSTANCE.c.data_bytes,
        _INSTANCE.c.sha256,
        _INSTANCE.c.xxh3_128,
    )
    .join(_INSTANCE, _INSTANCE.c.record_id == _DELIVERY.c.record_id)
    .where(_DELIVERY.c.destination_ae_title == bindparam("title"), _DUE)
    .order_by(_DELIVERY.c.due_at)
    .limit(bindparam("limit_count"))
    .with_for_update(of=_DELIVERY, skip_locked=True)
)
_MARK_ACTIVE = (
    update(_DELIVERY)
    .where(
        _DELIVERY.c.destination_ae_title == bindparam("title"),
        _DELIVERY.c.record_id.in_(bindparam("record_ids", expanding=True)),
    )
    .values(state=DeliveryState.ACTIVE.value)
)
_FINISH = (
    update(_DELIVERY)
    .where(
        _DELIVERY.c.record_id == bindparam("of_record_id"),
        _DELIVERY.c.destination_ae_title == bindparam("to_ae_title"),
    )
    .values(
        state=bindparam("state"),
        status=bindparam("status"),
        detail=bindparam("detail"),
        sent_sha256=bindparam("sent_sha256"),
        attempts=bindparam("attempts"),
        finished_at=bindparam("finished_at"),
        due_at=func.coalesce(bindparam("new_due_at", type_=UtcDateTime), _DELIVERY.c.due_at),
        decision_id=func.coalesce(bindparam("new_decision_id"), _DELIVERY.c.decision_id),
    )
)


def destinations_with_work(session: Session, now: datetime) -> list[str]:
    """The destinations for which something is due."""
    return list(session.connection().scalars(_WITH_WORK, {"now": now}))


def claim(session: Session, destination_ae_title: str, now: datetime, limit_count: int) -> list[Delivery]:
    """Take up to `limit_count` due deliveries of a destination, oldest first; they are ACTIVE from then on."""
    connection = session.connection()
    rows = connection.execute(_CLAIM, {"title": destination_ae_title, "now": now, "limit_count": limit_count})
    claimed = [_claimed(row) for row in rows]
    record_ids = [delivery.record_id for delivery in claimed]
    connection.execute(_MARK_ACTIVE, {"title": destination_ae_title, "record_ids": record_ids})
    return claimed


def finish(session: Session, outcomes: Sequence[DeliveryOutcome]) -> Sequence[DeliveryOutcome]:
    """Enter how attempts ended."""
    record_decisions(session, (outcome.decision for outcome in outcomes if outcome.decision is not None))
    session.connection().execute(
        _FINISH,
        [
            {
                "of_record_id": outcome.delivery_id.record_id,
                "to_ae_title": outcome.delivery_id.destination_ae_title,
                "state": outcome.state.value,
                "status": outcome.status,
                "detail": outcome.detail,
                "sent_sha256": outcome.sent_sha256,
                "attempts": outcome.attempts,
                "finished_at": outcome.finished_at,
                "new_due_at": outcome.due_at,
                "new_decision_id": outcome.decision.id if outcome.decision else None,
            }
            for outcome in outcomes
        ],
    )
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


def study_deliveries(session: Session, study_instance_uid: str) -> Iterable[tuple[str, DeliveryRow]]:
    """The deliveries of a study as (SOP Instance UID, row)."""
    return [
        (uid, row)
        for uid, row in session.execute(
            select(InstanceRow.sop_instance_uid, DeliveryRow)
            .join(InstanceRow, InstanceRow.record_id == DeliveryRow.record_id)
            .where(InstanceRow.study_instance_uid == study_instance_uid)
            .order_by(DeliveryRow.due_at)
        )
    ]


def _claimed(row: Any) -> Delivery:
    return Delivery(
        record_id=row.record_id,
        destination_ae_title=row.destination_ae_title,
        decision_id=row.decision_id,
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        study_instance_uid=row.study_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        patient=PatientKey(row.issuer_oid, row.patient_id),
        source_oid=row.issuer_oid,
        calling_ae_title=row.calling_ae_title,
        due_at=row.due_at,
        data_bytes=row.data_bytes,
        sha256=row.sha256,
        xxh3_128=row.xxh3_128,
        attempts=row.attempts,
    )

"""Decisions as they were made, for the question "why"."""

import json
from collections.abc import Iterable

from sqlalchemy import bindparam, insert, select
from sqlalchemy.orm import Session

from gateway.domain.decision import Decision, Outcome, Purpose, Reason, Verdict
from gateway.store.tables import DecisionRow, table_of

_DECISION = table_of(DecisionRow)
_KNOWN = select(_DECISION.c.id).where(_DECISION.c.id.in_(bindparam("ids", expanding=True)))
_INSERT = insert(_DECISION)


def record_decisions(session: Session, decisions: Iterable[Decision]) -> None:
    """Keep decisions; those already kept are left as they are."""
    by_id = {decision.id: decision for decision in decisions}
    if not by_id:
        return
    connection = session.connection()
    for known in connection.scalars(_KNOWN, {"ids": list(by_id)}):
        by_id.pop(known)
    rows = [
        {
            "id": decision.id,
            "decided_at": decision.decided_at,
            "study_instance_uid": decision.study_instance_uid,
            "source_oid": decision.source_oid,
            "destination_oid": decision.destination_oid,
            "outcome": decision.verdict.outcome.value,
            "reason": decision.verdict.reason.value,
            "forms": json.dumps(decision.verdict.forms),
            "consent_epoch": decision.consent_epoch,
            "purpose": decision.purpose.value,
            "document_id": decision.document_id,
        }
        for decision in by_id.values()
    ]
    if rows:
        connection.execute(_INSERT, rows)


def list_decisions(
    session: Session,
    *,
    study_instance_uid: str | None = None,
    source_oid: str | None = None,
    limit_count: int,
) -> list[Decision]:
    """The latest decisions, newest first; of one study, or on what one institution owns, if asked."""
    query = select(DecisionRow).order_by(DecisionRow.decided_at.desc(), DecisionRow.id).limit(limit_count)
    if study_instance_uid is not None:
        query = query.where(DecisionRow.study_instance_uid == study_instance_uid)
    if source_oid is not None:
        query = query.where(DecisionRow.source_oid == source_oid)
    return list(_decisions(session.scalars(query)))


def _decisions(rows: Iterable[DecisionRow]) -> Iterable[Decision]:
    for row in rows:
        yield Decision(
            id=row.id,
            decided_at=row.decided_at,
            study_instance_uid=row.study_instance_uid,
            source_oid=row.source_oid,
            destination_oid=row.destination_oid,
            verdict=Verdict(Outcome(row.outcome), Reason(row.reason), tuple(json.loads(row.forms))),
            consent_epoch=row.consent_epoch,
            purpose=Purpose(row.purpose),
            document_id=row.document_id,
        )

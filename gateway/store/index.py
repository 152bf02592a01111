"""Spool records into rows, and rows back from the spool when they are missing.

The same SOP Instance UID twice: same content is the same instance, sent again; other content is put aside and
delivered nowhere until somebody has looked at it. Nothing is ever overwritten.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum

from sqlalchemy import Insert, bindparam, exists, insert, select, update
from sqlalchemy.orm import Session

from gateway.domain.person import PatientKey
from gateway.domain.transfer import (
    Delivery,
    DeliveryState,
    InstanceState,
    PlannedDestination,
    SpoolRecord,
    delivery_of,
)
from gateway.store.decisions import record_decisions
from gateway.store.tables import DeliveryRow, InstanceRow, StudyRow, table_of

_OPEN = (DeliveryState.QUEUED.value, DeliveryState.ACTIVE.value)


_INSTANCE = table_of(InstanceRow)
_STUDY = table_of(StudyRow)

# The statements of the data path are built once: building one costs more processor time than running it.
_TWINS = select(
    _INSTANCE.c.issuer_oid, _INSTANCE.c.sop_instance_uid, _INSTANCE.c.record_id, _INSTANCE.c.sha256, _INSTANCE.c.state
).where(
    _INSTANCE.c.sop_instance_uid.in_(bindparam("uids", expanding=True)),
    _INSTANCE.c.state != InstanceState.QUARANTINED.value,
)
_KNOWN_STUDIES = select(_STUDY.c.study_instance_uid, _STUDY.c.issuer_oid).where(
    _STUDY.c.study_instance_uid.in_(bindparam("uids", expanding=True))
)
_INSERT_INSTANCES = insert(_INSTANCE)
_INSERT_DELIVERIES = insert(table_of(DeliveryRow))
_INSERT_STUDIES = insert(_STUDY)


class Indexed(StrEnum):
    """What became of a record."""

    NEW = "NEW"
    SENT_AGAIN = "SENT_AGAIN"
    """The same content is in the spool already; the new copy is not needed."""
    QUARANTINED = "QUARANTINED"


@dataclass(frozen=True, slots=True)
class _Twin:
    """An indexed instance with the same SOP Instance UID from the same institution."""

    record_id: str
    sha256: str
    is_spooled: bool


class Claim(Enum):
    """Who makes the first delivery of a record to a destination."""

    QUEUE = "queue"
    """Whoever claims it from the queue."""
    HAND_OVER = "hand over"
    """It is ACTIVE from the beginning, and handed over by `index_records`."""
    TAKEN = "taken"
    """It is ACTIVE from the beginning: somebody began when the record was still arriving."""


Claims = Callable[[SpoolRecord, str], Claim]
"""Asked for each permitted destination of a new record; the text is the destination's AE title."""


def to_the_queue(_record: SpoolRecord, _ae_title: str) -> Claim:
    """Nobody waits for anything: all deliveries are queued."""
    return Claim.QUEUE


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of a record, and the deliveries that are handed over with it."""

    indexed: Indexed
    deliveries: tuple[Delivery, ...] = ()


def index_records(session: Session, records: Sequence[SpoolRecord], claims: Claims = to_the_queue) -> list[Entry]:
    """Enter durable records, none of which is known yet, with their permitted deliveries."""
    record_decisions(session, (planned.decision for record in records for planned in record.plan.destinations))
    _add_studies(session, records)
    twins = _twins(session, records)
    entries: list[Entry] = []
    instances: list[dict[str, object]] = []
    deliveries: list[dict[str, object]] = []
    again: list[tuple[str, SpoolRecord]] = []
    for record in records:
        known = twins.setdefault((record.head.patient.issuer_oid, record.head.sop_instance_uid), [])
        spooled = next((twin for twin in known if twin.is_spooled), None)
        if any(twin.sha256 != record.sha256 for twin in known):
            instances.append(_instance(record, InstanceState.QUARANTINED))
            entries.append(Entry(Indexed.QUARANTINED))
        elif spooled is not None:
            again.append((spooled.record_id, record))
            entries.append(Entry(Indexed.SENT_AGAIN))
        else:
            known.append(_Twin(record.record_id, record.sha256, is_spooled=True))
            instances.append(_instance(record, InstanceState.SPOOLED))
            claimed = [(planned, claims(record, planned.ae_title)) for planned in record.plan.permitted]
            deliveries += [_delivery(record.record_id, record, planned, claim) for planned, claim in claimed]
            handed = (delivery_of(record, planned) for planned, claim in claimed if claim is Claim.HAND_OVER)
            entries.append(Entry(Indexed.NEW, tuple(handed)))
    _insert(session, _INSERT_INSTANCES, instances)
    _insert(session, _INSERT_DELIVERIES, deliveries)
    for record_id, record in again:
        _deliver_again(session, record_id, record)
    return entries


def is_known(session: Session, issuer_oid: str, sop_instance_uid: str) -> bool:
    """Whether an instance of this UID from this institution has been indexed, and not put aside."""
    rows = session.connection().execute(_TWINS, {"uids": [sop_instance_uid]})
    return any(row.issuer_oid == issuer_oid for row in rows)


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


def _twins(session: Session, records: Sequence[SpoolRecord]) -> dict[tuple[str, str], list[_Twin]]:
    uids = [record.head.sop_instance_uid for record in records]
    twins: dict[tuple[str, str], list[_Twin]] = {}
    for issuer_oid, uid, record_id, digest, state in session.connection().execute(_TWINS, {"uids": uids}):
        twin = _Twin(record_id, digest, is_spooled=state == InstanceState.SPOOLED.value)
        twins.setdefault((issuer_oid, uid), []).append(twin)
    return twins


def _deliver_again(session: Session, record_id: str, record: SpoolRecord) -> None:
    """The sender asks for deliveries that may have ended before; those still open are not doubled."""
    session.flush()
    for planned in record.plan.permitted:
        row = session.scalar(
            select(DeliveryRow).where(
                DeliveryRow.record_id == record_id, DeliveryRow.destination_ae_title == planned.ae_title
            )
        )
        if row is None:
            _insert(session, _INSERT_DELIVERIES, [_delivery(record_id, record, planned)])
        elif row.state not in _OPEN:
            row.state = DeliveryState.QUEUED.value
            row.decision_id = planned.decision.id
            row.attempts = 0
            row.due_at = record.received_at


def _add_studies(session: Session, records: Sequence[SpoolRecord]) -> None:
    by_key = {(record.head.study_instance_uid, record.head.patient.issuer_oid): record for record in records}
    uids = list({study_instance_uid for study_instance_uid, _ in by_key})
    known = session.connection().execute(_KNOWN_STUDIES, {"uids": uids})
    for study_instance_uid, issuer_oid in known:
        by_key.pop((study_instance_uid, issuer_oid), None)
    _insert(
        session,
        _INSERT_STUDIES,
        [
            {
                "study_instance_uid": study_instance_uid,
                "issuer_oid": issuer_oid,
                "patient_id": record.head.patient.patient_id,
                "accession_number": record.head.accession_number,
                "first_received_at": record.received_at,
            }
            for (study_instance_uid, issuer_oid), record in by_key.items()
        ],
    )


def _insert(session: Session, statement: Insert, rows: list[dict[str, object]]) -> None:
    if rows:
        session.connection().execute(statement, rows)


def _instance(record: SpoolRecord, state: InstanceState) -> dict[str, object]:
    head = record.head
    return {
        "record_id": record.record_id,
        "sop_instance_uid": head.sop_instance_uid,
        "sop_class_uid": head.sop_class_uid,
        "transfer_syntax_uid": head.transfer_syntax_uid,
        "study_instance_uid": head.study_instance_uid,
        "series_instance_uid": head.series_instance_uid,
        "issuer_oid": head.patient.issuer_oid,
        "patient_id": head.patient.patient_id,
        "calling_ae_title": record.arrival.calling_ae_title,
        "data_bytes": record.data_bytes,
        "sha256": record.sha256,
        "xxh3_128": record.xxh3_128,
        "received_at": record.received_at,
        "state": state.value,
    }


def _delivery(
    record_id: str, record: SpoolRecord, planned: PlannedDestination, claim: Claim = Claim.QUEUE
) -> dict[str, object]:
    state = DeliveryState.QUEUED if claim is Claim.QUEUE else DeliveryState.ACTIVE
    return {
        "record_id": record_id,
        "destination_ae_title": planned.ae_title,
        "decision_id": planned.decision.id,
        "state": state.value,
        "attempts": 0,
        "due_at": record.received_at,
        "detail": "",
    }

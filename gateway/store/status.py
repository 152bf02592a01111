"""How deliveries stand, counted from the ledger."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gateway.domain.transfer import DeliveryState
from gateway.store.tables import DeliveryRow, InstanceRow

RATE_WINDOW = timedelta(minutes=1)
"""Over which the rate of deliveries is told: long enough to be steady, short enough to be now."""

RATE_LOOK_BACK = timedelta(hours=1)
"""What was due before does not count towards a rate: the ledger may hold years, and its index is by due time."""


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


@dataclass(frozen=True, slots=True)
class PairStatus:
    """What goes from one AE to another: what waits, and what arrived in the last `RATE_WINDOW`."""

    calling_ae_title: str
    destination_ae_title: str
    waiting_count: int
    delivered_count: int
    delivered_bytes: int

    @property
    def instances_per_s(self) -> float:
        return self.delivered_count / RATE_WINDOW.total_seconds()

    @property
    def bytes_per_s(self) -> float:
        return self.delivered_bytes / RATE_WINDOW.total_seconds()


def pair_statuses(session: Session, now: datetime) -> list[PairStatus]:
    """Every pair of AEs with something waiting or just delivered, by title."""
    pair = (InstanceRow.calling_ae_title, DeliveryRow.destination_ae_title)
    joined = select(*pair, func.count(), func.sum(InstanceRow.data_bytes)).join(
        InstanceRow, InstanceRow.record_id == DeliveryRow.record_id
    )
    waiting = joined.where(DeliveryRow.state.in_((DeliveryState.QUEUED.value, DeliveryState.ACTIVE.value)))
    delivered = joined.where(
        DeliveryRow.state == DeliveryState.COMPLETED.value,
        DeliveryRow.due_at >= now - RATE_LOOK_BACK,
        DeliveryRow.finished_at >= now - RATE_WINDOW,
    )
    waiting_counts = {(row[0], row[1]): row[2] for row in session.execute(waiting.group_by(*pair))}
    rates = {(row[0], row[1]): (row[2], int(row[3])) for row in session.execute(delivered.group_by(*pair))}
    return [
        PairStatus(*titles, waiting_counts.get(titles, 0), *rates.get(titles, (0, 0)))
        for titles in sorted(waiting_counts.keys() | rates.keys())
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

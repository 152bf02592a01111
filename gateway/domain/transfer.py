"""Where things go, and how far they got."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from gateway.domain.decision import Decision, Outcome, Reason
from gateway.domain.instance import InstanceHead
from gateway.domain.person import PatientKey
from gateway.errors import InputError

ROUTE_NAME_LIMIT_CHARACTERS = 40
"""Names appear in tables, logs and metrics."""


@dataclass(frozen=True, slots=True)
class Route:
    """What comes from `calling_ae_title` addressed to `called_ae_title` goes to `destination_ae_title`.

    None matches every title. Several routes may match: each adds its destination.
    """

    name: str
    destination_ae_title: str
    calling_ae_title: str | None = None
    called_ae_title: str | None = None

    def __post_init__(self) -> None:
        name = self.name
        if not name.isprintable() or name != name.strip() or not 0 < len(name) <= ROUTE_NAME_LIMIT_CHARACTERS:
            raise InputError("route name: expected 1 to 40 characters without spaces around them")


@dataclass(frozen=True, slots=True)
class PlannedDestination:
    """One destination of an instance and the decision that lets it go there or not."""

    ae_title: str
    route: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class Plan:
    """All destinations of an instance. Empty when no route matched."""

    destinations: tuple[PlannedDestination, ...]

    @property
    def permitted(self) -> tuple[PlannedDestination, ...]:
        return tuple(d for d in self.destinations if d.decision.verdict.outcome is Outcome.PERMIT)

    @property
    def reason(self) -> Reason:
        """Why, in one word: the first permit's reason, else the first denial's, else `no_route`."""
        for planned in (*self.permitted, *self.destinations):
            return planned.decision.verdict.reason
        return Reason.NO_ROUTE


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who handed an instance in: the audit part of a spool record."""

    calling_ae_title: str
    called_ae_title: str
    address: str
    institution_oid: str
    association_id: str


@dataclass(frozen=True, slots=True)
class SpoolRecord:
    """All there is to know of a received instance: what the trailer of its spool file says.

    `sha256` is over the `data_bytes` bytes of the data set exactly as received, in hexadecimal digits. So is
    `xxh3_128`, by which a delivery notices damage at a thirtieth of the cost; None in records of earlier versions.
    """

    record_id: str
    head: InstanceHead
    data_bytes: int
    sha256: str
    received_at: datetime
    arrival: Arrival
    plan: Plan
    xxh3_128: str | None = None


class InstanceState(StrEnum):
    SPOOLED = "SPOOLED"
    """The data set is in the spool."""
    QUARANTINED = "QUARANTINED"
    """Same SOP Instance UID as an earlier one, other content: kept aside, delivered nowhere."""
    RELEASED = "RELEASED"
    """Delivered everywhere and past its retention; only the row remains."""


class DeliveryState(StrEnum):
    QUEUED = "QUEUED"
    ACTIVE = "ACTIVE"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    BLOCKED_BY_CONSENT = "BLOCKED_BY_CONSENT"


class DeliveryId(NamedTuple):
    """A record goes to a destination once."""

    record_id: str
    destination_ae_title: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One instance on its way to one destination.

    One that `is_arriving` leaves while it still comes in: its length and digest are not known yet, nor is it in the
    ledger.
    """

    record_id: str
    destination_ae_title: str
    decision_id: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    patient: PatientKey
    source_oid: str
    calling_ae_title: str
    due_at: datetime
    data_bytes: int = 0
    sha256: str = ""
    xxh3_128: str | None = None
    attempts: int = 0
    is_arriving: bool = False

    @property
    def id(self) -> DeliveryId:
        return DeliveryId(self.record_id, self.destination_ae_title)


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """How one attempt ended. `due_at` is set when it is to be tried again.

    `attempts` counts those made so far. `status` is the DIMSE status the peer answered with; `sent_bytes` and
    `sent_sha256` are length and digest of what left in full.
    """

    delivery_id: DeliveryId
    state: DeliveryState
    finished_at: datetime
    attempts: int
    status: int | None = None
    detail: str = ""
    sent_bytes: int = 0
    sent_sha256: str | None = None
    due_at: datetime | None = None
    decision: Decision | None = None


def delivery_of(record: SpoolRecord, planned: PlannedDestination, *, is_arriving: bool = False) -> Delivery:
    """The first delivery of a record to a destination of its plan."""
    head = record.head
    return Delivery(
        record_id=record.record_id,
        destination_ae_title=planned.ae_title,
        decision_id=planned.decision.id,
        sop_class_uid=head.sop_class_uid,
        sop_instance_uid=head.sop_instance_uid,
        study_instance_uid=head.study_instance_uid,
        transfer_syntax_uid=head.transfer_syntax_uid,
        patient=head.patient,
        source_oid=head.patient.issuer_oid,
        calling_ae_title=record.arrival.calling_ae_title,
        due_at=record.received_at,
        data_bytes=record.data_bytes,
        sha256=record.sha256,
        xxh3_128=record.xxh3_128,
        is_arriving=is_arriving,
    )

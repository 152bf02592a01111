"""Values and small parts that many tests need, each with sensible defaults to be changed by keyword."""

import itertools
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from gateway.consent.forms import NO_CONSENT, ConsentForm, ConsentMode, EffectiveConsent, FormKind
from gateway.domain.decision import Decision, Outcome, Reason, Verdict, new_id
from gateway.domain.instance import InstanceHead
from gateway.domain.institution import Institution, ParticipationState
from gateway.domain.network import Network
from gateway.domain.peer import ApplicationEntity
from gateway.domain.person import PatientKey
from gateway.domain.transfer import Arrival, Delivery, Plan, PlannedDestination, Route, SpoolRecord
from gateway.errors import DecisionUnavailable
from gateway.store.database import Database
from gateway.store.migrate import prepare
from gateway.store.network import put_ae, put_institution, put_route
from gateway.store.spool import Spool

HOSPITAL_A = "1.2.410.100110.10.11111111"
HOSPITAL_B = "1.2.410.100110.10.22222222"
PACS_A = "PACS_A"
PACS_B = "PACS_B"
PATIENT = PatientKey(HOSPITAL_A, "A-1001")
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""The moment it is in tests that need no other."""

_serial = itertools.count(1)


def utc_now() -> datetime:
    return datetime.now(UTC)


def new_uid() -> str:
    """A UID nobody else in this run uses."""
    return f"1.2.826.0.1.{secrets.randbelow(10**12)}.{next(_serial)}"


def form(kind: FormKind, form_id: str | None = None) -> ConsentForm:
    return ConsentForm(form_id or new_id(), kind, NOON, "desk")


def verdict(outcome: Outcome = Outcome.PERMIT) -> Verdict:
    reason = Reason.CONSENT_IN_FORCE if outcome is Outcome.PERMIT else Reason.NO_CONSENT
    return Verdict(outcome, reason, ("f" * 32,) if outcome is Outcome.PERMIT else ())


def decision(outcome: Outcome = Outcome.PERMIT, **changes: Any) -> Decision:
    made = Decision(
        id=new_id(),
        decided_at=NOON,
        study_instance_uid="1.2.3",
        source_oid=HOSPITAL_A,
        destination_oid=HOSPITAL_B,
        verdict=verdict(outcome),
        consent_epoch=7,
    )
    return replace(made, **changes)


def plan(*permitted: str, denied: tuple[str, ...] = ()) -> Plan:
    """A plan that lets an instance go to some AE titles and not to others."""
    return Plan(
        tuple(
            PlannedDestination(title, f"to {title}", decision(outcome))
            for outcome, titles in ((Outcome.PERMIT, permitted), (Outcome.DENY, denied))
            for title in titles
        )
    )


def head(**changes: Any) -> InstanceHead:
    made = InstanceHead(
        sop_class_uid=CT_IMAGE,
        sop_instance_uid=new_uid(),
        study_instance_uid=new_uid(),
        series_instance_uid=new_uid(),
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        patient=PATIENT,
        accession_number="ACC-1",
        modality="CT",
    )
    return replace(made, **changes)


ARRIVAL = Arrival(PACS_A, "GATEWAY", "192.0.2.7", HOSPITAL_A, "0123456789abcdef")


def record(data: bytes = b"data", **changes: Any) -> SpoolRecord:
    """What the trailer of `data` would say; permitted to hospital B unless `plan` says otherwise."""
    made = SpoolRecord(
        record_id=new_id(),
        head=head(),
        data_bytes=len(data),
        sha256=sha256(data).hexdigest(),
        received_at=NOON,
        arrival=ARRIVAL,
        plan=plan(PACS_B),
    )
    return replace(made, **changes)


def spooled(spool: Spool, data: bytes, **changes: Any) -> SpoolRecord:
    """A record with this data set, durable in the spool."""
    writer = spool.create()
    writer.write([data])
    made = record(data, record_id=writer.record_id, **changes)
    writer.commit(made)
    return made


def delivery(**changes: Any) -> Delivery:
    made = Delivery(
        record_id=new_id(),
        destination_ae_title=PACS_B,
        decision_id=new_id(),
        sop_class_uid=CT_IMAGE,
        sop_instance_uid=new_uid(),
        study_instance_uid="1.2.3",
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        patient=PATIENT,
        source_oid=HOSPITAL_A,
        calling_ae_title=PACS_A,
        due_at=NOON,
        data_bytes=4,
        sha256=sha256(b"data").hexdigest(),
    )
    return replace(made, **changes)


def ae(title: str, institution_oid: str, port: int = 104, host: str = "127.0.0.1") -> ApplicationEntity:
    return ApplicationEntity(title, institution_oid, host, port, ("127.0.0.0/8",))


def network(
    epoch: int = 1,
    states: Mapping[str, ParticipationState] | None = None,
    routes: tuple[Route, ...] = (Route("a-to-b", PACS_B, PACS_A),),
) -> Network:
    """Hospitals A and B with a PACS each."""
    states = states or {}
    hospitals = [
        Institution(oid, name, states.get(oid, ParticipationState.OPERATING))
        for oid, name in ((HOSPITAL_A, "Hospital A"), (HOSPITAL_B, "Hospital B"))
    ]
    peers = [ae(PACS_A, HOSPITAL_A), ae(PACS_B, HOSPITAL_B)]
    return Network(epoch, {h.oid: h for h in hospitals}, {p.title: p for p in peers}, routes)


CONSENT_GIVEN = EffectiveConsent(ConsentMode.ACTIVE, ("c1",))


@dataclass
class Registry:
    """An authority whose state is set by the test; it serves as its own view."""

    network: Network = field(default_factory=network)
    consents: dict[PatientKey, EffectiveConsent] = field(default_factory=lambda: {PATIENT: CONSENT_GIVEN})
    readable: bool = True
    asked_count: int = 0

    def view(self) -> "Registry":
        self.asked_count += 1
        if not self.readable:
            raise DecisionUnavailable("the database does not answer")
        return replace(self)

    def consent(self, patient: PatientKey) -> EffectiveConsent:
        return self.consents.get(patient, NO_CONSENT)

    def change(self, known: Network | None = None, consents: dict[PatientKey, EffectiveConsent] | None = None) -> None:
        """A registration: the epoch advances."""
        self.network = replace(known or self.network, epoch=self.network.epoch + 1)
        if consents is not None:
            self.consents = consents


def register(database: Database, known: Network | None = None) -> None:
    """Enter a network's objects in the database."""
    known = known or network()
    with database.write() as session:
        for hospital in known.institutions.values():
            put_institution(session, hospital)
        for peer in known.application_entities.values():
            put_ae(session, peer)
        for route in known.routes:
            put_route(session, route)


@contextmanager
def node_database(directory: Path, busy_timeout_s: float = 5.0) -> Iterator[Database]:
    """A new SQLite database with this version's schema."""
    database = Database(f"sqlite:///{directory / 'gateway.db'}", busy_timeout_s)
    try:
        prepare(database)
        yield database
    finally:
        database.close()

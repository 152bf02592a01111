"""The inside of a node, for real: spool, database, writer, authority and delivery service."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.consent.forms import FormKind
from gateway.domain.peer import ApplicationEntity
from gateway.domain.person import PatientKey
from gateway.domain.transfer import DeliveryState, InstanceState, Route, SpoolRecord
from gateway.metrics import Metrics
from gateway.net.dial import DialSettings
from gateway.planning import Planner
from gateway.store.authority import StoredAuthority
from gateway.store.consents import register_form
from gateway.store.database import Database
from gateway.store.network import put_ae, put_route
from gateway.store.spool import Spool
from gateway.store.tables import DeliveryRow, InstanceRow
from gateway.store.writer import Writer
from gateway.transfer.arrivals import Arrivals
from gateway.transfer.cut_through import STALL_S, CutThrough
from gateway.transfer.deliver import ActiveSends, Deliverer
from gateway.transfer.delivery import DeliveryService
from gateway.transfer.pool import PoolSettings
from gateway.transfer.retry import RetryPolicy
from tests.build import (
    HOSPITAL_A,
    PACS_A,
    PATIENT,
    ae,
    head,
    network,
    new_uid,
    node_database,
    record,
    register,
    utc_now,
)
from tests.wait import wait_until

DIAL = DialSettings("GATEWAY", connect_timeout_s=5, associate_timeout_s=5, response_timeout_s=5)
SETTINGS = PoolSettings(association_count=4, linger_s=0.05, stall_timeout_s=10, response_timeout_s=10, dial=DIAL)
RETRIES = RetryPolicy(attempt_count=4, first_retry_s=0.05, longest_retry_s=0.2)
SENDER = ae(PACS_A, HOSPITAL_A)


@dataclass
class Clock:
    """The time of day, which a test can put forward."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@dataclass
class Node:
    """A node between its two network sides."""

    database: Database
    spool: Spool
    writer: Writer
    authority: StoredAuthority
    planner: Planner
    service: DeliveryService
    arrivals: Arrivals
    active: ActiveSends
    cut_through: CutThrough
    metrics: Metrics
    clock: Clock
    stopped: bool = field(default=False)

    def arrive(self, data: bytes = b"data", patient: PatientKey = PATIENT, **changes: Any) -> SpoolRecord:
        """An instance that hospital A sends; returns when its record is durable, as its sender would be told."""
        instance = head(patient=patient, **changes)
        plan = self.planner.plan(instance, SENDER, "GATEWAY")
        writer = self.spool.create()
        writer.write([data])
        made = record(data, record_id=writer.record_id, head=instance, plan=plan, received_at=self.clock())
        writer.commit(made)
        self.arrivals.enter(made)
        return made

    def arrive_series(self, count: int, data: bytes = b"data") -> list[SpoolRecord]:
        """Instances of one study."""
        study = new_uid()
        return [self.arrive(data + b"%08d" % number, study_instance_uid=study) for number in range(count)]

    def consent(self, kind: FormKind = FormKind.ENTIRE_CONSENT, patient: PatientKey = PATIENT) -> None:
        with self.database.write() as session:
            register_form(session, patient, kind, self.clock(), "desk")

    def deliveries(self) -> list[DeliveryRow]:
        """All deliveries as they are now, oldest first."""
        with self.database.read() as session:
            return session.query(DeliveryRow).order_by(DeliveryRow.due_at).all()

    def delivery(self, made: SpoolRecord) -> DeliveryRow:
        """The only delivery of a record."""
        (row,) = [row for row in self.deliveries() if row.record_id == made.record_id]
        return row

    def states(self) -> set[DeliveryState]:
        """The states deliveries are in."""
        return {DeliveryState(row.state) for row in self.deliveries()}

    def instance_states(self) -> dict[str, InstanceState]:
        with self.database.read() as session:
            return {row.record_id: InstanceState(row.state) for row in session.query(InstanceRow)}

    def wait_for(self, made: SpoolRecord, state: DeliveryState, timeout_s: float = 20.0) -> DeliveryRow:
        """The delivery of a record as soon as it is in this state."""

        def reached() -> DeliveryRow | None:
            rows = [row for row in self.deliveries() if row.record_id == made.record_id]
            return rows[0] if rows and rows[0].state == state else None

        row = wait_until(reached, timeout_s)
        assert row is not None
        return row

    def wait_for_rows(self, count: int) -> None:
        """Until so many deliveries are in the ledger."""
        wait_until(lambda: len(self.deliveries()) >= count)

    def wait_until_all(self, state: DeliveryState, count: int, timeout_s: float = 20.0) -> None:
        wait_until(lambda: [row.state for row in self.deliveries()] == [state] * count, timeout_s)

    def stop(self, timeout_s: float = 5.0) -> None:
        """In the order in which the gateway stops its parts."""
        if not self.stopped:
            self.stopped = True
            self.service.stop(timeout_s)
            self.authority.stop()
            self.writer.stop()
            self.spool.close()


@contextmanager
def network_with(directory: Path, *destinations: ApplicationEntity) -> Iterator[Database]:
    """A database with both hospitals, these destinations, and a route to each."""
    with node_database(directory) as database:
        register(database, network(routes=()))
        with database.write() as session:
            for destination in destinations:
                put_ae(session, destination)
                put_route(session, Route(f"to {destination.title}", destination.title))
        yield database


@contextmanager
def running_node(
    directory: Path,
    database: Database,
    *,
    settings: PoolSettings = SETTINGS,
    retries: RetryPolicy = RETRIES,
    retention_s: float = 3600.0,
    consented: bool = True,
    stall_s: float = STALL_S,
) -> Iterator[Node]:
    """A node that runs until the block ends. The patient has consented, unless said otherwise."""
    clock, metrics, active, cut_through = Clock(), Metrics(), ActiveSends(), CutThrough(stall_s)
    spool = Spool(directory / "spool", 0)
    writer = Writer(database)
    authority = StoredAuthority(database, refresh_s=0.05, stale_after_s=5.0)
    planner = Planner(authority, clock)
    service = DeliveryService(
        database=database,
        writer=writer,
        spool=spool,
        authority=authority,
        deliverer=Deliverer(planner, spool, retries, active, cut_through, metrics.stages, clock),
        settings=settings,
        retention_s=retention_s,
        metrics=metrics,
        clock=clock,
    )
    arrivals = Arrivals(spool, database, writer, service, cut_through)
    authority.on_change(service.enforce)
    node = Node(database, spool, writer, authority, planner, service, arrivals, active, cut_through, metrics, clock)
    if consented:
        node.consent()
    writer.start()
    authority.start()
    service.start()
    try:
        yield node
    finally:
        node.stop()

"""Two hospitals and what is registered of them at a gateway's database, whatever process the gateway runs in.

STORESCU of hospital A sends; HOSPITAL_B of hospital B receives. Both may call from this machine.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gateway.app.node import Gateway
from gateway.app.parts import open_database, utc_now
from gateway.config import (
    ConsentSettings,
    DeliverySettings,
    NodeSettings,
    SCPSettings,
    Settings,
    SpoolSettings,
    WebSettings,
)
from gateway.consent.forms import FormKind
from gateway.domain.institution import Institution
from gateway.domain.peer import ApplicationEntity
from gateway.domain.person import PatientKey
from gateway.domain.transfer import DeliveryState, InstanceState, Route
from gateway.ops.node import GatewayNode
from gateway.store.consents import register_form
from gateway.store.network import put_ae, put_institution, put_route
from gateway.store.tables import DecisionRow, DeliveryRow, InstanceRow
from tests.scp.raw import LOOPBACK
from tests.wait import wait_until

HOSPITAL_A = "1.2.410.100110.10.10000001"
HOSPITAL_B = "1.2.410.100110.10.10000002"
SENDER = "STORESCU"
DESTINATION = "HOSPITAL_B"
UNROUTED = "UNROUTED"
"""Also of hospital A; no route takes what it sends."""
ELSEWHERE = "ELSEWHERE"
"""Also of hospital A, and registered for another address than this machine's."""
GATEWAY = "GATEWAY"
ANYWHERE = (f"{LOOPBACK}/32",)

CONSENTING = "CANARY-1001"
"""The PatientID of a patient who has consented, in every site."""

STRANGER = "CANARY-2002"
"""The PatientID of one who has not."""


INSTANCE_LIMIT_BYTES = 4 << 20


class Site:
    """The registered objects of one gateway, changed and read as the command line does: through the database."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._database = open_database(settings)

    def close(self) -> None:
        self._database.close()

    def edit(self, operation: Callable[[Session], object]) -> None:
        with self._database.write() as session:
            operation(session)

    def register(self, destination_port: int) -> None:
        """Both hospitals, their AE titles, the route from A to B, and the consent of one patient."""
        with self._database.write() as session:
            put_institution(session, Institution(HOSPITAL_A, "Hospital A"))
            put_institution(session, Institution(HOSPITAL_B, "Hospital B"))
            session.flush()
            put_ae(session, ApplicationEntity(SENDER, HOSPITAL_A, LOOPBACK, 104, ANYWHERE))
            put_ae(session, ApplicationEntity(UNROUTED, HOSPITAL_A, LOOPBACK, 104, ANYWHERE))
            put_ae(session, ApplicationEntity(ELSEWHERE, HOSPITAL_A, LOOPBACK, 104, ("192.0.2.0/24",)))
            put_ae(session, ApplicationEntity(DESTINATION, HOSPITAL_B, LOOPBACK, destination_port, ANYWHERE))
            session.flush()
            put_route(session, Route("a-to-b", DESTINATION, calling_ae_title=SENDER))
            register_form(session, PatientKey(HOSPITAL_A, CONSENTING), FormKind.ENTIRE_CONSENT, utc_now(), "test")

    def ae(self, title: str, port: int = 104, addresses: tuple[str, ...] = ANYWHERE, oid: str = HOSPITAL_A) -> None:
        self.edit(lambda session: put_ae(session, ApplicationEntity(title, oid, LOOPBACK, port, addresses)))

    def route(self, name: str, to: str, calling: str | None = None, called: str | None = None) -> None:
        self.edit(lambda session: put_route(session, Route(name, to, calling, called)))

    def consent(self, patient_id: str, kind: FormKind = FormKind.ENTIRE_CONSENT) -> None:
        patient = PatientKey(HOSPITAL_A, patient_id)
        self.edit(lambda session: register_form(session, patient, kind, utc_now(), "test"))

    def withdraw(self, patient_id: str) -> None:
        self.consent(patient_id, FormKind.ENTIRE_WITHDRAWAL)

    def deliveries(self) -> Counter[DeliveryState]:
        """How many deliveries are in which state."""
        with self._database.read() as session:
            rows = session.execute(select(DeliveryRow.state, func.count()).group_by(DeliveryRow.state))
            return Counter({DeliveryState(state): count for state, count in rows})

    def instances(self) -> dict[str, list[InstanceState]]:
        """The states of all indexed instances by SOP Instance UID, in order of arrival."""
        states: dict[str, list[InstanceState]] = {}
        with self._database.read() as session:
            for row in session.scalars(select(InstanceRow).order_by(InstanceRow.received_at)):
                states.setdefault(row.sop_instance_uid, []).append(InstanceState(row.state))
        return states

    def reasons(self) -> Counter[str]:
        """How many decisions were recorded for which reason."""
        with self._database.read() as session:
            return Counter(session.scalars(select(DecisionRow.reason)))

    def spooled(self) -> list[Path]:
        """The spool's files that are not empty."""
        files = (path for path in self.settings.spool_dir.rglob("*") if path.is_file() and path.name != "lock")
        return sorted(path for path in files if path.stat().st_size)

    def settled(self) -> bool:
        """Whether nothing waits to be delivered."""
        counts = self.deliveries()
        return not (counts[DeliveryState.QUEUED] or counts[DeliveryState.ACTIVE])


def settings(folder: Path, **scp: object) -> Settings:
    """Of a gateway that runs in this process, quick to retry and without REST; keyword arguments are of its SCP."""
    return Settings(
        node=NodeSettings(state_dir=folder),
        scp=SCPSettings.model_validate({"port": 0, **scp}),
        delivery=DeliverySettings(first_retry_s=0.2, longest_retry_s=0.5),
        spool=SpoolSettings(free_space_floor_bytes=1 << 24, instance_limit_bytes=INSTANCE_LIMIT_BYTES),
        # Beyond what the settings allow: here the thread that looks shares its interpreter with the peers of the tests.
        consent=ConsentSettings.model_construct(refresh_s=0.05, stale_after_s=5.0),
        web=WebSettings(enabled=False),
    )


class RunningSite(Site):
    """A site whose gateway runs in this process."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.gateway: Gateway | None = None

    @property
    def port(self) -> int:
        assert self.gateway is not None
        return self.gateway.dicom_port

    def start(self) -> None:
        self.gateway = Gateway(self.settings)
        self.gateway.start()

    def stop(self) -> None:
        """Drain and stop; harmless when it does not run."""
        if self.gateway is not None:
            gateway, self.gateway = self.gateway, None
            gateway.stop()

    def wait_until_settled(self, timeout_s: float = 20.0) -> None:
        wait_until(self.settled, timeout_s)


class ProcessSite(Site):
    """A site whose gateway runs as an operator would start it, in a process of its own."""

    def __init__(self, folder: Path, destination_port: int, **settings: object) -> None:
        """`settings` are those of a node by key, with two underscores for the dot."""
        overrides = {"spool.free_space_floor_bytes": str(1 << 24)}
        overrides |= {key.replace("__", "."): str(value) for key, value in settings.items()}
        self.node = GatewayNode(folder, overrides)
        super().__init__(self.node.settings)
        self.register(destination_port)

    @property
    def port(self) -> int:
        return self.node.dicom_port

    @property
    def log(self) -> str:
        """Everything the gateway has written."""
        return self.node.log_file.read_text(encoding="utf-8")

    def wait_until_settled(self, timeout_s: float = 30.0) -> None:
        wait_until(self.settled, timeout_s)


@contextmanager
def process_site(folder: Path, destination_port: int, **settings: object) -> Iterator[ProcessSite]:
    """A registered site with its gateway in a process of its own, until the block ends."""
    site = ProcessSite(folder, destination_port, **settings)
    try:
        with site.node:
            yield site
    finally:
        site.close()


@contextmanager
def running_site(settings: Settings, destination_port: int) -> Iterator[RunningSite]:
    """A registered site with its gateway, until the block ends."""
    site = RunningSite(settings)
    try:
        site.register(destination_port)
        site.start()
        yield site
    finally:
        site.stop()
        site.close()

"""What stands between sender and destination: the gateway, or one of its comparators, set up for one transfer."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.app.parts import open_database, utc_now
from gateway.consent.forms import FormKind
from gateway.domain.access import Role
from gateway.domain.institution import Institution
from gateway.domain.peer import ApplicationEntity
from gateway.domain.person import PatientKey
from gateway.domain.transfer import Route
from gateway.ops.bench import peers, sender
from gateway.ops.bench.peers import environment, port_in, running, storescu
from gateway.ops.bench.result import Peers, Way
from gateway.ops.counterparts import LOOPBACK, OrthancServer, StoreScp
from gateway.ops.node import GatewayNode
from gateway.store.consents import register_form
from gateway.store.network import put_ae, put_institution, put_route
from gateway.store.tokens import create_token

HOSPITAL_A = Institution("1.2.410.100110.10.10000001", "Hospital A")
HOSPITAL_B = Institution("1.2.410.100110.10.10000002", "Hospital B")
GATEWAY, ROUTER, FORWARDER = "GATEWAY", "ROUTER", "FORWARDER"
LUA = f"function OnStoredInstance(id, tags, metadata, origin) SendToModality(id, '{peers.MODALITY}') end\n"
FREE_SPACE_FLOOR_BYTES = 64 << 20
"""Lower than a site would have it, so that a benchmark also runs on a small disk."""


def nothing() -> None:
    """Most ways send on by themselves."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A way, ready: whom the sender calls, the processes it consists of, and what it still needs to send on."""

    called: ApplicationEntity
    pids: tuple[int, ...] = ()
    send_on: Callable[[], None] = nothing
    """Called when the sender is done."""
    rest_url: str = ""
    """Of the gateway, with its metrics; empty for all others."""
    token: str = ""
    """To read them with."""


@contextmanager
def hop_of(
    way: Way,
    destination: ApplicationEntity,
    setup: Peers,
    scratch: Path,
    *,
    patient_ids: frozenset[str],
    settings: Mapping[str, str],
) -> Iterator[Hop]:
    """Set up a way to the destination. `settings` are the gateway's, beyond its defaults."""
    folder = Path(tempfile.mkdtemp(prefix="way-", dir=scratch))
    match way:
        case Way.DIRECT | Way.IDEAL:
            yield Hop(destination)
        case Way.RELAY:
            with running("relay", folder, str(destination.port), log=folder / "log") as program:
                yield Hop(_ae(destination.title, port_in(folder, program)), (program.pid,))
        case Way.PYNETDICOM:
            args = (folder, destination.title, str(destination.port))
            with running("forwarder", *args, log=folder / "log") as program:
                yield Hop(_ae(FORWARDER, port_in(folder, program)), (program.pid,))
        case Way.STORE_AND_FORWARD:
            with StoreScp(FORWARDER, env=environment(setup), scratch=scratch) as storescp:
                send_on = partial(storescu, storescp.received, destination, setup)
                yield Hop(_ae(FORWARDER, storescp.port), (storescp.pid,), send_on)
        case Way.ORTHANC:
            with _router(destination, setup, folder) as router:
                yield Hop(_ae(ROUTER, router.dicom_port), (router.pid,))
        case Way.GATEWAY:
            node = GatewayNode(folder, {"spool.free_space_floor_bytes": str(FREE_SPACE_FLOOR_BYTES), **settings})
            token = _register(node, destination, patient_ids)
            try:
                node.start()
                yield Hop(_ae(GATEWAY, node.dicom_port), (node.pid,), rest_url=node.rest_url, token=token)
            finally:
                node.kill()  # nothing is left that it could drain


def _router(destination: ApplicationEntity, setup: Peers, folder: Path) -> OrthancServer:
    script = folder / "route.lua"
    script.write_text(LUA)
    settings = {
        "LuaScripts": [str(script)],
        "DicomModalities": {peers.MODALITY: [destination.title, destination.host, destination.port]},
    }
    return OrthancServer("Router", ROUTER, settings=settings, env=environment(setup), scratch=folder)


def _register(node: GatewayNode, destination: ApplicationEntity, patient_ids: frozenset[str]) -> str:
    """What an operator does with `gateway institution add`, `ae add`, `route add` and `consent register`."""
    database = open_database(node.settings)
    with database.write() as session:
        for institution in (HOSPITAL_A, HOSPITAL_B):
            put_institution(session, institution)
        session.flush()
        for title in (peers.STORESCU, peers.ORTHANC_A, sender.CALLING_AE_TITLE):
            put_ae(session, ApplicationEntity(title, HOSPITAL_A.oid, LOOPBACK, 104, (f"{LOOPBACK}/32",)))
        put_ae(session, ApplicationEntity(destination.title, HOSPITAL_B.oid, destination.host, destination.port))
        put_route(session, Route("onwards", destination.title))
        for patient_id in patient_ids:
            key = PatientKey(HOSPITAL_A.oid, patient_id)
            register_form(session, key, FormKind.ENTIRE_CONSENT, utc_now(), "benchmark")
        _, token = create_token(
            session, HOSPITAL_B.oid, Role.MONITOR, label="benchmark", now=utc_now(), expires_at=None
        )
    database.close()
    return token


def _ae(title: str, port: int) -> ApplicationEntity:
    return ApplicationEntity(title, "", LOOPBACK, port)

"""One gateway between every sender and every destination; each destination has a called AE title of its own."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gateway.net.dial import DialSettings
from gateway.ops.counterparts import OrthancServer, StoreScp
from tests.interop.series import FOLDERS, MADE_PATIENT, sources
from tests.scp.raw import AC, RawPeer, associate_rq
from tests.scp.sink import Sink, running_sink
from tests.scp.site import DESTINATION, HOSPITAL_B, ProcessSite, process_site
from tests.wait import wait_until

TO_SINK, TO_DCMTK, TO_ORTHANC = "TO_SINK", "TO_DCMTK", "TO_ORTHANC"
"""Called AE titles, one for each destination."""

ORTHANC_A, MODALITY = "ORTHANC_A", "MODALITY"
"""AE titles of hospital A that send; where their instances go is up to whom they call."""

DIAL = DialSettings(MODALITY, connect_timeout_s=5.0, associate_timeout_s=10.0, response_timeout_s=30.0)


@dataclass(frozen=True)
class Exchange:
    """The gateway, and the sink its routes lead to."""

    site: ProcessSite
    sink: Sink

    @property
    def port(self) -> int:
        return self.site.port

    def add_destination(self, title: str, port: int, called: str) -> None:
        """What is addressed to `called` goes there from now on."""
        self.site.ae(title, port, oid=HOSPITAL_B)
        self.site.route(called.lower(), title, called=called)
        wait_until(lambda: self.accepts(called))

    def accepts(self, called: str) -> bool:
        with RawPeer(self.port) as peer:
            peer.send(associate_rq(MODALITY, called))
            answer = peer.read_pdu()
        return answer is not None and answer[0] == AC


@pytest.fixture(scope="session")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """A gateway at which every patient of the real series has consented."""
    with running_sink() as sink, process_site(tmp_path_factory.mktemp("exchange") / "node", sink.port) as site:
        patients = {source.patient_id for folder in FOLDERS for source in sources(folder)}
        for patient_id in sorted(patients | {MADE_PATIENT}):
            site.consent(patient_id)
        site.ae(ORTHANC_A)
        site.ae(MODALITY)
        site.route("to-sink", DESTINATION, called=TO_SINK)
        exchange = Exchange(site, sink)
        wait_until(lambda: exchange.accepts(TO_SINK))
        yield exchange


@pytest.fixture(scope="session")
def storescp(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreScp]:
    """DCMTK's storescp as destination. It serves one association at a time."""
    with StoreScp(scratch=tmp_path_factory.mktemp("storescp")) as running:
        exchange.add_destination("DCMTK", running.port, TO_DCMTK)
        yield running


@pytest.fixture(scope="session")
def orthanc_b(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """An Orthanc as destination."""
    with OrthancServer("Hospital B", "ORTHANC_B", scratch=tmp_path_factory.mktemp("orthanc_b")) as running:
        exchange.add_destination("ORTHANC_B", running.dicom_port, TO_ORTHANC)
        yield running


@pytest.fixture(scope="session")
def orthanc_a(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """An Orthanc as sender; it knows every called AE title of the gateway."""
    with OrthancServer("Hospital A", ORTHANC_A, scratch=tmp_path_factory.mktemp("orthanc_a")) as running:
        with running.node() as node:
            for called in (TO_SINK, TO_DCMTK, TO_ORTHANC):
                node.register_modality(called, called, "127.0.0.1", exchange.port)
        yield running

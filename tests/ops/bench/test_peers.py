"""The kit's own sender and sink against DCMTK's: what one sends is what the other has, byte for byte."""

from pathlib import Path

import pydicom
import pytest

from gateway.domain.peer import ApplicationEntity
from gateway.errors import DeadlineExceeded, PeerSystemError
from gateway.ops.bench.peers import (
    DestinationKind,
    IdealSender,
    SenderKind,
    StoreScpDestination,
    destination_of,
    sender_of,
    wait_for,
)
from gateway.ops.bench.result import Peers
from gateway.ops.bench.workload import WORKLOADS, Series, StreamedObject, generate
from gateway.ops.counterparts import LOOPBACK, StoreScp, free_port

COUNT = 5


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    return generate(WORKLOADS["small"], tmp_path_factory.mktemp("series") / "small", COUNT)


@pytest.mark.needs("dcmtk")
@pytest.mark.interop
def test_the_sink_has_what_storescu_sent(series: Series, tmp_path: Path) -> None:
    with (
        destination_of(DestinationKind.SINK, Peers.TUNED, tmp_path) as sink,
        sender_of(SenderKind.STORESCU, series, Peers.TUNED, 1, tmp_path) as storescu,
    ):
        sending = storescu.send(sink.ae)

        assert sink.count() == COUNT
        assert {one.sop_instance_uid: one.sha256 for one in sink.arrived()} == series.digests
        assert all(
            sending.began_at < one.first_byte_at <= one.last_byte_at < sending.acknowledged_at for one in sink.arrived()
        )


@pytest.mark.needs("dcmtk")
@pytest.mark.interop
def test_storescp_has_what_the_ideal_sender_sent(series: Series, tmp_path: Path) -> None:
    with StoreScp(scratch=tmp_path) as storescp:
        destination = StoreScpDestination(storescp)
        sending = IdealSender(series, 1, tmp_path).send(destination.ae)

        assert destination.count() == COUNT
        kept = {pydicom.dcmread(path).SOPInstanceUID: pydicom.dcmread(path) for path in storescp.files()}
    originals = [pydicom.dcmread(entry.file.path) for entry in series.files]
    assert all(kept[original.SOPInstanceUID] == original for original in originals)
    assert sending.outcome is not None
    assert len(sending.outcome.sent) == COUNT


def test_the_ideal_sender_shares_a_series_among_its_associations(series: Series, tmp_path: Path) -> None:
    with destination_of(DestinationKind.SINK, Peers.TUNED, tmp_path) as sink:
        sending = IdealSender(series, 3, tmp_path).send(sink.ae)

        assert {one.sop_instance_uid: one.sha256 for one in sink.arrived()} == series.digests
    assert sending.outcome is not None
    assert all(
        one.first_byte_at <= one.last_byte_at <= one.response_at <= sending.acknowledged_at
        for one in sending.outcome.sent
    )


def test_a_sender_that_finds_nobody_says_so(series: Series, tmp_path: Path) -> None:
    nobody = ApplicationEntity("NOBODY", "", LOOPBACK, free_port())

    with pytest.raises(PeerSystemError, match=r"the ideal sender failed; it said: .*cannot connect"):
        IdealSender(series, 1, tmp_path).send(nobody)


def test_what_is_made_on_the_fly_is_for_the_ideal_sender_alone(tmp_path: Path) -> None:
    streamed = StreamedObject(WORKLOADS["1gb"])

    with (
        pytest.raises(PeerSystemError, match="only the ideal sender"),
        sender_of(SenderKind.STORESCU, streamed, Peers.STOCK, 1, tmp_path),
    ):
        pass


def test_waiting_has_an_end() -> None:
    with pytest.raises(DeadlineExceeded, match="never true after 0 s"):
        wait_for(lambda: False, 0.0, "never true")

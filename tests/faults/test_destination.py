"""Destinations that are down, slow, silent or break connections: everything arrives once they are well, and whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic

import pytest

from gateway.config import DeliverySettings
from gateway.domain.transfer import DeliveryState
from tests.faults.proxy import NO_FAULT, Fault, Proxy, running_proxy
from tests.scp.raw import RawPeer, data_set, new_uid
from tests.scp.sink import Received, Sink, running_sink
from tests.scp.site import CONSENTING, DESTINATION, GATEWAY, HOSPITAL_B, SENDER, RunningSite, running_site, settings
from tests.wait import wait_until

SUCCESS = 0x0000
COUNT = 12
SIZE_BYTES = 100_000

IMPATIENT = DeliverySettings(
    first_retry_s=0.1,
    longest_retry_s=0.3,
    attempts=100,
    connect_timeout_s=0.5,
    associate_timeout_s=0.5,
    response_timeout_s=1.0,
    stall_timeout_s=1.0,
)


@dataclass(frozen=True)
class Line:
    """A gateway, the proxy it delivers through, and the destination behind it."""

    site: RunningSite
    proxy: Proxy
    sink: Sink

    def store(self, count: int = COUNT, size_bytes: int = SIZE_BYTES) -> dict[str, str]:
        """Send instances, all of which are acknowledged; their digests by SOP Instance UID."""
        digests = {}
        with RawPeer(self.site.port) as peer:
            peer.associate()
            for _ in range(count):
                uid = new_uid()
                data = data_set(uid, CONSENTING, pixels=bytes(size_bytes))
                assert peer.store(uid, data) == SUCCESS
                digests[uid] = sha256(data).hexdigest()
            peer.release()
        return digests

    def delivers(self, digests: dict[str, str], timeout_s: float = 20.0) -> None:
        """Everything arrives, whole, and is known to have."""
        wait_until(lambda: digests.keys() <= self.sink.digests.keys(), timeout_s)
        self.site.wait_until_settled()
        assert self.sink.digests == {uid: {digest} for uid, digest in digests.items()}
        assert self.site.deliveries() == {DeliveryState.COMPLETED: len(digests)}


@contextmanager
def running_line(folder: Path, delivery: DeliverySettings = IMPATIENT) -> Iterator[Line]:
    impatient = settings(folder).model_copy(update={"delivery": delivery})
    with running_sink() as sink, running_proxy(sink.port) as proxy, running_site(impatient, proxy.port) as site:
        yield Line(site, proxy, sink)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with running_line(tmp_path) as line:
        yield line


def test_without_a_fault_everything_arrives_once(line: Line) -> None:
    digests = line.store()

    line.delivers(digests)
    assert len(line.sink.received) == COUNT


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(refuses=True), id="refuses connections"),
        pytest.param(Fault(stalls_after_bytes=0), id="takes connections and says nothing"),
        pytest.param(Fault(stalls_after_bytes=50_000), id="stops reading inside a data set"),
        pytest.param(Fault(resets_after_bytes=50_000), id="resets inside a data set"),
        pytest.param(Fault(swallows_answers=True), id="answers never come back"),
    ],
)
def test_a_fault_that_passes(line: Line, fault: Fault) -> None:
    line.proxy.fault = fault
    digests = line.store()
    wait_until(lambda: line.proxy.connections > 1)
    line.proxy.fault = NO_FAULT

    line.delivers(digests)


def test_a_fault_that_comes_in_the_middle(line: Line) -> None:
    """The answers stop when some instances have arrived: those are sent again, and are the same."""
    digests = line.store()
    wait_until(lambda: len(line.sink.received) >= 2)
    line.proxy.fault = Fault(swallows_answers=True)
    digests |= line.store()
    connections = line.proxy.connections
    wait_until(lambda: line.proxy.connections > connections)
    line.proxy.fault = NO_FAULT

    line.delivers(digests)


def test_connections_that_break_again_and_again_still_get_on(line: Line) -> None:
    """Each association carries two instances and a part of a third."""
    line.proxy.fault = Fault(resets_after_bytes=250_000)
    digests = line.store(20)

    line.delivers(digests, 40.0)


def test_a_slow_destination_does_not_hold_the_sender(line: Line) -> None:
    line.proxy.fault = Fault(bytes_per_s=200_000)
    began = monotonic()
    digests = line.store(20)

    assert monotonic() - began < 3.0  # the destination takes ten
    assert len(line.sink.received) < 20
    line.proxy.fault = NO_FAULT
    line.delivers(digests)


def test_a_dead_destination_does_not_hold_another(line: Line) -> None:
    with running_sink(ae_title="WELL") as well:
        line.site.ae("WELL", well.port, oid=HOSPITAL_B)
        line.site.route("to-well", "WELL", calling=SENDER)
        line.proxy.fault = Fault(stalls_after_bytes=0)
        wait_until(lambda: _reaches(line, well))

        digests = line.store()
        wait_until(lambda: digests.keys() <= well.digests.keys(), 5.0)
        assert line.sink.received == []


def _reaches(line: Line, sink: Sink) -> bool:
    """Whether what is stored now goes there too."""
    (uid,) = line.store(1)
    try:
        wait_until(lambda: sink.count(uid), 0.3)
    except AssertionError:
        return False
    return True


def test_transient_refusals_are_tried_again(line: Line) -> None:
    refused: set[str] = set()

    def once_full(received: Received) -> int:
        if received.sop_instance_uid in refused:
            return SUCCESS
        refused.add(received.sop_instance_uid)
        return 0xA700

    line.sink.answer = once_full
    digests = line.store()

    line.delivers(digests)
    assert refused == digests.keys()


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0x0124, 0x0110])
def test_lasting_refusals_are_not(line: Line, status: int) -> None:
    line.sink.answer = lambda _: status
    line.store(3)

    wait_until(lambda: line.site.deliveries() == {DeliveryState.FAILED: 3})
    line.sink.answer = lambda _: SUCCESS
    digests = line.store(1)
    wait_until(lambda: digests.keys() <= line.sink.digests.keys())


def test_a_refusal_in_the_middle_does_not_stop_the_rest(line: Line) -> None:
    unlucky: list[str] = []

    def all_but_one(received: Received) -> int:
        if not unlucky:
            unlucky.append(received.sop_instance_uid)
        return 0xC000 if received.sop_instance_uid in unlucky else SUCCESS

    line.sink.answer = all_but_one
    digests = line.store()
    line.site.wait_until_settled()
    wait_until(lambda: len(line.sink.digests) == COUNT - 1)
    assert line.site.deliveries() == {DeliveryState.FAILED: 1, DeliveryState.COMPLETED: COUNT - 1}
    assert digests.keys() - line.sink.digests.keys() == set(unlucky)


def test_a_withdrawal_breaks_off_what_is_being_sent(line: Line) -> None:
    line.proxy.fault = Fault(bytes_per_s=500_000)
    digests = line.store(1, size_bytes=3 << 20)
    wait_until(lambda: line.proxy.sent_bytes > 300_000)

    line.site.withdraw(CONSENTING)
    withdrawn_at = monotonic()
    wait_until(lambda: line.site.deliveries() == {DeliveryState.BLOCKED_BY_CONSENT: 1}, 2.0)

    assert monotonic() - withdrawn_at < 1.0
    line.proxy.fault = NO_FAULT
    assert line.proxy.sent_bytes < 2 << 20
    assert not digests.keys() & line.sink.digests.keys()


def test_a_destination_that_moved_is_followed(line: Line) -> None:
    """Its address changes in the registry while instances wait."""
    line.proxy.fault = Fault(refuses=True)
    digests = line.store()
    wait_until(lambda: line.proxy.connections > 0)

    with running_sink() as elsewhere:
        line.site.ae(DESTINATION, elsewhere.port, oid=HOSPITAL_B)
        wait_until(lambda: digests.keys() <= elsewhere.digests.keys())
        assert {one.calling_ae_title for one in elsewhere.received} == {GATEWAY}

"""Large instances over the network, which leave while they arrive: the destination never has a part of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.domain.transfer import DeliveryState
from gateway.transfer.cut_through import CUT_THROUGH_BYTES
from tests.faults.proxy import Proxy, running_proxy
from tests.scp.raw import RawPeer, data_set, new_uid, store_pdus
from tests.scp.sink import Sink, running_sink
from tests.scp.site import CONSENTING, RunningSite, running_site, settings
from tests.wait import wait_until

SUCCESS = 0x0000
SIZE_BYTES = 3 * CUT_THROUGH_BYTES
PIECE_BYTES = 16_000


@dataclass(frozen=True)
class Line:
    """A gateway for large instances, the proxy it delivers through, and the destination behind it."""

    site: RunningSite
    proxy: Proxy
    sink: Sink

    @contextmanager
    def begun(self, uid: str, data: bytes) -> Iterator[tuple[RawPeer, list[bytes]]]:
        """A sender in the middle of this instance, of which the destination has the beginning; the PDUs still to go."""
        pdus = list(store_pdus(uid, data, piece=PIECE_BYTES))
        half = len(pdus) * 2 // 3
        before_bytes = self.proxy.sent_bytes
        with RawPeer(self.site.port) as peer:
            peer.associate()
            peer.send(*pdus[:half])
            wait_until(lambda: self.proxy.sent_bytes - before_bytes > CUT_THROUGH_BYTES)
            assert self.sink.count(uid) == 0
            yield peer, pdus[half:]


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    roomy = settings(tmp_path)
    roomy = roomy.model_copy(update={"spool": roomy.spool.model_copy(update={"instance_limit_bytes": 4 * SIZE_BYTES})})
    with running_sink() as sink, running_proxy(sink.port) as proxy, running_site(roomy, proxy.port) as site:
        yield Line(site, proxy, sink)


def large(uid: str) -> bytes:
    return data_set(uid, CONSENTING, pixels=b"\x01\x02" * (SIZE_BYTES // 2))


def test_beginning_arrives_before_the_end_was_sent(line: Line) -> None:
    uid = new_uid()
    data = large(uid)
    with line.begun(uid, data) as (peer, rest):
        peer.send(*rest)
        assert peer.status() == SUCCESS
        wait_until(lambda: line.sink.count(uid))
        peer.release()
    line.site.wait_until_settled()

    assert line.sink.digests[uid] == {sha256(data).hexdigest()}
    assert line.sink.count(uid) == 1


def test_sender_that_goes_away_leaves_nothing_anywhere(line: Line) -> None:
    uid = new_uid()
    data = large(uid)
    with line.begun(uid, data):
        pass
    wait_until(lambda: not line.site.spooled())
    assert line.site.instances() == {}

    with RawPeer(line.site.port) as peer:
        peer.associate()
        assert peer.store(uid, data) == SUCCESS
        peer.release()
    wait_until(lambda: line.site.deliveries()[DeliveryState.COMPLETED] == 1)

    assert line.sink.digests == {uid: {sha256(data).hexdigest()}}
    assert line.sink.count(uid) == 1


def test_withdrawal_in_the_middle_of_an_instance(line: Line) -> None:
    uid = new_uid()
    with line.begun(uid, large(uid)) as (peer, rest):
        line.site.withdraw(CONSENTING)
        wait_until(lambda: line.proxy.open_count == 0)
        peer.send(*rest)
        assert peer.status() == SUCCESS  # it was permitted when it began to come
        wait_until(lambda: line.site.deliveries() == {DeliveryState.BLOCKED_BY_CONSENT: 1})

    assert line.sink.received == []
    assert line.proxy.sent_bytes < SIZE_BYTES

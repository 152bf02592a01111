"""A whole node: it starts, drains and starts again, and loses nothing it has acknowledged."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from time import monotonic

import httpx
import pytest

from gateway.app.node import Gateway
from gateway.config import DeliverySettings, WebSettings
from gateway.domain.transfer import DeliveryState
from gateway.errors import ConnectFailed, StoreUnavailable
from gateway.ops.counterparts import free_port
from gateway.store.spool import BUFFER_BYTES
from tests.scp.raw import ABORT, CT_ID, RawPeer, data_set, new_uid, p_data, pdv, store_rq
from tests.scp.sink import Sink, running_sink, sink_serving
from tests.scp.site import CONSENTING, RunningSite, running_site, settings
from tests.wait import PATIENCE_S, wait_until

SUCCESS = 0x0000


@contextmanager
def stopping(site: RunningSite) -> Iterator[threading.Thread]:
    """The node is told to stop while the block runs; it has stopped afterwards."""
    port = site.port
    stopper = threading.Thread(target=site.stop)
    stopper.start()
    wait_until(lambda: not accepts_connections(port))
    try:
        yield stopper
    finally:
        stopper.join(20.0)
        assert not stopper.is_alive()


def accepts_connections(port: int) -> bool:
    with suppress(OSError), RawPeer(port):
        return True
    return False


def stored(peer: RawPeer, count: int) -> dict[str, str]:
    """Send so many instances; the digests of those acknowledged by SOP Instance UID: all."""
    digests = {}
    for _ in range(count):
        uid = new_uid()
        data = data_set(uid, CONSENTING, pixels=bytes(50_000))
        assert peer.store(uid, data) == SUCCESS
        digests[uid] = sha256(data).hexdigest()
    return digests


def arrived(sink: Sink, digests: dict[str, str]) -> bool:
    return {uid: {digest} for uid, digest in digests.items()} == {
        uid: found for uid, found in sink.digests.items() if uid in digests
    }


def test_what_was_acknowledged_arrives_after_a_restart(tmp_path: Path) -> None:
    sink = Sink()
    port = free_port()
    with running_site(settings(tmp_path), port) as site:  # nobody listens there yet
        with RawPeer(site.port) as peer:
            peer.associate()
            digests = stored(peer, 20)
            peer.release()
        site.stop()
        assert site.deliveries()[DeliveryState.COMPLETED] == 0

        with sink_serving(sink, port):
            site.start()
            wait_until(lambda: arrived(sink, digests))
            site.wait_until_settled()
        assert site.deliveries() == {DeliveryState.COMPLETED: 20}
        assert all(sink.count(uid) == 1 for uid in digests)


def test_idle_associations_are_aborted_at_once(tmp_path: Path) -> None:
    with running_sink() as sink, running_site(settings(tmp_path), sink.port) as site, RawPeer(site.port) as peer:
        peer.associate()
        assert peer.echo() == SUCCESS
        began = monotonic()
        with stopping(site):
            assert peer.read_to_end() == [(ABORT, bytes(4))]
        assert monotonic() - began < PATIENCE_S


PIECE_BYTES = 50_000
"""Of a data set that is sent piece by piece; the spool's file has something in it after `BUFFER_BYTES`."""


def test_a_running_instance_is_finished_and_nothing_after_it(tmp_path: Path) -> None:
    with running_sink() as sink, running_site(settings(tmp_path), sink.port) as site, RawPeer(site.port) as peer:
        uid = new_uid()
        data = data_set(uid, CONSENTING, pixels=bytes(2 * BUFFER_BYTES))
        pieces = [data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]
        half = len(pieces) // 2 + 1
        peer.associate()
        peer.send(p_data(pdv(CT_ID, store_rq(uid), command=True)))
        peer.send(*(p_data(pdv(CT_ID, piece, last=False)) for piece in pieces[:half]))
        wait_until(site.spooled)
        with stopping(site):
            peer.send(*(p_data(pdv(CT_ID, piece, last=False)) for piece in pieces[half:-1]))
            peer.send(p_data(pdv(CT_ID, pieces[-1], last=True)))
            assert peer.status() == SUCCESS
            assert [kind for kind, _ in peer.read_to_end()] == [ABORT]

        site.start()
        wait_until(lambda: arrived(sink, {uid: sha256(data).hexdigest()}))


def test_an_instance_that_does_not_end_is_aborted_after_the_time_to_drain(tmp_path: Path) -> None:
    quick = settings(tmp_path, drain_timeout_s=1.0)
    with running_sink() as sink, running_site(quick, sink.port) as site, RawPeer(site.port) as peer:
        uid = new_uid()
        peer.associate()
        peer.send(p_data(pdv(CT_ID, store_rq(uid), command=True)))
        peer.send(p_data(pdv(CT_ID, data_set(uid, CONSENTING), last=False)))
        peer.send(*(p_data(pdv(CT_ID, bytes(PIECE_BYTES), last=False)) for _ in range(BUFFER_BYTES // PIECE_BYTES + 1)))
        wait_until(site.spooled)
        began = monotonic()
        with stopping(site):
            assert peer.read_to_end() == [(ABORT, bytes(4))]
        assert monotonic() - began < PATIENCE_S
        assert site.spooled() == []
        assert site.instances() == {}


def test_a_sender_that_never_pauses_is_aborted_too(tmp_path: Path) -> None:
    quick = settings(tmp_path, drain_timeout_s=0.5)
    with running_sink() as sink, running_site(quick, sink.port) as site, RawPeer(site.port) as peer:
        uid = new_uid()
        peer.associate()
        peer.send(p_data(pdv(CT_ID, store_rq(uid), command=True)))
        peer.send(p_data(pdv(CT_ID, data_set(uid, CONSENTING), last=False)))
        piece = p_data(pdv(CT_ID, bytes(1000), last=False))
        feeder = threading.Thread(target=lambda: peer.send_while_taken(piece for _ in range(4000)))
        feeder.start()
        began = monotonic()
        with stopping(site):
            kinds = [kind for kind, _ in peer.read_to_end()]
        feeder.join()
        assert kinds in ([ABORT], [])
        assert monotonic() - began < PATIENCE_S
        assert uid not in site.instances()


def test_a_destination_that_never_answers_does_not_hold_the_stop(tmp_path: Path) -> None:
    released = threading.Event()
    quick = settings(tmp_path, drain_timeout_s=0.5)
    with running_sink() as sink, running_site(quick, sink.port) as site:

        def wait(_: object) -> int:
            released.wait(20.0)
            return SUCCESS

        sink.answer = wait
        with RawPeer(site.port) as peer:
            peer.associate()
            digests = stored(peer, 3)
            peer.release()
        wait_until(lambda: site.deliveries()[DeliveryState.ACTIVE])
        began = monotonic()
        site.stop()
        assert monotonic() - began < PATIENCE_S
        released.set()
        assert site.deliveries()[DeliveryState.COMPLETED] == 0

        sink.answer = lambda _: SUCCESS
        site.start()
        wait_until(lambda: arrived(sink, digests))


def test_two_nodes_never_share_a_state(tmp_path: Path) -> None:
    with running_site(settings(tmp_path), free_port()), pytest.raises(StoreUnavailable, match="in use"):
        Gateway(settings(tmp_path))


def test_a_port_that_is_taken_is_said_so(tmp_path: Path) -> None:
    with (
        running_site(settings(tmp_path / "one"), free_port()) as site,
        pytest.raises(ConnectFailed, match=str(site.port)),
    ):
        Gateway(settings(tmp_path / "other", port=site.port))


def test_a_node_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    Gateway(settings(tmp_path)).stop()


def test_ready_is_said_only_while_it_is_true(tmp_path: Path) -> None:
    serving = settings(tmp_path).model_copy(update={"web": WebSettings(port=0)})
    full = serving.model_copy(update={"spool": serving.spool.model_copy(update={"free_space_floor_bytes": 1 << 50})})

    def readiness(site: RunningSite) -> int:
        assert site.gateway is not None
        return httpx.get(f"http://127.0.0.1:{site.gateway.web_port}/readyz").status_code

    with running_site(serving, free_port()) as site:
        assert readiness(site) == 200
    with running_site(full, free_port()) as site, RawPeer(site.port) as peer:
        assert readiness(site) == 503
        uid = new_uid()
        peer.associate()
        assert peer.store(uid, data_set(uid, CONSENTING)) == 0xA700
        peer.release()


def test_a_destination_is_called_by_the_title_it_knows_us_by(tmp_path: Path) -> None:
    named = settings(tmp_path).model_copy(update={"delivery": DeliverySettings(calling_ae_title="EXCHANGE")})
    with running_sink() as sink, running_site(named, sink.port) as site, RawPeer(site.port) as peer:
        peer.associate()
        stored(peer, 1)
        wait_until(lambda: [received.calling_ae_title for received in sink.received] == ["EXCHANGE"])


def test_nothing_is_left_of_one_that_has_stopped(tmp_path: Path) -> None:
    """No thread, no half-written file; and it may start again."""
    serving = settings(tmp_path).model_copy(update={"web": WebSettings(port=0)})
    threads = set(threading.enumerate())
    with running_site(serving, free_port()) as site:
        site.stop()
        site.start()
        port = site.port
    assert set(threading.enumerate()) == threads
    assert not accepts_connections(port)
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"gateway.db", "lock"}


def test_uploads_that_a_crash_cut_off_are_removed_at_the_start(tmp_path: Path) -> None:
    serving = settings(tmp_path).model_copy(update={"web": WebSettings(port=0)})
    parts = serving.blob_dir / "part"
    parts.mkdir(parents=True)
    (parts / "half").write_bytes(b"%PDF-1.7")
    with running_site(serving, free_port()):
        assert list(parts.iterdir()) == []

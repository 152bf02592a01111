"""The life of inbound associations: limits, time-outs, slots that are free again, statuses in their order."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

from tests.scp.raw import (
    ABORT,
    CT_ID,
    ECHO_ID,
    LOOPBACK,
    RELEASE_RQ,
    RJ,
    RawPeer,
    associate_rq,
    command_set,
    data_set,
    new_uid,
    p_data,
    pdu,
    pdv,
    store_pdus,
    store_rq,
)
from tests.scp.sink import Sink
from tests.scp.site import CONSENTING, DESTINATION, SENDER, STRANGER, UNROUTED, RunningSite, running_site, settings
from tests.wait import PATIENCE_S, wait_until

LOCAL_LIMIT_EXCEEDED = (RJ, bytes([0, 2, 3, 2]))
"""A-ASSOCIATE-RJ: for now, by the service provider (presentation), local limit exceeded."""

SUCCESS, NOT_SUPPORTED, UNRECOGNIZED_OPERATION, NOT_AUTHORIZED = 0x0000, 0x0122, 0x0211, 0x0124


@contextmanager
def limited(folder: Path, sink: Sink, **scp: object) -> Iterator[RunningSite]:
    with running_site(settings(folder, **scp), sink.port) as site:
        yield site


def answers_echo(port: int, calling: str = SENDER) -> bool:
    """Whether a registered peer gets in now."""
    with RawPeer(port) as peer:
        peer.send(associate_rq(calling))
        answer = peer.read_pdu()
        if answer is None or answer[0] == RJ:
            return False
        assert peer.echo() == SUCCESS
        peer.release()
    return True


def drip(peer: RawPeer, data: bytes) -> float:
    """Send byte after byte, a tenth of a second apart, until the other side closes; returns how long it took."""
    began = monotonic()
    peer.sock.settimeout(0.1)
    with suppress(ConnectionError):
        for index in range(len(data)):
            with suppress(TimeoutError):
                peer.sock.sendall(data[index : index + 1])
                peer.sock.recv(1, socket.MSG_PEEK)  # a last word, or the end
                break
    peer.sock.settimeout(10.0)
    return monotonic() - began


# --- how many ---------------------------------------------------------------------------------------------------------


def test_associations_are_limited_per_peer_and_in_all(tmp_path: Path, sink: Sink) -> None:
    with limited(tmp_path, sink, associations=3, associations_per_peer=2) as site, ExitStack() as open_peers:

        def associated(calling: str) -> RawPeer:
            peer = open_peers.enter_context(RawPeer(site.port))
            peer.associate(calling)
            return peer

        first, _ = associated(SENDER), associated(SENDER)
        with RawPeer(site.port) as third:
            third.send(associate_rq(SENDER))
            assert third.read_to_end() == [LOCAL_LIMIT_EXCEEDED]
        associated(UNROUTED)
        with RawPeer(site.port) as fifth:
            fifth.send(associate_rq(DESTINATION))
            assert fifth.read_to_end() == [LOCAL_LIMIT_EXCEEDED]

        first.release()
        wait_until(lambda: answers_echo(site.port, DESTINATION), timeout_s=2.0)
        assert first.read_pdu() is None


@pytest.mark.parametrize("goodbye", ["close", "reset", "abort", "release"])
def test_a_slot_is_free_again_however_its_peer_leaves(tmp_path: Path, sink: Sink, goodbye: str) -> None:
    with limited(tmp_path, sink, associations_per_peer=1) as site:
        for _ in range(3):
            with RawPeer(site.port) as peer:
                peer.associate()
                assert not answers_echo(site.port)
                match goodbye:
                    case "reset":
                        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    case "abort":
                        peer.send(pdu(ABORT, bytes(4)))
                    case "release":
                        peer.release()
            wait_until(lambda: answers_echo(site.port), timeout_s=2.0)


def test_silent_connections_are_limited_per_address_and_do_not_stay(tmp_path: Path, sink: Sink) -> None:
    with (
        limited(tmp_path, sink, half_open_per_address=4, half_open=8, associate_timeout_s=1.0) as site,
        ExitStack() as connections,
    ):
        silent = [connections.enter_context(RawPeer(site.port)) for _ in range(4)]
        with RawPeer(site.port) as fifth:
            assert fifth.read_pdu() is None
        with RawPeer(site.port, source="127.0.0.2") as elsewhere:  # another address still finds room
            elsewhere.send(associate_rq())
            assert elsewhere.read_to_end()[0][0] == RJ
        began = monotonic()
        assert [peer.read_pdu() for peer in silent] == [None] * 4
        assert monotonic() - began < PATIENCE_S
        wait_until(lambda: answers_echo(site.port), timeout_s=2.0)


def test_silent_connections_are_limited_in_all(tmp_path: Path, sink: Sink) -> None:
    with (
        limited(tmp_path, sink, half_open_per_address=4, half_open=6, associate_timeout_s=1.0) as site,
        ExitStack() as connections,
    ):
        for last_byte in (2, 2, 2, 3, 3, 3):
            connections.enter_context(RawPeer(site.port, source=f"127.0.0.{last_byte}"))
        with RawPeer(site.port) as seventh:
            assert seventh.read_pdu() is None
        wait_until(lambda: answers_echo(site.port), timeout_s=3.0)


# --- how long ---------------------------------------------------------------------------------------------------------


def test_the_whole_request_has_one_deadline(tmp_path: Path, sink: Sink) -> None:
    with limited(tmp_path, sink, associate_timeout_s=1.0) as site, RawPeer(site.port) as peer:
        took_s = drip(peer, associate_rq())

        assert 0.8 < took_s < PATIENCE_S
        assert peer.read_pdu() is None
        assert answers_echo(site.port)


def test_an_idle_association_is_aborted(tmp_path: Path, sink: Sink) -> None:
    with limited(tmp_path, sink, idle_timeout_s=1.0) as site, RawPeer(site.port) as peer:
        peer.associate()
        began = monotonic()
        (answer,) = peer.read_to_end()

        assert answer[0] == ABORT
        assert 0.8 < monotonic() - began < PATIENCE_S


def test_an_association_in_use_is_not_idle(tmp_path: Path, sink: Sink) -> None:
    with limited(tmp_path, sink, idle_timeout_s=1.0) as site, RawPeer(site.port) as peer:
        peer.associate()
        began = monotonic()
        while monotonic() - began < 1.5:
            assert peer.echo() == SUCCESS
        peer.release()


def test_a_command_set_that_drips_counts_as_silence(tmp_path: Path, sink: Sink) -> None:
    with limited(tmp_path, sink, idle_timeout_s=1.0) as site, RawPeer(site.port) as peer:
        peer.associate()

        assert 0.8 < drip(peer, p_data(pdv(CT_ID, store_rq(new_uid()), command=True))) < 2.0
        assert peer.read_pdu() == (ABORT, bytes(4))


@pytest.mark.parametrize("patient_id", [CONSENTING, STRANGER])
def test_a_data_set_below_the_minimum_rate_is_aborted(tmp_path: Path, sink: Sink, patient_id: str) -> None:
    limits = {"minimum_rate_bytes_per_s": 10_000, "minimum_rate_window_s": 1.0}
    with limited(tmp_path, sink, **limits) as site, RawPeer(site.port) as peer:
        peer.associate()
        uid = new_uid()
        data = data_set(uid, patient_id, pixels=bytes(2000))
        peer.send(p_data(pdv(CT_ID, store_rq(uid), command=True)))
        peer.send(pdu(4, pdv(CT_ID, data)[:1000], length=len(data) + 6))

        assert 0.8 < drip(peer, data[1000:]) < 3.0
        assert peer.read_pdu() == (ABORT, bytes(4))
        assert site.spooled() == []
        assert answers_echo(site.port)


def test_a_peer_that_reads_no_answers_does_not_stay(tmp_path: Path, sink: Sink) -> None:
    limits = {"idle_timeout_s": 1.0, "associations_per_peer": 1}
    with limited(tmp_path, sink, **limits) as site, RawPeer(site.port, receive_buffer_bytes=4096) as peer:
        peer.associate()
        requests = b"".join(store_pdus(new_uid(), b"")) * 2000
        peer.sock.settimeout(2.0)
        peer.send_while_taken(requests for _ in range(1000))
        wait_until(lambda: answers_echo(site.port), timeout_s=4.0)


# --- one after another ------------------------------------------------------------------------------------------------


def test_a_refused_instance_leaves_the_association_usable(peer: RawPeer) -> None:
    statuses = []
    for patient_id in (CONSENTING, STRANGER, "900101-1234567", CONSENTING):
        uid = new_uid()
        statuses.append(peer.store(uid, data_set(uid, patient_id)))

    assert statuses == [SUCCESS, NOT_AUTHORIZED, 0xC000, SUCCESS]


def test_instances_sent_without_waiting_are_answered_in_order(peer: RawPeer) -> None:
    requests = []
    for number in range(1, 21):
        uid = new_uid()
        data = data_set(uid, CONSENTING if number % 2 else STRANGER)
        requests.append(p_data(pdv(CT_ID, store_rq(uid, message_id=number), command=True)))
        requests.append(p_data(pdv(CT_ID, data)))
    peer.send(*requests)

    answered = [peer.response() for _ in range(20)]

    assert [int.from_bytes(response[0x0120], "little") for response in answered] == list(range(1, 21))
    assert [int.from_bytes(response[0x0900], "little") for response in answered] == [SUCCESS, NOT_AUTHORIZED] * 10


def test_a_response_where_only_requests_can_come_is_aborted(site: RunningSite) -> None:
    response = command_set({0x0002: "1.2.840.10008.1.1", 0x0100: 0x8030, 0x0120: 1, 0x0800: 0x0101, 0x0900: 0})
    with RawPeer(site.port) as peer:
        peer.associate()
        peer.send(p_data(pdv(ECHO_ID, response, command=True)))

        assert [kind for kind, _ in peer.read_to_end()] == [ABORT]


def test_a_release_inside_a_message_is_no_way_to_end(site: RunningSite) -> None:
    uid = new_uid()
    with RawPeer(site.port) as peer:
        peer.associate()
        peer.send(p_data(pdv(CT_ID, store_rq(uid), command=True)), p_data(pdv(CT_ID, b"\x08\0", last=False)))
        peer.send(pdu(RELEASE_RQ, bytes(4)))

        kinds = [kind for kind, _ in peer.read_to_end()]

    assert kinds == [ABORT]
    assert uid not in site.instances()


def test_the_listener_is_bound_to_loopback_only(site: RunningSite) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.9", site.port))  # would be taken if it were bound to every address
        assert site.settings.scp.host == LOOPBACK

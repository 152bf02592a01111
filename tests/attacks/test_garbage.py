"""Bytes that mean nothing, and good streams with some of their bytes changed."""

import random
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.victim import Victim, ends
from tests.scp.raw import (
    ABORT,
    AC,
    CT_ID,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    RJ,
    associate_rq,
    data_set,
    p_data,
    pdu,
    pdv,
    store_rq,
)
from tests.scp.site import CONSENTING

pytestmark = pytest.mark.torture

KNOWN = {AC, RJ, ABORT, P_DATA, RELEASE_RP}
UID = "1.2.826.0.1.3680043.10.666.1"

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
"""Each example is a connection; the gateway behind them is meant to be the same one."""

GOOD_STREAM = b"".join(
    (
        associate_rq(),
        p_data(pdv(CT_ID, store_rq(UID), command=True)),
        p_data(pdv(CT_ID, data_set(UID, CONSENTING))),
        pdu(RELEASE_RQ, bytes(4)),
    )
)


def check(victim: Victim, stream: bytes) -> None:
    """Send all, say no more, and see an end made only of PDUs that there are."""
    with victim.peer() as peer:
        peer.send_while_taken([stream])
        try:
            peer.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return
        assert set(ends(peer)) <= KNOWN


@FEW
@given(garbage=st.binary(max_size=2000))
def test_from_the_first_byte(victim: Victim, garbage: bytes) -> None:
    check(victim, garbage)


@FEW
@given(kind=st.integers(0, 9), garbage=st.binary(max_size=2000))
def test_in_the_body_of_a_pdu(victim: Victim, kind: int, garbage: bytes) -> None:
    check(victim, pdu(kind, garbage))
    check(victim, associate_rq() + pdu(kind, garbage))


@FEW
@given(garbage=st.binary(max_size=2000), is_command=st.booleans())
def test_in_a_fragment(victim: Victim, garbage: bytes, is_command: bool) -> None:
    before = b"" if is_command else p_data(pdv(CT_ID, store_rq(UID), command=True))
    check(victim, associate_rq() + before + p_data(pdv(CT_ID, garbage, command=is_command)))


@FEW
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(GOOD_STREAM) - 1), st.integers(0, 255), st.booleans()), min_size=1, max_size=8
    )
)
def test_in_a_good_stream(victim: Victim, changes: list[tuple[int, int, bool]]) -> None:
    stream = bytearray(GOOD_STREAM)
    for position, value, is_inserted in changes:
        stream[position : position + (not is_inserted)] = bytes([value])
    check(victim, bytes(stream))


@pytest.mark.parametrize("seed", range(8))
def test_megabytes_of_noise(victim: Victim, seed: int) -> None:
    noise = random.Random(seed).randbytes(2 << 20)
    with victim.costs_at_most():
        check(victim, noise)
        check(victim, associate_rq() + p_data(pdv(CT_ID, store_rq(UID), command=True)) + noise)


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n", id="a browser"),
        pytest.param(bytes.fromhex("16030100c8010000c40303") + bytes(193), id="TLS"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="SSH"),
        pytest.param(b"\x0bMSH|^~\\&|HIS|A|PACS|B|20260302||ADT^A01|1|P|2.3\r\x1c\r", id="HL7"),
        pytest.param(b"\r\n\r\n", id="lines"),
        pytest.param(b"\0", id="a byte"),
    ],
)
def test_peers_that_speak_something_else(victim: Victim, stream: bytes) -> None:
    with victim.costs_at_most(), victim.peer() as peer:
        peer.send(stream)

        assert ends(peer) in ([], [ABORT])

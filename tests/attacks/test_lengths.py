"""Lengths that lie: of PDUs, items, fragments, command elements. Nothing is read, or kept, because a length says so."""

import struct
from collections.abc import Iterator
from itertools import repeat, takewhile
from time import monotonic

import pytest

from tests.attacks.victim import Victim, ends, is_declared
from tests.scp.raw import (
    ABORT,
    AC,
    CT_ID,
    ECHO_ID,
    P_DATA,
    RQ,
    associate_rq,
    command_set,
    context,
    echo_rq,
    item,
    new_uid,
    p_data,
    pdu,
    pdv,
    store_rq,
    user_information,
)
from tests.wait import PATIENCE_S

pytestmark = pytest.mark.torture

LENGTHS = (0, 1, 3, 5, 262_145, 0x7FFF_FFFF, 0xFFFF_FFFF)


def endless(piece: bytes = bytes(65_536), seconds: float = 3.0) -> Iterator[bytes]:
    """The same bytes, for longer than anybody should take them."""
    end = monotonic() + seconds
    return takewhile(lambda _: monotonic() < end, repeat(piece))


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, 6, 7, 8, 0xFF])
def test_of_the_first_pdu(victim: Victim, kind: int) -> None:
    for length in LENGTHS:
        with victim.costs_at_most(), victim.peer() as peer:
            began = monotonic()
            peer.send_while_taken([pdu(kind, length=length), *[bytes(65_536)] * 20])
            kinds = ends(peer)

            assert kinds in ([], [ABORT]), length
            assert monotonic() - began < PATIENCE_S


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, 6, 7, 8, 0xFF])
def test_of_a_later_pdu(victim: Victim, kind: int) -> None:
    for length in LENGTHS:
        with victim.costs_at_most(), victim.associated() as peer:
            peer.send_while_taken([pdu(kind, length=length), *[b"\xff" * 65_536] * 20])

            assert ends(peer) in ([], [ABORT]), length


def test_of_a_request_that_never_ends(victim: Victim) -> None:
    with victim.costs_at_most(), victim.peer() as peer:
        peer.send(pdu(RQ, length=0xFFFF_FFFF))
        began = monotonic()
        peer.send_while_taken(endless())

        assert monotonic() - began < PATIENCE_S
        assert ends(peer) in ([], [ABORT])


def test_of_a_request_as_long_as_allowed_that_stops_short(victim: Victim) -> None:
    with victim.costs_at_most(), victim.peer() as peer:
        peer.send(pdu(RQ, bytes(200_000), length=262_144))

        assert ends(peer) == []


@pytest.mark.parametrize(
    "what", ["application context", "context", "abstract syntax", "transfer syntax", "user information", "maximum"]
)
def test_of_items_in_a_request(victim: Victim, what: str) -> None:
    for length in (1, 2, 3, 0xFFFF):
        with victim.costs_at_most(), victim.peer() as peer:
            peer.send(request_with(what, length))

            assert ends(peer) in ([ABORT], [AC, ABORT]), length


def request_with(what: str, length: int) -> bytes:
    """An A-ASSOCIATE-RQ in which one item lies about its length."""

    def said(name: str) -> int | None:
        return length if name == what else None

    abstract = item(0x30, b"1.2.840.10008.1.1", said("abstract syntax"))
    syntax = item(0x40, b"1.2.840.10008.1.2", said("transfer syntax"))
    maximum = item(0x51, struct.pack(">I", 16_384), said("maximum"))
    body = (
        struct.pack(">Hxx16s16s32x", 1, b"GATEWAY".ljust(16), b"STORESCU".ljust(16))
        + item(0x10, b"1.2.840.10008.3.1.1.1", said("application context"))
        + item(0x20, b"\1\0\0\0" + abstract + syntax, said("context"))
        + item(0x50, maximum + item(0x52, b"1.2.3"), said("user information"))
    )
    return pdu(RQ, body)


@pytest.mark.parametrize("maximum_length", [1, 6, 7])
def test_of_what_the_peer_takes(victim: Victim, maximum_length: int) -> None:
    """A maximum length that leaves no room for a fragment, or for one byte at a time."""
    with victim.costs_at_most(), victim.peer() as peer:
        peer.send(associate_rq(information=user_information(maximum_length)))
        peer.send_while_taken([p_data(pdv(ECHO_ID, echo_rq(), command=True))] * 20)

        assert is_declared([kind for kind in ends(peer) if kind != P_DATA])


@pytest.mark.parametrize("length", [0, 1, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF])
@pytest.mark.parametrize("is_command", [True, False])
def test_of_fragments(victim: Victim, length: int, is_command: bool) -> None:
    with victim.costs_at_most(), victim.associated() as peer:
        if not is_command:
            peer.send(p_data(pdv(CT_ID, store_rq(new_uid()), command=True)))
        peer.send(pdu(P_DATA, struct.pack(">IBB", length, CT_ID, is_command) + bytes(100)))
        peer.send_while_taken([bytes(65_536)] * 20)

        assert ends(peer) == [ABORT]


def test_of_a_pdu_larger_than_was_agreed(victim: Victim) -> None:
    with victim.costs_at_most(), victim.associated() as peer:
        peer.send(p_data(pdv(CT_ID, store_rq(new_uid()), command=True)))
        peer.send_while_taken([p_data(pdv(CT_ID, bytes(200_000), last=False))] * 20)

        assert ends(peer) == [ABORT]


@pytest.mark.parametrize("number", [0x0000, 0x0002, 0x0100, 0x0110, 0x0800, 0x1000])
def test_of_elements_in_a_command_set(victim: Victim, number: int) -> None:
    request = store_rq(new_uid())
    position = request.index(struct.pack("<HH", 0, number)) + 4 if number else 4
    for length in (0, 1, 3, 0x7FFF_FFFF, 0xFFFF_FFFF):
        lying = request[:position] + struct.pack("<I", length) + request[position + 4 :]
        with victim.costs_at_most(), victim.associated() as peer:
            peer.send(p_data(pdv(CT_ID, lying, command=True)))
            peer.send_while_taken([p_data(pdv(CT_ID, bytes(16_000), last=False))])

            assert ends(peer) in ([ABORT], [P_DATA, ABORT]), length


def test_of_contexts_and_syntaxes_by_the_hundred(victim: Victim) -> None:
    many = {number: ("1.2.840.10008.1.1", ["1.2.840.10008.1.2"] * 100) for number in range(1, 256, 2)}
    twice = b"".join(context(1, "1.2.840.10008.1.1", ["1.2.840.10008.1.2"]) for _ in range(3000))
    unknown = b"".join(item(0x7E, b"") for _ in range(60_000))
    for request in (associate_rq(contexts=many), associate_rq(extra=twice), associate_rq(extra=unknown)):
        with victim.costs_at_most(2 << 20), victim.peer() as peer:
            peer.send_while_taken([request])

            assert ends(peer) == [ABORT]


def test_of_a_command_set_without_end(victim: Victim) -> None:
    with victim.costs_at_most(), victim.associated() as peer:
        peer.send_while_taken(endless(p_data(pdv(CT_ID, bytes(1000), command=True, last=False))))

        assert ends(peer) == [ABORT]


def test_of_thousands_of_empty_fragments(victim: Victim) -> None:
    empty = pdv(CT_ID, b"", command=True, last=False)
    with victim.costs_at_most(), victim.associated() as peer:
        peer.send_while_taken(endless(p_data(*[empty] * 1000)))

        assert ends(peer) == [ABORT]


def test_of_a_command_set_with_thousands_of_elements(victim: Victim) -> None:
    crowded = command_set({number: b"" for number in range(0x2000, 0x2000 + 1500)})
    with victim.costs_at_most(), victim.associated() as peer:
        peer.send(p_data(pdv(CT_ID, crowded, command=True)))

        assert ends(peer) == [ABORT]

"""Whole and well-formed PDUs where they do not belong, and good ones cut short."""

from collections.abc import Callable

import pytest

from tests.attacks.victim import Victim, ends
from tests.scp.raw import (
    ABORT,
    AC,
    CT_ID,
    ECHO_ID,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    RJ,
    RawPeer,
    associate_rq,
    command_set,
    data_set,
    echo_rq,
    new_uid,
    p_data,
    pdu,
    pdv,
    store_rq,
)
from tests.scp.site import CONSENTING

pytestmark = pytest.mark.torture

ACCEPTANCE = pdu(AC, associate_rq()[6:])
"""Close enough: an A-ASSOCIATE-AC differs in what nobody gets to read here."""

PDUS = {
    "request": associate_rq(),
    "acceptance": ACCEPTANCE,
    "rejection": pdu(RJ, bytes([0, 1, 1, 1])),
    "data": p_data(pdv(ECHO_ID, echo_rq(), command=True)),
    "release": pdu(RELEASE_RQ, bytes(4)),
    "release answer": pdu(RELEASE_RP, bytes(4)),
    "abort": pdu(ABORT, bytes(4)),
    "unknown": pdu(0x42, bytes(4)),
}


def before_the_request(_: RawPeer) -> None:
    """Nothing has been said."""


def established(peer: RawPeer) -> None:
    peer.associate()


def inside_a_command(peer: RawPeer) -> None:
    peer.associate()
    peer.send(p_data(pdv(CT_ID, store_rq(new_uid())[:20], command=True, last=False)))


def inside_a_data_set(peer: RawPeer) -> None:
    uid = new_uid()
    peer.associate()
    peer.send(p_data(pdv(CT_ID, store_rq(uid), command=True)))
    peer.send(p_data(pdv(CT_ID, data_set(uid, CONSENTING)[:300], last=False)))


def after_a_release(peer: RawPeer) -> None:
    peer.associate()
    peer.send(pdu(RELEASE_RQ, bytes(4)))


def after_an_abort(peer: RawPeer) -> None:
    peer.associate()
    peer.send(pdu(ABORT, bytes(4)))


def after_a_rejection(peer: RawPeer) -> None:
    peer.send(associate_rq("NOBODY"))


EXPECTED: dict[Callable[[RawPeer], None], dict[str, list[int]]] = {
    before_the_request: {"request": [AC, ABORT], "abort": []},
    established: {"data": [P_DATA, ABORT], "release": [RELEASE_RP], "abort": []},
    inside_a_command: {"release": [RELEASE_RP], "abort": []},
    inside_a_data_set: {"abort": []},
    after_a_release: {name: [RELEASE_RP] for name in PDUS},
    after_an_abort: {name: [] for name in PDUS},
    after_a_rejection: {name: [RJ] for name in PDUS},
}
"""What is still said after a PDU in a state; where nothing else is given it is one A-ABORT."""


@pytest.mark.parametrize("name", PDUS)
@pytest.mark.parametrize("state", EXPECTED, ids=lambda state: state.__name__)
def test_every_pdu_in_every_state(victim: Victim, state: Callable[[RawPeer], None], name: str) -> None:
    with victim.costs_at_most(), victim.peer() as peer:
        state(peer)
        peer.send_while_taken([PDUS[name]])
        kinds = ends(peer)

    assert kinds == EXPECTED[state].get(name, [ABORT])


@pytest.mark.parametrize("state", EXPECTED, ids=lambda state: state.__name__)
def test_the_end_of_the_connection_in_every_state(victim: Victim, state: Callable[[RawPeer], None]) -> None:
    with victim.costs_at_most(), victim.peer() as peer:
        state(peer)


def test_a_request_cut_anywhere(victim: Victim) -> None:
    request = associate_rq()
    with victim.costs_at_most():
        for cut in range(0, len(request), 7):
            with victim.peer() as peer:
                peer.send(request[:cut])


def test_a_store_cut_anywhere(victim: Victim) -> None:
    uid = new_uid()
    stream = p_data(pdv(CT_ID, store_rq(uid), command=True)) + p_data(pdv(CT_ID, data_set(uid, CONSENTING)))
    before = victim.site.spooled()
    with victim.costs_at_most():
        for cut in range(0, len(stream), 41):
            with victim.associated() as peer:
                peer.send(stream[:cut])
    assert uid not in victim.site.instances()
    assert len(before) <= len(victim.site.spooled())


# --- messages out of order --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pdvs",
    [
        pytest.param([pdv(CT_ID, b"\x08\0")], id="a data set without a command"),
        pytest.param([pdv(CT_ID, store_rq("1.2"), command=True)] * 2, id="a command where a data set is due"),
        pytest.param([pdv(CT_ID, store_rq("1.2"), command=True), pdv(ECHO_ID, b"\0\0")], id="data on another context"),
        pytest.param([pdv(99, echo_rq(), command=True)], id="a context nobody proposed"),
        pytest.param([pdv(2, echo_rq(), command=True)], id="an even context"),
        pytest.param([pdv(0, echo_rq(), command=True)], id="context zero"),
        pytest.param(
            [pdv(CT_ID, echo_rq()[:10], command=True, last=False), pdv(ECHO_ID, b"", command=True)], id="mixed"
        ),
    ],
)
def test_fragments_out_of_order(victim: Victim, pdvs: list[bytes]) -> None:
    with victim.costs_at_most(), victim.associated() as peer:
        peer.send(p_data(*pdvs))

        assert ends(peer) == [ABORT]


@pytest.mark.parametrize(
    "elements",
    [
        pytest.param({}, id="nothing"),
        pytest.param({0x0100: 0x0001}, id="only a command field"),
        pytest.param({0x0002: "1.2", 0x0100: 0x4242, 0x0110: 1, 0x0800: 0x0101}, id="an unknown command"),
        pytest.param({0x0002: "1.2", 0x0100: 0x8FFF, 0x0110: 1, 0x0800: 0x0101}, id="a response to a cancel"),
        pytest.param({0x0100: 0x0030, 0x0110: 1, 0x0800: 0x0101}, id="an echo of no class"),
        pytest.param({0x0002: "1.2", 0x0100: 0x0030, 0x0800: 0x0101}, id="no message id"),
        pytest.param({0x0002: "1.2", 0x0100: 0x0030, 0x0110: b"\1\0\0\0", 0x0800: 0x0101}, id="a long message id"),
        pytest.param({0x0002: "1.2", 0x0100: 0x0030, 0x0110: 1, 0x0800: 0}, id="an echo with a data set"),
        pytest.param(
            {0x0002: "1.2", 0x0100: 1, 0x0110: 1, 0x0700: 0, 0x0800: 0x0101, 0x1000: "1.2"}, id="a store of nothing"
        ),
        pytest.param(
            {0x0002: "1.2", 0x0100: 1, 0x0110: 1, 0x0700: 0, 0x0800: 0, 0x1000: "../../x"}, id="a path for a UID"
        ),
        pytest.param(
            {0x0002: "1.2", 0x0100: 1, 0x0110: 1, 0x0700: 0, 0x0800: 0, 0x1000: b"1.2\n3\0"}, id="a line for a UID"
        ),
        pytest.param(
            {0x0002: "1.2", 0x0100: 1, 0x0110: 1, 0x0700: 0, 0x0800: 0, 0x1000: "1." * 2000 + "1"}, id="a long UID"
        ),
        pytest.param({0x0002: "1.2", 0x0100: 0x8001, 0x0120: 1, 0x0800: 0x0101, 0x0900: 0}, id="a store response"),
        pytest.param({0x0002: "1.2", 0x0100: 0x8020, 0x0120: 1, 0x0800: 0x0101, 0x0900: 0}, id="a find response"),
    ],
)
def test_command_sets_that_are_none(victim: Victim, elements: dict[int, bytes | int | str]) -> None:
    with victim.costs_at_most(), victim.associated() as peer:
        peer.send(p_data(pdv(CT_ID, command_set(elements), command=True)))

        assert ends(peer) == [ABORT]


@pytest.mark.parametrize("field", [0x0010, 0x0020, 0x0021, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150])
def test_operations_nobody_performs(victim: Victim, field: int) -> None:
    request = command_set({0x0002: "1.2.3", 0x0100: field, 0x0110: 9, 0x0700: 0, 0x0800: 0})
    with victim.costs_at_most(), victim.associated() as peer:
        peer.send(p_data(pdv(CT_ID, request, command=True)), p_data(pdv(CT_ID, b"\0" * 1000)))

        assert peer.status() == 0x0211
        assert peer.echo() == 0

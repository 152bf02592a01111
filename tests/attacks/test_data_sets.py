"""Data sets made to cost much: bombs, crumbs, depth; and names that are paths or more than one line."""

import zlib
from itertools import repeat
from pathlib import Path

import pytest

from tests.attacks.victim import Victim, ends
from tests.scp.raw import (
    ABORT,
    CT,
    CT_ID,
    DEFLATED_ID,
    RJ,
    associate_rq,
    data_set,
    explicit,
    new_uid,
    p_data,
    pdv,
    store_pdus,
    store_rq,
)
from tests.scp.site import CONSENTING

pytestmark = pytest.mark.torture

SUCCESS, CANNOT_UNDERSTAND = 0x0000, 0xC000

UNDEFINED = 0xFFFF_FFFF
NESTED = explicit(0x0008_1140, "SQ", b"", UNDEFINED) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
"""A sequence of undefined length, and in it an item of undefined length."""


def deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


def head() -> bytes:
    """The beginning of a data set, before the patient."""
    return explicit(0x0008_0016, "UI", CT) + explicit(0x0008_0018, "UI", new_uid())


BOMBS = {
    "sequences in sequences": (CT_ID, head() + NESTED * 20_000),
    "sequences side by side": (CT_ID, head() + explicit(0x0008_1140, "SQ", b"", 0) * 100_000),
    "items by the thousand": (
        CT_ID,
        head() + explicit(0x0008_1140, "SQ", b"", UNDEFINED) + b"\xfe\xff\x00\xe0\0\0\0\0" * 200_000,
    ),
    "private elements without end": (
        CT_ID,
        head() + b"".join(explicit(0x0009_0000 | n % 0xFFFF, "LO", "X") for n in range(1, 100_000)),
    ),
    "a long value": (CT_ID, head() + explicit(0x0010_0010, "PN", b"A" * 65_534)),
    "a value of 4 GiB": (CT_ID, head() + explicit(0x0010_0010, "UN", bytes(1000), 0xFFFF_FFFE)),
    "zeros, deflated": (DEFLATED_ID, deflated(bytes(256 << 20))),
    "one value, deflated": (DEFLATED_ID, deflated(head() + explicit(0x0009_1001, "UN", bytes(128 << 20)))),
    "elements, deflated": (DEFLATED_ID, deflated(head() + explicit(0x0008_0080, "LO", b"A" * 64) * 1_000_000)),
    "deflated nothing without end": (DEFLATED_ID, b"\0\0\0\xff\xff" * 700_000),
    "no deflated stream": (DEFLATED_ID, b"\xff" * 100_000),
}
"""Presentation context and data set; none holds what is needed within the first 256 KiB."""


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_and_cost_nothing(victim: Victim, name: str) -> None:
    context_id, data = BOMBS[name]
    with victim.costs_at_most(), victim.associated() as peer:
        peer.send(*store_pdus(new_uid(), data + b"\0" * (len(data) % 2), context_id=context_id))

        assert peer.status() == CANNOT_UNDERSTAND
        assert peer.echo() == SUCCESS


def test_crumbs_cost_no_more_than_the_loaf(victim: Victim) -> None:
    """A data set in fragments of one byte: what is kept of it before its head is known is kept once."""
    uid = new_uid()
    data = data_set(uid, CONSENTING)
    position = data.index(explicit(0x0010_0010, "PN", "Canary^Yellow"))
    crumbs = head() + explicit(0x0009_1001, "UN", bytes(120_000)) + data[position:]
    with victim.costs_at_most(), victim.associated() as peer:
        request = p_data(pdv(CT_ID, store_rq(uid), command=True))
        fragments = (pdv(CT_ID, crumbs[i : i + 1], last=i == len(crumbs) - 1) for i in range(len(crumbs)))
        peer.send(request, *map(p_data, fragments))

        assert peer.status() in (SUCCESS, 0xA900)


def test_a_refused_instance_of_megabytes_costs_nothing(victim: Victim) -> None:
    uid = new_uid()
    with victim.costs_at_most(), victim.associated() as peer:
        peer.send(*store_pdus(uid, data_set(uid, "NOBODY-1", pixels=bytes(4 << 20))))

        assert peer.status() == 0x0124


def test_an_accepted_instance_of_megabytes_costs_no_more(victim: Victim) -> None:
    uid = new_uid()
    with victim.costs_at_most(2 << 20), victim.associated() as peer:
        data = data_set(uid, CONSENTING, pixels=bytes(3 << 20))
        peer.send(*store_pdus(uid, data))

        assert peer.status() == SUCCESS


def test_a_data_set_without_end_is_cut_off(victim: Victim) -> None:
    piece = p_data(pdv(CT_ID, bytes(16_000), last=False))
    with victim.costs_at_most(), victim.associated() as peer:
        peer.send(p_data(pdv(CT_ID, store_rq(new_uid()), command=True)))
        peer.send_while_taken(repeat(piece, 20_000))

        assert ends(peer) == [ABORT]


# --- names ------------------------------------------------------------------------------------------------------------

NAMES = [
    b"../../x",
    b"/etc/passwd",
    b"..\\..\\x",
    b"A\0B",
    b"A\nB",
    b"A\r\nlevel: error",
    b"\x1b[2J\x1b[31mA",
    b"A\x7fB",
    b"\xff\xfe\xfd",
    b"\xed\x99\x8d\xea\xb8\xb8",
    b"",
    b"\0" * 16,
    b" " * 16,
    b'"}{"level":"err"',
    b"{0.__class__}",
    b"%s%n%x",
    b"'; DROP TABLE --",
    b"900101-1234567",
]


def files(folder: Path) -> set[Path]:
    """Everything below a folder that is not the gateway's own."""
    return {path for path in folder.rglob("*") if "spool" not in path.parts and "gateway.db" not in path.name}


@pytest.mark.parametrize("name", NAMES)
def test_ae_titles_that_are_none(victim: Victim, name: bytes) -> None:
    title = name.ljust(16)[:16]
    known = files(victim.site.node.folder)
    for calling, called in ((title, b"GATEWAY".ljust(16)), (b"STORESCU".ljust(16), title), (title, title)):
        with victim.costs_at_most(), victim.peer() as peer:
            peer.send(associate_rq(calling, called))

            assert ends(peer) in ([ABORT], [RJ])
    assert files(victim.site.node.folder) == known


@pytest.mark.parametrize("value", [b"../../../x", b"/etc/passwd\0", b"1.2/../../x\0", b"..", b"1.2\0/x"])
def test_uids_that_are_paths(victim: Victim, value: bytes) -> None:
    known = files(victim.site.node.folder)
    padded = value + b"\0" * (len(value) % 2)
    with victim.associated() as peer:
        for name in ("sop_instance", "study", "series", "sop_class"):
            uid = new_uid()
            assert peer.store(uid, data_set(uid, CONSENTING, **{name: padded})) == CANNOT_UNDERSTAND
    assert files(victim.site.node.folder) == known


@pytest.mark.parametrize(
    "accession", [b"\x1b[2J", b"A\nlevel: error", b"../../x\0", b"A\0B\0", b"'; DROP TABLE instance; --", b"\xff" * 16]
)
def test_texts_that_are_more_than_one_line_stay_texts(victim: Victim, accession: bytes) -> None:
    uid = new_uid()
    padded = accession + b" " * (len(accession) % 2)
    with victim.associated() as peer:
        status = peer.store(uid, data_set(uid, CONSENTING, accession=padded))

    assert status in (SUCCESS, CANNOT_UNDERSTAND)


def test_a_resident_number_is_not_repeated_anywhere(victim: Victim) -> None:
    uid = new_uid()
    with victim.associated() as peer:
        peer.send(*store_pdus(uid, data_set(uid, "900101-1234567")))
        response = peer.response()

    assert b"900101" not in response[0x0902]
    assert "900101" not in victim.site.log
    database = b"".join(path.read_bytes() for path in victim.site.node.folder.rglob("gateway.db*"))
    assert b"900101-1234567" not in database

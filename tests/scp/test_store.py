"""C-STORE from outside: what a peer is answered, what is kept, what goes on to the destination."""

import zlib
from hashlib import sha256
from itertools import repeat, takewhile
from time import monotonic

import pytest

from gateway.domain.transfer import InstanceState
from tests.scp.raw import (
    ABORT,
    CT,
    CT_ID,
    DEFLATED_ID,
    ECHO_ID,
    MR,
    MR_ID,
    PATIENCE_S,
    RawPeer,
    data_set,
    explicit,
    implicit,
    new_uid,
    p_data,
    pdv,
    store_pdus,
    store_rq,
)
from tests.scp.sink import Sink
from tests.scp.site import CONSENTING, INSTANCE_LIMIT_BYTES, STRANGER, UNROUTED, RunningSite
from tests.wait import wait_until

SUCCESS, NOT_SUPPORTED, NOT_AUTHORIZED = 0x0000, 0x0122, 0x0124
OUT_OF_RESOURCES, MISMATCH, CANNOT_UNDERSTAND = 0xA700, 0xA900, 0xC000

COMMENT_CHARACTERS = 64
"""PS3.5 §6.2: the value representation of Error Comment is LO."""

RESIDENT_NUMBER = "900101-1234567"


def stored(peer: RawPeer) -> bool:
    """Whether the association still takes a good instance."""
    uid = new_uid()
    return peer.store(uid, data_set(uid, CONSENTING)) == SUCCESS


def answer(peer: RawPeer, uid: str, data: bytes, *, context_id: int = CT_ID, sop_class: str = CT) -> tuple[int, str]:
    """Status and comment of a C-STORE."""
    peer.send(*store_pdus(uid, data, context_id=context_id, sop_class=sop_class))
    response = peer.response()
    return int.from_bytes(response[0x0900], "little"), response.get(0x0902, b"").decode("ascii")


def test_an_instance_is_durable_when_acknowledged_and_goes_on_unchanged(
    peer: RawPeer, site: RunningSite, sink: Sink
) -> None:
    uid = new_uid()
    data = data_set(uid, CONSENTING, pixels=bytes(range(256)) * 4096)

    assert peer.store(uid, data) == SUCCESS
    assert any(path.read_bytes().startswith(data) for path in site.spooled())
    wait_until(lambda: sink.count(uid))
    assert sink.digests[uid] == {sha256(data).hexdigest()}


def test_the_response_names_the_request(peer: RawPeer) -> None:
    uid = new_uid()
    request = pdv(CT_ID, store_rq(uid, message_id=0x4711), command=True)
    peer.send(p_data(request), p_data(pdv(CT_ID, data_set(uid, CONSENTING))))

    response = peer.response()

    assert response[0x0120] == b"\x11\x47"
    assert response[0x0002].rstrip(b"\0").decode() == CT
    assert response[0x1000].rstrip(b"\0").decode() == uid
    assert response[0x0100] == b"\x01\x80"


# --- consent and routes -----------------------------------------------------------------------------------------------


def test_an_instance_much_smaller_than_those_before_it_is_answered(peer: RawPeer) -> None:
    """It has come in one read with its request: nothing more is waited for, however much came before."""
    large = new_uid()
    assert peer.store(large, data_set(large, CONSENTING, pixels=bytes(1 << 20))) == SUCCESS

    assert stored(peer)


def test_without_consent_nothing_is_written_and_nothing_leaves(peer: RawPeer, site: RunningSite, sink: Sink) -> None:
    site.wait_until_settled()
    before, uid = site.spooled(), new_uid()

    status, comment = answer(peer, uid, data_set(uid, STRANGER, pixels=bytes(1 << 20)))

    assert status == NOT_AUTHORIZED
    assert comment.strip() == "Not authorized"
    assert site.spooled() == before
    assert uid not in site.instances()
    assert sink.count(uid) == 0
    assert stored(peer)


def test_consent_and_its_withdrawal_take_effect_within_a_second(peer: RawPeer, site: RunningSite) -> None:
    def answered(expected: int) -> bool:
        uid = new_uid()
        return peer.store(uid, data_set(uid, "CANARY-3003")) == expected

    assert answered(NOT_AUTHORIZED)
    site.consent("CANARY-3003")
    wait_until(lambda: answered(SUCCESS), timeout_s=1.0)
    site.withdraw("CANARY-3003")
    wait_until(lambda: answered(NOT_AUTHORIZED), timeout_s=1.0)
    site.consent("CANARY-3003")
    wait_until(lambda: answered(SUCCESS), timeout_s=1.0)


def test_a_patient_id_is_read_in_the_character_set_of_the_data_set(peer: RawPeer, site: RunningSite) -> None:
    site.consent("홍길동")
    utf8 = {"charset": "ISO_IR 192", "patient_id": "홍길동".encode() + b" "}
    korean = {"charset": "\\ISO 2022 IR 149", "patient_id": b"\x1b$)C\xc8\xab\xb1\xe6\xb5\xbf"}

    def answered(changes: dict[str, str | bytes]) -> int:
        uid = new_uid()
        return peer.store(uid, data_set(uid, **{"patient_id": b"", **changes}))  # type: ignore[arg-type]

    wait_until(lambda: answered(utf8) == SUCCESS, timeout_s=1.0)
    assert answered(korean) == SUCCESS


def test_what_no_route_takes_is_refused_for_now(site: RunningSite) -> None:
    uid = new_uid()
    with RawPeer(site.port) as peer:
        peer.associate(UNROUTED)
        status, comment = answer(peer, uid, data_set(uid, CONSENTING))
        peer.release()

    assert status == OUT_OF_RESOURCES
    assert "route" in comment
    assert uid not in site.instances()


# --- data sets that are not what they should be -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"sop_instance": "1.2.3.4"}, {"sop_class": MR}, {"sop_class": MR, "sop_instance": "1.2"}]
)
def test_a_data_set_that_is_not_what_its_command_says_is_refused(
    peer: RawPeer, site: RunningSite, changes: dict[str, str]
) -> None:
    uid = new_uid()

    assert answer(peer, uid, data_set(uid, CONSENTING, **changes))[0] == MISMATCH
    assert uid not in site.instances()
    assert stored(peer)


@pytest.mark.parametrize("name", ["sop_class", "sop_instance", "study", "series", "patient_id"])
@pytest.mark.parametrize("value", [None, b"", b"  ", b"\0\0"])
def test_missing_identifiers_are_named_in_the_refusal(peer: RawPeer, name: str, value: bytes | None) -> None:
    uid = new_uid()

    status, comment = answer(peer, uid, data_set(uid, **{"patient_id": CONSENTING, name: value}))  # type: ignore[arg-type]

    assert status == CANNOT_UNDERSTAND
    assert {"sop": "SOP", "study": "Study", "series": "Series", "patient_id": "Patient ID"}[
        "sop" if name.startswith("sop") else name
    ] in comment
    assert stored(peer)


@pytest.mark.parametrize("name", ["sop_class", "sop_instance", "study", "series"])
@pytest.mark.parametrize(
    "value",
    [
        b"../../etc/passwd",
        b"1.2.",
        b".1.2",
        b"1..2",
        b"1.02.3",
        b"1.2\n3",
        b"1" * 66,
        b"1.2\0.3 ",
        b"\xff\xfe",
        b"1.2\\1.3",
    ],
)
def test_malformed_uids_are_refused(peer: RawPeer, site: RunningSite, name: str, value: bytes) -> None:
    uid = new_uid()
    data = data_set(uid, CONSENTING, **{name: value + b"\0" * (len(value) % 2)})

    status, comment = answer(peer, uid, data)

    assert status == CANNOT_UNDERSTAND
    assert "malformed" in comment
    assert stored(peer)


@pytest.mark.filterwarnings("ignore:Found unknown escape sequence")
@pytest.mark.parametrize(
    "value",
    [
        RESIDENT_NUMBER.encode(),
        RESIDENT_NUMBER.replace("-", "").encode() + b" ",
        f"ID {RESIDENT_NUMBER}".encode() + b" ",
        b"X" * 66,
        b"A\\B ",
        b"A\nB ",
        b"A\x1b[2J ",
        b"A\0B ",
        "홍길동".encode() + b" ",
    ],
)
def test_patient_ids_that_cannot_be_one_are_refused_without_repeating_them(peer: RawPeer, value: bytes) -> None:
    uid = new_uid()

    status, comment = answer(peer, uid, data_set(uid, value))

    assert status == CANNOT_UNDERSTAND
    assert comment.startswith("Patient ID")
    assert len(comment) <= COMMENT_CHARACTERS
    assert comment.isprintable()
    assert not set(comment) & set("0123456789\\")
    assert stored(peer)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x08", id="a byte"),
        pytest.param(bytes(64), id="zeros"),
        pytest.param(b"\xff" * 64, id="ones"),
        pytest.param(explicit(0x0008_0016, "UI", CT)[:-3], id="cut inside an element"),
        pytest.param(explicit(0x0008_0018, "UI", "1.2", length=0xFFFE), id="a length beyond the end"),
        pytest.param(explicit(0x0008_1140, "SQ", b"", length=0xFFFF_FFFE), id="a sequence of 4 GiB"),
        pytest.param(implicit(0x0008_0016, CT), id="another transfer syntax"),
        pytest.param(explicit(0x0010_0020, "LO", "1") + explicit(0x0008_0016, "UI", CT), id="out of order"),
        pytest.param(explicit(0x0008_0016, "UI", CT) * 2, id="an element twice"),
        pytest.param(explicit(0x0008_1140, "SQ", b"", length=0xFFFF_FFFF) * 100, id="nested without end"),
        pytest.param(explicit(0xFFFE_E00D, "UI", b""), id="a delimiter of nothing"),
    ],
)
def test_data_sets_that_cannot_be_read_are_refused(peer: RawPeer, data: bytes) -> None:
    status, comment = answer(peer, new_uid(), data)

    assert status == CANNOT_UNDERSTAND
    assert 0 < len(comment) <= COMMENT_CHARACTERS
    assert stored(peer)


def test_a_data_set_of_odd_length_is_refused(peer: RawPeer, site: RunningSite) -> None:
    site.wait_until_settled()
    before, uid = site.spooled(), new_uid()

    assert answer(peer, uid, data_set(uid, CONSENTING) + b"\0")[0] == CANNOT_UNDERSTAND
    assert site.spooled() == before
    assert stored(peer)


def test_a_sop_class_does_not_come_in_on_the_context_of_another(peer: RawPeer, site: RunningSite) -> None:
    uid = new_uid()
    status, _ = answer(peer, uid, data_set(uid, CONSENTING, sop_class=MR), sop_class=MR)

    assert status == NOT_SUPPORTED
    assert answer(peer, uid, data_set(uid, CONSENTING), context_id=ECHO_ID)[0] == NOT_SUPPORTED
    assert uid not in site.instances()
    assert stored(peer)


# --- the same UID again -----------------------------------------------------------------------------------------------


def test_the_same_instance_twice_is_one_instance(peer: RawPeer, site: RunningSite, sink: Sink) -> None:
    uid = new_uid()
    data = data_set(uid, CONSENTING)

    assert [peer.store(uid, data), peer.store(uid, data)] == [SUCCESS, SUCCESS]
    wait_until(lambda: sink.count(uid))
    site.wait_until_settled()
    assert site.instances()[uid] == [InstanceState.SPOOLED]
    assert sink.digests[uid] == {sha256(data).hexdigest()}
    assert sum(path.read_bytes().startswith(data) for path in site.spooled()) == 1


def test_other_content_under_a_known_uid_is_put_aside(peer: RawPeer, site: RunningSite, sink: Sink) -> None:
    uid = new_uid()
    first, other = data_set(uid, CONSENTING), data_set(uid, CONSENTING, pixels=b"\xaa\xbb" * 256)

    assert [peer.store(uid, first), peer.store(uid, other)] == [SUCCESS, SUCCESS]
    wait_until(lambda: len(site.instances().get(uid, [])) == 2)
    wait_until(lambda: sink.count(uid))
    site.wait_until_settled()
    assert site.instances()[uid] == [InstanceState.SPOOLED, InstanceState.QUARANTINED]
    assert sink.digests[uid] == {sha256(first).hexdigest()}


# --- how it is cut up and coded ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 2, 7, 16])
def test_an_instance_in_crumbs_arrives_whole(peer: RawPeer, sink: Sink, piece: int) -> None:
    uid = new_uid()
    data = data_set(uid, CONSENTING, accession="A" * 16, pixels=bytes(4096))
    filler = explicit(0x0009_0010, "LO", "FILLER") + explicit(0x0009_1001, "UN", bytes(1200 * piece))
    position = data.index(explicit(0x0010_0010, "PN", "Canary^Yellow"))
    data = data[:position] + filler + data[position:]  # more fragments before the identifiers than one write takes

    assert peer.store(uid, data, piece=piece) == SUCCESS
    wait_until(lambda: sink.count(uid))
    assert sink.digests[uid] == {sha256(data).hexdigest()}


def test_many_fragments_in_one_pdu_and_empty_ones_are_taken(peer: RawPeer, sink: Sink) -> None:
    uid = new_uid()
    data = data_set(uid, CONSENTING)
    middle = len(data) // 2
    pieces = [pdv(CT_ID, data[:middle], last=False), pdv(CT_ID, b"", last=False), pdv(CT_ID, data[middle:], last=False)]
    peer.send(p_data(pdv(CT_ID, store_rq(uid), command=True), *pieces, pdv(CT_ID, b"")))

    assert peer.status() == SUCCESS
    wait_until(lambda: sink.count(uid))
    assert sink.digests[uid] == {sha256(data).hexdigest()}


def test_a_deflated_data_set_goes_on_as_it_came(peer: RawPeer, sink: Sink) -> None:
    uid = new_uid()
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = deflater.compress(data_set(uid, CONSENTING)) + deflater.flush()
    data += b"\0" * (len(data) % 2)

    assert peer.store(uid, data, context_id=DEFLATED_ID) == SUCCESS
    wait_until(lambda: sink.count(uid))
    assert sink.digests[uid] == {sha256(data).hexdigest()}


def test_implicit_vr_is_read(peer: RawPeer, sink: Sink) -> None:
    uid = new_uid()
    values = {0x0008_0016: MR, 0x0008_0018: uid, 0x0010_0020: CONSENTING, 0x0020_000D: "1.2.3", 0x0020_000E: "1.2.3.4"}
    data = b"".join(implicit(tag, value) for tag, value in values.items()) + implicit(0x7FE0_0010, bytes(64))

    assert peer.store(uid, data, context_id=MR_ID, sop_class=MR) == SUCCESS
    wait_until(lambda: sink.count(uid))


# --- size -------------------------------------------------------------------------------------------------------------


def sized(uid: str, size_bytes: int) -> bytes:
    """A data set of exactly this size."""
    frame = len(data_set(uid, CONSENTING, pixels=b""))
    return data_set(uid, CONSENTING, pixels=bytes(size_bytes - frame))


def test_the_largest_instance_accepted_is_exactly_that(peer: RawPeer, site: RunningSite) -> None:
    uid, larger = new_uid(), new_uid()

    assert answer(peer, uid, sized(uid, INSTANCE_LIMIT_BYTES))[0] == SUCCESS
    site.wait_until_settled()
    before = site.spooled()
    assert answer(peer, larger, sized(larger, INSTANCE_LIMIT_BYTES + 2))[0] == OUT_OF_RESOURCES
    assert site.spooled() == before
    assert stored(peer)


@pytest.mark.parametrize("patient_id", [CONSENTING, STRANGER])
def test_a_data_set_without_end_is_not_read_for_ever(site: RunningSite, patient_id: str) -> None:
    uid = new_uid()
    with RawPeer(site.port) as peer:
        peer.associate()
        peer.send(p_data(pdv(CT_ID, store_rq(uid), command=True)))
        peer.send(p_data(pdv(CT_ID, data_set(uid, patient_id), last=False)))
        endless = p_data(pdv(CT_ID, bytes(16_000), last=False))
        end = monotonic() + PATIENCE_S
        peer.send_while_taken(takewhile(lambda _: monotonic() < end, repeat(endless)))
        assert monotonic() < end
        answers = peer.read_to_end()

    assert [kind for kind, _ in answers] == [ABORT]
    assert uid not in site.instances()

"""Fragments become messages, however they are cut; what breaks the order or a length is refused."""

import struct
from itertools import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.wire import uids
from gateway.wire.association import INITIAL_BUFFER_BYTES, Association, Limits, Role
from gateway.wire.command import CEchoRQ, CStoreRQ, OtherCommand, encode
from gateway.wire.events import CommandReceived, DataReceived
from gateway.wire.message import FragmentFrame, fragment_command
from gateway.wire.pdu import PDV, PDataTF, decode_pdu
from gateway.wire.reassembly import FRAGMENTS_PER_EVENT_LIMIT, LENGTH_VARIATION_BYTES, MessageReceiver
from tests.wire.pair import (
    CT_CONTEXT,
    CT_IMAGE_STORAGE,
    ECHO_CONTEXT,
    MAXIMUM_LENGTH,
    REFUSED_CONTEXT,
    Data,
    Seen,
    coalesced,
    copied,
    established_acceptor,
    fed,
)

STORE = CStoreRQ(1, CT_IMAGE_STORAGE, "1.2.3", 0)
STORE_COMMAND = fragment_command(CT_CONTEXT, encode(STORE), 0)
ECHO = CEchoRQ(2, uids.VERIFICATION)
ECHO_COMMAND = fragment_command(ECHO_CONTEXT, encode(ECHO), 0)


def p_data(*pdvs: tuple[int, int, bytes]) -> bytes:
    """A P-DATA-TF of fragments given as context, control header and content."""
    return PDataTF(
        tuple(PDV(context_id, bool(control & 1), bool(control & 2), content) for context_id, control, content in pdvs)
    ).encode()


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, list[Seen]]:
    """Some messages cut into fragments and PDUs in any legal way, and what must come of them."""
    pdvs: list[PDV] = []
    expected: list[Seen] = []
    for _ in range(draw(st.integers(1, 3))):
        command = draw(st.sampled_from([STORE, ECHO]))
        context_id = CT_CONTEXT if command is STORE else ECHO_CONTEXT
        pdvs += draw(cut(context_id, encode(command), is_command=True))
        expected.append(CommandReceived(context_id, command))
        if command.has_data_set:
            content = draw(st.binary(max_size=300))
            pdvs += draw(cut(context_id, content, is_command=False))
            expected.append(Data(context_id, content, last=True))
    stream = b""
    while pdvs:
        count = draw(st.sampled_from([1, 1, 1, 2, 5]))
        stream += PDataTF(tuple(pdvs[:count])).encode()
        pdvs = pdvs[count:]
    return stream, expected


@st.composite
def cut(draw: st.DrawFn, context_id: int, content: bytes, is_command: bool) -> list[PDV]:
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=5)))
    pieces = [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    return [PDV(context_id, is_command, number == len(pieces), piece) for number, piece in enumerate(pieces, start=1)]


@given(messages(), st.lists(st.integers(1, 40), max_size=40), st.integers(1, 400))
@settings(max_examples=200)
def test_any_cut_gives_the_same_events(sent: tuple[bytes, list[Seen]], sizes: list[int], then: int) -> None:
    stream, expected = sent
    acceptor = established_acceptor()

    assert coalesced(fed(acceptor, stream, [*sizes, *repeat(then, len(stream))])) == expected


@given(messages())
@settings(max_examples=50)
def test_every_byte_on_its_own_gives_the_same_events(sent: tuple[bytes, list[Seen]]) -> None:
    stream, expected = sent

    assert coalesced(fed(established_acceptor(), stream, repeat(1))) == expected


def test_all_fragments_in_the_buffer_are_one_event_without_a_copy() -> None:
    acceptor = established_acceptor()
    list(fed(acceptor, STORE_COMMAND))
    content = bytes(range(256)) * 500
    sent = FragmentFrame(CT_CONTEXT, MAXIMUM_LENGTH, memoryview(bytearray(content))).framed(len(content), last=True)
    stream = b"".join(sent)

    buffer = acceptor.receive_buffer()
    buffer[: len(stream)] = stream
    acceptor.received(len(stream))
    event = acceptor.next_event()

    assert isinstance(event, DataReceived)
    assert len(event.fragments) == len(sent) // 2 == 8
    assert all(fragment.obj is buffer.obj for fragment in event.fragments)
    assert event.last
    assert copied(event) == Data(CT_CONTEXT, content, last=True)
    assert acceptor.next_event() is None


def test_an_unfinished_fragment_is_handed_out_as_far_as_it_has_arrived() -> None:
    acceptor = established_acceptor()
    list(fed(acceptor, STORE_COMMAND))
    stream = p_data((CT_CONTEXT, 2, b"0123456789"))

    assert list(fed(acceptor, stream[:15])) == [Data(CT_CONTEXT, b"012", last=False)]
    assert list(fed(acceptor, stream[15:-1])) == [Data(CT_CONTEXT, b"345678", last=False)]
    assert list(fed(acceptor, stream[-1:])) == [Data(CT_CONTEXT, b"9", last=True)]


def test_an_event_has_few_enough_fragments_for_one_gather_write() -> None:
    acceptor = established_acceptor()
    list(fed(acceptor, STORE_COMMAND))
    count = 3 * FRAGMENTS_PER_EVENT_LIMIT
    stream = p_data((CT_CONTEXT, 0, b"ab")) * count

    buffer = acceptor.receive_buffer()
    buffer[: len(stream)] = stream
    acceptor.received(len(stream))
    sizes = []
    while (event := acceptor.next_event()) is not None:
        assert isinstance(event, DataReceived)
        sizes.append(len(event.fragments))
    assert sum(sizes) == count
    assert max(sizes) == FRAGMENTS_PER_EVENT_LIMIT


def test_several_fragments_in_one_pdu() -> None:
    whole = encode(STORE)
    stream = p_data(
        (CT_CONTEXT, 1, whole[:10]), (CT_CONTEXT, 3, whole[10:]), (CT_CONTEXT, 0, b"ab"), (CT_CONTEXT, 2, b"cd")
    )

    assert coalesced(fed(established_acceptor(), stream)) == [
        CommandReceived(CT_CONTEXT, STORE),
        Data(CT_CONTEXT, b"abcd", last=True),
    ]


def test_reserved_bits_of_the_control_header_are_not_tested() -> None:
    acceptor = established_acceptor()
    stream = bytearray(STORE_COMMAND + p_data((CT_CONTEXT, 0, b"ab")) + p_data((CT_CONTEXT, 2, b"cd")))
    stream[11] |= 0xFC
    stream[len(STORE_COMMAND) + 11] |= 0xFC
    stream[len(STORE_COMMAND) + 14 + 11] |= 0xFC

    assert coalesced(fed(acceptor, bytes(stream))) == [
        CommandReceived(CT_CONTEXT, STORE),
        Data(CT_CONTEXT, b"abcd", last=True),
    ]


def test_an_empty_last_fragment_ends_the_data_set() -> None:
    stream = STORE_COMMAND + p_data((CT_CONTEXT, 0, b"ab")) + p_data((CT_CONTEXT, 2, b"")) + ECHO_COMMAND

    assert coalesced(fed(established_acceptor(), stream)) == [
        CommandReceived(CT_CONTEXT, STORE),
        Data(CT_CONTEXT, b"ab", last=True),
        CommandReceived(ECHO_CONTEXT, ECHO),
    ]


def test_data_of_commands_without_their_own_type() -> None:
    find = OtherCommand(0x0020, 1, CT_IMAGE_STORAGE, has_data_set=True)
    stream = fragment_command(CT_CONTEXT, encode(find), 0) + p_data((CT_CONTEXT, 2, b"ab"))

    assert list(fed(established_acceptor(), stream)) == [
        CommandReceived(CT_CONTEXT, find),
        Data(CT_CONTEXT, b"ab", last=True),
    ]


COMMAND = encode(STORE)
BROKEN = {
    "data without a command": p_data((CT_CONTEXT, 2, b"ab")),
    "data after an echo": ECHO_COMMAND + p_data((ECHO_CONTEXT, 2, b"ab")),
    "data before the command ends": p_data((CT_CONTEXT, 1, COMMAND[:10])) + p_data((CT_CONTEXT, 2, b"ab")),
    "data after the last fragment": STORE_COMMAND + p_data((CT_CONTEXT, 2, b"ab")) * 2,
    "command while data is due": STORE_COMMAND + STORE_COMMAND,
    "command inside data": STORE_COMMAND + p_data((CT_CONTEXT, 0, b"ab")) + STORE_COMMAND,
    "command on another context inside a command": p_data((CT_CONTEXT, 1, COMMAND[:10]))
    + p_data((ECHO_CONTEXT, 3, COMMAND[10:])),
    "data on another context": STORE_COMMAND + p_data((ECHO_CONTEXT, 2, b"ab")),
    "data on another context later": STORE_COMMAND + p_data((CT_CONTEXT, 0, b"ab")) + p_data((ECHO_CONTEXT, 2, b"ab")),
    "context that was refused": p_data((REFUSED_CONTEXT, 3, COMMAND)),
    "context that was never proposed": p_data((99, 3, COMMAND)),
    "context 0": p_data((0, 3, COMMAND)),
    "no fragment": b"\4\0\0\0\0\0",
    "no room for a fragment": b"\4\0\0\0\0\5\0\0\0\1\3",
    "fragment shorter than its header": b"\4\0\0\0\0\6\0\0\0\1\3\3",
    "fragment longer than its PDU": b"\4\0\0\0\0\x08\0\0\0\5\3\3ab",
    "fragment of 4 GiB": b"\4\0\0\0\0\x08\xff\xff\xff\xff\3\3ab",
    "rest too short for a fragment": b"\4\0\0\0\0\x0d\0\0\0\4\3\1ab\0\0\0",
    "no command set": p_data((CT_CONTEXT, 3, b"garbage")),
    "empty command set": p_data((CT_CONTEXT, 3, b"")),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_broken_streams_are_refused(name: str, piece: int) -> None:
    acceptor = established_acceptor()

    with pytest.raises(RemoteProtocolError):
        list(fed(acceptor, BROKEN[name], repeat(piece)))
    with pytest.raises(RemoteProtocolError):
        acceptor.next_event()


def test_what_came_before_the_mistake_is_delivered() -> None:
    stream = STORE_COMMAND + p_data((CT_CONTEXT, 0, b"ab")) + p_data((CT_CONTEXT, 0, b"cd")) + ECHO_COMMAND
    events = fed(established_acceptor(), stream)

    assert next(events) == CommandReceived(CT_CONTEXT, STORE)
    assert next(events) == Data(CT_CONTEXT, b"abcd", last=False)
    with pytest.raises(RemoteProtocolError):
        next(events)


def header_of_pdu(length: int) -> bytes:
    return struct.pack(">BxI", 4, length)


def test_length_is_refused_from_the_header_alone() -> None:
    acceptor = established_acceptor()

    with pytest.raises(LimitExceeded):
        list(fed(acceptor, header_of_pdu(MAXIMUM_LENGTH + 1)))


def test_length_is_limited_in_the_midst_of_data_too() -> None:
    acceptor = established_acceptor()
    good = p_data((CT_CONTEXT, 0, bytes(MAXIMUM_LENGTH - 6)))
    list(fed(acceptor, STORE_COMMAND + good))
    too_long = p_data((CT_CONTEXT, 0, bytes(MAXIMUM_LENGTH - 5)))

    with pytest.raises(LimitExceeded):
        list(fed(acceptor, good + too_long))


def test_command_set_is_refused_before_it_is_collected() -> None:
    acceptor = established_acceptor()
    limit = Limits().command_bytes
    first = p_data((CT_CONTEXT, 1, bytes(limit - 100)))
    assert list(fed(acceptor, first)) == []

    with pytest.raises(LimitExceeded):
        list(fed(acceptor, p_data((CT_CONTEXT, 1, bytes(101)))[:12]))


def test_empty_fragments_are_limited_in_each_message() -> None:
    limit = Limits().empty_pdv_count
    empty = p_data((CT_CONTEXT, 0, b""))
    message = STORE_COMMAND + empty * limit + p_data((CT_CONTEXT, 2, b"ab"))

    acceptor = established_acceptor()
    for _ in range(2):
        assert coalesced(fed(acceptor, message))[-1] == Data(CT_CONTEXT, b"ab", last=True)
    with pytest.raises(LimitExceeded):
        list(fed(acceptor, STORE_COMMAND + empty * (limit + 1)))


def test_empty_command_fragments_are_limited() -> None:
    empty = p_data((CT_CONTEXT, 1, b""))

    with pytest.raises(LimitExceeded):
        list(fed(established_acceptor(), empty * 65))


def test_full_buffer_asks_for_its_events_to_be_taken() -> None:
    acceptor = established_acceptor()
    buffer = acceptor.receive_buffer()
    buffer[:] = (STORE_COMMAND + p_data((CT_CONTEXT, 0, bytes(1000))) * 500)[: len(buffer)]
    acceptor.received(len(buffer))

    with pytest.raises(LocalProtocolError):
        acceptor.receive_buffer()
    while acceptor.next_event() is not None:
        pass
    assert len(acceptor.receive_buffer()) > 0


def test_receiver_leaves_other_pdus_alone() -> None:
    receiver = MessageReceiver({1}, 1000, 1000, 1)
    release = memoryview(b"\5\0\0\0\0\4\0\0\0\0")

    assert receiver.next_event(release, 0, len(release)) is None
    assert receiver.position == 0
    assert not receiver.is_inside_pdu


# --- how much is likely to come ---------------------------------------------------------------------------------------


def store(size_bytes: int, fragment_bytes: int = MAXIMUM_LENGTH - 6) -> bytes:
    """A C-STORE with a data set of this length."""
    pieces = [min(fragment_bytes, size_bytes - start) for start in range(0, size_bytes, fragment_bytes)]
    ends = [0] * (len(pieces) - 1) + [2]
    return STORE_COMMAND + b"".join(
        p_data((CT_CONTEXT, end, bytes(piece))) for end, piece in zip(ends, pieces, strict=True)
    )


KIB = 1024
FIRST_DATA_BYTES = len(STORE_COMMAND)
"""Where the data set begins in a `store`."""


def test_nothing_is_likely_while_nothing_is_known() -> None:
    acceptor = Association(Role.ACCEPTOR)
    assert acceptor.likely_bytes == 0

    acceptor = established_acceptor()
    assert acceptor.likely_bytes == 0

    list(fed(acceptor, store(100 * KIB)[: 50 * KIB]))
    assert acceptor.likely_bytes == 0


def test_data_set_is_likely_to_be_about_as_long_as_those_before() -> None:
    acceptor = established_acceptor()
    list(fed(acceptor, store(100 * KIB)))
    assert acceptor.likely_bytes == 0, "between messages"

    stream = store(100 * KIB)
    list(fed(acceptor, stream[:FIRST_DATA_BYTES]))
    assert acceptor.likely_bytes == 100 * KIB - LENGTH_VARIATION_BYTES

    list(fed(acceptor, stream[FIRST_DATA_BYTES : FIRST_DATA_BYTES + 12 + 10 * KIB]))
    assert acceptor.likely_bytes == 90 * KIB - LENGTH_VARIATION_BYTES

    list(fed(acceptor, stream[FIRST_DATA_BYTES + 12 + 10 * KIB :]))
    assert acceptor.likely_bytes == 0


@pytest.mark.parametrize("fragment_bytes", [100, 1000, MAXIMUM_LENGTH - 6])
@pytest.mark.parametrize("piece", [1, 112, 100_000])
def test_what_is_likely_does_not_depend_on_how_it_was_cut(fragment_bytes: int, piece: int) -> None:
    acceptor = established_acceptor()
    list(fed(acceptor, store(20 * KIB, fragment_bytes), repeat(piece)))

    list(fed(acceptor, STORE_COMMAND))
    assert acceptor.likely_bytes == 20 * KIB - LENGTH_VARIATION_BYTES


@pytest.mark.parametrize("sizes", [(100, 20, 100), (20, 100, 100), (100, 100, 20)])
def test_the_shortest_so_far_is_likely(sizes: tuple[int, ...]) -> None:
    acceptor = established_acceptor()
    for size in sizes:
        list(fed(acceptor, store(size * KIB)))

    list(fed(acceptor, STORE_COMMAND))
    assert acceptor.likely_bytes == 20 * KIB - LENGTH_VARIATION_BYTES


@pytest.mark.parametrize("size_bytes", [0, 2, LENGTH_VARIATION_BYTES])
def test_nothing_is_likely_after_one_that_was_short(size_bytes: int) -> None:
    acceptor = established_acceptor()
    list(fed(acceptor, store(100 * KIB)))
    list(fed(acceptor, store(size_bytes) if size_bytes else STORE_COMMAND + p_data((CT_CONTEXT, 2, b""))))

    list(fed(acceptor, STORE_COMMAND))
    assert acceptor.likely_bytes == 0


def test_messages_without_a_data_set_say_nothing() -> None:
    acceptor = established_acceptor()
    list(fed(acceptor, store(100 * KIB) + ECHO_COMMAND))
    assert acceptor.likely_bytes == 0

    list(fed(acceptor, STORE_COMMAND))
    assert acceptor.likely_bytes == 100 * KIB - LENGTH_VARIATION_BYTES


def test_nothing_is_likely_after_a_data_set_that_was_longer_than_expected() -> None:
    acceptor = established_acceptor()
    list(fed(acceptor, store(20 * KIB)))
    list(fed(acceptor, store(100 * KIB)[: 60 * KIB]))

    assert acceptor.likely_bytes == 0


def test_no_more_is_likely_than_has_room() -> None:
    acceptor = established_acceptor()
    list(fed(acceptor, store(1000 * KIB) + STORE_COMMAND))

    room = len(acceptor.receive_buffer())
    assert acceptor.likely_bytes == room == Limits().receive_buffer_bytes


def test_what_came_and_was_not_taken_is_not_to_come() -> None:
    acceptor = established_acceptor()
    list(fed(acceptor, store(100 * KIB)))
    buffer = acceptor.receive_buffer()
    stream = store(100 * KIB)[: FIRST_DATA_BYTES + 30 * KIB]
    buffer[: len(stream)] = stream
    acceptor.received(len(stream))
    assert acceptor.next_event() == CommandReceived(CT_CONTEXT, STORE)

    assert acceptor.likely_bytes == 70 * KIB - LENGTH_VARIATION_BYTES


@given(
    st.lists(st.integers(1, 40 * KIB), min_size=2, max_size=4).map(sorted),
    st.sampled_from([100, 1000, MAXIMUM_LENGTH - 6]),
    st.lists(st.integers(1, 30 * KIB), max_size=20),
)
def test_no_more_is_likely_than_comes_when_data_sets_are_no_shorter(
    sizes: list[int], fragment_bytes: int, pieces: list[int]
) -> None:
    """Whoever waits for it never waits in vain."""
    acceptor = established_acceptor()
    steps = iter(pieces)
    for size in sizes:
        rest = store(2 * size, fragment_bytes)
        while rest:
            assert acceptor.likely_bytes <= min(len(rest), len(acceptor.receive_buffer()))
            piece = rest[: next(steps, 20 * KIB)]
            rest = rest[len(piece) :]
            list(fed(acceptor, piece))


@given(st.binary(max_size=600), st.lists(st.integers(1, 50), max_size=30))
@settings(max_examples=200)
def test_garbage_is_refused_or_read(garbage: bytes, sizes: list[int]) -> None:
    for prefix in (b"", STORE_COMMAND, STORE_COMMAND + header_of_pdu(200), header_of_pdu(100) + b"\0\0\0\x40\3"):
        try:
            list(fed(established_acceptor(), prefix + garbage, sizes))
        except RemoteProtocolError:
            continue


@given(messages(), st.data())
@settings(max_examples=200)
def test_mutated_streams_give_events_or_a_declared_error(sent: tuple[bytes, list[Seen]], data: st.DataObject) -> None:
    """And what is delivered before the mistake is the same however the stream is cut."""
    stream = bytearray(sent[0])
    for _ in range(data.draw(st.integers(1, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))

    outcomes = []
    for sizes in (repeat(1), repeat(17), ()):
        seen: list[Seen | str] = []
        try:
            for event in fed(established_acceptor(), bytes(stream), sizes):
                seen.append(event)
        except RemoteProtocolError as error:
            seen.append(str(error))
        ends = [event for event in coalesced(event for event in seen if not isinstance(event, str))]
        outcomes.append((ends, [event for event in seen if isinstance(event, str)]))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_pdus_of_the_tests_are_those_of_the_codec() -> None:
    stream = p_data((CT_CONTEXT, 2, b"ab"))

    assert decode_pdu(stream[0], stream[6:]) == PDataTF((PDV(CT_CONTEXT, False, True, b"ab"),))
    assert Limits().receive_buffer_bytes > INITIAL_BUFFER_BYTES

"""Sending: what is framed is what pynetdicom reads."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import P_DATA_TF

from gateway.errors import LocalProtocolError
from gateway.wire.command import COMMAND_LIMIT_BYTES
from gateway.wire.items import PDU_HEADER_BYTES
from gateway.wire.message import (
    FRAME_CAPACITY_BYTES,
    SLOT_LIMIT,
    SMALLEST_MAXIMUM_LENGTH,
    UNLIMITED_MAXIMUM_LENGTH,
    FragmentFrame,
    fragment_command,
    fragment_payload_bytes,
)

CONTEXT = 3
Fragment = tuple[int, bool, bool, bytes]

maximum_lengths = st.one_of(
    st.just(0),
    st.integers(SMALLEST_MAXIMUM_LENGTH, 200),
    st.sampled_from([1024, 4096, 16382, 16384, 32768, 65536, 131072, 2**32 - 1]),
)


def fragments(stream: bytes | memoryview, maximum_length: int) -> list[Fragment]:
    """Context, is command, is last and content of each fragment, as pynetdicom reads them; lengths are tested."""
    found: list[Fragment] = []
    rest = bytes(stream)
    while rest:
        length = int.from_bytes(rest[2:PDU_HEADER_BYTES])
        assert length <= (maximum_length or UNLIMITED_MAXIMUM_LENGTH)
        pdu = P_DATA_TF()
        pdu.decode(rest[: PDU_HEADER_BYTES + length])
        for item in pdu.presentation_data_value_items:
            value = item.presentation_data_value
            found.append((item.presentation_context_id, bool(value[0] & 1), bool(value[0] & 2), value[1:]))
        rest = rest[PDU_HEADER_BYTES + length :]
    return found


def fill(frame: FragmentFrame, content: bytes) -> None:
    position = 0
    for slot in frame.slots:
        part = content[position : position + len(slot)]
        slot[: len(part)] = part
        position += len(part)


def pattern(count: int, seed: int = 0) -> bytes:
    return bytes((seed + index * 7 + index // 251) % 256 for index in range(count))


@given(st.integers(1, COMMAND_LIMIT_BYTES), maximum_lengths)
@settings(max_examples=60)
def test_commands_come_back(count: int, maximum_length: int) -> None:
    command_set = pattern(count)

    found = fragments(fragment_command(CONTEXT, command_set, maximum_length), maximum_length)

    assert b"".join(content for *_, content in found) == command_set
    assert {(context_id, is_command) for context_id, is_command, *_ in found} == {(CONTEXT, True)}
    assert [is_last for *_, is_last, _ in found] == [False] * (len(found) - 1) + [True]


@given(maximum_lengths, st.integers(14, 5000), st.data())
@settings(max_examples=150)
def test_data_comes_back(maximum_length: int, capacity_bytes: int, data: st.DataObject) -> None:
    """A frame is used again and again, with any count, and always sends just what was filled."""
    frame = FragmentFrame(CONTEXT, maximum_length, capacity_bytes)
    counts = st.integers(0, frame.payload_bytes // 2).map(lambda half: 2 * half)
    uses = data.draw(st.lists(st.tuples(counts | st.just(frame.payload_bytes), st.booleans()), max_size=6))
    for number, (count, last) in enumerate(uses):
        content = pattern(count, seed=number)
        fill(frame, content)
        stream = frame.framed(count, last)
        assert len(stream) <= capacity_bytes
        found = fragments(stream, maximum_length)
        assert b"".join(piece for *_, piece in found) == content
        assert all(len(piece) % 2 == 0 for *_, piece in found)
        assert {head[:2] for head in found} <= {(CONTEXT, False)}
        ends = [is_last for *_, is_last, _ in found]
        assert ends == ([False] * (len(found) - 1) + [True] if last else [False] * len(found))
        assert all(len(piece) > 0 for *_, piece in found) or count == 0


@pytest.mark.parametrize("maximum_length", [4096, 16382, 16384, 32768, 65536, 131072, 0])
def test_frames_are_full(maximum_length: int) -> None:
    """Hardly anything of the capacity is left over, and the PDUs are nearly as large as the peer allows."""
    frame = FragmentFrame(CONTEXT, maximum_length)
    largest = fragment_payload_bytes(maximum_length)

    sent = frame.framed(frame.payload_bytes, last=False)
    assert FRAME_CAPACITY_BYTES * 0.999 < len(sent) <= FRAME_CAPACITY_BYTES
    assert len({len(slot) for slot in frame.slots}) == 1
    assert largest * 0.998 < len(frame.slots[0]) <= largest


def test_pdu_is_cut_to_the_capacity() -> None:
    frame = FragmentFrame(CONTEXT, 2**32 - 1, 1000)

    assert len(frame.slots) == 1
    assert len(frame.framed(frame.payload_bytes, last=True)) == 1000


def test_slots_are_few_enough_for_one_gather_read() -> None:
    frame = FragmentFrame(CONTEXT, SMALLEST_MAXIMUM_LENGTH)

    assert len(frame.slots) == SLOT_LIMIT
    assert frame.payload_bytes == 2 * SLOT_LIMIT


def test_nothing_filled_is_nothing_sent_unless_it_ends_the_data_set() -> None:
    frame = FragmentFrame(CONTEXT, 16384)

    assert frame.framed(0, last=False) == b""
    assert fragments(frame.framed(0, last=True), 16384) == [(CONTEXT, False, True, b"")]
    assert frame.framed(0, last=False) == b""


def test_framing_copies_nothing() -> None:
    frame = FragmentFrame(CONTEXT, 16384)

    assert frame.framed(20000, last=True).obj is frame.slots[0].obj


@pytest.mark.parametrize("count", [-2, 1, 3])
def test_odd_counts_are_refused(count: int) -> None:
    frame = FragmentFrame(CONTEXT, 16384)
    for last in (False, True):
        with pytest.raises(LocalProtocolError):
            frame.framed(count, last)


def test_more_than_fits_is_refused() -> None:
    frame = FragmentFrame(CONTEXT, 16384, 1024)
    with pytest.raises(LocalProtocolError):
        frame.framed(frame.payload_bytes + 2, last=False)


@pytest.mark.parametrize(("maximum_length", "capacity_bytes"), [(7, 1024), (1, 1024), (16384, 13), (0, 0)])
def test_frames_without_room_are_refused(maximum_length: int, capacity_bytes: int) -> None:
    with pytest.raises(LocalProtocolError):
        FragmentFrame(CONTEXT, maximum_length, capacity_bytes)

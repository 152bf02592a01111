"""Sending: what is framed is what pynetdicom reads."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import P_DATA_TF

from gateway.errors import LocalProtocolError
from gateway.wire.command import COMMAND_LIMIT_BYTES
from gateway.wire.items import PDU_HEADER_BYTES
from gateway.wire.message import (
    FRAGMENTS_PER_FRAME_LIMIT,
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


def frame_of(capacity_bytes: int, maximum_length: int = 16384, unit_bytes: int = 2) -> FragmentFrame:
    return FragmentFrame(CONTEXT, maximum_length, memoryview(bytearray(capacity_bytes)), unit_bytes)


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


@given(maximum_lengths, st.integers(2, 5000), st.data())
@settings(max_examples=150)
def test_data_comes_back(maximum_length: int, capacity_bytes: int, data: st.DataObject) -> None:
    """A frame is used again and again, with any count, and always sends just what was filled."""
    frame = frame_of(capacity_bytes, maximum_length)
    counts = st.integers(0, len(frame.payload) // 2).map(lambda half: 2 * half)
    uses = data.draw(st.lists(st.tuples(counts | st.just(len(frame.payload)), st.booleans()), max_size=6))
    for number, (count, last) in enumerate(uses):
        content = pattern(count, seed=number)
        frame.payload[:count] = content
        found = fragments(b"".join(frame.framed(count, last)), maximum_length)
        assert b"".join(piece for *_, piece in found) == content
        assert all(len(piece) % 2 == 0 for *_, piece in found)
        assert {head[:2] for head in found} <= {(CONTEXT, False)}
        ends = [is_last for *_, is_last, _ in found]
        assert ends == ([False] * (len(found) - 1) + [True] if last else [False] * len(found))
        assert all(len(piece) > 0 for *_, piece in found) or count == 0


@pytest.mark.parametrize("maximum_length", [4096, 16382, 16384, 32768, 65536, 131072, 0])
def test_fragments_are_as_long_as_the_peer_allows(maximum_length: int) -> None:
    """All but the last of a frame."""
    frame = frame_of(1 << 20, maximum_length, unit_bytes=4096)
    largest = fragment_payload_bytes(maximum_length)

    lengths = [
        len(piece) for *_, piece in fragments(b"".join(frame.framed(len(frame.payload), last=False)), maximum_length)
    ]

    assert set(lengths[:-1]) == {largest}
    assert sum(lengths) == 1 << 20


@pytest.mark.parametrize(("capacity_bytes", "unit_bytes", "expected"), [(10_000, 4096, 8192), (4097, 2, 4096)])
def test_payload_is_whole_units(capacity_bytes: int, unit_bytes: int, expected: int) -> None:
    assert len(frame_of(capacity_bytes, unit_bytes=unit_bytes).payload) == expected


def test_a_fragment_larger_than_the_frame_is_cut_to_it() -> None:
    frame = frame_of(1000, 2**32 - 1)

    assert [len(piece) for *_, piece in fragments(b"".join(frame.framed(1000, last=True)), 0)] == [1000]


@pytest.mark.parametrize("unit_bytes", [2, 4096])
def test_few_headers_are_kept_for_a_peer_that_takes_next_to_nothing(unit_bytes: int) -> None:
    frame = frame_of(1 << 20, SMALLEST_MAXIMUM_LENGTH, unit_bytes)

    assert len(frame.payload) == max(2 * FRAGMENTS_PER_FRAME_LIMIT, unit_bytes)


def test_nothing_filled_is_nothing_sent_unless_it_ends_the_data_set() -> None:
    frame = frame_of(20_000)

    assert frame.framed(0, last=False) == []
    assert fragments(b"".join(frame.framed(0, last=True)), 16384) == [(CONTEXT, False, True, b"")]
    assert frame.framed(0, last=False) == []


def test_framing_copies_nothing() -> None:
    buffer = bytearray(20_000)
    frame = FragmentFrame(CONTEXT, 16384, memoryview(buffer))

    _, first, _, second = frame.framed(20_000, last=True)

    assert isinstance(first, memoryview)
    assert isinstance(second, memoryview)
    assert first.obj is second.obj is buffer


@pytest.mark.parametrize("count", [-2, 1, 3])
def test_odd_counts_are_refused(count: int) -> None:
    frame = frame_of(20_000)
    for last in (False, True):
        with pytest.raises(LocalProtocolError):
            frame.framed(count, last)


def test_more_than_fits_is_refused() -> None:
    frame = frame_of(1024)
    with pytest.raises(LocalProtocolError):
        frame.framed(1026, last=False)


@pytest.mark.parametrize(
    ("maximum_length", "capacity_bytes", "unit_bytes"), [(7, 1024, 2), (1, 1024, 2), (16384, 1, 2), (16384, 4095, 4096)]
)
def test_frames_without_room_are_refused(maximum_length: int, capacity_bytes: int, unit_bytes: int) -> None:
    with pytest.raises(LocalProtocolError):
        frame_of(capacity_bytes, maximum_length, unit_bytes)

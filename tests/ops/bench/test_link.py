"""When bytes arrive, asked with a clock of our own: never too early, never out of order, never above capacity."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InputError
from gateway.ops.bench.link import QUEUE_S, SEGMENT_BYTES, Capacity, Lane, Link

MIB = 1 << 20
NO_TIME_S = 1e-9
"""What adding up floating-point numbers may cost."""

rates = st.sampled_from([1e5, 1e6, 125e6, math.inf])
links = st.builds(
    Link,
    round_trip_s=st.sampled_from([0.0, 0.02, 0.05, 0.1]),
    bytes_per_s=rates,
    loss=st.sampled_from([0.0, 1e-3, 0.3]),
    window_bytes=st.integers(SEGMENT_BYTES, MIB),
)
offers = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 0.1), st.integers(1, 100_000)), min_size=1, max_size=40)
"""Which of two connections, how much later than the offer before, and how many bytes."""


def lanes(link: Link, count: int = 1, open_at_s: float = 0.0) -> list[Lane]:
    capacity = Capacity(link.bytes_per_s)
    return [Lane(link, capacity, open_at_s, seed) for seed in range(count)]


@given(links, offers)
def test_nothing_arrives_early_or_out_of_order_or_above_capacity(
    link: Link, offered: list[tuple[int, float, int]]
) -> None:
    both = lanes(link, 2)
    now_s, total = 0.0, 0
    arrivals: list[list[float]] = [[], []]
    for which, later_s, count in offered:
        now_s += later_s
        total += count
        due_s = both[which].due_s(count, now_s)
        assert due_s >= now_s + link.one_way_s + count / link.bytes_per_s - NO_TIME_S
        assert due_s >= total / link.bytes_per_s + link.one_way_s - NO_TIME_S
        arrivals[which].append(due_s)
    assert all(earlier <= later for dues in arrivals for earlier, later in pairwise(dues))


def transfer_s(link: Link, total_bytes: int, chunk_bytes: int | None = None) -> float:
    """How long a connection with always more to send takes, its receiver taking everything at once."""
    (lane,) = lanes(link)
    under_way: list[tuple[float, int]] = []
    now_s, due_s = 0.0, 0.0
    while total_bytes:
        while under_way and under_way[0][0] <= now_s:
            at_s, count = under_way.pop(0)
            lane.delivered(count, at_s)
        if (ready_at_s := lane.ready_at_s(now_s)) > now_s:
            now_s = min([ready_at_s, *(at_s for at_s, _ in under_way[:1])])
            continue
        count = min(chunk_bytes or link.chunk_bytes, lane.room_bytes(now_s), total_bytes)
        assert count > 0
        due_s = lane.due_s(count, now_s)
        under_way.append((due_s, count))
        assert sum(held for _, held in under_way) <= link.window_bytes
        total_bytes -= count
    return due_s


@given(links, st.integers(1, 2 * MIB))
def test_a_bulk_transfer_is_limited_by_capacity_and_window_and_nothing_else(link: Link, total_bytes: int) -> None:
    window_rate = link.window_bytes / link.round_trip_s if link.round_trip_s else math.inf
    took_s = transfer_s(link, total_bytes)

    rate = min(link.bytes_per_s, window_rate)
    assert took_s >= link.one_way_s + (total_bytes - link.window_bytes) / rate - NO_TIME_S
    if not link.loss:
        rounds = total_bytes / link.window_bytes + 1
        chunk_s = link.chunk_bytes / link.bytes_per_s
        assert took_s <= link.one_way_s + total_bytes / rate + link.round_trip_s + rounds * chunk_s + NO_TIME_S


def test_latency_does_not_cost_throughput_while_the_window_is_wide() -> None:
    near, far = Link(0.0, 125e6, window_bytes=32 * MIB), Link(0.1, 125e6, window_bytes=32 * MIB)

    assert transfer_s(far, 100 * MIB) == pytest.approx(transfer_s(near, 100 * MIB) + far.one_way_s)


def test_a_narrow_window_does_cost_throughput() -> None:
    assert transfer_s(Link(0.1, window_bytes=64 * 1024), 64 * 1024 * 10) == pytest.approx(9 * 0.1 + 0.05)


def test_nothing_is_taken_during_the_handshake() -> None:
    (lane,) = lanes(Link(0.1), open_at_s=5.0)

    assert lane.ready_at_s(4.9) == 5.0
    assert lane.ready_at_s(5.1) <= 5.1


def test_a_full_queue_makes_everyone_wait() -> None:
    one, other = lanes(Link(0.0, 1e6), 2)
    one.due_s(100_000, 0.0)

    assert other.ready_at_s(0.0) == pytest.approx(0.1 - QUEUE_S)


def test_a_full_window_waits_for_the_acknowledgement() -> None:
    (lane,) = lanes(Link(0.1, window_bytes=10_000))
    lane.due_s(10_000, 0.0)

    assert (lane.room_bytes(0.04), lane.ready_at_s(0.04)) == (0, math.inf)
    lane.delivered(10_000, 0.05)
    assert (lane.room_bytes(0.06), lane.ready_at_s(0.06)) == (0, pytest.approx(0.1))
    assert lane.room_bytes(0.11) == 10_000


@given(st.lists(st.integers(1, 50_000), max_size=60), st.integers(0, 1000))
def test_which_segments_are_lost_does_not_depend_on_how_they_are_sent(counts: list[int], seed: int) -> None:
    link = Link(0.02, loss=0.01)
    together = Lane(link, Capacity(math.inf), 0.0, seed)
    apart = Lane(link, Capacity(math.inf), 0.0, seed)
    now_s = 0.0
    for count in counts:
        now_s += 1.0  # so that no stall reaches the next one
        stalled = together.due_s(count, now_s) > now_s + link.one_way_s
        stalled_apart = [apart.due_s(1, now_s) for _ in range(min(count, 200))]
        apart.due_s(count - len(stalled_apart), now_s)
        assert not max(stalled_apart) > now_s + link.one_way_s or stalled
        assert together.due_s(0, now_s + 0.9) == apart.due_s(0, now_s + 0.9)


def test_as_many_segments_are_lost_as_the_link_says() -> None:
    link = Link(0.0, loss=0.01)
    (lane,) = lanes(link)
    count = 20_000
    stalls = sum(lane.due_s(SEGMENT_BYTES, float(second)) > second for second in range(count))

    assert 160 <= stalls <= 240  # 200 expected, its standard deviation is 14


def test_a_lost_segment_holds_up_what_comes_after_it() -> None:
    link = Link(0.1, loss=0.999999)
    (lane,) = lanes(link)

    lost = lane.due_s(SEGMENT_BYTES + 1, 0.0)
    assert lost == pytest.approx(0.05 + link.stall_s)
    assert lane.due_s(0, 0.01) == lost


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"round_trip_s": -0.1}, "round trip"),
        ({"round_trip_s": math.inf}, "round trip"),
        ({"bytes_per_s": 0.0}, "capacity"),
        ({"bytes_per_s": math.nan}, "capacity"),
        ({"loss": 1.0}, "loss"),
        ({"window_bytes": 1000}, "window"),
    ],
)
def test_what_is_no_link_is_refused(fields: dict[str, float], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        Link(**fields)  # type: ignore[arg-type]


def test_a_link_in_words() -> None:
    assert str(Link()) == "0 ms"
    assert str(Link(0.05, 125e6, 0.001)) == "50 ms, 1000 Mbit/s, 0.1 % loss"

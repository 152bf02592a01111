"""Absolute moments and minimum rates."""

from time import monotonic

from hypothesis import given
from hypothesis import strategies as st

from gateway.net.deadline import Deadline, Pace

RATE, WINDOW_S = 1000, 10.0
ENOUGH = int(RATE * WINDOW_S)


def test_a_deadline_comes_nearer_and_passes() -> None:
    deadline = Deadline.after(60.0)

    assert 59.0 < deadline.remaining_s <= 60.0
    assert Deadline(monotonic() - 1.0).remaining_s < 0
    assert Deadline.after(0.0).remaining_s <= 0


def test_a_window_with_enough_is_kept_and_one_with_less_is_not() -> None:
    pace = Pace(RATE, WINDOW_S)
    pace.start(100.0)

    assert pace.kept(0, 109.9)
    assert pace.kept(ENOUGH, 110.0)
    assert not pace.kept(ENOUGH - 1, 120.0)


def test_a_message_that_fits_into_a_window_may_be_as_slow_as_it_likes() -> None:
    pace = Pace(RATE, WINDOW_S)
    pace.start(0.0)

    assert all(pace.kept(1, moment / 10) for moment in range(99))


def test_no_rate_is_no_limit() -> None:
    pace = Pace(0, WINDOW_S)
    pace.start(0.0)

    assert all(pace.kept(0, moment * 1000.0) for moment in range(10))


@given(st.lists(st.tuples(st.integers(0, 3 * ENOUGH), st.floats(0.01, 4.0)), max_size=60))
def test_whoever_keeps_the_rate_in_every_window_is_never_cut_off(arrivals: list[tuple[int, float]]) -> None:
    pace = Pace(RATE, WINDOW_S)
    pace.start(0.0)
    now, window_end, window_bytes = 0.0, WINDOW_S, 0
    for count, pause_s in arrivals:
        now += pause_s
        window_bytes += count
        expected = now < window_end or window_bytes >= ENOUGH
        if now >= window_end:
            window_end, window_bytes = now + WINDOW_S, 0
        assert pace.kept(count, now) == expected

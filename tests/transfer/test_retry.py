"""What an answer means, and how long to wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transfer.retry import RetryPolicy, is_delivered, is_transient

policies = st.builds(
    RetryPolicy, st.integers(1, 100), st.floats(0.1, 60, allow_nan=False), st.floats(60, 90_000, allow_nan=False)
)


@given(policies, st.integers(1, 10_000))
def test_waiting_time_stays_within_its_bounds(policy: RetryPolicy, attempts: int) -> None:
    delay_s = policy.delay_s(attempts)

    assert 0.1 * policy.first_retry_s <= delay_s <= policy.longest_retry_s


def longest(policy: RetryPolicy, attempts: int) -> float:
    return max(policy.delay_s(attempts) for _ in range(200))


def test_waiting_times_grow_to_their_ceiling() -> None:
    policy = RetryPolicy(8, 1.0, 60.0)
    ceilings = [longest(policy, attempts) for attempts in range(1, 12)]

    for attempts, ceiling_s in enumerate(ceilings, start=1):
        expected_s = min(60.0, 2.0 ** (attempts - 1))
        assert 0.9 * expected_s < ceiling_s <= expected_s


def test_waiting_times_are_spread() -> None:
    """Deliveries that failed together do not come back together."""
    policy = RetryPolicy(8, 10.0, 600.0)

    assert len({round(policy.delay_s(1), 3) for _ in range(50)}) > 40


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB006, 0xB007, 0x0001])
def test_delivered(status: int) -> None:
    assert is_delivered(status)
    assert not is_transient(status)


@pytest.mark.parametrize("status", [0xA700, 0xA701, 0xA7FF])
def test_transient(status: int) -> None:
    assert is_transient(status)
    assert not is_delivered(status)


@pytest.mark.parametrize(
    "status", [0xA900, 0xA9FF, 0xC000, 0xCFFF, 0x0110, 0x0111, 0x0117, 0x0122, 0x0124, 0x0210, 0x0211, 0x0212, 0xFE00,
               0xFF00, 0x1234]
)  # fmt: skip
def test_failed_for_good(status: int) -> None:
    assert not is_delivered(status)
    assert not is_transient(status)


@given(st.integers(0, 0xFFFF))
def test_nothing_is_both(status: int) -> None:
    assert not (is_delivered(status) and is_transient(status))

"""Differences that are there are found, differences that are not are rarely claimed."""

from statistics import median as python_median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ops.bench.statistics import ROUNDS_TO_TELL_COUNT, Change, median, ratio_of_medians

times = st.lists(st.floats(0.001, 1000.0), min_size=1, max_size=12)


@given(times)
def test_the_median_is_the_one_everybody_means(values: list[float]) -> None:
    assert median(values) == pytest.approx(python_median(values))


@given(times, times)
def test_the_interval_is_made_of_ratios_that_the_values_can_have(before: list[float], after: list[float]) -> None:
    ratio = ratio_of_medians(before, after)

    assert min(before) / max(after) <= ratio.low * (1 + 1e-9)
    assert ratio.low <= ratio.high <= max(before) / min(after) * (1 + 1e-9)
    assert ratio == ratio_of_medians(before, after)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ([10.0, 10.1, 10.2, 9.9, 9.8], [5.0, 5.1, 5.2, 4.9, 4.8], Change.FASTER),
        ([5.0, 5.1, 5.2, 4.9, 4.8], [10.0, 10.1, 10.2, 9.9, 9.8], Change.SLOWER),
        ([10.0, 10.1, 10.2, 9.9, 9.8], [10.1, 9.9, 10.0, 10.3, 9.7], Change.WITHIN_NOISE),
        ([10.0, 10.0, 10.0, 10.0, 10.0], [10.0, 10.0, 10.0, 10.0, 10.0], Change.WITHIN_NOISE),
        ([10.0] * (ROUNDS_TO_TELL_COUNT - 1), [1.0] * 9, Change.TOO_FEW_ROUNDS),
        ([10.0] * 9, [1.0] * (ROUNDS_TO_TELL_COUNT - 1), Change.TOO_FEW_ROUNDS),
    ],
)
def test_changes(before: list[float], after: list[float], change: Change) -> None:
    assert ratio_of_medians(before, after).change is change


def test_one_slow_round_is_no_change() -> None:
    calm, disturbed = [1.0, 1.01, 0.99, 1.02, 0.98], [1.0, 1.01, 5.0, 0.99, 1.0]

    assert ratio_of_medians(calm, disturbed).change is Change.WITHIN_NOISE


def claimed_share(true_ratio: float, rounds: int, tries: int = 150) -> float:
    """How often two noisy series with this ratio of their medians are called different."""
    random = np.random.default_rng(7)
    claimed = 0
    for _ in range(tries):
        before, after = random.lognormal(np.log(true_ratio), 0.1, rounds), random.lognormal(0.0, 0.1, rounds)
        ratio = ratio_of_medians(list(before), list(after))
        claimed += ratio.change in (Change.FASTER, Change.SLOWER)
    return claimed / tries


def test_noise_is_rarely_called_a_change() -> None:
    assert claimed_share(1.0, ROUNDS_TO_TELL_COUNT) <= 0.08


def test_twice_as_fast_is_nearly_always_seen() -> None:
    assert claimed_share(2.0, ROUNDS_TO_TELL_COUNT) >= 0.98

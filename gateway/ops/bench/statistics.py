"""Whether a difference between two series of measurements is one: medians, and an interval for their ratio.

Medians, because on a shared machine a few rounds are always far too slow and never far too fast. The interval comes
from the bootstrap: both series are drawn anew from themselves many times, and the ratio of the medians is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

RESAMPLES_COUNT = 5000
"""Drawings for an interval: its ends then move by less than 1 % of its width from seed to seed."""

CONFIDENCE = 0.95
"""How often the interval holds the true ratio."""

ROUNDS_TO_TELL_COUNT = 5
"""Values on either side below which nothing is called a difference: with five, two equal series are told apart by
mistake in about 4 of 100 comparisons, with three in 10."""

SEED = 1
"""Of the drawings, so that the same two files always give the same interval."""


class Change(StrEnum):
    """What became of a time, or of another cost."""

    FASTER = "faster"
    SLOWER = "slower"
    WITHIN_NOISE = "within noise"
    TOO_FEW_ROUNDS = "too few rounds"


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times smaller the second series is than the first: above 1 it got faster. `low` and `high` bound it."""

    value: float
    low: float
    high: float
    change: Change


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two in the middle."""
    return float(np.median(values))


def ratio_of_medians(before: Sequence[float], after: Sequence[float], seed: int = SEED) -> Ratio:
    """The ratio of the medians of two series of positive values, neither of them empty."""
    random = np.random.default_rng(seed)
    drawn = _medians(before, random) / _medians(after, random)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Ratio(
        median(before) / median(after), float(low), float(high), _change(min(len(before), len(after)), low, high)
    )


def _medians(values: Sequence[float], random: np.random.Generator) -> np.ndarray:
    """The median of each of many drawings with replacement."""
    chosen = random.integers(0, len(values), (RESAMPLES_COUNT, len(values)))
    return np.asarray(np.median(np.asarray(values)[chosen], axis=1))


def _change(rounds_count: int, low: float, high: float) -> Change:
    if rounds_count < ROUNDS_TO_TELL_COUNT:
        return Change.TOO_FEW_ROUNDS
    if low > 1:
        return Change.FASTER
    return Change.SLOWER if high < 1 else Change.WITHIN_NOISE

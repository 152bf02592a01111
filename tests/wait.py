"""Waiting for what happens elsewhere: the one place in the tests that may sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.01

PATIENCE_S = 30.0
"""Upper bound where the question is whether something ends at all: only a hang takes longer, on any machine."""


def wait_until(condition: Callable[[], T], timeout_s: float = 10.0) -> T:
    """The first true value of `condition`, asked every 10 ms; fails when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not true within {timeout_s:g} s"
        time.sleep(POLL_S)
    return value

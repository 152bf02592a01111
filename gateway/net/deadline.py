"""Moments by which something must have happened, and rates below which a peer is too slow. Monotonic time."""

from dataclasses import dataclass, field
from time import monotonic


@dataclass(frozen=True, slots=True)
class Deadline:
    """An absolute moment, in seconds of the monotonic clock."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        return cls(monotonic() + seconds)

    @property
    def remaining_s(self) -> float:
        """Seconds left; negative when it has passed."""
        return self.at - monotonic()


@dataclass(slots=True)
class Pace:
    """Whether a peer keeps up a mean rate over every whole window of time while a data set arrives.

    A dripping sender never trips an inactivity limit; it trips this one.
    """

    minimum_bytes_per_s: int
    window_s: float
    _window_end: float = field(default=0.0, init=False)
    _window_bytes: int = field(default=0, init=False)

    def start(self, now: float) -> None:
        """A data set begins."""
        self._window_end = now + self.window_s
        self._window_bytes = 0

    def kept(self, count: int, now: float) -> bool:
        """Count bytes that arrived; False when the window that just ended had too few."""
        self._window_bytes += count
        if now < self._window_end:
            return True
        enough = self._window_bytes >= self.minimum_bytes_per_s * self.window_s
        self.start(now)
        return enough

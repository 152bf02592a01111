"""What an answer or a failure means for a delivery. Pure."""

import random
from dataclasses import dataclass

from gateway.wire.status import StatusCategory, category

_TRANSIENT_STATUSES = range(0xA700, 0xA800)
"""PS3.4 §B.2.3: refused, out of resources. Everything else that is a failure stays one however often it is sent."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a failed delivery is tried again."""

    attempt_count: int
    first_retry_s: float
    longest_retry_s: float

    def delay_s(self, attempts: int) -> float:
        """Seconds to wait after the n-th failed attempt: exponential with full jitter, never below a tenth."""
        ceiling_s = min(self.longest_retry_s, self.first_retry_s * 2.0 ** min(attempts - 1, 32))
        return random.uniform(0.1 * ceiling_s, ceiling_s)  # noqa: S311  # jitter, not a secret


def is_delivered(status: int) -> bool:
    """Success, or stored with a warning (B000, B006, B007)."""
    return category(status) in (StatusCategory.SUCCESS, StatusCategory.WARNING)


def is_transient(status: int) -> bool:
    """Whether the same instance may be accepted later."""
    return status in _TRANSIENT_STATUSES

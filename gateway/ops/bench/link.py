"""A wide area link as arithmetic: bytes that are sent now arrive when? Told the time, never asking for it.

What is modelled: the time of flight, a capacity that all connections share, a window for each connection, and a lost
segment as a pause of all that comes after it. What is not: congestion control. A connection has its whole window from
the start and keeps it after a loss, as one has that carries bulk data all day on a link that is not crowded.
"""

import math
from collections import deque
from dataclasses import dataclass
from random import Random

from gateway.errors import InputError

SEGMENT_BYTES = 1460
"""What one segment carries over Ethernet and IPv4; losses hit segments."""

WINDOW_BYTES = 4 << 20
"""What a connection may have on the way: Linux lets a sender grow to this as installed (net.ipv4.tcp_wmem)."""

RETRANSMISSION_S = 0.2
"""On top of the round trip until a lost segment is sent again: the least retransmission timeout of Linux."""

QUEUE_S = 0.02
"""Bytes that a router in front of the link holds, in time: a connection that would make it longer has to wait."""

CHUNK_S = 0.001
"""Bytes that are moved at once, in time at the link's capacity: what is in one chunk arrives together."""
CHUNK_LIMIT_BYTES = 64 * 1024
BITS = 8


@dataclass(frozen=True, slots=True)
class Link:
    """What lies between two systems, the same in both directions.

    `loss` is the probability that a segment is lost; `seed` decides which ones.
    """

    round_trip_s: float = 0.0
    bytes_per_s: float = math.inf
    loss: float = 0.0
    window_bytes: int = WINDOW_BYTES
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.round_trip_s < math.inf:
            raise InputError("link: expected a round trip of 0 s or more")
        if not self.bytes_per_s > 0:
            raise InputError("link: expected a capacity above 0")
        if not 0 <= self.loss < 1:
            raise InputError("link: expected a loss from 0 to below 1")
        if self.window_bytes < SEGMENT_BYTES:
            raise InputError(f"link: expected a window of at least one segment, {SEGMENT_BYTES} bytes")

    @property
    def one_way_s(self) -> float:
        return self.round_trip_s / 2

    @property
    def stall_s(self) -> float:
        """How much later a lost segment arrives than it would have."""
        return self.round_trip_s + RETRANSMISSION_S

    @property
    def chunk_bytes(self) -> int:
        """Bytes to be moved at once."""
        return int(max(SEGMENT_BYTES, min(CHUNK_LIMIT_BYTES, self.bytes_per_s * CHUNK_S)))

    def __str__(self) -> str:
        parts = [f"{self.round_trip_s * 1000:g} ms"]
        if self.bytes_per_s < math.inf:
            parts.append(f"{self.bytes_per_s * BITS / 1e6:g} Mbit/s")
        if self.loss:
            parts.append(f"{self.loss * 100:g} % loss")
        return ", ".join(parts)


class Capacity:
    """One direction of the link, as all connections share it: one byte after the other."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at_s = -math.inf

    def ready_at_s(self) -> float:
        """From when on there is room in the queue in front of it."""
        return self._free_at_s - QUEUE_S

    def sent_at_s(self, count: int, now_s: float) -> float:
        """Queue some bytes now; returns when the last of them is on its way."""
        self._free_at_s = max(self._free_at_s, now_s) + count / self._bytes_per_s
        return self._free_at_s


class Lane:
    """One direction of one connection. Bytes keep their order, so a lost segment holds up those behind it."""

    def __init__(self, link: Link, capacity: Capacity, open_at_s: float, seed: int) -> None:
        """Nothing is taken before `open_at_s`: until then the handshake is under way."""
        self._link = link
        self._capacity = capacity
        self._open_at_s = open_at_s
        self._random = Random(seed)  # noqa: S311  # which segments are lost is to be repeatable
        self._position = 0
        self._loss_at = self._next_loss()
        self._last_due_s = open_at_s
        self._unacknowledged = 0
        self._acknowledgements: deque[tuple[float, int]] = deque()

    def room_bytes(self, now_s: float) -> int:
        """How many bytes it takes now: what is missing to a full window."""
        while self._acknowledgements and self._acknowledgements[0][0] <= now_s:
            self._unacknowledged -= self._acknowledgements.popleft()[1]
        return self._link.window_bytes - self._unacknowledged

    def ready_at_s(self, now_s: float) -> float:
        """When it takes bytes again; infinite while that depends on a delivery still to be made."""
        ready_at_s = max(self._open_at_s, self._capacity.ready_at_s())
        if self.room_bytes(now_s) > 0:
            return ready_at_s
        return max(ready_at_s, self._acknowledgements[0][0]) if self._acknowledgements else math.inf

    def due_s(self, count: int, now_s: float) -> float:
        """Send bytes, not more than `room_bytes`; returns when they arrive. Zero bytes are the end of the stream."""
        due_s = self._capacity.sent_at_s(count, now_s) + self._link.one_way_s
        self._position += count
        if self._position > self._loss_at:
            due_s += self._link.stall_s
            while self._position > self._loss_at:
                self._loss_at += self._next_loss()
        self._last_due_s = max(self._last_due_s, due_s)
        self._unacknowledged += count
        return self._last_due_s

    def delivered(self, count: int, now_s: float) -> None:
        """Bytes have been taken at the far end; the news of it is on its way back."""
        self._acknowledgements.append((now_s + self._link.one_way_s, count))

    def _next_loss(self) -> float:
        """Bytes until the next lost segment: segments between losses are distributed geometrically."""
        if not self._link.loss:
            return math.inf
        segments = math.log(1 - self._random.random()) / math.log1p(-self._link.loss)
        return (math.floor(segments) + 1) * SEGMENT_BYTES

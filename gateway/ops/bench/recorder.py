"""A relay that remembers how long PDUs were and how long a sender waited, to tell what a leg suffers from.

Of two kinds. A plain one leaves the kernel's delayed acknowledgement as it is, so that a peer with Nagle's algorithm
on stalls at it as it would at its real peer: for legs without the gateway. A prompt one acknowledges at once, as the
gateway does: for legs of the gateway, whose own remedy the relay must not undo.
"""

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from gateway.ops.bench.relay import BUFFER_BYTES
from gateway.ops.bench.result import WireLength
from gateway.ops.middleman import Middleman
from gateway.wire.codes import PDUType
from gateway.wire.items import PDU_HEADER, PDU_HEADER_BYTES


@dataclass(slots=True)
class _Exchange:
    """What is shared by the two directions of one connection: the message under way and its longest silence."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    last_at: float | None = None
    longest_s: float = 0.0
    gaps_s: list[float] = field(default_factory=list)

    def moved(self, is_response_end: bool) -> None:
        """Bytes came, in either direction; with the end of a response the message ends."""
        now = monotonic()
        with self.lock:
            if self.last_at is not None:
                self.longest_s = max(self.longest_s, now - self.last_at)
            self.last_at = now
            if is_response_end:
                self.gaps_s.append(self.longest_s)
                self.longest_s = 0.0


class PduScanner:
    """Finds the PDUs in one direction of a stream, without keeping it."""

    def __init__(self) -> None:
        self.longest_bytes = 0
        self._header = bytearray()
        self._left = 0
        self._is_data = False

    def feed(self, data: memoryview) -> bool:
        """Take the next bytes; whether a P-DATA-TF ended among them."""
        ended = False
        position = 0
        while position < len(data):
            if self._left:
                step = min(self._left, len(data) - position)
                self._left -= step
            else:
                step = min(PDU_HEADER_BYTES - len(self._header), len(data) - position)
                self._header += data[position : position + step]
                if len(self._header) == PDU_HEADER_BYTES:
                    pdu_type, self._left = PDU_HEADER.unpack(self._header)
                    self._is_data = pdu_type == PDUType.P_DATA_TF
                    if self._is_data:
                        self.longest_bytes = max(self.longest_bytes, self._left)
                    self._header.clear()
            position += step
            ended = ended or (self._is_data and not self._left and not self._header)
        return ended


class Recorder(Middleman):
    """Listens on a port of its own and passes everything on to another one, both ways."""

    def __init__(self, leg: str, target_port: int, *, prompt: bool) -> None:
        super().__init__(target_port)
        self.leg = leg
        self._prompt = prompt
        self._exchanges: list[_Exchange] = []
        self._scanners: list[tuple[str, PduScanner]] = []

    @property
    def gaps_s(self) -> list[float]:
        """For each message, the longest silence between its first byte and the end of its response."""
        return [gap_s for exchange in self._exchanges for gap_s in exchange.gaps_s]

    @property
    def lengths(self) -> tuple[WireLength, ...]:
        """The longest P-DATA-TF of each direction."""
        longest: dict[str, int] = {}
        for direction, scanner in self._scanners:
            longest[direction] = max(longest.get(direction, 0), scanner.longest_bytes)
        return tuple(WireLength(self.leg, direction, count) for direction, count in longest.items() if count)

    def between(self, caller: socket.socket, called: socket.socket, began_s: float) -> None:
        """Both ways, unchanged."""
        exchange, request, response = _Exchange(), PduScanner(), PduScanner()
        self._exchanges.append(exchange)
        self._scanners += [("request", request), ("response", response)]
        back = threading.Thread(
            target=self._relay, args=(called, caller, response, exchange, True), name="recorder", daemon=True
        )
        back.start()
        self._relay(caller, called, request, exchange, False)
        back.join()

    def _relay(
        self, source: socket.socket, target: socket.socket, scanner: PduScanner, exchange: _Exchange, is_back: bool
    ) -> None:
        buffer = memoryview(bytearray(BUFFER_BYTES))
        try:
            while count := source.recv_into(buffer):
                if self._prompt:
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                ended = scanner.feed(buffer[:count])
                exchange.moved(is_back and ended)
                target.sendall(buffer[:count])
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for sock in (source, target):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

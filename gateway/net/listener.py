"""The accept loop: one thread per connection, and a bound on those that have not said who they are.

A connection counts as half open until its handler calls `established`. Too many of them, in all or from one
address, are closed before a thread is made for them, so that a flood of silent connections costs a flood of
accepts and nothing else.
"""

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from gateway import log
from gateway.errors import ConnectFailed

ACCEPT_PAUSE_S = 0.1
"""Before the next try when the system has no file descriptor for a connection: it would fail again at once."""

WARNING_INTERVAL_S = 1.0
"""Least time between two warnings about turned away connections, so that a flood of them does not fill the log."""

BACKLOG_COUNT = 128
"""Connections the kernel may hold for us; senders open a handful each."""


class Handler(Protocol):
    """What is done with an accepted connection, on a thread of its own. Owns the socket and closes it."""

    def __call__(self, sock: socket.socket, address: str, established: Callable[[], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class HalfOpenLimits:
    """Connections that may be waiting for their A-ASSOCIATE-RQ to be answered."""

    total_count: int
    per_address_count: int


class Listener:
    """Listens on one address."""

    def __init__(self, host: str, port: int, handler: Handler, limits: HalfOpenLimits) -> None:
        """Bind. Port 0 lets the system choose; `port` tells which.

        Raises:
            ConnectFailed: the address cannot be bound.
        """
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            self._sock = socket.create_server((host, port), family=family, backlog=BACKLOG_COUNT)
        except OSError as error:
            raise ConnectFailed(f"cannot listen on {host}:{port}: {error.strerror}") from error
        self.port: int = self._sock.getsockname()[1]
        self._handler = handler
        self._limits = limits
        self._lock = threading.Lock()
        self._half_open: Counter[str] = Counter()
        self._threads: set[threading.Thread] = set()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._stopping = threading.Event()
        self._turned_away_count = 0
        self._warned_at = float("-inf")
        self._log = log.get(__name__)

    def start(self) -> None:
        self._thread.start()

    def stop_accepting(self) -> None:
        """Close the listening socket; running connections go on."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join()
        self._sock.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for running connections to end; False when some are still there afterwards."""
        deadline = threading.Event()
        timer = threading.Timer(timeout_s, deadline.set)
        timer.start()
        try:
            for thread in self._running():
                while thread.is_alive() and not deadline.is_set():
                    thread.join(0.05)
        finally:
            timer.cancel()
        return not self._running()

    @property
    def half_open_count(self) -> int:
        with self._lock:
            return self._half_open.total()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, address = self._sock.accept()
            except OSError as error:
                if not self._stopping.is_set():
                    self._log.error("accept_failed", reason=error.strerror)
                    self._stopping.wait(ACCEPT_PAUSE_S)
                continue
            self._take(sock, str(address[0]))

    def _take(self, sock: socket.socket, address: str) -> None:
        with self._lock:
            crowded = (
                self._half_open.total() >= self._limits.total_count
                or self._half_open[address] >= self._limits.per_address_count
            )
            if not crowded:
                self._half_open[address] += 1
        if crowded:
            sock.close()
            self._warn_turned_away(address)
            return
        thread = threading.Thread(target=self._serve, args=(sock, address), name="association", daemon=True)
        with self._lock:
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._log.error("no_thread_for_connection", address=address)
            self._forget(thread)
            self._established(address)
            sock.close()

    def _warn_turned_away(self, address: str) -> None:
        """Only called on the listener's own thread."""
        self._turned_away_count += 1
        now = monotonic()
        if now - self._warned_at >= WARNING_INTERVAL_S:
            self._log.warning("half_open_limit", address=address, count=self._turned_away_count)
            self._turned_away_count = 0
            self._warned_at = now

    def _serve(self, sock: socket.socket, address: str) -> None:
        counted = True

        def established() -> None:
            nonlocal counted
            if counted:
                counted = False
                self._established(address)

        try:
            self._handler(sock, address, established)
        except Exception as error:  # the outermost frame of the thread: others go on
            self._log.error("association_thread_failed", exc_info=error)
            sock.close()
        finally:
            established()
            self._forget(threading.current_thread())

    def _established(self, address: str) -> None:
        with self._lock:
            self._half_open[address] -= 1
            if not self._half_open[address]:
                del self._half_open[address]

    def _forget(self, thread: threading.Thread) -> None:
        with self._lock:
            self._threads.discard(thread)

    def _running(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._threads)

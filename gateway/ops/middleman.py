"""Standing between two systems on this machine: what a witness, a recorder and an emulated link have in common."""

import socket
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Self

ADDRESS = "127.0.0.1"
"""Nobody outside this machine can reach it."""

BACKLOG_COUNT = 128
"""Connections the kernel may hold for us: as many as a gateway opens to one destination, twice."""


class Middleman(ABC):
    """Listens on a free loopback port and, for each caller, calls another one. A context manager."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._sock = socket.create_server((ADDRESS, 0), backlog=BACKLOG_COUNT)
        self.port: int = self._sock.getsockname()[1]

    @abstractmethod
    def between(self, caller: socket.socket, called: socket.socket, began_s: float) -> None:
        """Serve one connection, accepted at `began_s` of the monotonic clock, to its end; a thread for each.

        Raises:
            OSError: it broke; both ends are closed, as they are when this returns.
        """

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name=type(self).__name__, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take no more connections; those there are go on to their end."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), name=type(self).__name__, daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        """Whoever calls a target that is not there sees its own call end."""
        began_s = monotonic()
        with caller, suppress(OSError), socket.create_connection((ADDRESS, self._target_port)) as called:
            for sock in (caller, called):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.between(caller, called, began_s)

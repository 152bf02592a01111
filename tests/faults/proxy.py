"""A TCP proxy before a destination: slow, silent or breaking connections; its fault changes while it runs."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.scp.raw import LOOPBACK

PIECE_BYTES = 16_384
POLL_S = 0.02
_RESET_ON_CLOSE = b"\1\0\0\0\0\0\0\0"


@dataclass(frozen=True)
class Fault:
    """What is wrong with the connections to a destination. Without arguments: nothing."""

    refuses: bool = False
    """Connections are reset as soon as they are made."""
    stalls_after_bytes: int | None = None
    """No more than this goes to the destination on each connection; nothing is closed."""
    swallows_answers: bool = False
    """What the destination says does not come back."""
    resets_after_bytes: int | None = None
    """Each connection is reset after so much has gone to the destination."""
    bytes_per_s: int | None = None


NO_FAULT = Fault()


class Proxy:
    """Listens on `port`; `fault` applies at once, to open connections too."""

    def __init__(self, target_port: int) -> None:
        self.fault = NO_FAULT
        self.target_port = target_port
        self.connections = 0
        self.open_count = 0
        self.sent_bytes = 0
        self._closing = threading.Event()
        self._listener = socket.create_server((LOOPBACK, 0))
        self._listener.settimeout(POLL_S)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:  # grows no more once the first one, which accepts, has ended
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        self.open_count += 1
        try:
            self._connect(client)
        finally:
            self.open_count -= 1

    def _connect(self, client: socket.socket) -> None:
        with client:
            if self.fault.refuses:
                _reset(client)
                return
            try:
                target = socket.create_connection((LOOPBACK, self.target_port), timeout=1.0)
            except OSError:
                _reset(client)
                return
            with target:
                back = threading.Thread(target=self._pump_back, args=(target, client))
                back.start()
                self._pump_on(client, target)
                back.join()

    def _pump_on(self, client: socket.socket, target: socket.socket) -> None:
        """From the gateway to the destination, with whatever is wrong on the way."""
        client.settimeout(POLL_S)
        count = 0
        while not self._closing.is_set():
            fault = self.fault
            if fault.refuses or (fault.resets_after_bytes is not None and count >= fault.resets_after_bytes):
                break
            if fault.stalls_after_bytes is not None and count >= fault.stalls_after_bytes:
                self._closing.wait(POLL_S)
                continue
            try:
                piece = client.recv(PIECE_BYTES)
                if not piece:
                    with suppress(OSError):
                        target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(piece)
            except TimeoutError:
                continue
            except OSError:
                break
            count += len(piece)
            self.sent_bytes += len(piece)
            if fault.bytes_per_s:
                self._closing.wait(len(piece) / fault.bytes_per_s)
        _reset(client)
        _reset(target)

    def _pump_back(self, target: socket.socket, client: socket.socket) -> None:
        """From the destination to the gateway."""
        target.settimeout(POLL_S)
        while not self._closing.is_set():
            try:
                piece = target.recv(PIECE_BYTES)
                if not piece:
                    with suppress(OSError):
                        client.shutdown(socket.SHUT_WR)
                    return
                if not self.fault.swallows_answers:
                    client.sendall(piece)
            except TimeoutError:
                continue
            except OSError:
                return


def _reset(sock: socket.socket) -> None:
    """Break the connection now, whoever else is waiting on it."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def running_proxy(target_port: int) -> Iterator[Proxy]:
    """A proxy until the block ends."""
    proxy = Proxy(target_port)
    try:
        yield proxy
    finally:
        proxy.close()

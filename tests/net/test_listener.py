"""The accept loop: limits before anybody has said who they are, and ends."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

from gateway.errors import ConnectFailed
from gateway.net.listener import HalfOpenLimits, Listener
from tests.scp.raw import LOOPBACK
from tests.wait import PATIENCE_S, wait_until

PLENTY = HalfOpenLimits(100, 100)


class Greeter:
    """Greets, and keeps connections until told to let go; says they are established when they say so."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.served = 0

    def __call__(self, sock: socket.socket, address: str, established: Callable[[], None]) -> None:
        self.served += 1
        with sock:
            sock.sendall(b"hello")
            sock.settimeout(0.02)
            while not self.let_go.is_set():
                with suppress(TimeoutError):
                    match sock.recv(16):
                        case b"":
                            return
                        case b"fail":
                            raise ValueError("as a handler never should")
                        case _:
                            established()
                            established()
                            sock.sendall(b"in")


@contextmanager
def listening(limits: HalfOpenLimits = PLENTY) -> Iterator[tuple[Listener, Greeter]]:
    greeter = Greeter()
    listener = Listener(LOOPBACK, 0, greeter, limits)
    listener.start()
    try:
        yield listener, greeter
    finally:
        greeter.let_go.set()
        listener.stop_accepting()
        assert listener.join(5.0)


def connected(listener: Listener, source: str = LOOPBACK) -> socket.socket:
    return socket.create_connection((LOOPBACK, listener.port), 5.0, (source, 0))


def is_greeted(sock: socket.socket) -> bool:
    with suppress(ConnectionError):
        return sock.recv(5) == b"hello"
    return False


def test_a_taken_port_is_said_so() -> None:
    with listening() as (listener, _), pytest.raises(ConnectFailed, match=str(listener.port)):
        Listener(LOOPBACK, listener.port, Greeter(), PLENTY)
    with pytest.raises(ConnectFailed):
        Listener("192.0.2.1", 0, Greeter(), PLENTY)


def test_half_open_connections_are_limited_per_address_and_in_all() -> None:
    with listening(HalfOpenLimits(total_count=3, per_address_count=2)) as (listener, greeter), ExitStack() as stack:

        def one(source: str) -> socket.socket:
            return stack.enter_context(connected(listener, source))

        first, second = one("127.0.0.1"), one("127.0.0.1")
        assert is_greeted(first)
        assert is_greeted(second)
        assert not is_greeted(one("127.0.0.1"))
        assert is_greeted(one("127.0.0.2"))
        assert not is_greeted(one("127.0.0.3"))
        assert listener.half_open_count == 3

        first.sendall(b"established")
        assert first.recv(2) == b"in"
        assert listener.half_open_count == 2
        assert is_greeted(one("127.0.0.1"))
        assert greeter.served == 4


def test_connections_that_end_count_no_more() -> None:
    with listening(HalfOpenLimits(1, 1)) as (listener, _):
        for _ in range(5):
            with connected(listener) as sock:
                assert is_greeted(sock)
            wait_until(lambda: listener.half_open_count == 0)


def test_a_handler_that_fails_spoils_only_its_own_connection() -> None:
    with listening(HalfOpenLimits(2, 2)) as (listener, _), connected(listener) as good:
        assert is_greeted(good)
        for _ in range(3):
            with connected(listener) as bad:
                assert is_greeted(bad)
                bad.sendall(b"fail")
                assert bad.recv(1) == b""
            wait_until(lambda: listener.half_open_count == 1)
        good.sendall(b"established")
        assert good.recv(2) == b"in"


def test_nobody_gets_in_any_more_while_those_inside_go_on() -> None:
    greeter = Greeter()
    listener = Listener(LOOPBACK, 0, greeter, PLENTY)
    listener.start()
    with connected(listener) as inside:
        assert is_greeted(inside)
        listener.stop_accepting()
        with pytest.raises(ConnectionRefusedError):
            connected(listener)
        inside.sendall(b"established")
        assert inside.recv(2) == b"in"
        began = monotonic()
        assert not listener.join(0.2)
        assert 0.1 < monotonic() - began < PATIENCE_S
        greeter.let_go.set()
        assert listener.join(5.0)


def test_a_listener_that_never_started_can_be_stopped() -> None:
    listener = Listener(LOOPBACK, 0, Greeter(), PLENTY)
    listener.stop_accepting()

    assert listener.join(0.1)


STARVING = """
import resource, sys, threading
from gateway.net.listener import HalfOpenLimits, Listener

def handler(sock, address, established):
    with sock:
        sock.recv(1)

listener = Listener("127.0.0.1", 0, handler, HalfOpenLimits(1000, 1000))
resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
listener.start()
print(listener.port, flush=True)
sys.stdin.read()
"""


def test_without_file_descriptors_it_waits_instead_of_spinning() -> None:
    with subprocess.Popen([sys.executable, "-c", STARVING], stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with ExitStack() as connections:
            for _ in range(40):
                connections.enter_context(socket.create_connection((LOOPBACK, port)))
            before, began = _cpu_s(process.pid), monotonic()
            wait_until(lambda: monotonic() - began > 1.0)
            assert _cpu_s(process.pid) - before < 0.3
        with socket.create_connection((LOOPBACK, port)) as sock:  # those that waited have been closed, so there is room
            sock.settimeout(5.0)
            sock.sendall(b"x")
            assert sock.recv(1) == b""
        process.communicate("")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100

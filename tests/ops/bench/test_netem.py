"""What goes into the emulated link comes out of it: the same bytes, to the same end. When is the link's business."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ops.bench.link import SEGMENT_BYTES, Link
from gateway.ops.bench.netem import LinkProxy
from gateway.ops.bench.wan import emulated
from gateway.ops.counterparts import LOOPBACK, free_port
from tests.wait import PATIENCE_S, wait_until

ROUGH = Link(0.002, 50e6, loss=0.001, window_bytes=20 * SEGMENT_BYTES)


@contextmanager
def echo_server() -> Iterator[int]:
    """A port where every connection gets back what it sent, from when it has said that it is done."""
    server = socket.create_server((LOOPBACK, 0))

    def answer(sock: socket.socket) -> None:
        with sock:
            sock.sendall(all_of(sock))
            sock.shutdown(socket.SHUT_WR)

    def accept() -> None:
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with closing(server):
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def all_of(sock: socket.socket) -> bytes:
    sock.settimeout(PATIENCE_S)
    pieces = []
    while piece := sock.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def there_and_back(port: int, content: bytes) -> bytes:
    with socket.create_connection((LOOPBACK, port), PATIENCE_S) as sock:
        sock.sendall(content)
        sock.shutdown(socket.SHUT_WR)
        return all_of(sock)


@settings(max_examples=15, deadline=None)
@given(st.binary(max_size=2000), st.integers(1, 300), st.sampled_from([Link(), ROUGH]))
def test_bytes_come_as_they_were_sent_both_ways(seed: bytes, times: int, link: Link) -> None:
    content = seed * times
    with echo_server() as target, LinkProxy(target, link) as proxy:
        assert there_and_back(proxy.port, content) == content


def test_connections_do_not_mix() -> None:
    contents = [bytes([number]) * 200_000 for number in range(8)]
    answers: dict[int, bytes] = {}
    with echo_server() as target, LinkProxy(target, ROUGH) as proxy:

        def run(number: int) -> None:
            answers[number] = there_and_back(proxy.port, contents[number])

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert [answers.get(number) for number in range(8)] == contents


def test_an_answer_is_a_round_trip_and_a_handshake_away() -> None:
    link = Link(0.05)
    with echo_server() as target, LinkProxy(target, link) as proxy:
        began_at = monotonic()
        assert there_and_back(proxy.port, b"ping") == b"ping"
        assert monotonic() - began_at >= 2 * link.round_trip_s  # a lower bound, which no load can break


def test_a_target_that_is_not_there_ends_the_call() -> None:
    with LinkProxy(free_port(), Link()) as proxy, socket.create_connection((LOOPBACK, proxy.port)) as sock:
        sock.settimeout(PATIENCE_S)
        assert sock.recv(1) == b""


def test_a_target_that_breaks_off_breaks_the_caller_off() -> None:
    with (
        socket.create_server((LOOPBACK, 0)) as server,
        LinkProxy(server.getsockname()[1], ROUGH) as proxy,
        socket.create_connection((LOOPBACK, proxy.port), PATIENCE_S) as caller,
    ):
        called, _ = server.accept()
        called.close()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_for_ever(caller)
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "link"])


def send_for_ever(sock: socket.socket) -> None:
    while True:
        sock.sendall(bytes(1 << 16))


def test_as_a_process_of_its_own(tmp_path: Path) -> None:
    with echo_server() as target, emulated(target, ROUGH, tmp_path) as port:
        assert there_and_back(port, b"far" * 1000) == b"far" * 1000
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, port))

"""The server: its port, its limits, and that it stops."""

import asyncio
import socket
import threading
import time

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.errors import ConnectFailed
from gateway.web.server import HEAD_LIMIT_BYTES, WebServer
from tests.wait import PATIENCE_S
from tests.web.serving import Served


async def says_hello(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("hello")(scope, receive, send)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def everything(sock: socket.socket) -> bytes:
    received = bytearray()
    while piece := sock.recv(65536):
        received += piece
    return bytes(received)


def test_the_port_is_known_before_the_start() -> None:
    web = WebServer(says_hello, "127.0.0.1", 0)

    assert web.port > 0
    web.start()
    with connect(web.port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert everything(sock).endswith(b"hello")
    web.stop()


def test_a_port_that_is_taken(served: Served) -> None:
    with pytest.raises(ConnectFailed, match=str(served.server.port)):
        WebServer(says_hello, "127.0.0.1", served.server.port)


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(ConnectFailed):
        WebServer(says_hello, "192.0.2.1", 0)


def test_it_stops_with_idle_connections_open() -> None:
    web = WebServer(says_hello, "127.0.0.1", 0)
    web.start()
    with connect(web.port) as silent, connect(web.port) as kept_alive:
        kept_alive.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert kept_alive.recv(65536)
        began_at = time.monotonic()
        web.stop()
        assert time.monotonic() - began_at < PATIENCE_S
        assert everything(silent) == b""
    with pytest.raises(OSError, match="refused"):
        connect(web.port)


def test_a_running_request_may_end_when_it_stops() -> None:
    entered, leave = threading.Event(), threading.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        entered.set()
        until_left = asyncio.get_running_loop().run_in_executor(None, leave.wait, 10)
        await until_left
        await Response("done")(scope, receive, send)

    web = WebServer(waits, "127.0.0.1", 0)
    web.start()
    with connect(web.port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert entered.wait(10)
        stopping = threading.Thread(target=web.stop)
        stopping.start()
        leave.set()
        assert everything(sock).endswith(b"done")
        stopping.join()


def test_a_request_that_does_not_end_is_cut() -> None:
    async def never_ends(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    web = WebServer(never_ends, "127.0.0.1", 0, drain_timeout_s=1)
    web.start()
    with connect(web.port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        began_at = time.monotonic()
        web.stop()
        assert time.monotonic() - began_at < PATIENCE_S
        assert b"200" not in everything(sock)


def test_stopping_what_never_started_frees_the_port() -> None:
    web = WebServer(says_hello, "127.0.0.1", 0)
    web.stop()

    WebServer(says_hello, "127.0.0.1", web.port).stop()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * HEAD_LIMIT_BYTES * 2,
        b"GET /" + b"x" * HEAD_LIMIT_BYTES * 2,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request(served: Served, head: bytes) -> None:
    with connect(served.server.port) as sock:
        sock.sendall(head)
        try:
            received = everything(sock)
        except ConnectionResetError:
            received = b"HTTP/1.1 400"

    assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401"))
    with served.client() as client:
        assert client.get("/livez").status_code == 200


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /li"])
def test_a_head_that_does_not_come(sent: bytes) -> None:
    web = WebServer(says_hello, "127.0.0.1", 0, head_timeout_s=1)
    web.start()
    with connect(web.port) as sock:
        sock.sendall(sent)
        began_at = time.monotonic()
        everything(sock)
        waited_s = time.monotonic() - began_at
    web.stop()

    assert 0.9 < waited_s < PATIENCE_S

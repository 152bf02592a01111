"""What surrounds a request: errors answered, slow and early-refused senders dealt with."""

import io
import json
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.domain.access import Role
from gateway.web.envelope import Envelope
from gateway.web.server import WebServer
from tests.documents.node import new_uid
from tests.web.serving import Hospital, Served, documents_of, is_problem, serving


def test_an_unexpected_failure_is_answered_without_its_words(tmp_path: Path) -> None:
    def fails() -> list[str]:
        raise ZeroDivisionError("canary")

    with serving(tmp_path, fails) as served, served.client() as client:
        response = client.get("/readyz")
        again = client.get("/livez")

    assert is_problem(response, 500, "internal-error")
    assert "canary" not in response.text
    assert again.status_code == 200


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        hospital = Hospital(served)
        client = hospital.clinician
        assert client.get(documents_of("1.2.3")).status_code == 200
        served.node.authority.stop()
        served.node.database.close()
        (tmp_path / "gateway.db").rename(tmp_path / "away.db")
        (tmp_path / "gateway.db").mkdir()
        response = client.get(documents_of("1.2.3"))
        alive = client.get("/livez")
        hospital.close()

    assert is_problem(response, 503, "unavailable")
    assert "retry-after" in response.headers
    assert str(tmp_path) not in response.text
    assert alive.status_code == 200


def connect(served: Served) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", served.server.port), timeout=10)
    return sock


def everything(sock: socket.socket) -> bytes:
    """All that comes until the server closes."""
    received = bytearray()
    while piece := sock.recv(65536):
        received += piece
    return bytes(received)


def test_an_early_refusal_is_seen_by_a_sender_that_still_sends(served: Served) -> None:
    """Without a token: the answer comes although megabytes are still to be sent, and the connection ends."""
    body = b"x" * (4 << 20)
    with connect(served) as sock:
        head = f"POST {documents_of('1.2.3')} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        received = everything(sock)

    assert received.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in received.lower()


def test_a_sender_that_asks_first_is_refused_before_it_sends(served: Served, a: Hospital) -> None:
    _, token = served.node.token(a.oid, Role.CLINICIAN)
    head = (
        f"POST {documents_of('1.2.3')} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\n"
        f"Authorization: Bearer {token}\r\nExpect: 100-continue\r\n\r\n"
    )
    with connect(served) as sock:
        sock.sendall(head.encode())
        received = everything(sock)

    assert received.startswith(b"HTTP/1.1 413 ")


async def reads_its_body(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers with the length of what it was sent."""
    body = await Request(scope, receive).body()
    await Response(str(len(body)))(scope, receive, send)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"x" * 1000, b"1000"),
        (b"x" * 999, b"/problems/too-slow"),
        (b"", b"/problems/too-slow"),
    ],
)
def test_a_body_that_stops_coming(body: bytes, answer: bytes) -> None:
    app = Envelope(reads_its_body, document_limit_bytes=0, stall_s=0.2)
    server = WebServer(app, "127.0.0.1", 0)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n" + body)
            received = everything(sock)
    finally:
        server.stop()

    assert answer in received


def test_a_body_that_trickles() -> None:
    """A byte now and then is no stall, but takes up the connection."""
    app = Envelope(reads_its_body, document_limit_bytes=0, stall_s=0.5)
    server = WebServer(app, "127.0.0.1", 0)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.1) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
            received, sent = b"", 0
            while not received:
                assert sent < 100
                sock.sendall(b"x")
                sent += 1
                with suppress(TimeoutError):
                    received = sock.recv(65536)
    finally:
        server.stop()

    assert b"408" in received


def test_a_body_where_none_belongs_is_dropped(a: Hospital) -> None:
    response = a.clinician.request("GET", documents_of(new_uid()), content=b"x" * 1000)

    assert response.status_code == 200
    assert a.clinician.get(documents_of(new_uid())).status_code == 200


def test_the_log_of_a_failure_has_its_place_and_not_its_words(tmp_path: Path, written: io.StringIO) -> None:
    def fails() -> list[str]:
        raise ZeroDivisionError("canary")

    with serving(tmp_path, fails) as served, served.client() as client:
        client.get("/readyz")
    (failed,) = [e for e in map(json.loads, written.getvalue().splitlines()) if e["event"] == "rest_failed"]

    assert failed["error"] == "ZeroDivisionError"
    assert "canary" not in written.getvalue()

"""A download that is no longer permitted stops on the way, for a reader who reads slowly too."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.domain.access import Role
from tests.documents.node import LIMIT_BYTES, new_uid, until
from tests.web.serving import Hospital, Served

LARGE = b"%PDF-1.7" + bytes(LIMIT_BYTES - 13) + b"%%EOF"
RECEIVE_BUFFER_BYTES = 4096


@contextmanager
def slow_reader(served: Served, oid: str, path: str) -> Iterator[socket.socket]:
    """A connection that has asked for a content and not read a byte, with little room in its buffers."""
    _, token = served.node.token(oid, Role.CLINICIAN)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.settimeout(10)
        sock.connect(("127.0.0.1", served.server.port))
        head = f"GET {path}/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        sock.sendall(f"{head}Connection: close\r\n\r\n".encode())
        yield sock


def rest(sock: socket.socket) -> bytes:
    """All that still comes."""
    received = bytearray()
    try:
        while piece := sock.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return bytes(received)


def open_contents(served: Served) -> list[str]:
    """The contents this process, which is the server's too, has open."""
    links = []
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            links.append(str(fd.readlink()))
    return [link for link in links if link.startswith(str(served.node.directory / "blobs"))]


def test_a_slow_reader_gets_it_all(served: Served, a: Hospital) -> None:
    path = a.attached(new_uid(), LARGE, patient_id="1")
    with slow_reader(served, a.oid, path) as sock:
        received = sock.recv(1) + rest(sock)

    assert received.endswith(b"\r\n\r\n" + LARGE)


def test_a_withdrawal_cuts_it_off(served: Served, a: Hospital, b: Hospital) -> None:
    """The reader asks while it may, the patient withdraws, and then the reader reads on."""
    patient = a.patient()
    path = a.attached(served.node.study(patient), LARGE)
    a.consent(patient)
    with slow_reader(served, b.oid, path) as sock:
        first = sock.recv(1)
        a.consent(patient, "ENTIRE_WITHDRAWAL")
        received = first + rest(sock)

    assert received.startswith(b"HTTP/1.1 200")
    assert b"content-length: %d\r\n" % len(LARGE) in received
    assert len(received) < len(LARGE)
    assert not received.endswith(b"%%EOF")


def test_a_reader_that_goes_away_leaves_nothing_behind(served: Served, a: Hospital) -> None:
    path = a.attached(new_uid(), LARGE, patient_id="1")
    with slow_reader(served, a.oid, path) as sock:
        sock.recv(1)
        assert len(open_contents(served)) == 1

    until(lambda: open_contents(served) == [])
    assert a.clinician.get(f"{path}/content").content == LARGE

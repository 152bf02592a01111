"""The Orthanc adapter against a server that fails in every way there is: each call raises, a POST arrives once."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway.errors import InputError, PeerSystemError
from gateway.scu.orthanc import OrthancNode

OF_A_PATIENT = "Hong Gildong 800101"


class Handler(BaseHTTPRequestHandler):
    """Answers every request as the server's `answer` says, and counts it."""

    protocol_version = "HTTP/1.1"
    server: "FailingServer"

    def respond(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests[f"{self.command} {self.path}"] += 1
        self.server.answer(self)

    do_GET = do_POST = do_PUT = do_DELETE = respond

    def send(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        """Send an answer; `length` is the announced one, -1 for none."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length != -1:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class FailingServer(ThreadingHTTPServer):
    """An HTTP server on loopback; `requests` counts what arrived."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: Counter[str] = Counter()
        self.answer: Callable[[Handler], None] = lambda handler: handler.send(200, b"{}")
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[FailingServer]:
    with FailingServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def node(server: FailingServer) -> Iterator[OrthancNode]:
    with OrthancNode(server.url, read_timeout_s=5) as node:
        yield node


def drop(handler: Handler) -> None:
    """Close the connection without a word."""
    handler.close_connection = True


CALLS: dict[str, Callable[[OrthancNode], object]] = {
    "system": lambda node: node.system(),
    "statistics": lambda node: node.statistics(),
    "count_instances": lambda node: node.count_instances(),
    "delete_all": lambda node: node.delete_all(),
    "upload": lambda node: node.upload(b"DICM"),
    "download": lambda node: node.download("i"),
    "lookup": lambda node: node.instance_ids("1.2"),
    "register_modality": lambda node: node.register_modality("m", "AE", "h", 104),
    "echo": lambda node: node.echo("m"),
    "submit": lambda node: node.submit("m", ["i"]),
    "send": lambda node: node.send("m", ["i"], timeout_s=1),
    "job": lambda node: node.job("j"),
}

every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@every_call
def test_unavailable(server: FailingServer, node: OrthancNode, call: Callable[[OrthancNode], object]) -> None:
    server.answer = lambda handler: handler.send(503, b"later", **{"Retry-After": "0"})

    with pytest.raises(PeerSystemError, match=r"http://127.0.0.1:\d+/: asked .*HTTP 503: unavailable; try again"):
        call(node)

    assert set(server.requests.values()) == {1}


@every_call
def test_conflict_without_json(server: FailingServer, node: OrthancNode, call: Callable[[OrthancNode], object]) -> None:
    server.answer = lambda handler: handler.send(409, b"<html>conflict</html>")

    with pytest.raises(PeerSystemError, match="HTTP 409: it is being changed"):
        call(node)

    assert set(server.requests.values()) == {1}


@every_call
def test_connection_dropped_after_the_request_was_read(
    server: FailingServer, node: OrthancNode, call: Callable[[OrthancNode], object]
) -> None:
    server.answer = drop

    with pytest.raises(PeerSystemError, match="the connection broke; whether it was done is unknown"):
        call(node)

    for request, count in server.requests.items():
        assert count == (3 if request.startswith("GET") else 1), request


@every_call
def test_truncated_answer(server: FailingServer, node: OrthancNode, call: Callable[[OrthancNode], object]) -> None:
    server.answer = lambda handler: handler.send(200, b'{"ID": "x', length=1000)

    with pytest.raises(PeerSystemError, match=r"cut short|connection broke"):
        call(node)

    for request, count in server.requests.items():
        assert count == 1, request


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"[1]", b"7", b'"text"', b"{}", b"<html>", b"\xff", b'{"ID": 1}']
)
def test_answer_of_another_shape(server: FailingServer, node: OrthancNode, body: bytes) -> None:
    server.answer = lambda handler: handler.send(200, body)
    # Not among them: calls that need no answer, and those for which an empty list is one.
    for name in ("system", "statistics", "upload", "submit", "send", "job"):
        if (name, body) == ("submit", b'{"ID": 1}'):  # all it needs
            continue
        with pytest.raises(PeerSystemError, match=r"not what an Orthanc says|not JSON"):
            CALLS[name](node)


def test_lookup_of_another_shape(server: FailingServer, node: OrthancNode) -> None:
    for body in (b"{", b"null", b'{"a": 1}', b"[1]", b'[{"Type": "Study"}]'):
        server.answer = lambda handler, body=body: handler.send(200, body)
        with pytest.raises(PeerSystemError):
            node.instance_ids("1.2")


def test_instance_shorter_than_announced(server: FailingServer, node: OrthancNode) -> None:
    server.answer = lambda handler: handler.send(200, bytes(999), length=1000)

    with pytest.raises(PeerSystemError, match=r"cut short|connection broke"):
        node.download("i")


@pytest.mark.parametrize(("body", "length"), [(b"", 0), (bytes(999), -1)])
def test_instance_empty_or_without_length(server: FailingServer, node: OrthancNode, body: bytes, length: int) -> None:
    server.answer = lambda handler: handler.send(200, body, length=length)

    with pytest.raises(PeerSystemError, match="an instance came"):
        node.download("i")


def test_instance_that_orthanc_did_not_keep(server: FailingServer, node: OrthancNode) -> None:
    answer = {"ID": "i", "Status": "FilteredOut"}
    server.answer = lambda handler: handler.send(200, json.dumps(answer).encode())

    with pytest.raises(PeerSystemError, match="an instance was not stored: FilteredOut"):
        node.upload(b"DICM")


def test_a_redirect_is_not_followed(server: FailingServer, node: OrthancNode) -> None:
    server.answer = lambda handler: handler.send(302, b"", Location="/elsewhere")

    with pytest.raises(PeerSystemError, match="redirects elsewhere"):
        node.upload(b"DICM")

    assert server.requests == {"POST /instances": 1}


def test_silence_has_an_end(server: FailingServer) -> None:
    server.answer = lambda handler: drop(handler) if handler.server.released.wait(30) else None

    with (
        OrthancNode(server.url, read_timeout_s=0.1) as node,
        pytest.raises(PeerSystemError, match="no answer in time; whether it was done is unknown"),
    ):
        node.upload(b"DICM")

    assert server.requests == {"POST /instances": 1}


def test_nobody_there(server: FailingServer) -> None:
    with FailingServer() as gone:
        url = gone.url
    with OrthancNode(url) as node, pytest.raises(PeerSystemError, match="no connection; check that it runs"):
        node.upload(b"DICM")
    with OrthancNode(url) as node, pytest.raises(PeerSystemError, match=r"for up to 0\.2 s .*no connection"):
        node.wait_until_ready(deadline_s=0.2)


def test_ready_after_a_while(server: FailingServer, node: OrthancNode) -> None:
    system = json.dumps({"Version": "1.13.0", "Name": "A", "DicomAet": "AE", "DicomPort": 104}).encode()
    server.answer = lambda handler: handler.send(200, system) if server.requests.total() > 2 else handler.send(503, b"")

    assert node.wait_until_ready(deadline_s=10).version == "1.13.0"


def test_plain_answer_to_tls(server: FailingServer) -> None:
    with (
        OrthancNode(server.url.replace("http:", "https:")) as node,
        pytest.raises(PeerSystemError, match="the TLS connection failed"),
    ):
        node.system()


def test_a_ca_file_that_is_not_there(server: FailingServer, tmp_path: Path) -> None:
    url = server.url.replace("http:", "https:")
    with OrthancNode(url, ca_file=tmp_path / "none.pem") as node, pytest.raises(PeerSystemError):
        node.system()


@pytest.mark.parametrize("status", [400, 404, 500])
def test_the_servers_details_stay_out_of_our_words(server: FailingServer, node: OrthancNode, status: int) -> None:
    answer = {"Message": "Bad file format", "Details": OF_A_PATIENT, "HttpStatus": status}
    server.answer = lambda handler: handler.send(status, json.dumps(answer).encode())

    with pytest.raises(PeerSystemError, match="Bad file format") as caught:
        node.instance_ids("1.2")

    assert OF_A_PATIENT not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("body", [b"[]", b'"x"', b'{"Message": 7}', b'{"Message": "a\\nb"}', b"\xff\xfe"])
def test_a_refusal_in_odd_words(server: FailingServer, node: OrthancNode, body: bytes) -> None:
    server.answer = lambda handler: handler.send(500, body)

    with pytest.raises(PeerSystemError, match="HTTP 500: see the log"):
        node.system()


def test_dimse_status_of_a_failed_job(server: FailingServer, node: OrthancNode) -> None:
    job = {"ID": "j", "State": "Failure", "Progress": 50, "ErrorDescription": "Error in the network protocol"}
    for more, status in (
        ({"ErrorPayload": {"DimseErrorStatus": 0xA700}}, 0xA700),
        ({"ErrorDetails": 'C-STORE SCU to AET "X" has failed with DIMSE status 0x0124'}, 0x0124),
        ({"ErrorPayload": None, "ErrorDetails": "TCP Initialization Error"}, None),
        ({}, None),
    ):
        server.answer = lambda handler, answer=job | more: handler.send(200, json.dumps(answer).encode())
        assert node.job("j").dimse_status == status


def test_credentials_go_to_the_server_and_nowhere_else(server: FailingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    def answer(handler: Handler) -> None:
        seen.append(handler.headers["Authorization"])
        handler.send(401, b"")

    server.answer = answer
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # would be asked instead of the server
    with OrthancNode(server.url, username="u", password="pass") as node:  # noqa: S106
        with pytest.raises(PeerSystemError, match="401") as caught:
            node.system()
        assert "pass" not in f"{caught.value.args} {node!r}".replace("password", "")

    assert seen == ["Basic dTpwYXNz"]


@pytest.mark.parametrize("url", ["http://h", "http://h/", "http://h//"])
def test_url_gets_one_slash_at_its_end(url: str) -> None:
    with OrthancNode(url) as node:
        assert node.url == "http://h/"


def test_path_of_the_url_is_kept(server: FailingServer) -> None:
    with OrthancNode(f"{server.url}/pacs/orthanc") as node, pytest.raises(PeerSystemError):
        node.system()

    assert server.requests == {"GET /pacs/orthanc/system": 1}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "orthanc",
        "ftp://h/",
        "http://",
        "http://h:0",
        "http://h:99999",
        "http://h/?q",
        "http://[::1",
        "http://u:p@h",
    ],
)
def test_what_is_no_url_of_an_orthanc(url: str) -> None:
    with pytest.raises(InputError) as caught:
        OrthancNode(url)

    assert "u:p" not in str(caught.value)

"""A node with its REST interface on a loopback port, and callers of two hospitals with tokens of every role."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from gateway.domain.access import Role
from gateway.domain.document import DocumentType
from gateway.domain.person import PatientKey
from gateway.web.app import WebContext, create_app
from gateway.web.server import WebServer
from tests.documents.node import PDF, Node, new_patient_id, running_node, utc_now

TIMEOUT_S = 10.0
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used: given to each client, as loading the certificates of the world takes longer than most tests."""


@dataclass(frozen=True, slots=True)
class Served:
    """A node and the port it answers on."""

    node: Node
    server: WebServer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def client(self, token: str | None = None) -> httpx.Client:
        """A client that sends this token, if any."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S, verify=_NO_TLS)

    def part_files(self) -> list[Path]:
        """Contents being written, or left over."""
        return list((self.node.directory / "blobs" / "part").iterdir())


@contextmanager
def serving(directory: Path, readiness: Callable[[], list[str]] = list) -> Iterator[Served]:
    """Serve until the block ends."""
    with running_node(directory) as node:
        context = WebContext(
            documents=node.documents,
            database=node.database,
            writer=node.writer,
            authority=node.authority,
            planner=node.planner,
            metrics=node.metrics,
            clock=utc_now,
            readiness=readiness,
        )
        server = WebServer(create_app(context), "127.0.0.1", 0)
        server.start()
        try:
            yield Served(node, server)
        finally:
            server.stop()


class Hospital:
    """One institution's side: clients with a token of each role."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.oid = served.node.institution()
        self._clients: dict[Role, httpx.Client] = {}

    def client(self, role: Role) -> httpx.Client:
        if role not in self._clients:
            _, text = self.served.node.token(self.oid, role)
            self._clients[role] = self.served.client(text)
        return self._clients[role]

    @property
    def clinician(self) -> httpx.Client:
        return self.client(Role.CLINICIAN)

    @property
    def desk(self) -> httpx.Client:
        return self.client(Role.DESK)

    def patient(self) -> PatientKey:
        return PatientKey(self.oid, new_patient_id())

    def attach(self, study: str, content: bytes = PDF, **fields: str) -> httpx.Response:
        """Hand in a letter as a clinician."""
        kind = fields.pop("type", DocumentType.REFERRAL.value)
        return self.clinician.post(
            documents_of(study),
            data={"type": kind, **fields},
            files={"file": ("letter.pdf", content, "application/pdf")},
        )

    def attached(self, study: str, content: bytes = PDF, **fields: str) -> str:
        """The path of a document just handed in."""
        response = self.attach(study, content, **fields)
        assert response.status_code == 201, response.text
        location: str = response.headers["location"]
        return location

    def consent(self, patient: PatientKey, form: str = "ENTIRE_CONSENT") -> httpx.Response:
        return self.desk.post("/api/v1/consents", json={"patient_id": patient.patient_id, "form": form})

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


def documents_of(study: str) -> str:
    return f"/api/v1/studies/{study}/documents"


def is_problem(response: httpx.Response, status: int, kind: str, field: str | None = None) -> bool:
    """Whether a response is the problem expected; with the field at fault, if any is."""
    body = response.json()
    fields = [error["field"] for error in body["errors"]]
    return (
        response.status_code == body["status"] == status
        and response.headers["content-type"] == "application/problem+json"
        and body["type"] == f"/problems/{kind}"
        and bool(body["title"] and body["detail"])
        and fields == ([field] if field else [])
    )

"""What documents need around them, for real: a database, its writer and authority, two institutions, a folder."""

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import event

from gateway.consent.forms import FormKind
from gateway.documents.attach import Documents
from gateway.documents.blobs import BlobStore, BlobWriter
from gateway.documents.submission import Submission
from gateway.domain.access import Caller, Role
from gateway.domain.document import Document, DocumentType
from gateway.domain.institution import Institution, ParticipationState
from gateway.domain.person import PatientKey
from gateway.metrics import Metrics
from gateway.planning import Planner
from gateway.store.authority import StoredAuthority
from gateway.store.consents import register_form
from gateway.store.database import Database
from gateway.store.migrate import prepare
from gateway.store.network import put_institution, set_institution_state
from gateway.store.tables import StudyRow
from gateway.store.tokens import create_token
from gateway.store.writer import Writer

LIMIT_BYTES = 4 << 20
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
CDA = b'<?xml version="1.0" encoding="UTF-8"?>\n<ClinicalDocument xmlns="urn:hl7-org:v3"/>\n'

_serial = itertools.count(10_000_000)


def utc_now() -> datetime:
    return datetime.now(UTC)


def new_uid() -> str:
    """A UID nobody else in this run uses."""
    return f"1.2.826.0.1.{secrets.randbelow(10**12)}.{next(_serial)}"


def new_patient_id() -> str:
    """A patient id nobody else in this run uses; not of the form of a resident registration number."""
    return f"P-{next(_serial)}"


def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait for a condition; fail when it does not come true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


@dataclass(frozen=True, slots=True)
class Node:
    """A node without its network sides."""

    directory: Path
    database: Database
    writer: Writer
    authority: StoredAuthority
    planner: Planner
    metrics: Metrics
    documents: Documents

    def institution(self, state: ParticipationState = ParticipationState.OPERATING) -> str:
        """A new institution's OID."""
        oid = f"1.2.410.100110.10.{next(_serial)}"
        self.writer.write(lambda session: put_institution(session, Institution(oid, f"병원 {oid[-3:]}", state)))
        self.authority.refresh()
        return oid

    def participate(self, oid: str, state: ParticipationState) -> None:
        self.writer.write(lambda session: set_institution_state(session, oid, state))
        self.authority.refresh()

    def register(self, patient: PatientKey, kind: FormKind) -> None:
        self.writer.write(lambda session: register_form(session, patient, kind, utc_now(), "test"))
        self.authority.refresh()

    def study(self, patient: PatientKey, uid: str | None = None) -> str:
        """A study the node has seen; its UID."""
        row_uid = uid or new_uid()

        def operation(session):  # type: ignore[no-untyped-def]
            session.add(
                StudyRow(
                    study_instance_uid=row_uid,
                    issuer_oid=patient.issuer_oid,
                    patient_id=patient.patient_id,
                    accession_number="",
                    first_received_at=utc_now(),
                )
            )

        self.writer.write(operation)
        return row_uid

    def token(self, oid: str, role: Role, expires_at: datetime | None = None) -> tuple[str, str]:
        """A new token: its id and its text."""
        token, text = self.writer.write(
            lambda session: create_token(session, oid, role, label="test", now=utc_now(), expires_at=expires_at)
        )
        return token.id, text

    def staged(self, content: bytes = PDF) -> BlobWriter:
        """A content as it is before somebody decides to keep it."""
        writer = self.documents.blobs.writer()
        writer.write(content)
        return writer

    def attach(self, caller: Caller, study: str, content: bytes = PDF, **fields: str) -> Document:
        """A letter handed in by the caller."""
        kind = DocumentType(fields.pop("type", "REFERRAL"))
        return self.documents.attach(caller, Submission(study, kind, **fields), self.staged(content))

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """The SQL executed meanwhile by the calling thread."""
        seen: list[str] = []
        caller = threading.get_ident()

        def note(_connection, _cursor, statement, *_) -> None:  # type: ignore[no-untyped-def]
            if threading.get_ident() == caller:
                seen.append(statement)

        event.listen(self.database.engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(self.database.engine, "before_cursor_execute", note)


@contextmanager
def running_node(directory: Path, stale_after_s: float = 5.0) -> Iterator[Node]:
    """A node that runs until the block ends."""
    database = Database(f"sqlite:///{directory / 'gateway.db'}")
    prepare(database)
    writer = Writer(database)
    writer.start()
    authority = StoredAuthority(database, refresh_s=0.1, stale_after_s=stale_after_s)
    authority.start()
    metrics = Metrics()
    planner = Planner(authority, utc_now)
    documents = Documents(
        database=database,
        writer=writer,
        planner=planner,
        blobs=BlobStore(directory / "blobs"),
        clock=utc_now,
        limit_bytes=LIMIT_BYTES,
        metrics=metrics,
    )
    try:
        yield Node(directory, database, writer, authority, planner, metrics, documents)
    finally:
        authority.stop()
        writer.stop()
        database.close()


def clinician(oid: str) -> Caller:
    return Caller("0" * 32, oid, Role.CLINICIAN)

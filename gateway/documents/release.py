"""Releasing documents: decided, recorded, and decided again while the bytes leave.

A document that may not be disclosed and one that does not exist are the same to the reader, in what is answered and
in what is done for the answer.
"""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from gateway.documents.blobs import BlobReader, BlobStore
from gateway.domain.access import Caller
from gateway.domain.decision import Decision, Reason
from gateway.domain.document import Document
from gateway.domain.instance import Content
from gateway.domain.person import PatientKey
from gateway.errors import StoreUnavailable
from gateway.metrics import Metrics
from gateway.planning import Planner, Subject
from gateway.store.database import Database
from gateway.store.decisions import record_decisions
from gateway.store.documents import find_document, study_documents
from gateway.store.writer import Writer

_LETTERS = str.maketrans("0123456789", "abcdefghij")
"""Makes of a UID a patient id that no institution uses, for decisions made only to take their time."""

_NO_DOCUMENT = "-"


@dataclass(frozen=True, slots=True)
class Release:
    """A document on its way to a reader: permitted, and the permission recorded."""

    document: Document
    content: BlobReader
    reader_oid: str
    planner: Planner

    def still_permitted(self) -> bool:
        """Whether it may go on; answered from memory.

        Raises:
            DecisionUnavailable: nobody can say, so it may not.
        """
        return _decide(self.planner, self.document, self.reader_oid).verdict.permitted

    def read(self, count: int, offset: int) -> bytes:
        """Up to `count` bytes of the content; none at its end.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        return self.content.read(count, offset)

    def close(self) -> None:
        self.content.close()


@dataclass(frozen=True, slots=True)
class Releases:
    """Decides who may read what. Safe to use from any thread."""

    database: Database
    writer: Writer
    planner: Planner
    blobs: BlobStore
    metrics: Metrics

    def listing(self, caller: Caller, study_instance_uid: str) -> list[Document]:
        """The documents of a study that the caller's institution may know of, oldest first.

        Raises:
            DecisionUnavailable: participation or consent cannot be read.
        """
        with self.database.read() as session:
            documents = study_documents(session, study_instance_uid)
        if not documents:
            decide_about_nothing(self.planner, study_instance_uid, caller.institution_oid)
        decided = [(d, _decide(self.planner, d, caller.institution_oid)) for d in documents]
        shown = [(document, decision) for document, decision in decided if decision.verdict.permitted]
        self._record([d for _, d in shown if d.verdict.reason is not Reason.SAME_INSTITUTION])
        self.metrics.documents.labels("list", "answered").inc()
        return [document for document, _ in shown]

    def find(self, caller: Caller, study_instance_uid: str, document_id: str) -> Document | None:
        """A document, when the caller's institution may know of it. The decision is recorded.

        Raises:
            DecisionUnavailable: participation or consent cannot be read.
        """
        with self.database.read() as session:
            document = find_document(session, study_instance_uid, document_id)
        if document is None:
            decide_about_nothing(self.planner, study_instance_uid, caller.institution_oid)
            self.writer.post(_nothing)
            self.metrics.documents.labels("read", "not_available").inc()
            return None
        decision = _decide(self.planner, document, caller.institution_oid)
        self.metrics.decisions.labels(decision.verdict.outcome, decision.verdict.reason).inc()
        if not decision.verdict.permitted:
            self.writer.post(lambda session: record_decisions(session, [decision]))
            self.metrics.documents.labels("read", "not_available").inc()
            return None
        self._record([decision])
        self.metrics.documents.labels("read", "permitted").inc()
        return document

    def open(self, caller: Caller, study_instance_uid: str, document_id: str) -> Release | None:
        """The same with the content, which the caller closes.

        Raises:
            DecisionUnavailable: participation or consent cannot be read.
            StoreUnavailable: the content cannot be read, or is not what was kept.
        """
        document = self.find(caller, study_instance_uid, document_id)
        if document is None:
            return None
        content = self.blobs.open(document.sha256)
        if content.size_bytes != document.size_bytes:
            content.close()
            raise StoreUnavailable(f"the content of document {document.id} is damaged: its size has changed")
        return Release(document, content, caller.institution_oid, self.planner)

    def _record(self, decisions: list[Decision]) -> None:
        """Durable before anything is shown."""
        if decisions:
            self.writer.write(lambda session: record_decisions(session, decisions))


def _decide(planner: Planner, document: Document, reader_oid: str) -> Decision:
    subject = Subject(document.study_instance_uid, document.patient, document.author_oid, Content.DOCUMENT)
    return planner.decide_document(document.id, subject, reader_oid)


def decide_about_nothing(planner: Planner, study_instance_uid: str, reader_oid: str) -> None:
    """Take as long as a decision does; its outcome means nothing and is not recorded."""
    nobody = PatientKey(reader_oid, study_instance_uid.translate(_LETTERS))
    subject = Subject(study_instance_uid, nobody, reader_oid, Content.DOCUMENT)
    planner.decide_document(_NO_DOCUMENT, subject, reader_oid)


def _nothing(_session: Session) -> None:
    """An operation like that which records a denial, without one."""

"""Documents beside studies: attach, list, read."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gateway.documents.blobs import BlobStore, BlobWriter
from gateway.documents.release import Release, Releases, decide_about_nothing
from gateway.documents.submission import ATTACHABLE, Submission
from gateway.domain.access import Caller
from gateway.domain.decision import new_id
from gateway.domain.document import Document
from gateway.domain.instance import Content
from gateway.domain.institution import ParticipationState
from gateway.domain.person import PatientKey
from gateway.errors import DocumentRejected, InputError, NotPermitted
from gateway.metrics import Metrics
from gateway.planning import Planner, Subject
from gateway.store.database import Database
from gateway.store.documents import add_document
from gateway.store.index import StudyKey, studies_with_uid
from gateway.store.network import read_network
from gateway.store.writer import Writer
from gateway.wire.uids import is_uid_text


@dataclass(frozen=True, slots=True)
class Documents:
    """The use cases of documents. Safe to use from any thread.

    `limit_bytes` is the largest content taken; who receives the bytes stops there.
    """

    database: Database
    writer: Writer
    planner: Planner
    blobs: BlobStore
    clock: Callable[[], datetime]
    limit_bytes: int
    metrics: Metrics

    def attach(self, caller: Caller, submission: Submission, content: BlobWriter) -> Document:
        """Keep a document of the caller's institution; durable when this returns.

        Takes over `content`: it is committed or abandoned in any case.

        Raises:
            NotPermitted: the caller's role or institution may not hand it in.
            DocumentRejected: a field or the content is not acceptable.
            DecisionUnavailable: participation or consent cannot be read.
            StoreUnavailable: it could not be kept.
        """
        try:
            document = self._keep(caller, submission, content)
        except InputError:
            self.metrics.documents.labels("attach", "rejected").inc()
            raise
        finally:
            content.abandon()
        self.metrics.documents.labels("attach", "kept").inc()
        return document

    def listing(self, caller: Caller, study_instance_uid: str) -> list[Document]:
        """The documents of a study that the caller's institution may know of, oldest first.

        Raises:
            DecisionUnavailable: participation or consent cannot be read.
        """
        return self._releases.listing(caller, study_instance_uid)

    def find(self, caller: Caller, study_instance_uid: str, document_id: str) -> Document | None:
        """A document without its content; None when there is none or it may not be disclosed.

        Raises:
            DecisionUnavailable: participation or consent cannot be read.
        """
        return self._releases.find(caller, study_instance_uid, document_id)

    def open(self, caller: Caller, study_instance_uid: str, document_id: str) -> Release | None:
        """A document with its content, which the caller closes; None as with `find`.

        Raises:
            DecisionUnavailable: participation or consent cannot be read.
            StoreUnavailable: the content cannot be read.
        """
        return self._releases.open(caller, study_instance_uid, document_id)

    @property
    def _releases(self) -> Releases:
        return Releases(self.database, self.writer, self.planner, self.blobs, self.metrics)

    def _keep(self, caller: Caller, submission: Submission, content: BlobWriter) -> Document:
        if submission.type not in ATTACHABLE.get(caller.role, ()):
            raise NotPermitted("your role may not hand in documents of this type")
        if not is_uid_text(submission.study_instance_uid):
            raise DocumentRejected("StudyInstanceUID: expected a UID (PS3.5 §9.1)", "StudyInstanceUID")
        document_id = new_id()
        title = submission.checked_title()
        patient = self._patient(caller, submission, document_id)
        document = Document(
            id=document_id,
            study_instance_uid=submission.study_instance_uid,
            patient=patient,
            author_oid=caller.institution_oid,
            type=submission.type,
            title=title,
            media_type=submission.checked_media_type(content),
            size_bytes=content.size_bytes,
            sha256=content.commit(),
            created_at=self.clock(),
        )
        self.writer.write(lambda session: add_document(session, document))
        return document

    def _patient(self, caller: Caller, submission: Submission, document_id: str) -> PatientKey:
        """Whose document it is: the study's patient where the caller may know the study, else the patient named."""
        own = caller.institution_oid
        with self.database.read() as session:
            author = read_network(session).institutions.get(own)
            studies = list(studies_with_uid(session, submission.study_instance_uid))
        if author is None or author.state is not ParticipationState.OPERATING:
            raise NotPermitted("your institution does not take part in the exchange at present")
        named = submission.checked_patient(own)
        for study in studies:
            if study.patient.issuer_oid == own:
                if named not in (None, study.patient):
                    raise DocumentRejected("patient_id: the study belongs to another patient", "patient_id")
                return study.patient
        known = [study for study in studies if self._may_know(study, own, document_id)]
        if not studies:
            decide_about_nothing(self.planner, submission.study_instance_uid, own)
        if len(known) == 1:
            return known[0].patient
        if named is None:
            raise DocumentRejected("patient_id: expected your institution's id of the patient", "patient_id")
        return named

    def _may_know(self, study: StudyKey, reader_oid: str, document_id: str) -> bool:
        """Whether an institution may know of another's study: what it may read beside it, it may know of."""
        patient = study.patient
        subject = Subject(study.study_instance_uid, patient, patient.issuer_oid, Content.DOCUMENT)
        return self.planner.decide_document(document_id, subject, reader_oid).verdict.permitted

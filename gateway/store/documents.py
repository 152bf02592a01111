"""Document rows."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.domain.document import Document, DocumentState, DocumentType, MediaType
from gateway.domain.person import PatientKey
from gateway.store.tables import DocumentRow


def add_document(session: Session, document: Document) -> None:
    """Enter a document whose blob is durable."""
    session.add(
        DocumentRow(
            id=document.id,
            study_instance_uid=document.study_instance_uid,
            issuer_oid=document.patient.issuer_oid,
            patient_id=document.patient.patient_id,
            author_oid=document.author_oid,
            type=document.type.value,
            title=document.title,
            media_type=document.media_type.value,
            size_bytes=document.size_bytes,
            sha256=document.sha256,
            created_at=document.created_at,
            state=document.state.value,
        )
    )


def find_document(session: Session, study_instance_uid: str, document_id: str) -> Document | None:
    """A current document of a study."""
    row = session.scalar(
        select(DocumentRow).where(
            DocumentRow.id == document_id,
            DocumentRow.study_instance_uid == study_instance_uid,
            DocumentRow.state == DocumentState.CURRENT.value,
        )
    )
    return _document(row) if row is not None else None


def study_documents(session: Session, study_instance_uid: str) -> list[Document]:
    """The current documents of a study, oldest first."""
    query = (
        select(DocumentRow)
        .where(
            DocumentRow.study_instance_uid == study_instance_uid,
            DocumentRow.state == DocumentState.CURRENT.value,
        )
        .order_by(DocumentRow.created_at, DocumentRow.id)
    )
    return [_document(row) for row in session.scalars(query)]


def _document(row: DocumentRow) -> Document:
    return Document(
        id=row.id,
        study_instance_uid=row.study_instance_uid,
        patient=PatientKey(row.issuer_oid, row.patient_id),
        author_oid=row.author_oid,
        type=DocumentType(row.type),
        title=row.title,
        media_type=MediaType(row.media_type),
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        created_at=row.created_at,
        state=DocumentState(row.state),
    )

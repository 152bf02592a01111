"""Documents of a study: hand in, list, look at, download."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from gateway.documents.submission import ATTACHABLE, Submission
from gateway.domain.access import Caller, Role
from gateway.domain.document import Document, DocumentType, MediaType
from gateway.errors import DocumentRejected
from gateway.web.access import Context, requires
from gateway.web.download import Download
from gateway.web.problems import (
    DOCUMENT_NOT_AVAILABLE,
    MALFORMED,
    TOO_LARGE,
    TOO_SLOW,
    UNSUPPORTED,
    document_not_available,
    responses,
)
from gateway.web.upload import Upload, receive_form

router = APIRouter(prefix="/api/v1/studies/{StudyInstanceUID}/documents", tags=["documents"])

StudyInstanceUID = Annotated[
    str,
    Path(
        title="StudyInstanceUID",
        description="(0020,000D), PS3.5 §9.1",
        max_length=64,
        pattern=r"^[0-9]+(\.[0-9]+)*$",
    ),
]
DocumentId = Annotated[str, Path(description="As listed.")]
Author = Annotated[Caller, requires(*ATTACHABLE)]
Reader = Annotated[Caller, requires(Role.CLINICIAN)]

_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["type", "file"],
                    "properties": {
                        "type": {"type": "string", "enum": [kind.value for kind in DocumentType]},
                        "title": {
                            "type": "string",
                            "maxLength": 200,
                            "description": "Without it, the Korean name of the type.",
                        },
                        "patient_id": {
                            "type": "string",
                            "maxLength": 64,
                            "description": "Your institution's id of the patient. Needed unless the study came "
                            "from your institution or may be known to it; then the study says whose it is.",
                        },
                        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                    },
                }
            }
        },
    }
}


class DocumentOut(BaseModel):
    """A document without its content."""

    id: str
    study_instance_uid: str
    type: DocumentType
    type_korean: str
    title: str
    media_type: MediaType
    size_bytes: int
    sha256: str
    author_oid: str
    created_at: datetime

    @classmethod
    def of(cls, document: Document) -> "DocumentOut":
        return cls(
            id=document.id,
            study_instance_uid=document.study_instance_uid,
            type=document.type,
            type_korean=document.type.korean,
            title=document.title,
            media_type=document.media_type,
            size_bytes=document.size_bytes,
            sha256=document.sha256,
            author_oid=document.author_oid,
            created_at=document.created_at,
        )


class DocumentList(BaseModel):
    """Documents, oldest first."""

    documents: list[DocumentOut]


@router.post(
    "",
    operation_id="attachDocument",
    summary="Hand in a document of your institution.",
    status_code=201,
    response_model=DocumentOut,
    responses=responses(MALFORMED, TOO_LARGE, TOO_SLOW, UNSUPPORTED),
    openapi_extra=_FORM,
)
async def attach(
    StudyInstanceUID: StudyInstanceUID, caller: Author, context: Context, request: Request, response: Response
) -> DocumentOut:
    """Durable when answered."""
    documents = context.documents
    upload = await receive_form(request, documents.blobs.writer, documents.limit_bytes)
    document = await run_in_threadpool(
        lambda: documents.attach(caller, _submission(StudyInstanceUID, upload), upload.file)
    )
    response.headers["Location"] = f"{request.url.path}/{document.id}"
    return DocumentOut.of(document)


@router.get(
    "",
    operation_id="listDocuments",
    summary="The documents of a study that your institution may know of.",
    responses=responses(),
)
def listing(StudyInstanceUID: StudyInstanceUID, caller: Reader, context: Context) -> DocumentList:
    """Empty when there are none, and when none may be disclosed."""
    found = context.documents.listing(caller, StudyInstanceUID)
    return DocumentList(documents=[DocumentOut.of(document) for document in found])


@router.get(
    "/{document_id}",
    operation_id="getDocument",
    summary="One document, without its content.",
    response_model=DocumentOut,
    responses=responses(DOCUMENT_NOT_AVAILABLE),
)
def get(
    StudyInstanceUID: StudyInstanceUID, document_id: DocumentId, caller: Reader, context: Context
) -> DocumentOut | JSONResponse:
    """The same answer for a document that is not there and for one that may not be disclosed."""
    document = context.documents.find(caller, StudyInstanceUID, document_id)
    return DocumentOut.of(document) if document else document_not_available()


@router.get(
    "/{document_id}/content",
    operation_id="downloadDocument",
    summary="The content of a document.",
    response_class=Response,
    responses={
        **responses(DOCUMENT_NOT_AVAILABLE),
        200: {
            "description": "The content, byte for byte as it was handed in.",
            "content": {kind.value: {} for kind in MediaType},
        },
    },
)
def download(StudyInstanceUID: StudyInstanceUID, document_id: DocumentId, caller: Reader, context: Context) -> Response:
    """The decision is recorded before the first byte leaves; the connection is cut when it changes on the way."""
    release = context.documents.open(caller, StudyInstanceUID, document_id)
    return Download(release) if release else document_not_available()


def _submission(study_instance_uid: str, upload: Upload) -> Submission:
    try:
        kind = DocumentType(upload.fields.get("type", ""))
    except ValueError as error:
        upload.file.abandon()
        raise DocumentRejected(f"type: expected one of {', '.join(DocumentType)}", "type") from error
    return Submission(
        study_instance_uid=study_instance_uid,
        type=kind,
        title=upload.fields.get("title", ""),
        patient_id=upload.fields.get("patient_id", ""),
        file_name=upload.file_name,
        media_type=upload.media_type,
    )

"""Documents that travel beside a study."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.domain.person import PatientKey


class DocumentType(StrEnum):
    """The kinds of document the exchange knows."""

    REFERRAL = "REFERRAL"
    RETURN = "RETURN"
    CARE_RECORD_SUMMARY = "CARE_RECORD_SUMMARY"
    RADIOLOGY_REPORT = "RADIOLOGY_REPORT"
    CONSENT = "CONSENT"
    CONSENT_WITHDRAWAL = "CONSENT_WITHDRAWAL"

    @property
    def korean(self) -> str:
        return _KOREAN[self]


_KOREAN = {
    DocumentType.REFERRAL: "진료의뢰서",
    DocumentType.RETURN: "진료회송서",
    DocumentType.CARE_RECORD_SUMMARY: "진료기록요약지",
    DocumentType.RADIOLOGY_REPORT: "영상의학판독소견서",
    DocumentType.CONSENT: "동의서",
    DocumentType.CONSENT_WITHDRAWAL: "철회서",
}


class MediaType(StrEnum):
    """What a document may be, recognised by its content and never by its name."""

    PDF = "application/pdf"
    XML = "text/xml"


class DocumentState(StrEnum):
    CURRENT = "CURRENT"


@dataclass(frozen=True, slots=True)
class Document:
    """A document of `author_oid` about a patient's study. Its content is a blob named by `sha256`."""

    id: str
    study_instance_uid: str
    patient: PatientKey
    author_oid: str
    type: DocumentType
    title: str
    media_type: MediaType
    size_bytes: int
    sha256: str
    created_at: datetime
    state: DocumentState = DocumentState.CURRENT

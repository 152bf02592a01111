"""What may be said about a document when it is handed in: checked field by field, with the field named."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gateway.documents.blobs import BlobWriter
from gateway.documents.content import HEAD_BYTES, TAIL_BYTES, agrees, is_whole, media_type_of
from gateway.domain.access import Role
from gateway.domain.document import DocumentType, MediaType
from gateway.domain.person import PatientKey, holds_resident_number
from gateway.errors import DocumentRejected, InputError

TITLE_LIMIT_CHARACTERS = 200
"""A title is a line in a list."""

ATTACHABLE: Final[Mapping[Role, frozenset[DocumentType]]] = MappingProxyType(
    {
        Role.CLINICIAN: frozenset(DocumentType),
        Role.DESK: frozenset({DocumentType.CONSENT, DocumentType.CONSENT_WITHDRAWAL}),
    }
)
"""Who may hand in what; the other roles nothing."""

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of line ends, terminal sequences, bidirectional overrides and the unassigned."""

_RESIDENT_NUMBER = "has the form of a resident registration number, which is never stored"


@dataclass(frozen=True, slots=True)
class Submission:
    """A document as it is handed in, before anything of it is believed.

    `file_name` and `media_type` are the sender's words about the file: looked at and forgotten.
    """

    study_instance_uid: str
    type: DocumentType
    title: str = ""
    patient_id: str = ""
    file_name: str = ""
    media_type: str = ""

    def checked_title(self) -> str:
        """The title to keep: the type's Korean name when none was given.

        Raises:
            DocumentRejected: too long, with characters that are not seen, or with a resident registration number.
        """
        title = self.title.strip()
        if len(title) > TITLE_LIMIT_CHARACTERS:
            raise DocumentRejected(f"title: at most {TITLE_LIMIT_CHARACTERS} characters", "title")
        if any(unicodedata.category(character) in _UNSEEN for character in title):
            raise DocumentRejected("title: control and direction characters are not allowed", "title")
        _refuse_resident_number(title, "title")
        return title or self.type.korean

    def checked_patient(self, issuer_oid: str) -> PatientKey | None:
        """The patient as the author's institution names it; None when it was not said.

        Raises:
            DocumentRejected: not a patient id, or with a resident registration number.
        """
        patient_id = self.patient_id.strip()
        if not patient_id:
            return None
        _refuse_resident_number(patient_id, "patient_id")
        try:
            return PatientKey(issuer_oid, patient_id)
        except InputError as error:
            raise DocumentRejected(str(error), "patient_id") from error

    def checked_media_type(self, content: BlobWriter) -> MediaType:
        """What the content is.

        Raises:
            DocumentRejected: nothing we take, not whole, not what was declared, or with a resident registration
                number in the name of the file.
        """
        _refuse_resident_number(self.file_name, "file")
        found = media_type_of(content.head(HEAD_BYTES))
        if found is None:
            what = "" if content.size_bytes else "; it is empty"
            raise DocumentRejected(f"file: expected a PDF or a CDA document (XML without DOCTYPE){what}", "file")
        if not agrees(self.media_type, found):
            raise DocumentRejected(f"file: its content is {found.value}, its Content-Type says otherwise", "file")
        if not is_whole(found, content.tail(TAIL_BYTES)):
            raise DocumentRejected("file: the document is cut off; its end is missing", "file")
        return found


def _refuse_resident_number(text: str, field: str) -> None:
    if holds_resident_number(text):
        raise DocumentRejected(f"{field}: {_RESIDENT_NUMBER}", field)
